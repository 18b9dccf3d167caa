"""What is known of a request when it ends: the source of its log line and its metrics."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.dispatch.charge import NOTHING, charges_of, total
from gateway.stores.usage import NOT_PAID, OK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gateway.dispatch.answers import Answer, Attempt
    from gateway.dispatch.charge import Charge
    from gateway.policies.trace_context import Context
    from gateway.problems import Problem
    from gateway.stages import Stage
    from providers.types import Deployment

_MOST_TRIES: Final = 100  # kept of one request
_MOST_SOURCES: Final = 8


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """A request's part of a trace."""

    own: Context  # the request's span
    parent: Context | None  # its caller's
    began_ns: int  # on the tracer's clock
    offset_ns: int  # from the tracer's clock to 1970


class Observed(msgspec.Struct, kw_only=True):
    """Filled in along a request's way. Holds no audio, text, prompt or credential."""

    request_id: str
    started: float  # on the event loop's clock, in seconds
    front: str = "ops"
    caller: str = ""
    model: str = ""  # from the configuration, or "other"
    deployment: str = ""
    label: str = ""  # the deployment's, from the configuration whatever callers write
    cache: str = "bypass"  # or hit, miss, joined, stale
    billed_s: float | None = None
    cost_usd: float | None = None
    charges: tuple[tuple[str, Charge], ...] = ()  # what these are the sums of, by the deployment's label
    in_vain: tuple[tuple[str, Charge], ...] = ()  # of those, what brought nothing
    attempts: int = 0  # made for this request alone
    parts: int = 0  # that the audio was asked for in; 0: as a whole
    tries: list[Attempt] = msgspec.field(default_factory=list)  # those same, in the order in which they ended
    sources: tuple[str, ...] = ()  # spans of another request's calls, which brought this one's outcome
    trace: Trace | None = None
    upload_bytes: int = 0
    audio_s: float | None = None
    problem: str = ""  # the stable word of what went wrong
    stage_s: Mapping[Stage, float] = msgspec.field(default_factory=dict)  # how long its steps took
    cause: str = ""  # in our own words: of a 5xx a line for each attempt, of what callers are not told more about

    def answered(self, answer: Answer, label: Callable[[Deployment], str]) -> None:
        """label: a deployment's, from the configuration."""
        self.deployment, self.label = answer.deployment.name, label(answer.deployment)
        self.cache = answer.cached.value
        self.attempts = 0 if self.cache in NOT_PAID else len(answer.attempts)
        self.parts = len(answer.parts)
        self._owes(each.traceparent for each in answer.attempts if each.outcome == OK)
        if self.attempts:  # also where another began the call and has left
            self.tries = list(answer.attempts)
        charges = () if self.cache in NOT_PAID else charges_of(answer, self.audio_s)
        self._charged((*self.in_vain, *((label(to), charge) for to, charge in charges)))
        self.audio_s = answer.transcript.duration_s or self.audio_s

    def spent(self, paid: Answer, label: Callable[[Deployment], str]) -> None:
        """Note what was paid for and has brought nothing, besides what did before. label: as `answered` takes it."""
        self.in_vain += tuple((label(to), charge) for to, charge in charges_of(paid, self.audio_s))

    def refused(self, problem: Problem) -> None:
        """Note what the caller is told instead of an answer."""
        self.problem = problem.type
        self.attempts = self.attempts or problem.attempts
        self.cause = problem.cause or (problem.message if problem.status >= 500 else "")
        self._owes(problem.calls)

    def _owes(self, calls: Iterable[str]) -> None:
        """Note which calls of another's brought the outcome. calls: their spans."""
        if self.trace is None:  # nobody would be led there
            return
        own = {"", *(each.traceparent for each in self.tries)}
        self.sources = tuple(each for each in calls if each not in own)[:_MOST_SOURCES]

    @property
    def trace_id(self) -> str:
        """Return what the trace is found by, in hexadecimal; empty where there is none."""
        return f"{self.trace.own.trace_id:032x}" if self.trace else ""

    @property
    def exemplar(self) -> dict[str, str] | None:
        """Return the labels of an exemplar that leads from a measurement to its trace, where that is kept."""
        return {"trace_id": self.trace_id} if self.trace and self.trace.own.sampled else None

    def outcome(self, status: str) -> str:
        """Return how it ended, in a word. status: a number, or "cancelled"."""
        return self.problem or (OK if status.startswith("2") else status)

    def tried(self, attempt: Attempt) -> None:
        """Note a call that was made for this request."""
        if len(self.tries) < _MOST_TRIES:
            self.tries.append(attempt)

    def failed(self) -> None:
        """Charge what parts cost that were heard before another failed, and else nothing: there was no answer."""
        self._charged(self.in_vain)

    def _charged(self, charges: tuple[tuple[str, Charge], ...]) -> None:
        charge = total([charge for _, charge in charges]) if charges else NOTHING
        self.charges, self.billed_s, self.cost_usd = charges, charge.billed_s, charge.cost_usd


def exemplar() -> dict[str, str] | None:
    """Return what leads from a number to the trace of the present request."""
    observed = CURRENT.get()
    return observed.exemplar if observed is not None else None


CURRENT: Final[ContextVar[Observed | None]] = ContextVar("observed", default=None)
"""The request that this task works for: what it begins, a flight or a hedge, goes on working for it."""
