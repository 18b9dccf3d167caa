"""What the gateway aims at, beside what a run gave: each figure of one run, a ratio of one round where it is one."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.bench.bodies import Form
from tests.bench.rounds import Cell
from tests.bench.targets import DIRECT, GATEWAY, KEPT, LARGE_BYTES, LITELLM, PORTKEY, RELAY, SPOOLING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.rounds import Measured, Results

_USUAL_BYTES = 150_000
_AT_ONCE = 16
_MOST_LOAD = 0.6


@dataclass(frozen=True, slots=True)
class Goal:
    """One of them."""

    aim: str
    target: str
    measured: str
    is_met: bool


def goals(results: Results) -> list[Goal]:
    """Return those that the run has figures for."""
    return [*_speed(results), *_large(results), *_latency(results), *_process(results)]


def _speed(results: Results) -> Iterator[Goal]:
    raw, form = (Cell(each, _USUAL_BYTES, _AT_ONCE) for each in (Form.RAW, Form.MULTIPART))
    yield from _at_least(results, "raw, beside a bare relay", (raw, GATEWAY), (raw, RELAY), 0.75)
    yield from _at_least(results, "multipart, beside a bare relay", (form, GATEWAY), (form, RELAY), 0.75)
    yield from _at_least(results, "multipart, beside LiteLLM", (form, GATEWAY), (form, LITELLM), 15)
    yield from _at_least(results, "multipart, beside Portkey", (form, GATEWAY), (form, PORTKEY), 4)
    json = Cell(Form.JSON, _USUAL_BYTES, _AT_ONCE)
    yield from _at_least(results, "base64 in JSON, beside raw", (json, GATEWAY), (raw, GATEWAY), 0.5)
    yield from _at_least(results, "kept answers, beside misses", (raw, KEPT), (raw, GATEWAY), 2)


def _large(results: Results) -> Iterator[Goal]:
    large = Cell(Form.RAW, LARGE_BYTES, 8)
    yield from _at_least(results, "24 MB, beside a spooling relay", (large, GATEWAY), (large, SPOOLING), 0.9)


def _at_least(
    results: Results, aim: str, mine: tuple[Cell, str], other: tuple[Cell, str], least: float
) -> Iterator[Goal]:
    pairs = list(zip(_rounds(results, *mine), _rounds(results, *other), strict=False))
    if pairs:
        ratio = statistics.median(one.rate / another.rate for one, another in pairs)
        yield Goal(f"requests a second: {aim}", f"at least {least:g} times", f"{ratio:.2f} times", ratio >= least)


def _latency(results: Results) -> Iterator[Goal]:
    alone = Cell(Form.RAW, _USUAL_BYTES, 1)
    pairs = list(zip(_rounds(results, alone, GATEWAY), _rounds(results, alone, DIRECT), strict=False))
    if pairs:
        added_ms = statistics.median(one.p50_s - other.p50_s for one, other in pairs) * 1e3
        yield Goal("added at the median, one in flight", "under 1 ms", f"{added_ms:.2f} ms", added_ms < 1)
    rounds = results.open.get(_MOST_LOAD, {}).get(GATEWAY, [])
    if rounds:
        tail = statistics.median(each.p99_s / each.p50_s for each in rounds)
        yield Goal(f"p99 at {_MOST_LOAD:.0%} load", "under 4 times p50", f"{tail:.2f} times", tail < 4)


def _process(results: Results) -> Iterator[Goal]:
    if (memory := results.memory.get(GATEWAY)) is not None:
        yield Goal("memory when idle", "under 80 MB", f"{memory.idle / 1e6:.0f} MB", memory.idle < 80e6)
    if (start_s := results.start_s.get(GATEWAY)) is not None:
        yield Goal("start", "under 1 s", f"{start_s:.2f} s", start_s < 1)


def _rounds(results: Results, cell: Cell, target: str) -> list[Measured]:
    return results.closed.get(cell, {}).get(target, [])
