"""Trial H1: five hundred connections that never finish, and callers beside them."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.asking import MODEL
from tests.chaos.conftest import FULL, Report, Start
from tests.chaos.load import check, quantile
from tests.chaos.upstream import answers, upstream

if TYPE_CHECKING:
    from tests.chaos.load import Told

COUNT = 500
HEADER_S, BODY_S, TRICKLE_S = (10.0, 20.0, 10.0) if FULL else (2.0, 4.0, 1.5)  # the defaults, where there is time
LINGER_S = 3.0  # after an early answer the gateway reads on, so that the answer is not lost by a reset
PER_S = 20
HALF_A_HEAD = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"
HALF_A_BODY = f"POST /models/{MODEL} HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\n\r\nRIFF".encode()
WAYS = {
    "in headers": (HALF_A_HEAD, b""),
    "in the body": (HALF_A_BODY, b""),
    "headers byte by byte": (HALF_A_HEAD + b"X: ", b"x"),
    "body byte by byte": (HALF_A_BODY, b"x"),
}


@dataclass(frozen=True, slots=True)
class Ended:
    """How a connection was ended."""

    way: str
    status: str
    after_s: float


async def stalled(port: int, way: str, opened: list[str]) -> Ended:
    """Send a part, then nothing or a byte now and then, until the other side closes. opened: told of it."""
    clock = asyncio.get_running_loop().time
    first, then = WAYS[way]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = clock()
    writer.write(first)
    opened.append(way)
    reading = asyncio.get_running_loop().create_task(_status(reader))
    while not (await asyncio.wait((reading,), timeout=TRICKLE_S))[0]:
        writer.write(then)
    after_s = clock() - began
    writer.transport.abort()
    return Ended(way, reading.result(), after_s)


async def _status(reader: asyncio.StreamReader) -> str:
    """Return the status when the connection is over: "reset" where a byte that crossed the answer took it along."""
    status = "reset"
    try:
        status = (await reader.readline())[9:12].decode()
        await reader.read()
    except ConnectionResetError:
        pass
    return status


@pytest.mark.timeout(180)
async def test_h1_stalled_connections(start: Start, report: Report) -> None:
    server = {"header_timeout": HEADER_S, "body_timeout": BODY_S}
    async with upstream(answers()) as up, start({"up": up.url}, server=server) as (running, client):
        alone = await client.at_rate(PER_S, 5.0)
        async with asyncio.TaskGroup() as group:
            ways = [list(WAYS)[at % len(WAYS)] for at in range(COUNT)]
            opened: list[str] = []
            stalling = [group.create_task(stalled(running.port, way, opened)) for way in ways]
            while len(opened) < COUNT:  # noqa: ASYNC110 - opening them is work for this process too
                await asyncio.sleep(0.01)
            beside = await client.at_rate(PER_S, HEADER_S)
        ended = [each.result() for each in stalling]
        assert {told.status for told in (*alone, *beside)} == {200}
        await check(client, running, [up], attempts=1)
    p99_alone, p99 = _p99_ms(alone), _p99_ms(beside)
    latest = {way: max(each.after_s for each in ended if each.way == way) for way in WAYS}
    words = ", ".join(f"{way} {latest_s:.1f} s" for way, latest_s in latest.items())
    report("H1", f"{COUNT} connections, closed at the latest: {words}", f"headers {HEADER_S:g} s, bodies {BODY_S:g} s")
    report("H1", f"p99 beside them {p99:.1f} ms, alone {p99_alone:.1f} ms: {p99 / p99_alone:.2f} x", "< 2 x")
    statuses = Counter((bool(WAYS[each.way][1]), each.status) for each in ended)
    assert statuses[False, "408"] == COUNT // 2
    assert statuses[True, "408"] + statuses[True, "reset"] == COUNT // 2
    spare_s = 1.0 if FULL else 5.0  # beside other tests the machine may stand still
    assert max(latest["in headers"], latest["headers byte by byte"]) < HEADER_S + spare_s
    assert latest["in the body"] < BODY_S + LINGER_S + spare_s
    assert latest["body byte by byte"] < BODY_S + TRICKLE_S + LINGER_S + spare_s  # a rate is known when a byte arrives


def _p99_ms(told: list[Told]) -> float:
    return 1000 * quantile([each.seconds for each in told], 0.99)
