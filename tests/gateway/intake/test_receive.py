"""Bodies are read as they arrive: refused as soon as they are too large, too slow, or no HTTP."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.gateway.intake.conftest import LIMITS, MAX_UPLOAD

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.gateway.intake.conftest import Receiver

CHUNKED = "Transfer-Encoding: chunked"


@asynccontextmanager
async def posting(
    receiver: Receiver, *headers: str, shape: str = "hf"
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Send the headers of a POST; the body is the test's."""
    host, port = receiver.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    lines = (f"POST /{shape} HTTP/1.1", "Host: x", *headers, "", "")
    writer.write("\r\n".join(lines).encode())
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, Any]]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
    body = await reader.readexactly(length)
    return int(head.split()[1]), json.loads(body) if "application/json" in head else {}


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.mark.parametrize("announced", [MAX_UPLOAD + 1, 10**12])
async def test_an_announced_size_is_refused_before_it_comes(receiver: Receiver, announced: int) -> None:
    async with posting(receiver, f"Content-Length: {announced}") as (reader, writer):
        writer.write(b"fLaC" + bytes(600))
        status, told = await answer(reader)
    assert (status, told["type"]) == (413, "too-large")
    assert str(MAX_UPLOAD) in told["error"]


KINDS = {
    "raw": (b"fLaC", "audio/flac", MAX_UPLOAD),
    "json": (b'{"inputs":"', "application/json", MAX_UPLOAD * 4 // 3 + 65_536),
    "text": (b"QUJD" * 200, "text/plain", MAX_UPLOAD * 4 // 3 + 65_536),
    "form": (
        b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n',
        "multipart/form-data; boundary=b",
        MAX_UPLOAD,
    ),
    "field": (b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n', "multipart/form-data; boundary=b", 65_536),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_chunked_body_is_refused_while_it_comes(receiver: Receiver, kind: str) -> None:
    """The sender would go on without end; it is told after little more than the limit."""
    head, content_type, limit = KINDS[kind]
    sent = 0
    async with posting(receiver, CHUNKED, f"Content-Type: {content_type}") as (reader, writer):
        answered = asyncio.get_running_loop().create_task(answer(reader))
        writer.write(chunk(head))
        while not answered.done():
            writer.write(chunk(b"A" * 50_000))
            await writer.drain()
            await asyncio.sleep(0)
            sent += 50_000
        status, told = await answered
    assert (status, told["type"]) == (413, "too-large")
    # Beyond the limit stand what the two sockets and the server's reader hold, and what came while it answered.
    assert limit - 100_000 < sent < limit + 12_000_000


@pytest.mark.parametrize("sent", [b"", b"f", b"fLaC", b"fLaC" + bytes(700), b'{"inputs":"QUJ'])
async def test_a_body_that_stalls_is_408(receiver: Receiver, sent: bytes) -> None:
    async with posting(receiver, "Content-Length: 1000") as (reader, writer):
        writer.write(sent)
        status, told = await answer(reader)
    assert (status, told["type"]) == (408, "stalled")


@pytest.mark.parametrize("head", [b"", b"fLaC" + bytes(1000)])
async def test_a_body_that_trickles_is_408(receiver: Receiver, head: bytes) -> None:
    """A byte now and then keeps no connection open, not even before there is enough to tell what it is."""
    async with posting(receiver, "Content-Length: 100000") as (reader, writer):
        writer.write(head)
        answered = asyncio.get_running_loop().create_task(answer(reader))
        while not answered.done():
            writer.write(b"f")
            await asyncio.sleep(LIMITS.idle_s / 10)
        status, told = await answered
    assert (status, told["type"]) == (408, "stalled")
    assert "bytes a second" in told["error"]


@pytest.mark.parametrize("damage", [b"zz\r\n", b"-1\r\n", b"5\r\nfLaC", b"4;" + b"x" * 20_000])
async def test_a_body_that_is_no_http_is_400_or_stalls(receiver: Receiver, damage: bytes) -> None:
    async with posting(receiver, CHUNKED) as (reader, writer):
        writer.write(chunk(b"fLaC" + bytes(600)))
        await writer.drain()
        writer.write(damage)
        status, _ = await answer(reader)
    assert status in {400, 408}


async def test_a_body_that_ends_early_is_not_taken_for_whole(receiver: Receiver) -> None:
    """The sender closes its side after half of what it announced."""
    async with posting(receiver, "Content-Length: 1000") as (reader, writer):
        writer.write(b"fLaC" + bytes(600))
        writer.write_eof()
        assert await reader.read(12) in {b"", b"HTTP/1.1 400", b"HTTP/1.1 408"}
