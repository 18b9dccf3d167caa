"""Servers that a benchmark starts, and what Linux tells of them."""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import IO

_LISTENS = re.compile(r"listens on (?:http://127\.0\.0\.1:)?(\d+)")


@dataclass(frozen=True, slots=True)
class Running:
    """A server's address and process."""

    url: str
    pid: int
    start_s: float  # from its start until it said that it listens


@contextmanager
def started(*command: str, environ: Mapping[str, str] | None = None, log: Path | None = None) -> Iterator[Running]:
    """Run a server until the block ends. It says where it listens. log: where what it writes goes."""
    with log.open("w+") if log else tempfile.TemporaryFile("w+") as said:
        begun = time.perf_counter()
        process = subprocess.Popen(command, stderr=said, stdout=said, env=environ)
        try:
            port = _port(said, process)
            yield Running(f"http://127.0.0.1:{port}", process.pid, time.perf_counter() - begun)
        finally:
            process.terminate()
            process.wait(30)


def _port(said: IO[str], process: subprocess.Popen[bytes]) -> int:
    text = ""
    for _ in range(6000):
        # Not `said` itself: where it reads is where the process writes on.
        text = Path(f"/proc/self/fd/{said.fileno()}").read_text()
        if match := _LISTENS.search(text):
            return int(match[1])
        if process.poll() is not None:
            break
        time.sleep(0.01)  # a file that another process writes has no event; a minute without the line is an error
    raise RuntimeError(f"no port in: {text}")


def processes(pid: int) -> list[int]:
    """Return a process and its descendants."""
    children = " ".join(each.read_text() for each in Path(f"/proc/{pid}/task").glob("*/children"))
    return [pid, *(each for child in children.split() for each in processes(int(child)))]


def cpu_s(pid: int) -> float:
    """Return the processor time of a process and its descendants so far, in the scheduler's own nanoseconds.

    Of those threads that still run: servers keep theirs.
    """
    tasks = (task for each in processes(pid) for task in Path(f"/proc/{each}/task").iterdir())
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def resident_bytes(pid: int, name: str) -> int:
    """Return VmHWM (peak) or VmRSS (now) of a process and its descendants together."""
    return sum(own_bytes(each, name) for each in processes(pid))


def forget_peak(pid: int) -> None:
    """Let VmHWM of a process and its descendants begin again at what they hold now (proc(5), clear_refs)."""
    for each in processes(pid):
        Path(f"/proc/{each}/clear_refs").write_text("5")


def own_bytes(pid: int, name: str) -> int:
    """Return the same of a process alone."""
    match = re.search(rf"^{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(match[1]) * 1024 if match else 0
