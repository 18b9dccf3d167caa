"""The measurements: what is sent to whom, in which order, and what is checked."""

from __future__ import annotations

import hashlib
import itertools
import re
import sys
import time
import urllib.request
from collections import defaultdict
from dataclasses import dataclass, field, replace  # noqa: TID251 - of a dataclass
from typing import TYPE_CHECKING

from tests.bench.bodies import Form
from tests.bench.everything import ADMIN_KEY
from tests.bench.load import Clients, Load, Outcome, Void, answers, closed, open_loop
from tests.bench.processes import cpu_s, forget_peak, resident_bytes
from tests.bench.targets import DIRECT, GATEWAY, LARGE_BYTES, Sizes, Target

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_LARGE_AT_ONCE = 8
_FORM_BYTES = 8192  # of a form's fields and lines, beyond the audio
_STAGE = re.compile(r'^asr_stage_seconds_(sum|count)\{stage="(\w+)"\} (\S+)$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    sizes: tuple[int, ...]
    in_flight: tuple[int, ...]
    rounds: int
    seconds: float  # of each measurement
    rates: tuple[float, ...]  # of the open loop, as shares of the gateway's own closed loop
    open_s: float
    settle_s: float


FULL = Plan((32_000, 150_000, 1_500_000, LARGE_BYTES), (1, 16, 64), 5, 0.5, (0.3, 0.6, 0.8), 3.0, 5.0)
SHORT = Plan((150_000, 1_500_000), (1, 16), 2, 0.2, (0.5,), 1.0, 0.5)


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One kind of load."""

    form: Form
    size_bytes: int
    in_flight: int


@dataclass(frozen=True, slots=True)
class Measured:
    """One target under one load in one round."""

    rate: float
    p50_s: float
    cpu_s: float  # of the target's processes, for a request
    client_busy: float


@dataclass(frozen=True, slots=True)
class OpenMeasured:
    """One target at a fixed rate: latencies from when a request was due."""

    p50_s: float
    p99_s: float


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Resident bytes around large uploads at once."""

    idle: int  # after the start
    before: int
    peak: int
    settled: int


@dataclass(slots=True)
class Results:
    """All that was measured, by target."""

    closed: dict[Cell, dict[str, list[Measured]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    open: dict[float, dict[str, list[OpenMeasured]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    memory: dict[str, MemoryUse] = field(default_factory=dict)
    start_s: dict[str, float] = field(default_factory=dict)
    stages_s: dict[Form, dict[str, float]] = field(default_factory=dict)
    requests: int = 0
    digests: int = 0


def cells(plan: Plan) -> list[Cell]:
    """Return the loads. 64 uploads of 24 MB are left out: 1.5 GB at once measures the disk, whatever is before it."""
    every = itertools.product(Form, plan.sizes, plan.in_flight)
    usual = [Cell(*each) for each in every if each[1] * each[2] <= 16 * LARGE_BYTES]
    return usual + ([Cell(Form.RAW, LARGE_BYTES, _LARGE_AT_ONCE)] if LARGE_BYTES in plan.sizes else [])


class Bench:
    """One run. Raises Void as soon as anything is wrong."""

    def __init__(self, plan: Plan, targets: Sequence[Target], sizes: Sizes, clients: Clients) -> None:
        self.plan = plan
        self.targets = targets
        self.results = Results(start_s={each.name: each.running.start_s for each in targets})
        self._sizes = sizes
        self._clients = clients
        self._numbers = itertools.count(1)
        self._idle = {each.name: resident_bytes(each.running.pid, "VmRSS") for each in targets}

    def run(self) -> Results:
        """Measure everything: round by round, all targets in turn, so that drift hits them alike."""
        self._warm()
        for number in range(self.plan.rounds):
            for cell in cells(self.plan):
                for target in self._of(cell.form, cell.size_bytes):
                    self.results.closed[cell][target.name].append(self._closed(target, cell))
            _say(f"round {number + 1} of {self.plan.rounds}")
        for number in range(self.plan.rounds):
            self._open_round()
            _say(f"open loop, round {number + 1} of {self.plan.rounds}")
        for form in Form:
            self.results.stages_s[form] = self._stages(form)
        for target in self.targets:
            if target.name != DIRECT and target.reaches_upstream:
                self.results.memory[target.name] = self._memory(target)
        return self.results

    def _of(self, form: Form, size_bytes: int) -> Iterator[Target]:
        return (each for each in self.targets if form in each.forms and size_bytes >= each.least_bytes)

    def _warm(self) -> None:
        """Send each size once at least: what starts with the first request of a kind is no part of a round."""
        for form, size in itertools.product(Form, self.plan.sizes):
            for target in self._of(form, size):
                if not target.reaches_upstream:  # what it is to keep must come from somewhere
                    self._keep(target, form, size)
                load = target.load(form, size)
                self._checked(target, load, closed(load, next(self._numbers), 4, self.plan.seconds))
        _say("warm")

    def _keep(self, target: Target, form: Form, size: int) -> None:
        answers(replace(target.load(form, size), cache="miss", is_same=True), 0, 1)
        self._sizes.since(1)

    def _closed(self, target: Target, cell: Cell) -> Measured:
        load = target.load(cell.form, cell.size_bytes)
        before = cpu_s(target.running.pid)
        outcome = self._clients.closed(load, self._numbers, cell.in_flight, self.plan.seconds)
        used = cpu_s(target.running.pid) - before
        self._checked(target, load, outcome)
        return Measured(outcome.rate, outcome.quantile(0.5), used / outcome.count, outcome.busy)

    def _checked(self, target: Target, load: Load, outcome: Outcome) -> None:
        """Compare with what reached the upstream, to the byte where it is known to the byte. Raises Void."""
        self.results.requests += outcome.count
        if not target.reaches_upstream:
            return
        told = self._sizes.since(outcome.count)
        if len(told) != outcome.count:
            raise Void(f"{target.name}: {outcome.count} answers, {len(told)} requests at the upstream")
        least = most = load.body.audio_bytes if target.sends_bare_audio else load.body.size_bytes
        if load.form is Form.MULTIPART and target.headers:  # a form of its own
            least, most = load.body.audio_bytes, load.body.audio_bytes + _FORM_BYTES
        for body_bytes, request_bytes in told:
            if not least <= body_bytes <= most or request_bytes < body_bytes:
                raise Void(f"{target.name}: {body_bytes} bytes of {least} to {most} reached the upstream")

    def _open_round(self) -> None:
        size = 150_000
        at = self.results.closed[Cell(Form.RAW, size, 16)][GATEWAY]
        for share in self.plan.rates:
            rate = max(1.0, share * min(each.rate for each in at))
            for target in self._of(Form.RAW, size):
                load = target.load(Form.RAW, size)
                outcome = open_loop(load, next(self._numbers), rate, self.plan.open_s)
                self._checked(target, load, outcome)
                measured = OpenMeasured(outcome.quantile(0.5), outcome.quantile(0.99))
                self.results.open[share][target.name].append(measured)

    def _stages(self, form: Form) -> dict[str, float]:
        """Return the seconds of each step of a 150 kB request, one in flight, by the gateway's own metrics."""
        target = next(each for each in self.targets if each.name == GATEWAY)
        before = _stage_sums(target.running.url)
        load = target.load(form, 150_000)
        outcome = closed(load, next(self._numbers), 1, max(self.plan.seconds, 1.0))
        self._checked(target, load, outcome)
        after = _stage_sums(target.running.url)
        spent = {name: after[name] - before.get(name, 0.0) for name in after}
        steps = {name: seconds / outcome.count for name, seconds in spent.items() if seconds > 0}
        return {**steps, "whole request, seen by the client": outcome.elapsed_s / outcome.count}

    def _memory(self, target: Target) -> MemoryUse:
        pid = target.running.pid
        before = resident_bytes(pid, "VmRSS")
        forget_peak(pid)
        load = target.load(target.forms[0], LARGE_BYTES)
        self._checked(target, load, closed(load, next(self._numbers), _LARGE_AT_ONCE, 0))
        peak = resident_bytes(pid, "VmHWM")
        time.sleep(self.plan.settle_s)  # how long after the load the settled size is taken: part of what is measured
        return MemoryUse(self._idle[target.name], before, peak, resident_bytes(pid, "VmRSS"))


def verify(targets: Sequence[Target], plan: Plan) -> int:
    """Compare the audio's SHA-256 at the client and at the upstream; return how many were. Raises Void."""
    compared, numbers = 0, itertools.count()
    for target, size in itertools.product(targets, plan.sizes):
        for form in target.forms if target.reaches_upstream and size >= target.least_bytes else ():
            load = target.load(form, size, b"text")
            for unique, answer in answers(load, next(numbers), 2):
                compared += 1
                if hashlib.sha256(load.body.audio(unique)).hexdigest().encode() not in answer:
                    raise Void(f"{target.name}, {form}, {size} bytes: other audio reached the upstream: {answer!r}")
    _say(f"{compared} digests are the same at both ends")
    return compared


def _stage_sums(url: str) -> dict[str, float]:
    asking = urllib.request.Request(f"{url}/metrics", headers={"Authorization": f"Bearer {ADMIN_KEY}"})  # noqa: S310 - loopback
    with urllib.request.urlopen(asking) as answer:  # noqa: S310 - loopback
        text = answer.read().decode()
    return {name: float(value) for kind, name, value in _STAGE.findall(text) if kind == "sum"}


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)
