"""What hearing callers together is worth: local models alone, without HTTP. python -m tests.bench.batching.

The same tiny.en by transformers and by faster-whisper, one piece at a time and up to sixteen; by the latter with a
worker for each core and with one alone. Callers send the next clip when the last one is answered. Bounded in time: some
six minutes on two cores. A word after it takes only the ways that have it in their names: `faster-whisper`, say. Rounds
are taken in turn, so that drift hits all alike: quote ratios. A wrong answer voids the run.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from providers.local.engine import heard
from providers.local.faster_whisper import FasterWhisper
from providers.local.hf.checkpoint import LoadOptions
from providers.local.hf.load import load
from providers.local.listener import Listener
from providers.local.models import EMBEDDED
from providers.types import TranscriptionJob
from tests.conftest import sample_audio

if TYPE_CHECKING:
    from providers.local.engine import Engine

CLIPS = ("jfk.flac", "slushy.flac", "austen_0870.flac", "austen_0920.flac")  # 6 to 14 s
CALLERS = (1, 4, 16)
MOST = 16  # rows
ROUNDS = 3
REQUESTS = {1: 3, 4: 8, 16: 24}  # in a round, by callers
ENOUGH_S = 240.0  # no round begins later
MAX_WAIT_S = 0.02


@dataclass(slots=True, eq=False)
class Way:
    """An engine and how its callers are heard, with what was measured of it."""

    name: str
    engine: Engine
    max_batch: int
    texts: dict[str, str] = field(default_factory=dict)  # by clip, as heard alone
    took_s: dict[int, float] = field(default_factory=lambda: dict.fromkeys(CALLERS, 0.0))  # all rounds
    worked_s: dict[int, float] = field(default_factory=lambda: dict.fromkeys(CALLERS, 0.0))  # processor time in them
    waits_s: dict[int, list[float]] = field(default_factory=lambda: {callers: [] for callers in CALLERS})
    batches: dict[int, list[int]] = field(default_factory=lambda: {callers: [] for callers in CALLERS})

    def rate(self, callers: int) -> float:
        return len(self.waits_s[callers]) / self.took_s[callers]

    def work_s(self, callers: int) -> float:
        """Return the processor time that a request takes: it bounds the rate, and a busy machine counts the same."""
        return self.worked_s[callers] / len(self.waits_s[callers])

    def p95_s(self, callers: int) -> float:
        return statistics.quantiles(self.waits_s[callers], n=20, method="inclusive")[-1]


def job(clip: str) -> TranscriptionJob:
    return TranscriptionJob(model="m", audio=sample_audio(clip))


async def measure(way: Way, callers: int) -> None:
    """Take one round."""
    listener = Listener(
        way.engine,
        max_batch=way.max_batch,
        max_wait_s=MAX_WAIT_S,
        on_batch=lambda pieces, _: way.batches[callers].append(pieces),
    )
    turns, began, worked = count(), time.monotonic(), time.process_time()

    async def call() -> None:
        while (turn := next(turns)) < REQUESTS[callers]:
            clip, asked = CLIPS[turn % len(CLIPS)], time.monotonic()
            said = await listener.hear(job(clip))
            if said.text != way.texts[clip]:
                raise SystemExit(f"The run is void: {way.name} heard {said.text!r} in {clip}")
            way.waits_s[callers].append(time.monotonic() - asked)

    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(call())
    way.took_s[callers] += time.monotonic() - began
    way.worked_s[callers] += time.process_time() - worked
    await asyncio.to_thread(listener.batcher.close)


def report(ways: list[Way]) -> None:
    print("| | " + " | ".join(f"{callers} callers: requests/s, p95, processor, batch" for callers in CALLERS) + " |")
    print("| --- |" + " --- |" * len(CALLERS))
    for way in ways:
        cells = (
            f"{way.rate(callers):.2f}/s, {way.p95_s(callers):.2f} s, {way.work_s(callers):.2f} s, "
            f"{statistics.mean(way.batches[callers]):.1f}"
            for callers in CALLERS
        )
        print(f"| {way.name} | " + " | ".join(cells) + " |")


def made(named: str) -> list[Way]:
    """Return the ways whose names have a word in them."""
    torch, many, one = (
        load(EMBEDDED, LoadOptions()),
        FasterWhisper(EMBEDDED, device="cpu", max_rows=MOST),
        FasterWhisper(EMBEDDED, device="cpu", max_rows=MOST),
    )
    one.workers = 1  # as a GPU has it
    engines = {
        "transformers": torch,
        f"faster-whisper, workers: {many.workers}": many,
        "faster-whisper, workers: 1": one,
    }
    return [
        Way(f"{name}, {how}", engine, rows)
        for name, engine in engines.items()
        for how, rows in (("one by one", 1), (f"up to {MOST}", MOST))
        if named in name
    ]


async def main() -> None:
    ways = made(sys.argv[1] if len(sys.argv) > 1 else "")
    for way in ways:  # which also warms them
        way.texts = {clip: heard(way.engine, job(clip)).text for clip in CLIPS}
    began = time.monotonic()
    for number in range(ROUNDS):
        if number and time.monotonic() - began > ENOUGH_S:
            break
        for callers in CALLERS:
            for way in ways:
                await measure(way, callers)
    report(ways)


if __name__ == "__main__":
    asyncio.run(main())
