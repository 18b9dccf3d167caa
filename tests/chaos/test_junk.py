"""Trial M5: whatever callers make up, names, paths, keys, ids, it leaves no series and no memory behind."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pytest

from tests.asking import key
from tests.chaos.conftest import FULL, Report, Start
from tests.chaos.load import MODEL, utterance
from tests.chaos.upstream import answers, upstream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.program import Program

REQUESTS: Final = 100_000 if FULL else 3_000
WARM_UP: Final = 10_000 if FULL else 1_000  # caches of a fixed size are full by then
CONNECTIONS: Final = 16
MOST_SERIES: Final = 2_000
MOST_GROWTH_BYTES: Final = 5_000_000
CALLER, ADMIN = "hf_gw_caller", "hf_gw_admin"
JUNK = "junk"  # is in all that callers make up here
AUDIO = utterance(500)
FORM_END = "\r\n--b--\r\n"


def junk(number: int) -> bytes:
    """Return one request of many kinds, like no other of its kind."""
    name = f"{JUNK}-{number}"
    fields = f'--b\r\nContent-Disposition: form-data; name="user"\r\n\r\n{name}{FORM_END}'.encode()
    kinds = (
        ("POST", f"/models/{name}/{name}", CALLER, "", AUDIO),  # a model that the wildcard takes
        ("POST", f"/models/{name}%20{name}", CALLER, "", AUDIO),
        ("POST", f"/{name}/models/{MODEL}", CALLER, "", AUDIO),
        ("GET", f"/{name}/{name}?{name}={name}", CALLER, "", b""),
        ("GET", "/v1/models", f"hf_gw_{name}", "", b""),
        ("GET", f"/api/models/{name}", "", "", b""),
        (
            "POST",
            f"/models/{MODEL}",
            CALLER,
            f"X-Request-Id: {name}\r\nUser-Agent: {name}\r\nCookie: {name}=1\r\n",
            AUDIO,
        ),
        ("POST", "/v1/audio/transcriptions", CALLER, "Content-Type: multipart/form-data; boundary=b\r\n", fields),
        (f"{JUNK.upper()}{number}", "/v1/models", CALLER, f"{name}: {name}\r\n", b""),
        ("POST", f"/models/{MODEL}?language={name}", CALLER, f"Origin: https://{name}.example\r\n", b"x"),
    )
    method, path, secret, headers, body = kinds[number % len(kinds)]
    bearer = f"Authorization: Bearer {secret}\r\n" if secret else ""
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\n{bearer}{headers}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@dataclass(slots=True)
class Crowd:
    """Sends what it is given over a few connections, one after the other on each."""

    port: int
    statuses: dict[int, int] = field(default_factory=dict)

    async def send(self, requests: Iterator[bytes]) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(CONNECTIONS):
                group.create_task(self._send(requests))

    async def _send(self, requests: Iterator[bytes]) -> None:
        connection = None
        for request in requests:
            reader, writer = connection or await asyncio.open_connection("127.0.0.1", self.port)
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            await reader.readexactly(int(head.partition("content-length: ")[2].partition("\r\n")[0]))
            status = int(head[9:12])
            self.statuses[status] = self.statuses.get(status, 0) + 1
            is_over = "connection: close" in head or head.startswith("http/1.0")
            connection = None if is_over else (reader, writer)
            if is_over:
                await _closed(writer)
        if connection is not None:
            await _closed(connection[1])


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def series(served: Program) -> set[str]:
    """Return the names and labels of all that is told to Prometheus."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(
        f"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {ADMIN}\r\n\r\n".encode()
    )
    _, _, text = (await reader.read()).decode().partition("\r\n\r\n")
    await _closed(writer)
    return {line.rpartition(" ")[0] for line in text.splitlines() if line and not line.startswith("#")}


@pytest.mark.timeout(900)  # a hundred thousand take some minutes
async def test_m5_what_callers_make_up_leaves_nothing_behind(start: Start, report: Report) -> None:
    keys = [
        key("caller", CALLER, limits={"requests_per_minute": 10_000_000}).model_dump(mode="json", exclude_none=True),
        key("admin", ADMIN, role="admin").model_dump(mode="json", exclude_none=True),
    ]
    wild = {MODEL: {"targets": [{"target": "up/whisper", "substitute": True}]}, "*": {"targets": ["up/{model}"]}}
    numbers = iter(range(WARM_UP + REQUESTS))
    async with upstream(answers()) as up:
        sections = {"auth": {"mode": "keys", "keys": keys}, "models": wild}
        async with start({"up": up.url}, **sections) as (served, _):
            crowd = Crowd(served.port)
            await crowd.send(junk(next(numbers)) for _ in range(WARM_UP))
            before, before_bytes = await series(served), served.memory_bytes("VmRSS")
            await crowd.send(map(junk, numbers))
            after, after_bytes = await series(served), served.memory_bytes("VmRSS")
    grown_bytes = after_bytes - before_bytes
    report(
        "M5",
        f"{REQUESTS} made-up requests: {len(after)} series, {len(after - before)} more than before; "
        f"{grown_bytes / 1e6:.1f} MB more",
        f"<= {MOST_SERIES} series, < {MOST_GROWTH_BYTES / 1e6:g} MB",
    )
    assert len(up.calls) == (WARM_UP + REQUESTS) // 5
    assert set(crowd.statuses) == {200, 400, 401, 403, 404}
    assert after == before
    assert len(after) <= MOST_SERIES
    assert not [each for each in after if JUNK in each.lower()]
    assert grown_bytes < MOST_GROWTH_BYTES
