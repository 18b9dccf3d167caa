"""Clients that keep a log, and what must be true of it whatever went wrong: the invariants of every chaos run."""

from __future__ import annotations

import asyncio
import itertools
import struct
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING

import aiohttp
from blake3 import blake3

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.chaos.upstream import Upstream
    from tests.program import Program

MODEL = "openai/whisper-large-v3"
PLANTED = b"planted"  # is in all audio: no log may have it
_AT_REST = ("asr_requests_in_flight", "asr_spool_bytes", "asr_deployment_in_flight", "asr_deployment_waiting")
_numbers = itertools.count(1)


def utterance(size_bytes: int = 32_000) -> bytes:
    """Return a WAV like no other, in any sixteen bytes of it: 16 kHz, mono, 16 bit."""
    data = max(64, size_bytes - 44)
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", data + 36, b"WAVE", b"fmt ", 16, 1, 1, 16_000, 32_000, 2, 16, b"data", data
    )
    return head + ((PLANTED.ljust(8, b"\0") + struct.pack("<Q", next(_numbers))) * (data // 16 + 1))[:data]


@dataclass(frozen=True, slots=True)
class Told:
    """One request and its answer. Moments are on the event loop's clock."""

    digest: str
    sent_at: float
    seconds: float
    status: int  # 0: the connection failed
    text: str
    attempts: int
    request_id: str
    provider: str
    headers: Mapping[str, str]
    body: Mapping[str, object]


@dataclass(slots=True)
class Client:
    """Asks a gateway and remembers every answer."""

    url: str
    session: aiohttp.ClientSession
    log: list[Told] = field(default_factory=list)

    async def ask(self, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Told:
        """Send an utterance and remember what came back."""
        audio = utterance() if body is None else body
        clock = asyncio.get_running_loop().time
        sent_at = clock()
        try:
            async with self.session.post(f"{self.url}/models/{MODEL}", data=BytesIO(audio), headers=headers) as reply:
                answer, status, got = await reply.json(), reply.status, reply.headers
        except aiohttp.ClientError as error:
            answer, status, got = {"error": repr(error)}, 0, {}  # type: ignore[assignment] # no headers
        told = Told(
            digest=blake3(audio).hexdigest(),
            sent_at=sent_at,
            seconds=clock() - sent_at,
            status=status,
            text=str(answer.get("text", "")),
            attempts=int(got.get("X-Gateway-Attempts", 0)),
            request_id=got.get("X-Request-Id", ""),
            provider=got.get("X-Gateway-Provider", ""),
            headers=dict(got),
            body=answer,
        )
        self.log.append(told)
        return told

    async def at_rate(self, per_s: float, seconds: float, size_bytes: int = 32_000) -> list[Told]:
        """Ask at a rate whatever the answers are, and return them all."""
        clock = asyncio.get_running_loop().time
        start, count = clock(), int(per_s * seconds)
        async with asyncio.TaskGroup() as group:
            tasks = []
            for at in range(count):
                await asyncio.sleep(max(0.0, start + at / per_s - clock()))
                tasks.append(group.create_task(self.ask(utterance(size_bytes))))
        return [task.result() for task in tasks]


def quantile(values: list[float], q: float) -> float:
    """Return the nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


async def check(client: Client, program: Program, upstreams: list[Upstream], *, attempts: int) -> None:
    """Hold the log against the invariants.

    attempts: the most that policy allows for one request.
    """
    for told in client.log:
        assert told.status, f"a request without an answer: {told.body}"  # 1. exactly one: it is in the log once
        if told.status == 200:
            assert told.text == f"blake3 {told.digest}", "an answer that belongs to other audio"  # 2.
        assert told.attempts <= attempts  # 4.
    for digest, calls in _calls_by_digest(upstreams).items():
        assert calls <= attempts, f"{digest} was sent {calls} times"  # 4., as the other side counts
    await gauges_at_rest(client)  # 6.
    await _causes_are_logged(client, program)  # 5.


def _calls_by_digest(upstreams: list[Upstream]) -> dict[str, int]:
    counted: dict[str, int] = {}
    for call in (call for each in upstreams for call in each.calls if call.digest):
        counted[call.digest] = counted.get(call.digest, 0) + 1
    return counted


async def gauges_at_rest(client: Client) -> None:
    """Return when nothing is in flight, waiting or kept; pytest's own limit ends the wait."""
    while True:
        gauges = {name: value for name, value in (await metrics(client)).items() if name.startswith(_AT_REST)}
        gauges["asr_requests_in_flight"] -= 1  # the one that asks
        if not any(gauges.values()):
            return
        await asyncio.sleep(0.05)


async def metrics(client: Client) -> dict[str, float]:
    """Return every sample by its name and labels, as Prometheus writes them."""
    async with client.session.get(f"{client.url}/metrics") as reply:
        lines = (await reply.text()).splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}


async def status_of(client: Client, deployment: str) -> dict[str, object]:
    """Return what `/status` says of a deployment."""
    async with client.session.get(f"{client.url}/status") as reply:
        told = await reply.json()
    (found,) = [each for each in told["deployments"] if each["deployment"] == deployment]
    return dict(found)


async def _causes_are_logged(client: Client, program: Program) -> None:
    failed = {told.request_id for told in client.log if told.status >= 500}
    while failed - {line.get("request_id") for line in program.lines if line.get("cause")}:  # noqa: ASYNC110 - a pipe
        await asyncio.sleep(0.05)  # the log is written by a thread of its own
