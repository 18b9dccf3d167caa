"""One span a request, one a call, one a stage. Knows nothing of OpenTelemetry's libraries: `gateway.otlp` sends.

Names are those of OpenTelemetry's semantic conventions 1.38 where there are such, else `asr.*`. Audio, text, prompts,
credentials, paths and addresses that callers write are in none of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit

from gateway.dispatch.call import CALL, Call
from gateway.observe import CURRENT, Trace
from gateway.policies.trace_context import Context, is_drawn, read
from gateway.stages import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from random import Random

    from multidict import CIMultiDictProxy

    from gateway.dispatch.answers import Attempt
    from gateway.observe import Observed
    from providers.types import Deployment

_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})  # probes and scrapes
_ENDED_BY_US: Final = frozenset({"ok", "cancelled"})  # outcomes that are no error
Value = str | int | float | bool


class SpanKind(Enum):
    """On which side of a request it is."""

    INTERNAL = "internal"
    SERVER = "server"
    CLIENT = "client"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Something that took time, as it is told when it is over."""

    name: str
    kind: SpanKind
    context: Context
    parent: Context | None
    is_parent_remote: bool = False
    started_ns: int  # since 1970
    ended_ns: int
    attributes: Mapping[str, Value]
    error: str = ""  # in a word; empty where all went well
    links: Sequence[Context] = field(default_factory=tuple)


class Sink(Protocol):
    """Where spans go."""

    def add(self, span: Span) -> None:
        """Take it. Returns at once, whatever becomes of it."""
        ...

    async def close(self) -> None:
        """Send what waits, for a bounded time."""
        ...


class Tracer:
    """One process's."""

    def __init__(
        self, sink: Sink, sample: float, clock_ns: Callable[[], int], now_ns: Callable[[], int], chance: Random
    ) -> None:
        """sample: of the traces that begin here. clock_ns: one that never goes back. now_ns: since 1970."""
        self.sink = sink
        self._sample = sample
        self.clock_ns = clock_ns
        self._now_ns = now_ns
        self._chance = chance

    def begin(self, method: str, headers: CIMultiDictProxy[str]) -> Trace | None:
        """Return the trace that a request goes on with or begins; None where there is to be none.

        A probe or a scrape is traced only where it comes with a trace.
        """
        parent = None
        if "traceparent" in headers:
            parent = read(headers.getall("traceparent"), headers.getall("tracestate", ()))
        if parent is None and method in _READS:
            return None
        trace_id = parent.trace_id if parent else self._new_id(128)
        is_sampled = parent.sampled if parent else is_drawn(trace_id, self._sample)
        own = Context(
            trace_id=trace_id,
            span_id=self._new_id(64),
            sampled=is_sampled,
            state=parent.state if parent else "",
        )
        began_ns = self.clock_ns()
        return Trace(own=own, parent=parent, began_ns=began_ns, offset_ns=self._now_ns() - began_ns)

    def call(self) -> Call:
        """Return a call that belongs to the present request's trace."""
        observed = CURRENT.get()
        if observed is None or observed.trace is None:
            return Call()
        own = self._below(observed.trace.own)
        return Call(traceparent=own.traceparent, tracestate=own.state, began_ns=self.clock_ns())

    def request(self, observed: Observed, name: str, status: str) -> None:
        """Tell of a request at its end. name: its method and its route's pattern. status: a number, or "cancelled"."""
        trace = observed.trace
        if trace is None or not trace.own.sampled or not self._may_ask(observed, trace):
            return
        links = [found for each in observed.sources if (found := read([each])) is not None]
        error = observed.outcome(status) if status.startswith("5") else ""
        self._served(name, trace, _of_request(observed, name, status), error, links)

    def attempt(self, deployment: Deployment, label: str, made: Attempt, observed: Observed) -> None:
        """Tell of the current call at its end. label: the deployment's name in the configuration."""
        trace, call = observed.trace, CALL.get()
        own = read([made.traceparent], [call.tracestate]) if call is not None else None
        if trace is None or call is None or own is None or not own.sampled:
            return
        asked_before = sum(each.deployment == made.deployment for each in observed.tries)
        self.sink.add(
            Span(
                name=f"transcription {label}",
                kind=SpanKind.CLIENT if deployment.account.base_urls else SpanKind.INTERNAL,
                context=own,
                parent=trace.own,
                started_ns=trace.offset_ns + call.began_ns,
                ended_ns=trace.offset_ns + self.clock_ns(),
                attributes=_of_attempt(deployment, label, made, asked_before),
                error="" if made.outcome in _ENDED_BY_US else made.outcome,
            )
        )

    def inference(self, trace: Trace, deployment: str, outcome: str) -> None:
        """Tell of a job that this process did for another. deployment: a name from the configuration."""
        if not trace.own.sampled:
            return
        attributes = {"asr.deployment": deployment, "asr.outcome": outcome}
        self._served(f"inference {deployment}", trace, attributes, "" if outcome in _ENDED_BY_US else outcome)

    def _served(
        self, name: str, trace: Trace, attributes: Mapping[str, Value], error: str, links: Sequence[Context] = ()
    ) -> None:
        """Tell of what somebody else asked for."""
        self.sink.add(
            Span(
                name=name,
                kind=SpanKind.SERVER,
                context=trace.own,
                parent=trace.parent,
                is_parent_remote=True,
                started_ns=trace.offset_ns + trace.began_ns,
                ended_ns=trace.offset_ns + self.clock_ns(),
                attributes=attributes,
                error=error,
                links=links,
            )
        )

    def stages(self, trace: Trace | None) -> StageTracer | None:
        """Return what is told of the steps of a request; None where nobody wants to know."""
        return StageTracer(self, trace) if trace is not None and trace.own.sampled else None

    def stage(self, trace: Trace, stage: Stage, began_ns: int, error: BaseException | None) -> None:
        """Tell of a step of a request at its end."""
        failed = type(error).__name__ if isinstance(error, Exception) else ""  # who has left was no error
        self.sink.add(
            Span(
                name=stage.value,
                kind=SpanKind.INTERNAL,
                context=self._below(trace.own),
                parent=trace.own,
                started_ns=trace.offset_ns + began_ns,
                ended_ns=trace.offset_ns + self.clock_ns(),
                attributes={"error.type": failed} if failed else {},
                error=failed,
            )
        )

    def _may_ask(self, observed: Observed, trace: Trace) -> bool:
        """Tell whether a caller's word that its trace is to be kept counts: a stranger's is as good as none."""
        return bool(observed.caller) or is_drawn(trace.own.trace_id, self._sample)

    def _below(self, parent: Context) -> Context:
        return Context(trace_id=parent.trace_id, span_id=self._new_id(64), sampled=parent.sampled, state=parent.state)

    def _new_id(self, bits: int) -> int:
        return self._chance.getrandbits(bits) or 1


class StageTracer:
    """Told of the steps of one request. Calls have spans that say more, made elsewhere."""

    def __init__(self, tracer: Tracer, trace: Trace) -> None:
        self._tracer = tracer
        self._trace = trace

    def begin(self, stage: Stage) -> StageSpan | NoSpan:
        return NO_SPAN if stage is Stage.ATTEMPT else StageSpan(self._tracer, self._trace, stage)


class StageSpan:
    """One step while it goes on."""

    __slots__ = ("_began_ns", "_stage", "_trace", "_tracer")

    def __init__(self, tracer: Tracer, trace: Trace, stage: Stage) -> None:
        self._tracer, self._trace, self._stage = tracer, trace, stage
        self._began_ns = tracer.clock_ns()

    def note(self, **facts: str | float) -> None:
        """Nothing: what is known of steps that are no calls stands in the request's own span."""

    def end(self, error: BaseException | None) -> None:
        self._tracer.stage(self._trace, self._stage, self._began_ns, error)


class NoSpan:
    """What is told of a call here."""

    def note(self, **facts: str | float) -> None: ...
    def end(self, error: BaseException | None) -> None: ...


NO_SPAN: Final = NoSpan()


def _of_request(observed: Observed, name: str, status: str) -> dict[str, Value]:
    method, _, route = name.partition(" ")
    known: dict[str, Value | None] = {
        "http.request.method": method,
        "http.route": route,
        "http.response.status_code": int(status) if status.isdecimal() else None,
        "http.request.body.size": observed.upload_bytes or None,
        "url.scheme": "http",
        "error.type": observed.outcome(status) if status.startswith("5") else None,
        "gen_ai.operation.name": "transcription" if observed.model else None,
        "gen_ai.request.model": observed.model or None,
        "gen_ai.response.model": observed.label.partition("/")[2] or None,
        "asr.request_id": observed.request_id,
        "asr.front": observed.front,
        "asr.caller": observed.caller or None,
        "asr.deployment": observed.label or None,
        "asr.cache": observed.cache if observed.deployment else None,
        "asr.attempts": observed.attempts,
        "asr.audio.duration": observed.audio_s,
        "asr.outcome": observed.outcome(status),
    }
    return _without_none(known)


def _of_attempt(deployment: Deployment, label: str, made: Attempt, asked_before: int) -> dict[str, Value]:
    url = urlsplit(next(iter(deployment.account.base_urls.values()), ""))
    known: dict[str, Value | None] = {
        "gen_ai.operation.name": "transcription",
        "gen_ai.provider.name": deployment.account.adapter,
        "gen_ai.request.model": label.partition("/")[2] or None,
        "server.address": url.hostname,
        "server.port": url.port or {"http": 80, "https": 443}.get(url.scheme),
        "http.response.status_code": made.http_status,
        "http.request.resend_count": asked_before or None,
        "error.type": None if made.outcome in _ENDED_BY_US else made.outcome,
        "asr.deployment": label,
        "asr.attempt.kind": made.kind.value,
        "asr.attempt.outcome": made.outcome,
        "asr.attempt.reason": made.reason or None,
    }
    return _without_none(known)


def _without_none(known: Mapping[str, Value | None]) -> dict[str, Value]:
    return {name: value for name, value in known.items() if value is not None}
