"""What one worker holds, and how soon it serves: at rest, during large uploads, at its start. About a minute.

python -m tests.bench.large             measures, with what is allowed beside it; exit code 1 where a target is missed
python -m tests.bench.large --no-start  leaves out how long the start takes, which a loaded machine decides

One worker with everything on and no local model; the upstream is a process of its own, and so is the client. Memory is
resident; a growth is the peak beyond what was held before, warm. The children that look into containers are told
apart: they are there from the first file whose length only FFmpeg can tell, and no upload makes them larger.
"""

from __future__ import annotations

import argparse
import itertools
import os
import socket
import sys
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.bench.bodies import Form, body
from tests.bench.everything import KEY, OPENAI_MODEL, PATHS, configuration
from tests.bench.load import Load, Void, closed
from tests.bench.processes import cpu_s, forget_peak, own_bytes, resident_bytes, started

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.processes import Running

_STARTS = 5
_LARGE_BYTES, _AT_ONCE = 24_000_000, 8
_HUGE_BYTES = 1 << 30
_ROUNDS = 3  # of the large ones: what a first round leaves behind must not add up
_PIECE_BYTES = 1 << 20
_SETTLES_S = 2.0
_RATE_HZ = 96_000  # of the huge one's samples, in stereo: 47 minutes
_PATIENCE_S = 120.0
_ROOM = {
    "ASR_GATEWAY_SERVER__MAX_UPLOAD": str(2 * _HUGE_BYTES),
    "ASR_GATEWAY_SERVER__SPOOL__DISK_TOTAL": str(4 * _HUGE_BYTES),
}
_HEADERS = (f"Authorization: Bearer {KEY}",)


@dataclass(frozen=True, slots=True)
class Figure:
    """Something measured, and what it may be at most."""

    name: str
    value: float
    unit: str
    target: float | None = None  # None: told, not held to anything

    @property
    def is_missed(self) -> bool:
        return self.target is not None and self.value > self.target

    def __str__(self) -> str:
        held_to = "" if self.target is None else f"  {'MISSED, ' if self.is_missed else ''}at most {self.target:g}"
        return f"{self.name:<46} {self.value:8.2f} {self.unit:<2}{held_to}"


def figures(*, with_start: bool = True, with_huge: bool = True) -> Iterator[Figure]:
    """Measure, and yield each figure as it is known. Raises Void where an upload is not answered as it should be."""
    with TemporaryDirectory() as name, started(sys.executable, "-m", "tests.bench.servers", "upstream") as upstream:
        folder = Path(name)
        if with_start:
            yield from _start(upstream, folder)
        with _gateway(upstream, folder) as (gateway, _):
            yield Figure("at rest", _megabytes(own_bytes(gateway.pid, "VmRSS")), "MB", 80)
            yield from _large(gateway)
        if with_huge:
            with _gateway(upstream, folder) as (gateway, _):
                yield from _huge(gateway)


def _start(upstream: Running, folder: Path) -> Iterator[Figure]:
    """Yield the shortest of several starts: what else the machine does only ever adds to one."""
    waited_s, used_s = [], []
    for _ in range(_STARTS):
        with _gateway(upstream, folder) as (gateway, ready_s):
            waited_s.append(ready_s)
            used_s.append(cpu_s(gateway.pid))
    yield Figure(f"start to ready, best of {_STARTS}", min(waited_s), "s", 1.0)
    yield Figure("processor time of that", min(used_s), "s")


@contextmanager
def _gateway(upstream: Running, folder: Path) -> Iterator[tuple[Running, float]]:
    """Run one until the block ends; tell how long it took from its execution to a /health/ready that is 200."""
    file = folder / "gateway.yaml"
    file.write_text(configuration(upstream.url, folder))
    command = (sys.executable, "-m", "gateway.cli", "serve", "--config", str(file))
    begun = time.perf_counter()
    with started(*command, environ={**os.environ, **_ROOM}, log=folder / "gateway.log") as running:
        with urllib.request.urlopen(f"{running.url}/health/ready") as answer:  # noqa: S310 - loopback
            answer.read()
        yield running, time.perf_counter() - begun


def _large(gateway: Running) -> Iterator[Figure]:
    """Yield the peak of several rounds of each form, and what is left when they are over."""
    cells = itertools.count()
    for form in Form:
        load = Load(gateway.url, form, _LARGE_BYTES, _HEADERS, "miss")
        forget_peak(gateway.pid)
        for _ in range(_ROUNDS):
            closed(load, next(cells), _AT_ONCE, 0)
        peak = own_bytes(gateway.pid, "VmHWM")
        yield Figure(f"peak, {_AT_ONCE} of {_LARGE_BYTES // 10**6} MB at once, {form}", _megabytes(peak), "MB", 150)
    # No wait for something that will happen: what is asked is how much is held so long after the load, and nothing
    # tells when an allocator has given back what it will.
    time.sleep(_SETTLES_S)
    settled = own_bytes(gateway.pid, "VmRSS")
    yield Figure("settled after them", _megabytes(settled), "MB")
    yield Figure("its children", _megabytes(resident_bytes(gateway.pid, "VmRSS") - settled), "MB")


def _huge(gateway: Running) -> Iterator[Figure]:
    """Yield the growth for one upload of 1 GiB on each front."""
    for name, path, content_type, head, tail in _huge_forms():
        _post(gateway.url, path, content_type, head, 2 * _PIECE_BYTES, tail)  # warm
        before = own_bytes(gateway.pid, "VmRSS")
        forget_peak(gateway.pid)
        _post(gateway.url, path, content_type, head, _HUGE_BYTES, tail)
        growth = own_bytes(gateway.pid, "VmHWM") - before
        yield Figure(f"growth, one upload of 1 GiB, {name}", _megabytes(growth), "MB", 32)


def _huge_forms() -> Iterator[tuple[str, str, str, bytes, bytes]]:
    """Yield name, path, content type, and what is before and after the audio. Both models may be sent any size."""
    yield "raw", f"/models/{OPENAI_MODEL}", "audio/wav", b"", b""
    form = body(Form.MULTIPART, _PIECE_BYTES)
    head, tail = form.head.removesuffix(form.audio_head), form.tail.removeprefix(form.audio_tail)
    yield "multipart", PATHS["openai"], form.content_type, head, tail


def _post(url: str, path: str, content_type: str, head: bytes, size_bytes: int, tail: bytes) -> None:
    """Send audio that this process never holds at once. Raises Void."""
    at = urlsplit(url)
    audio_head = _wav_head(size_bytes)
    length = len(head) + len(audio_head) + size_bytes + len(tail)
    lines = [f"POST {path} HTTP/1.1", f"Host: {at.netloc}", f"Content-Type: {content_type}", *_HEADERS]
    request = "\r\n".join([*lines, f"Content-Length: {length}", "Connection: close", "", ""]).encode()
    # Another sample each time: what was sent before has an answer already.
    piece = time.perf_counter_ns().to_bytes(8, "little") * (_PIECE_BYTES // 8)
    with socket.create_connection((at.hostname or "", at.port or 80), _PATIENCE_S) as connection:
        connection.sendall(request + head + audio_head)
        for begin in range(0, size_bytes, _PIECE_BYTES):
            connection.sendall(memoryview(piece)[: size_bytes - begin])
        connection.sendall(tail)
        answer = b"".join(iter(lambda: connection.recv(_PIECE_BYTES), b""))
    if not answer.startswith(b"HTTP/1.1 200") or b"instant" not in answer:
        raise Void(f"{path}, {size_bytes} bytes: {answer[:500]!r}")


def _wav_head(data_bytes: int) -> bytes:
    """Return the header of so many bytes of stereo samples (RIFF, "fmt " and "data" chunks)."""
    numbers = ((16, 4), (1, 2), (2, 2), (_RATE_HZ, 4), (_RATE_HZ * 4, 4), (4, 2), (16, 2))
    fmt = b"".join(value.to_bytes(width, "little") for value, width in numbers)
    return b"".join(
        (b"RIFF", (data_bytes + 36).to_bytes(4, "little"), b"WAVEfmt ", fmt, b"data", data_bytes.to_bytes(4, "little"))
    )


def _megabytes(size_bytes: float) -> float:
    return size_bytes / 1e6


def main() -> int:
    """Return the exit code."""
    asked = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    asked.add_argument("--no-start", action="store_true", help="memory alone: the same on a loaded machine")
    missed = 0
    try:
        for figure in figures(with_start=not asked.parse_args().no_start):
            print(figure, flush=True)
            missed += figure.is_missed
    except Void as reason:
        print(f"The run is void: {reason}", file=sys.stderr)
        return 1
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
