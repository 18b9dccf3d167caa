"""What one request costs, counted so that it comes out the same each time: instructions and memory, by step.

Instructions are those of Python's bytecode, run in the event loop's thread, whichever library they are of. What C code
does inside one of them is not seen, nor what goes to a thread; a copy of the audio is seen in the memory.
"""

from __future__ import annotations

import sys
import tracemalloc
from collections import Counter
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from gateway import stages

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType, FrameType

CONNECTION = "connection"  # reading and writing HTTP, and what the loop does
BETWEEN = "between"  # in a request, in none of its timed steps: keys, routing, headers, the log, the ledger
_WATCHER = "watcher"  # what drives the requests
_ENTER, _EXIT = stages.Timing.__enter__.__code__, stages.Timing.__exit__.__code__
# In the context of what runs, as the steps themselves: it follows a request through callbacks and tasks.
_STEPS: ContextVar[tuple[str, ...]] = ContextVar("steps", default=())


def watching() -> None:
    """Leave what the present task does out of the count."""
    _STEPS.set((_WATCHER,))


def step() -> str:
    """Return the step that is going on."""
    steps = _STEPS.get()
    if steps:
        return steps[-1]
    return CONNECTION if stages._CURRENT.get() is None else BETWEEN


class Measure(Protocol):
    """What is counted."""

    def opcode(self, frame: FrameType, /) -> None: ...
    def changes(self) -> None: ...  # before a step begins or ends


class Tracer:
    """Follows the steps of requests through the calls that begin and end them. Nothing of the gateway is replaced."""

    def __init__(self, measure: Measure, *, each_opcode: bool) -> None:
        self._measure = measure
        self._each_opcode = each_opcode

    def called(self, frame: FrameType, _event: str, _arg: object) -> Any:
        """Is called for each function that is entered, or gone on with."""
        code = frame.f_code
        if code is _ENTER or code is _EXIT:
            frame.f_trace_opcodes = self._each_opcode
            return self._boundary
        if not self._each_opcode:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._inside

    def _inside(self, frame: FrameType, event: str, _arg: object) -> Any:
        if event == "opcode":
            self._measure.opcode(frame)
        return self._inside

    def _boundary(self, frame: FrameType, event: str, _arg: object) -> Any:
        if event == "opcode":
            self._measure.opcode(frame)
        elif event == "return":
            self._measure.changes()
            self._step(frame.f_code, frame.f_locals["self"]._stage.value)
        return self._boundary

    @staticmethod
    def _step(code: CodeType, name: str) -> None:
        steps = _STEPS.get()
        _STEPS.set((*steps, name) if code is _ENTER else steps[:-1])

    @contextmanager
    def on(self) -> Iterator[None]:
        """Trace this thread."""
        before = sys.gettrace()
        sys.settrace(self.called)
        try:
            yield
        finally:
            sys.settrace(before)


class Instructions:
    """Instructions by step."""

    def __init__(self) -> None:
        self.by_step: Counter[str] = Counter()

    def opcode(self, _frame: FrameType, /) -> None:
        now = step()
        if now != _WATCHER:
            self.by_step[now] += 1

    def changes(self) -> None:
        pass


class Profile(Instructions):
    """The same by function too, alone and with all that it calls. Slower: it looks down the stack at each."""

    def __init__(self) -> None:
        super().__init__()
        self.own: Counter[tuple[str, CodeType]] = Counter()
        self._stacks: Counter[tuple[str, tuple[CodeType, ...]]] = Counter()

    @property
    def below(self) -> Counter[tuple[str, CodeType]]:
        found: Counter[tuple[str, CodeType]] = Counter()
        for (name, codes), value in self._stacks.items():
            for code in set(codes):
                found[name, code] += value
        return Counter({key: value for key, value in found.items() if self.own[key]})  # not who only runs the loop

    def opcode(self, frame: FrameType, /) -> None:
        super().opcode(frame)
        now = step()
        if now != _WATCHER:
            self.own[now, frame.f_code] += 1
            self._stacks[now, _stack(frame)] += 1


class Memory:
    """The most that is held at a time in each step, beyond what was held before the request."""

    def __init__(self) -> None:
        tracemalloc.reset_peak()
        self._before, _ = tracemalloc.get_traced_memory()
        self.peaks: dict[str, int] = {}

    def opcode(self, _frame: FrameType, /) -> None:
        pass

    def changes(self) -> None:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        now = step()
        self.peaks[now] = max(self.peaks.get(now, 0), peak - self._before)


def _stack(frame: FrameType) -> tuple[CodeType, ...]:
    codes: list[CodeType] = []
    at: FrameType | None = frame
    while at is not None:
        codes.append(at.f_code)
        at = at.f_back
    return tuple(codes)
