"""HTTP written byte by byte: requests as other clients send them, which no polite library would."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back, to its end."""

    status: int
    headers: Mapping[str, str]  # lower-case names
    body: bytes
    was_told_to_continue: bool  # whether 100 Continue came before

    def json(self) -> Any:
        return json.loads(self.body)


async def send(
    url: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None, *, method: str = "POST"
) -> Reply:
    """Send one request on a connection of its own. path: put on the wire as it is.

    A Content-Length is added unless the headers say chunked; with `Expect` the body waits for 100 Continue.
    """
    given = {name.lower(): value for name, value in (headers or {}).items()}
    chunked = given.get("transfer-encoding") == "chunked"
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
    if "host" not in given:
        lines.append(f"host: {urlsplit(url).netloc}")
    if not chunked and "content-length" not in given:
        lines.append(f"content-length: {len(body)}")
    async with asyncio.timeout(PATIENCE_S):
        return await _converse(url, lines, _in_chunks(body) if chunked else [body], wait="expect" in given)


async def _converse(url: str, lines: Sequence[str], pieces: Sequence[bytes], *, wait: bool) -> Reply:
    at = urlsplit(url)
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    try:
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        if wait:
            status, headers = await _head(reader)
            if status != 100:
                return Reply(status, headers, await _body(reader, headers), was_told_to_continue=False)
        writer.writelines(pieces)
        status, headers = await _head(reader)
        return Reply(status, headers, await _body(reader, headers), was_told_to_continue=wait)
    finally:
        writer.close()
        await writer.wait_closed()


def _in_chunks(body: bytes, size: int = 5000) -> list[bytes]:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces] + [b"0\r\n\r\n"]


async def _head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    first, *rest = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
    named = (line.split(":", 1) for line in rest)
    return int(first.split(" ")[1]), {name.lower(): value.strip() for name, value in named}


async def _body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    return await reader.readexactly(int(headers.get("content-length", "0")))
