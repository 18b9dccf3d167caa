"""One answer on the wire, as each version of HTTP and each method wants it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import pytest

from tests.asking import Served, serving, settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Emulate = Callable[..., Awaitable[str]]


@pytest.fixture
async def served(emulate: Emulate) -> AsyncIterator[Served]:
    async with serving(settings({"up": await emulate("hf-inference")})) as made:
        yield made


async def sent(served: Served, request_line: str, *headers: str, times: int = 1) -> tuple[list[str], bytes]:
    """Return the head and body of the last answer, and whatever came after it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(served.url.rpartition(":")[2]))
    for _ in range(times):
        writer.write("\r\n".join((request_line, "Host: here", *headers, "", "")).encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        lengths = [int(line.split()[1]) for line in head if line.startswith("Content-Length")]
        body = b"" if request_line.startswith("HEAD") else await reader.readexactly(lengths[0])
    if any(line == "Connection: close" for line in head) or (
        head[0].startswith("HTTP/1.0") and "Connection: keep-alive" not in head
    ):
        body += await reader.read()  # which ends: the connection is closed
    writer.close()
    await writer.wait_closed()
    return head, body


async def test_a_connection_stays_open_for_the_next_request(served: Served) -> None:
    head, body = await sent(served, "GET /health/live HTTP/1.1", times=3)
    assert (head[0], body) == ("HTTP/1.1 200 OK", b'{"status":"alive"}')
    assert not [line for line in head if line.startswith("Connection")]


async def test_it_is_closed_where_the_caller_says_so(served: Served) -> None:
    head, body = await sent(served, "GET /health/live HTTP/1.1", "Connection: close")
    assert "Connection: close" in head
    assert body == b'{"status":"alive"}'


async def test_the_older_version_closes_unless_it_asks_otherwise(served: Served) -> None:
    head, body = await sent(served, "GET /health/live HTTP/1.0")
    assert (head[0], body) == ("HTTP/1.0 200 OK", b'{"status":"alive"}')
    head, body = await sent(served, "GET /health/live HTTP/1.0", "Connection: keep-alive", times=2)
    assert "Connection: keep-alive" in head
    assert body == b'{"status":"alive"}'


async def test_head_tells_the_length_of_what_get_would_bring(served: Served) -> None:
    """And brings nothing, so that the next answer begins where this one ends."""
    head, _ = await sent(served, "HEAD /health/live HTTP/1.1", times=2)
    assert "Content-Length: 18" in head


async def test_it_says_when_it_was_made_and_by_nothing_in_particular(served: Served) -> None:
    head, _ = await sent(served, "GET /health/live HTTP/1.1")
    told = dict(line.split(": ", 1) for line in head[1:] if line)
    assert abs(parsedate_to_datetime(told["Date"]) - datetime.now(UTC)) < timedelta(seconds=5)
    assert (told["Server"], told["Content-Type"]) == ("asr-gateway", "application/json")
