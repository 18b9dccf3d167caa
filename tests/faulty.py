"""Upstreams that break: each accepts a whole request and then does one wrong thing."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Act = Callable[["Faulty", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(slots=True)
class Faulty:
    """One upstream, and what was seen there."""

    url: str = ""
    calls: int = 0
    bodies: list[bytes] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)  # a caller hung up before it was answered
    called: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)  # for `slow`


def reply(status: int, body: object, **headers: str) -> bytes:
    """Return a whole HTTP reply."""
    encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(encoded)}", "Content-Type: application/json"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + encoded


def answers(status: int, body: object, **headers: str) -> Act:
    """Make an upstream that always replies so."""

    async def act(upstream: Faulty, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(reply(status, body, **headers))

    return act


async def cuts_the_reply(upstream: Faulty, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close half way through the body."""
    writer.write(reply(200, {"text": "hello"})[:-5])


async def closes(upstream: Faulty, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close without a word."""


async def speaks_no_http(upstream: Faulty, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example.com ESMTP\r\n\r\n")


async def hangs(upstream: Faulty, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Never answer; notice when the caller leaves."""
    await reader.read()
    upstream.left.set()


async def slow(upstream: Faulty, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer when the test says so."""
    await upstream.go_on.wait()
    writer.write(reply(200, {"text": "late"}))


@asynccontextmanager
async def faulty(act: Act) -> AsyncIterator[Faulty]:
    """Serve on a free loopback port."""
    upstream = Faulty()
    open_ones: set[asyncio.StreamWriter] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_ones.add(writer)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            upstream.heads.append(head)
            length = int(head.lower().partition("content-length: ")[2].partition("\r\n")[0] or 0)
            upstream.bodies.append(await reader.readexactly(length))
            upstream.calls += 1
            upstream.called.set()
            await act(upstream, reader, writer)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            upstream.left.set()
        finally:
            writer.close()
            open_ones.discard(writer)

    server = await asyncio.start_server(handle, "127.0.0.1", 0, limit=1 << 20)
    upstream.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield upstream
    finally:
        server.close()
        for writer in tuple(open_ones):
            writer.transport.abort()


async def refused() -> str:
    """Return a URL where nobody listens."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return f"http://127.0.0.1:{port}"
