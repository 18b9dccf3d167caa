"""What a request may cost on each front, step by step: a guard that comes out the same on a loaded machine.

python -m tests.bench.budget            counts, and compares with budget.json; exit code 1 where something has grown
python -m tests.bench.budget --renew    writes budget.json anew
python -m tests.bench.budget --top "HF raw"   says where a front's instructions go

A real gateway with everything on, over real sockets; the upstream is a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import socket
import statistics
import sys
import tracemalloc
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from config.settings import load
from gateway import logs
from gateway.app import Gateway
from gateway.loop import run
from gateway.serve import Server
from tests.bench.bodies import Form, body, uniques
from tests.bench.counting import Instructions, Memory, Profile, Tracer, watching
from tests.bench.everything import KEY, configuration
from tests.bench.faults import FAULTS
from tests.bench.processes import started

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence

    from tests.bench.bodies import Body

FILE = Path(__file__).with_name("budget.json")
ALLOWED, ALLOWED_ELSEWHERE = 1.10, 1.30  # elsewhere: another Python has other instructions
_PYTHON = ".".join(map(str, sys.version_info[:2]))
# What is below is not looked at more closely: some steps take a few dozen instructions.
SLACK_INSTRUCTIONS, SLACK_BYTES = 60, 4096
AUDIO_BYTES = 100_000  # in memory, and on this side of the sizes for which a thread is asked
WARM, COUNTED = 10, 9
KEPT = "kept answer"
FRONTS = {**{form.value: form for form in Form}, KEPT: Form.RAW}
_TURNS_AFTER = 20  # of the loop, after the answer: the log, the ledger and the metrics come then
_RECEIVE_BUFFER = 1 << 20  # a whole body is there before the gateway looks: it reads in the same pieces each time


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one request, by step, of several."""

    instructions: Mapping[str, int]
    peak_bytes: Mapping[str, int]


class Client:
    """One connection. A request is in the kernel's hands before the gateway's loop goes on."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setblocking(False)  # noqa: FBT003 - the socket's own name for it

    async def post(self, request: bytes, cache: str) -> None:
        """Send, and read the answer. Raises RuntimeError where it is not the one expected."""
        if self._socket.send(request) != len(request):
            raise RuntimeError("the socket's buffer is smaller than the request")
        answer = await asyncio.get_running_loop().sock_recv(self._socket, 1 << 16)
        if not answer.startswith(b"HTTP/1.1 200") or f"X-Gateway-Cache: {cache}\r\n".encode() not in answer:
            raise RuntimeError(f"not what was expected: {answer!r}")

    def close(self) -> None:
        self._socket.close()


def request_of(sent: Body, unique: bytes) -> bytes:
    """Return a whole request, as it goes over the wire."""
    head = (
        f"POST {sent.path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {KEY}\r\n"
        f"Content-Type: {sent.content_type}\r\nContent-Length: {sent.size_bytes}\r\n\r\n"
    ).encode()
    return b"".join((head, *sent.pieces(unique)))


@asynccontextmanager
async def serving(upstream: str, folder: Path) -> AsyncIterator[tuple[Gateway, int]]:
    """Serve in this loop, as the program does."""
    file = folder / "gateway.yaml"
    await asyncio.to_thread(file.write_text, configuration(upstream, folder))
    gateway = Gateway(load(file))
    server = Server(gateway)
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
    port = (await server.start(listening)).callers
    async with asyncio.TaskGroup() as group:
        group.create_task(gateway.background())
        try:
            yield gateway, port
        finally:
            await server.stop(1.0)


async def count(
    upstream: str, folder: Path, fronts: Sequence[str], change: Callable[[Gateway], None]
) -> dict[str, Cost]:
    """Return what a request costs on each front. change: made to the gateway first."""
    costs = {}
    async with serving(upstream, folder) as (gateway, port):
        change(gateway)
        watching()
        client, unique = Client(port), uniques(1)
        for front in fronts:
            costs[front] = await _cost(client, *await _warmed(client, front, unique))
        client.close()
    return costs


async def profile(upstream: str, folder: Path, front: str) -> Profile:
    """Return one request's instructions by function."""
    async with serving(upstream, folder) as (_, port):
        watching()
        client, counted = Client(port), Profile()
        requests, expected = await _warmed(client, front, uniques(1))
        with Tracer(counted, each_opcode=True).on():
            await client.post(requests[0], expected)
        client.close()
    return counted


async def _warmed(client: Client, front: str, unique: Iterator[bytes]) -> tuple[list[bytes], str]:
    """Send some requests; return more, and what the cache will say to them."""
    sent, expected = body(FRONTS[front], AUDIO_BYTES), "miss"
    if front == KEPT:
        unique, expected = repeat(next(unique)), "hit"
        await client.post(request_of(sent, next(unique)), "miss")
    for _ in range(WARM):
        await client.post(request_of(sent, next(unique)), expected)
    return [request_of(sent, next(unique)) for _ in range(2 * COUNTED)], expected


async def _cost(client: Client, requests: Sequence[bytes], expected: str) -> Cost:
    gc.collect()
    gc.disable()  # when it runs depends on everything that ran before
    counts = [await _instructions(client.post(each, expected)) for each in requests[:COUNTED]]
    tracemalloc.start()
    peaks = [await _memory(client.post(each, expected)) for each in requests[COUNTED:]]
    tracemalloc.stop()
    gc.enable()
    # A loaded machine and timers only add to the one; what is freed meanwhile takes from the other.
    return Cost(
        instructions=_by_step([each.by_step for each in counts], min),
        peak_bytes=_by_step([each.peaks for each in peaks], statistics.median),
    )


async def _instructions(request: Awaitable[None]) -> Instructions:
    counted = Instructions()
    with Tracer(counted, each_opcode=True).on():
        await request
        for _ in range(_TURNS_AFTER):
            await asyncio.sleep(0)
    return counted


async def _memory(request: Awaitable[None]) -> Memory:
    counted = Memory()
    with Tracer(counted, each_opcode=False).on():
        await request
    return counted


def _by_step(rounds: Sequence[Mapping[str, int]], chosen: Callable[[Iterable[int]], float]) -> dict[str, int]:
    steps = dict.fromkeys(chain.from_iterable(rounds))  # in the order that a request comes to them: causes go first
    found = {step: int(chosen([each.get(step, 0) for each in rounds])) for step in steps}
    return {step: value for step, value in found.items() if value}


def grown(costs: Mapping[str, Cost], budget: Mapping[str, Cost], allowed: float = ALLOWED) -> list[str]:
    """Say for each front and step what costs more than its budget allows."""
    return [line for front, cost in costs.items() for line in _grown(front, cost, budget[front], allowed)]


def _grown(front: str, cost: Cost, budget: Cost, allowed: float) -> Iterator[str]:
    for what, now, then, slack in (
        ("instructions", cost.instructions, budget.instructions, SLACK_INSTRUCTIONS),
        ("bytes held", cost.peak_bytes, budget.peak_bytes, SLACK_BYTES),
    ):
        for name, value in now.items():
            before = then.get(name, 0)
            if value > max(before * allowed, before + slack):
                yield f"{front}, step {name}: {value} {what}, {allowed:.0%} of its budget of {before} is allowed"


def read(file: Path = FILE) -> tuple[dict[str, Cost], float]:
    """Return the budget, and how much of it is allowed here."""
    document = json.loads(file.read_text())
    allowed = ALLOWED if document["python"] == _PYTHON else ALLOWED_ELSEWHERE
    return {front: Cost(**cost) for front, cost in document["fronts"].items()}, allowed


def written(costs: Mapping[str, Cost]) -> str:
    """Return the budget's text."""
    fronts = {
        front: {"instructions": cost.instructions, "peak_bytes": cost.peak_bytes} for front, cost in costs.items()
    }
    return json.dumps({"python": _PYTHON, "fronts": fronts}, indent=2) + "\n"


def told(counted: Profile, most: int) -> str:
    """Return a table: the steps, and the functions in which, and below which, most instructions run."""
    total = counted.by_step.total()
    lines = [f"{total} instructions"]
    lines += [f"{value:6} {value / total:5.1%}  {name}" for name, value in counted.by_step.most_common()]
    for title, found in (("own", counted.own), ("with all it calls", counted.below)):
        lines += ["", f"{title}:"]
        for (name, code), value in found.most_common(most):
            place = "/".join(Path(code.co_filename).parts[-2:])
            lines.append(f"{value:6} {value / total:5.1%}  {name:10} {place}:{code.co_firstlineno} {code.co_qualname}")
    return "\n".join(lines)


def main() -> int:
    """Return the exit code."""
    asked = _arguments()
    servers = (sys.executable, "-m", "tests.bench.servers", "upstream")
    with TemporaryDirectory() as folder, started(*servers) as upstream:
        writer = logs.start("json", "info")  # it costs something too
        try:
            if asked.top:
                print(told(run(profile(upstream.url, Path(folder), asked.top)), asked.count))
                return 0
            costs = run(count(upstream.url, Path(folder), asked.only or tuple(FRONTS), FAULTS[asked.fault]))
        finally:
            writer.stop()
    if asked.renew:
        FILE.write_text(written(costs))
    faults = grown(costs, *read())
    print("\n".join(faults) or "within budget")
    return 1 if faults else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.budget")
    parser.add_argument("--renew", action="store_true", help="write budget.json anew")
    parser.add_argument("--top", choices=FRONTS, help="say where a front's instructions go")
    parser.add_argument("--count", type=int, default=25, help="of functions")
    parser.add_argument("--only", choices=FRONTS, action="append", help="count these fronts alone")
    parser.add_argument("--fault", choices=FAULTS, default="none", help="make the gateway worse first")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
