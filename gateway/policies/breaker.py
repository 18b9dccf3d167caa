"""When a deployment is left alone, and how it comes back: a circuit breaker as a value.

Closed, it lets calls through and counts them; open, it lets none through until a moment; then one call, the probe,
finds out, while it is half-open. Source: M. Nygard, "Release It!"; the rolling window and the slow-call rate are
resilience4j's, consecutive failures and one-at-a-time recovery Envoy's outlier detection and Finagle's failure accrual.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Final, TypeAlias

import msgspec
from msgspec.structs import replace

_PARTS: Final = 10  # of the window: a bucket each


class Why(StrEnum):
    """What speaks against a deployment."""

    FAILING = "failing"
    SLOW = "slow"
    RATE_LIMITED = "rate-limited"
    CREDENTIALS = "credentials"
    QUOTA = "quota"
    LIMIT = "limit"  # it would say no: what it allows for now is used up


PARKED: Final = frozenset({Why.RATE_LIMITED, Why.CREDENTIALS, Why.QUOTA, Why.LIMIT})
"""It answers, and says no: not broken, still not worth asking."""


class Outcome(Enum):
    """What a call says of the deployment's health."""

    OK = "ok"
    SLOW = "slow"  # answered, later than is any use
    FAILED = "failed"
    NEUTRAL = "neutral"  # nothing: it was the caller's own fault, or the caller left


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """When to open, and for how long."""

    consecutive: int = 5  # failures in a row
    failure_rate: float = 0.5  # 0 to 1, of the calls in the window
    slow_rate: float = 0.8  # 0 to 1, of the calls in the window
    min_calls: int = 20  # in the window, before a rate means anything
    window_s: float = 30.0
    probe_after_s: float = 5.0  # from opening to the probe, and from one that failed to the next


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """The calls that ended in a tenth of the window."""

    index: int  # tenths of the window since the clock's zero
    calls: int = 0
    failed: int = 0
    slow: int = 0


class Closed(msgspec.Struct, frozen=True, kw_only=True):
    """Calls go through."""

    consecutive: int = 0  # failures in a row
    buckets: tuple[Bucket, ...] = ()  # oldest first, ten at most


class Open(msgspec.Struct, frozen=True, kw_only=True):
    """No calls, until a moment; the first one after it is the probe."""

    until: float
    why: Why


class HalfOpen(msgspec.Struct, frozen=True, kw_only=True):
    """The probe is out."""

    why: Why


State: TypeAlias = Closed | Open | HalfOpen
CLOSED: Final = Closed()


def admits(state: State, now: float) -> bool:
    """Tell whether a call may start."""
    return isinstance(state, Closed) or (isinstance(state, Open) and now >= state.until)


def due_at(state: State, now: float) -> float | None:
    """Return when a call may start: None for now, infinity while a probe is out."""
    if admits(state, now):
        return None
    return state.until if isinstance(state, Open) else math.inf


def describe(state: State, now: float) -> str:
    """Return a word for operators: closed, open, half-open or parked."""
    match state:
        case Closed():
            return "closed"
        case Open(until=until, why=why) if now < until:
            return "parked" if why in PARKED else "open"
    return "half-open"


def begin(state: State, now: float) -> tuple[State, bool]:
    """Start a call; True says that it is the probe."""
    if isinstance(state, Open) and now >= state.until:
        return HalfOpen(why=state.why), True
    return state, False


def end(state: State, now: float, outcome: Outcome, rules: Rules, *, is_probe: bool) -> State:
    """Note how a call went. One that began before the breaker opened, and ends after, changes nothing."""
    match state:
        case HalfOpen() if is_probe:
            return _probed(state, now, outcome, rules)
        case Closed() if not is_probe and outcome is not Outcome.NEUTRAL:
            return _judged(_counted(state, now, outcome, rules), now, rules)
    return state


def park(state: State, now: float, why: Why, for_s: float, *, is_probe: bool = False) -> State:
    """Leave it alone because it said so. What keeps it away for longer already stays.

    While a probe is out, only the probe's own reply counts: it is newer than what an earlier call comes back with, and
    a short stay that ran out before the probe ended would send a second one.
    """
    if isinstance(state, HalfOpen) and not is_probe:
        return state
    if isinstance(state, Open) and state.until >= now + for_s:
        return state
    return Open(until=now + for_s, why=why)


def _probed(state: HalfOpen, now: float, outcome: Outcome, rules: Rules) -> State:
    if outcome is Outcome.NEUTRAL:
        return Open(until=now, why=state.why)  # it showed nothing: the next call probes
    if outcome is Outcome.FAILED:
        return Open(until=now + rules.probe_after_s, why=Why.FAILING)
    if outcome is Outcome.SLOW and state.why is Why.SLOW:
        return Open(until=now + rules.probe_after_s, why=Why.SLOW)
    return CLOSED


def _counted(state: Closed, now: float, outcome: Outcome, rules: Rules) -> Closed:
    failed = outcome is Outcome.FAILED
    index = math.floor(now / rules.window_s * _PARTS)
    kept = _of_the_window(state.buckets, index)
    is_new = not kept or kept[-1].index < index
    earlier, last = (kept, Bucket(index=index)) if is_new else (kept[:-1], kept[-1])
    counted = replace(
        last, calls=last.calls + 1, failed=last.failed + failed, slow=last.slow + (outcome is Outcome.SLOW)
    )
    return Closed(consecutive=state.consecutive + 1 if failed else 0, buckets=(*earlier, counted))


def _of_the_window(buckets: tuple[Bucket, ...], index: int) -> tuple[Bucket, ...]:
    """Leave out what is too old, and what was counted in tenths of another window, before the rules changed."""
    if buckets and index - _PARTS < buckets[0].index and buckets[-1].index < index + _PARTS:  # as nearly always
        return buckets
    return tuple(each for each in buckets if abs(each.index - index) < _PARTS)


def _judged(state: Closed, now: float, rules: Rules) -> State:
    """Open where the counts, of one call at least, say so."""
    calls = failed = slow = 0
    for each in state.buckets:
        calls, failed, slow = calls + each.calls, failed + each.failed, slow + each.slow
    enough = calls >= rules.min_calls
    until = now + rules.probe_after_s
    if state.consecutive >= rules.consecutive or (enough and failed / calls >= rules.failure_rate):
        return Open(until=until, why=Why.FAILING)
    if enough and slow / calls >= rules.slow_rate:
        return Open(until=until, why=Why.SLOW)
    return state
