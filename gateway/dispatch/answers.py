"""What comes of a job: an answer, the attempts it took, or what its caller is told instead."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.dispatch.copies import TooMuch
from gateway.problems import Problem
from providers.errors import (
    AttemptTimedOut,
    CredentialsRejected,
    JobRejected,
    JobUnsupported,
    ProviderError,
    QuotaExhausted,
    RateLimited,
)
from providers.types import Transcript

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.dispatch.health import Condition
    from gateway.problems import ProblemType
    from providers.types import Deployment

DEADLINE: Final = "deadline"
"""The type of a Problem where the time was over before there was an answer."""
TOO_LARGE: Final = "too-large"
"""That of one where all that stands in the way is how much audio there is."""
ABANDONED: Final = "abandoned"
"""That of one where everybody had left, and a call that was paid for already brought nothing."""
CREDENTIALS_REJECTED: Final = "credentials-rejected"
"""The type of a Problem where every deployment refused the key it was shown."""
_LONGEST_WAIT_S = 3600
_TRY_LATER_S = 5
_CREDENTIALS: Final = "credentials"
ONLY_AN_OPERATOR_CAN: Final = frozenset({_CREDENTIALS, "quota"})
"""What waiting does not mend, among the reasons to leave a deployment alone."""


class Cached(StrEnum):
    """What the cache had to do with an answer."""

    HIT = "hit"  # it was there
    MISS = "miss"  # it is now
    JOINED = "joined"  # it was being asked for already
    STALE = "stale"  # it was there, past its time, and nobody had a better one
    BYPASS = "bypass"  # the cache was not asked


class Kind(StrEnum):
    """Why a call was made."""

    FIRST = "first"
    RETRY = "retry"
    FAILOVER = "failover"
    HEDGE = "hedge"
    DOUBT = "doubt"  # a second opinion on an empty text
    CHECK = "check"  # nobody's job: how is it?


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One call, as callers and operators are told of it."""

    deployment: str
    outcome: str
    seconds: float
    reason: str = ""
    kind: Kind = Kind.FIRST
    http_status: int | None = None  # of the latest reply, where there was one
    traceparent: str = ""  # of its span, where it has one
    audio_s: float | None = None  # how much it was sent

    def __str__(self) -> str:
        return f"{self.deployment}: {self.outcome} after {self.seconds:.2f} s" + (
            f" ({self.reason})" if self.reason else ""
        )


class Paid(msgspec.Struct, frozen=True, kw_only=True):
    """A call that is billed."""

    deployment: Deployment
    transcript: Transcript | None  # None: called off when all of it was sent, which most bill like an answer
    length_s: float | None = None  # of what was sent, where that was only a part of the audio


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A transcript and how it was come by."""

    transcript: Transcript
    deployment: Deployment
    ignored: tuple[str, ...]
    attempts: tuple[Attempt, ...]  # where it was kept or joined: those of whoever asked
    cached: Cached = Cached.BYPASS
    age_s: float | None = None  # where it was kept
    besides: tuple[Paid, ...] = ()  # what was paid for besides: races that were lost, second opinions
    parts: tuple[Paid, ...] = ()  # where the audio was asked for in parts: each with what was heard in it
    is_doubtful: bool = False  # empty where a voice is heard, and nobody waited for a second opinion

    @property
    def is_empty(self) -> bool:
        return not self.transcript.text.strip()


def problem_of(
    errors: Sequence[ProviderError],
    attempts: Sequence[Attempt],
    away: Sequence[Condition] = (),
    *,
    past_deadline: bool,
    again_in_s: float | None = None,
) -> Problem:
    """Say why nobody answered: the caller's fault, the clock's, everybody's limits, or plain failure.

    away: the deployments that were not asked, because they would not have answered.
    again_in_s: until the first of all could answer again, where that is known.
    """
    lines = "; ".join([*map(str, attempts), *map(_line, away)])
    # Of two that raced it need not be the last.
    rejected = next((each for each in errors if isinstance(each, JobRejected)), None)
    if rejected is not None:
        return Problem(status=400, type="unreadable-audio", message=rejected.reason or "the provider refused the audio")
    if past_deadline or (_all(errors, AttemptTimedOut) and not away):
        return _final(504, DEADLINE, f"no answer before the deadline: {lines}")
    if _only_waiting_helps(errors, away):
        return _come_back(again_in_s, lines)
    if _all(errors, TooMuch):
        return Problem(status=413, type=TOO_LARGE, message=f"no deployment takes this much: {lines}")
    if _all(errors, JobUnsupported):
        return Problem(status=422, type="unsupported-job", message=f"no deployment takes this job: {lines}")
    kind: ProblemType = CREDENTIALS_REJECTED if _only_keys(errors, away) else "all-failed"
    return _final(502, kind, f"every deployment failed: {lines}")


def overloaded(what: str, retry_after_s: float = 1.0) -> Problem:
    """Shed a job that there is no place for."""
    return Problem(
        status=429,
        type="overloaded",
        message=f"{what} at its limit; come back later",
        headers={"Retry-After": _whole_seconds(retry_after_s)},
    )


@dataclass(slots=True, kw_only=True, eq=False)
class InVain(Problem):
    """There is no answer, and something was paid for all the same."""

    paid: Answer | None = None  # what it was, perhaps with holes: to be booked, never told


class Abandoned(InVain):
    """Nobody waited any more, and what went on has brought no answer."""

    __slots__ = ()


def in_vain(problem: Problem, paid: Sequence[Paid]) -> InVain:
    """Return the problem with what was paid before it came up; at least one call."""
    told = {each.name: getattr(problem, each.name) for each in fields(Problem)}
    return InVain(**told, paid=heard_in_vain(paid))


def heard_in_vain(paid: Sequence[Paid]) -> Answer:
    """Return what is booked for calls that were paid and brought no answer; at least one."""
    return Answer(
        transcript=Transcript(text=""), deployment=paid[0].deployment, ignored=(), attempts=(), parts=tuple(paid)
    )


def abandoned(paid: Answer | None = None) -> Abandoned:
    """Say that nobody else was asked, to whoever comes just then: they ask anew."""
    message = "all who waited had left when the call they paid for failed"
    return Abandoned(status=502, type=ABANDONED, message=message, paid=paid)


def not_cached() -> Problem:
    """Say that there is no answer yet, to who wants none that must be asked for."""
    return Problem(
        status=504,
        type="not-cached",
        message="there is no answer in the cache, and Cache-Control says only-if-cached",
        headers={"x-should-retry": "false"},
    )


def _line(away: Condition) -> str:
    until = f", asked again in {away.again_in_s:.1f} s" if away.again_in_s is not None else ""
    return f"{away.deployment}: not asked ({away.why or 'busy'}{until})"


def _all(errors: Sequence[ProviderError], kind: type[ProviderError]) -> bool:
    return bool(errors) and all(isinstance(each, kind) for each in errors)


def _only_keys(errors: Sequence[ProviderError], away: Sequence[Condition]) -> bool:
    """Tell whether keys were refused, now or before, and nothing else went wrong."""
    known = [*(isinstance(each, CredentialsRejected) for each in errors), *(each.why == _CREDENTIALS for each in away)]
    return bool(known) and all(known)


def _only_waiting_helps(errors: Sequence[ProviderError], away: Iterable[Condition]) -> bool:
    """Tell whether all who could answer are limited or left alone; those that an operator must mend do not count."""
    asked = [each for each in errors if not isinstance(each, CredentialsRejected | QuotaExhausted | JobUnsupported)]
    left_alone = [each for each in away if each.why not in ONLY_AN_OPERATOR_CAN]
    return all(isinstance(each, RateLimited) for each in asked) and bool(asked or left_alone)


def _come_back(again_in_s: float | None, lines: str) -> Problem:
    return Problem(
        status=429,
        type="rate-limited",
        message=f"every deployment is rate limited or left alone for now: {lines}",
        headers={"Retry-After": _whole_seconds(again_in_s or 0)},
    )


def _final(status: int, kind: ProblemType, message: str) -> Problem:
    """Say it is over: an SDK that tried again would buy the whole failover once more."""
    headers = {"x-should-retry": "false", "Retry-After": str(_TRY_LATER_S)}
    return Problem(status=status, type=kind, message=message, headers=headers)


def _whole_seconds(seconds: float) -> str:
    return str(max(1, min(_LONGEST_WAIT_S, math.ceil(seconds))))
