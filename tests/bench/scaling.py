"""What a second worker is worth: requests a second of one worker and of two, each with the same share of a core.

python -m tests.bench.scaling [SHARE]    a worker's share of a core, in percent; 25 unless told. About a minute.

On a machine with few cores two workers, their client, their upstream and Redis have no cores of their own, and what is
measured is the machine. So each worker is held to a share (Linux's cgroups, version 1 or 2, as root), of which there is
enough. Both gateways ask the same Redis for limits: workers need one, and one that has no need of it would be faster.
Rounds are taken in turn. One failure voids the run. Exit code 1 where two give less than 1.7 times as much.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tests.bench.bodies import Form
from tests.bench.everything import KEY, configuration
from tests.bench.load import Load, closed
from tests.bench.processes import processes, started
from tests.bench.targets import upstream
from tests.redis_server import redis_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.processes import Running

LEAST = 1.7
ROUNDS, SECONDS, IN_FLIGHT, SIZE_BYTES = 6, 3.0, 32, 150_000
_PERIOD_US = 10_000  # short beside a request's own time in the queue
_VERSION_1, _VERSION_2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")


@contextmanager
def held(pid: int, share: float) -> Iterator[None]:
    """Let a process have no more than this share of a core. Raises OSError where that cannot be asked for."""
    is_version_1 = _VERSION_1.is_dir()
    group = (_VERSION_1 if is_version_1 else _VERSION_2) / f"asr-bench-{pid}"
    group.mkdir()
    try:
        quota_us = int(share * _PERIOD_US)
        if is_version_1:
            (group / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(quota_us))
        else:
            (group / "cpu.max").write_text(f"{quota_us} {_PERIOD_US}")
        (group / "cgroup.procs").write_text(str(pid))
        yield
        (group.parent / "cgroup.procs").write_text(str(pid))
    finally:
        group.rmdir()


@contextmanager
def gateway(workers: int, up: Running, redis: str, folder: Path) -> Iterator[Running]:
    """Serve with so many workers, everything on, limits in Redis."""
    folder.mkdir()
    text = configuration(up.url, folder)
    text = text.replace("server: {port: 0}", f"server: {{port: 0, workers: {workers}}}\nredis: {{url: {redis}}}")
    file = folder / "gateway.yaml"
    file.write_text(text.replace("\nlimits: {", "\nlimits: {store: redis, "))
    command = (sys.executable, "-m", "gateway.cli", "serve", "--config", str(file))
    with started(*command, log=folder / "gateway.log") as running:
        yield running


def serving(running: Running) -> list[int]:
    """Return the processes that answer requests: the workers, or the only one."""
    workers = [each for each in processes(running.pid) if "gateway.workers.worker" in _command(each)]
    return workers or [running.pid]


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def compare(redis: str, share: float, folder: Path) -> list[tuple[float, float]]:
    """Return the requests a second of one worker and of two, round by round. Raises Void, OSError."""
    with ExitStack() as stack:
        up, _ = stack.enter_context(upstream(folder / "upstream"))
        loads = []
        for workers in (1, 2):
            running = stack.enter_context(gateway(workers, up, redis, folder / f"{workers}"))
            for pid in serving(running):
                stack.enter_context(held(pid, share))
            loads.append(Load(running.url, Form.RAW, SIZE_BYTES, (f"Authorization: Bearer {KEY}",), "miss"))
        numbers = itertools.count(1)
        rates = [[closed(load, next(numbers), IN_FLIGHT, SECONDS).rate for load in loads] for _ in range(ROUNDS + 1)]
    return [(one, two) for one, two in rates[1:]]  # the first warms


async def main(share: float) -> int:
    """Return the exit code."""
    async with redis_server() as redis:
        with TemporaryDirectory() as name:
            rates = await asyncio.to_thread(compare, redis.url, share, Path(name))
    ratios = [two / one for one, two in rates]
    for (one, two), ratio in zip(rates, ratios, strict=True):
        print(f"one worker {one:.0f}/s, two {two:.0f}/s: {ratio:.2f} times")
    print(f"median {statistics.median(ratios):.2f} times, at {share:.0%} of a core each; target: {LEAST} times")
    return int(statistics.median(ratios) < LEAST)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(float(sys.argv[1]) / 100 if len(sys.argv) > 1 else 0.25)))
