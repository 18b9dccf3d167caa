"""Connections that dawdle are closed, and a process that is asked to stop finishes what it has begun."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from tests import faulty as upstreams
from tests.asking import MODEL, WAV, Served, serving, settings
from tests.program import Program, configuration, program

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    Emulate = Callable[..., Awaitable[str]]

LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
async def served(emulate: Emulate) -> AsyncIterator[Served]:
    async with serving(settings({"up": await emulate("hf-inference")}, header_timeout=0.4)) as made:
        yield made


async def connect(served: Served) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", int(served.url.rpartition(":")[2]))


# --- headers that do not come


@pytest.mark.parametrize("sent", [b"", b"GET", b"GET / HTTP/1.1\r\n", LIVE[:-2], b"POST / HTTP/1.1\r\nHost: x\r\nX: "])
async def test_headers_that_stall_are_closed(sent: bytes, served: Served) -> None:
    reader, writer = await connect(served)
    writer.write(sent)
    assert (await reader.read()).startswith(b"HTTP/1.1 408 Request Timeout\r\nConnection: close")
    writer.close()


async def test_headers_that_trickle_are_closed(served: Served) -> None:
    """A byte now and then does not start the time anew."""
    reader, writer = await connect(served)
    closed = asyncio.get_running_loop().create_task(reader.read())
    while not closed.done():
        writer.write(b"G")
        await asyncio.sleep(0.02)
    assert b" 40" in await closed  # 408; or 400 where the method has grown too long first
    writer.close()


async def test_a_second_request_has_the_same_time_for_its_headers(served: Served) -> None:
    reader, writer = await connect(served)
    writer.write(LIVE)
    assert (await reader.readuntil(b'{"status":"alive"}')).startswith(b"HTTP/1.1 200")
    writer.write(LIVE[:20])
    assert (await reader.read()).startswith(b"HTTP/1.1 408")
    writer.close()


async def test_a_connection_between_two_requests_is_kept(served: Served) -> None:
    """Its own limit is keep_alive; the one for headers begins with their first byte."""
    reader, writer = await connect(served)
    for pause_s in (0.6, 0.0, 0.6):
        writer.write(LIVE)
        assert (await reader.readuntil(b'{"status":"alive"}')).startswith(b"HTTP/1.1 200")
        await asyncio.sleep(pause_s)
    writer.write(LIVE)
    assert (await reader.readuntil(b'{"status":"alive"}')).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_a_body_may_take_longer_than_headers_may(served: Served) -> None:
    async def slowly() -> AsyncIterator[bytes]:
        for at in range(0, len(WAV), 100_000):
            await asyncio.sleep(0.15)
            yield WAV[at : at + 100_000]

    assert (await served.post(body=slowly())).status == 200


async def test_an_answer_may_take_longer_than_headers_may() -> None:
    async with (
        upstreams.faulty(upstreams.slow) as slow,
        serving(settings({"up": slow.url}, header_timeout=0.1)) as served,
    ):
        asked = asyncio.get_running_loop().create_task(served.post())
        await slow.called.wait()
        await asyncio.sleep(0.3)
        slow.go_on.set()
        assert (await asked).body == {"text": "late"}


# --- the end


async def test_an_upload_that_has_begun_is_finished(emulate: Emulate, tmp_path: Path) -> None:
    """The process is asked to stop while the body still arrives; idle connections end at once."""
    half, rest = asyncio.Event(), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield WAV[:200_000]
        half.set()
        await rest.wait()
        yield WAV[200_000:]

    chosen = configuration({"up": await emulate("hf-inference")}, model=MODEL, **SLOW)
    async with program(chosen, tmp_path) as running, aiohttp.ClientSession() as session:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(LIVE)
        await reader.readuntil(b'{"status":"alive"}')
        asked = asyncio.get_running_loop().create_task(ask(session, running, body()))
        await half.wait()
        await in_flight(session, running, 1)
        running.process.terminate()
        await running.wait_for("draining")
        assert await reader.read() == b""  # the idle one
        with pytest.raises(OSError, match="onnect"):
            await asyncio.open_connection("127.0.0.1", running.port)
        rest.set()
        assert (await asked)[::2] == (200, "close")
        assert await running.process.wait() == 0
        writer.close()


SLOW: dict[str, Any] = {"server": {"drain": 20}}


async def in_flight(session: aiohttp.ClientSession, running: Program, count: int) -> None:
    """Return when so many requests are being answered, beside the one that asks for it."""
    metrics = ""
    while f"asr_requests_in_flight {count + 1}.0" not in metrics:
        async with session.get(f"{running.url}/metrics") as reply:
            metrics = await reply.text()


async def ask(session: aiohttp.ClientSession, running: Program, body: Any = WAV) -> tuple[int, str, str]:
    async with session.post(f"{running.url}/models/{MODEL}", data=body) as reply:
        told = await reply.json()
        return reply.status, told.get("text") or told["type"], reply.headers.get("Connection", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_everything_in_flight_is_answered_before_the_process_ends(number: int, tmp_path: Path) -> None:
    async with (
        upstreams.faulty(upstreams.slow) as slow,
        program(configuration({"up": slow.url}, model=MODEL, **SLOW), tmp_path) as running,
        aiohttp.ClientSession() as session,
        asyncio.TaskGroup() as tasks,
    ):
        asked = [tasks.create_task(ask(session, running)) for _ in range(20)]
        while slow.calls < 20:  # noqa: ASYNC110 - a count has no event
            await asyncio.sleep(0.02)
        running.process.send_signal(number)
        await running.wait_for("draining")
        slow.go_on.set()
        assert {await each for each in asked} == {(200, "late", "close")}
        assert await running.process.wait() == 0
    (line,) = [line for line in running.lines if line["event"] == "draining"]
    assert line["in_flight"] == 20


async def test_what_takes_longer_than_the_drain_is_cut_with_an_answer(tmp_path: Path) -> None:
    async with (
        upstreams.faulty(upstreams.hangs) as silent,
        program(configuration({"up": silent.url}, model=MODEL, server={"drain": 0.3}), tmp_path) as running,
        aiohttp.ClientSession() as session,
        asyncio.TaskGroup() as tasks,
    ):
        asked = [tasks.create_task(ask(session, running)) for _ in range(3)]
        while silent.calls < 3:  # noqa: ASYNC110 - a count has no event
            await asyncio.sleep(0.02)
        running.process.terminate()
        assert {await each for each in asked} == {(502, "draining", "close")}
        await silent.left.wait()
        assert await running.process.wait() == 0
    assert [line["problem"] for line in running.lines if line["event"] == "request"] == ["draining"] * 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_the_process_at_once(number: int, tmp_path: Path) -> None:
    async with (
        upstreams.faulty(upstreams.hangs) as silent,
        program(configuration({"up": silent.url}, model=MODEL, server={"drain": "1h"}), tmp_path) as running,
        aiohttp.ClientSession() as session,
    ):
        asked = asyncio.get_running_loop().create_task(ask(session, running))
        await silent.called.wait()
        running.process.send_signal(number)
        await running.wait_for("draining")
        running.process.send_signal(number)
        assert await running.process.wait() == -number
        with pytest.raises(aiohttp.ClientError):
            await asked


async def test_a_process_with_nothing_to_do_ends_at_once(emulate: Emulate, tmp_path: Path) -> None:
    """Also with connections that are only kept."""
    chosen = configuration({"up": await emulate("hf-inference")}, model=MODEL, server={"drain": "1h"})
    async with program(chosen, tmp_path) as running, aiohttp.ClientSession() as session:
        assert (await ask(session, running))[0] == 200
        running.process.terminate()
        assert await running.process.wait() == 0
