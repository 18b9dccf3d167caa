"""The gateway beside a bare relay, in one run: added latency, requests a second, and memory under large uploads.

Run with `make bench`. Loopback only; bounded in time. Every answer is checked, and one failure voids the run.
Quote ratios: the machine is part of every absolute figure.
"""

from __future__ import annotations

import asyncio
import os
import platform
import re
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

PATH = "/models/openai/whisper-large-v3"
BODY_BYTES = 150_000
LARGE_BYTES = 24_000_000
ROUNDS = 5
SECONDS = 2.0
_LISTENS = re.compile(r"listens on (?:http://127\.0\.0\.1:)?(\d+)")


@dataclass(frozen=True, slots=True)
class Measured:
    """One target's figures in one round."""

    rate: float  # requests a second at 16 in flight
    p50_s: float  # at one in flight


def wav(size: int) -> bytes:
    """Return a 16 kHz mono WAV of about so many bytes."""
    data = size - 44
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", size - 8, b"WAVE", b"fmt ", 16, 1, 1, 16_000, 32_000, 2, 16, b"data", data
    )
    return head + bytes(data)


@contextmanager
def started(*command: str, environ: dict[str, str] | None = None) -> Iterator[tuple[str, int]]:
    """Run a server until the block ends; give its URL and process id."""
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stderr=said, stdout=said, env=environ)
        try:
            yield f"http://127.0.0.1:{_port(said, process)}", process.pid
        finally:
            process.terminate()
            process.wait(30)


def _port(said, process) -> int:  # type: ignore[no-untyped-def] # noqa: ANN001 - a file and a Popen
    for _ in range(600):
        said.seek(0)
        if match := _LISTENS.search(text := said.read()):
            return int(match[1])
        if process.poll() is not None:
            raise RuntimeError(text)
        time.sleep(0.05)
    raise RuntimeError(f"no port in: {text}")


class Connection:
    """One keep-alive connection that posts the same bytes again and again."""

    def __init__(self, url: str, body: bytes) -> None:
        parts = urlsplit(url)
        self._address = parts.hostname, parts.port
        self._request = (
            f"POST {PATH} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            f"Content-Type: audio/wav\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(*self._address, limit=1 << 20)

    async def post(self) -> None:
        """Send once. Raises RuntimeError where the answer is not the upstream's."""
        self._writer.write(self._request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        size = int(re.search(rb"(?i)content-length: (\d+)", head)[1])  # type: ignore[index] # checked by the next line
        body = await self._reader.readexactly(size)
        if not head.startswith(b"HTTP/1.1 200") or b"instant" not in body:
            raise RuntimeError(f"the run is void: {head!r} {body[:500]!r}")

    def close(self) -> None:
        self._writer.close()


async def rate(url: str, body: bytes, in_flight: int, seconds: float) -> float:
    """Return requests a second, closed loop."""
    connections = [Connection(url, body) for _ in range(in_flight)]
    for each in connections:
        await each.open()
    loop = asyncio.get_running_loop()
    started_at, done = loop.time(), 0

    async def work(connection: Connection) -> None:
        nonlocal done
        while loop.time() < started_at + seconds:
            await connection.post()
            done += 1

    async with asyncio.TaskGroup() as group:
        for each in connections:
            group.create_task(work(each))
    elapsed = loop.time() - started_at
    for each in connections:
        each.close()
    return done / elapsed


async def latency(url: str, body: bytes, count: int = 300) -> float:
    """Return the median seconds of a request at one in flight."""
    connection = Connection(url, body)
    await connection.open()
    loop, times = asyncio.get_running_loop(), []
    for _ in range(count):
        begun = loop.time()
        await connection.post()
        times.append(loop.time() - begun)
    connection.close()
    return statistics.median(times)


async def measure(targets: dict[str, str]) -> dict[str, list[Measured]]:
    """Measure all targets in turn, round by round, so that drift hits them alike."""
    body = wav(BODY_BYTES)
    results: dict[str, list[Measured]] = {name: [] for name in targets}
    for url in targets.values():
        await rate(url, body, 4, 0.5)  # warm
    for _ in range(ROUNDS):
        for name, url in targets.items():
            results[name].append(Measured(await rate(url, body, 16, SECONDS), await latency(url, body)))
    return results


async def eight_large(url: str) -> None:
    """Send eight large uploads at once."""
    body = wav(LARGE_BYTES)
    connections = [Connection(url, body) for _ in range(8)]
    for each in connections:
        await each.open()
    async with asyncio.TaskGroup() as group:
        for each in connections:
            group.create_task(each.post())


def peak_bytes(pid: int) -> int:
    """Return the process's peak resident memory so far."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index] # Linux always says


def report(results: dict[str, list[Measured]]) -> None:
    """Print medians, and the gateway's ratios to the relay pair by pair."""
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"{BODY_BYTES} byte WAV, {ROUNDS} rounds")
    for name, rounds in results.items():
        rates = [each.rate for each in rounds]
        spread = f"({min(rates):.0f} to {max(rates):.0f})"
        print(
            f"{name:10} {statistics.median(rates):8.0f} requests/s at 16 {spread}   p50 at 1: {_p50_ms(rounds):.2f} ms"
        )
    pairs = zip(results["gateway"], results["relay"], strict=True)
    ratios = sorted(ours.rate / theirs.rate for ours, theirs in pairs)
    print(f"gateway / relay, requests/s: {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
    for name in ("relay", "gateway"):
        print(f"{name} adds to a request's p50: {_p50_ms(results[name]) - _p50_ms(results['direct']):.2f} ms")


def _p50_ms(rounds: list[Measured]) -> float:
    return statistics.median(each.p50_s for each in rounds) * 1000


def memory(url: str, pid: int) -> None:
    """Print the gateway's peak memory under eight large uploads at once."""
    before = peak_bytes(pid) / 1e6
    asyncio.run(eight_large(url))
    peak = peak_bytes(pid) / 1e6
    print(f"eight {LARGE_BYTES // 1_000_000} MB uploads at once: peak {peak:.0f} MB, before {before:.0f} MB")


def main() -> None:
    """Run everything and print the tables."""
    servers = (sys.executable, "-m", "tests.bench.servers")
    with started(*servers, "upstream") as (upstream, _), tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "gateway.yaml"
        config.write_text(
            f"server: {{port: 0}}\nusage: {{path: {folder}/usage.sqlite}}\n"
            f"providers: {{hf: {{adapter: hf-inference, base_url: '{upstream}', api_key: x}}}}\n"
            "models: {openai/whisper-large-v3: {targets: [hf/openai/whisper-large-v3]}}\n"
        )
        gateway = (sys.executable, "-m", "gateway.cli", "serve", "--config", str(config))
        with started(*servers, "relay", upstream) as (bare, _), started(*gateway) as (url, pid):
            report(asyncio.run(measure({"direct": upstream, "relay": bare, "gateway": url})))
            memory(url, pid)


if __name__ == "__main__":
    main()
