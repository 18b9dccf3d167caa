"""How long each step of a request took: one seam for metrics, the request's line in the log, and traces.

A step belongs to the request in whose context it runs. A task copies the context that it is created in: a call that
several wait for, and every hedge, belongs to the request that began it.
"""

from __future__ import annotations

from contextvars import ContextVar
from enum import StrEnum
from time import perf_counter
from typing import TYPE_CHECKING, Final, Protocol, Self

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType


class Stage(StrEnum):
    """A step of a request's way. Only those that a request comes to are timed."""

    RECEIVE = "receive"  # the body, to its last byte
    FETCH = "fetch"  # audio that was named by its address
    PROBE = "probe"  # which container, how long
    LIMITS = "limits"  # what is asked of the caller's limits and budgets
    CACHE = "cache"  # looks for an answer that is there
    JOIN = "join"  # waiting for the same job of another request, or another process
    QUEUE = "queue"  # waiting for a place, all deployments that could be asked being busy
    BACKOFF = "backoff"  # waiting before a deployment is asked again
    ATTEMPT = "attempt"  # a call to a deployment; of several at once each is timed
    RENDER = "render"  # the answer in the caller's dialect


class Span(Protocol):
    """A trace's record of one step."""

    def note(self, **facts: str | float) -> None:
        """Add what is known of the step."""
        ...

    def end(self, error: BaseException | None) -> None:
        """End it, in the context that it was begun in."""
        ...


class Tracing(Protocol):
    """Whoever traces a request."""

    def begin(self, stage: Stage) -> Span:
        """Begin a step's span under the one that is current, and let it be the current one until it ends."""
        ...


class Stages(msgspec.Struct):
    """One request's steps. What goes on when the request is over is told to on_end all the same."""

    on_end: Mapping[Stage, Callable[[float], None]]  # told the seconds of a step of its kind
    tracing: Tracing | None = None  # None while nobody looks: it costs nothing then
    # Not the event loop's clock: uvloop's counts milliseconds, and stands still between two turns of the loop.
    clock: Callable[[], float] = perf_counter
    seconds: dict[Stage, float] = msgspec.field(default_factory=dict)  # so far, of all steps of a kind together


_CURRENT: ContextVar[Stages | None] = ContextVar("stages", default=None)


class Noting:
    """A request whose steps are noted."""

    __slots__ = ("_stages", "_token")

    def __init__(self, stages: Stages) -> None:
        self._stages = stages

    def __enter__(self) -> None:
        self._token = _CURRENT.set(self._stages)

    def __exit__(self, *_: object) -> None:
        _CURRENT.reset(self._token)


def noted_in(stages: Stages) -> Noting:
    """Note every step inside, and in the tasks that are begun inside, as one request's."""
    return Noting(stages)


class Timing:
    """One step while it goes on. A class, and no generator: some microseconds for each request depend on it."""

    __slots__ = ("_began", "_span", "_stage", "_stages")

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def __enter__(self) -> Self:
        self._span: Span | None = None
        self._stages = stages = _CURRENT.get()
        if stages is not None:
            if stages.tracing is not None:
                self._span = stages.tracing.begin(self._stage)
            self._began = stages.clock()
        return self

    def note(self, **facts: str | float) -> None:
        """Say more of it, where somebody traces. Never audio, text, a prompt or a credential."""
        if self._span is not None:
            self._span.note(**facts)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        stages, stage = self._stages, self._stage
        if stages is not None:
            took_s = stages.clock() - self._began
            stages.seconds[stage] = stages.seconds.get(stage, 0.0) + took_s
            stages.on_end[stage](took_s)
            if self._span is not None:
                self._span.end(error)


timed: Final = Timing
"""Times what is inside as a step of the current request; where there is none, nothing is noted."""
