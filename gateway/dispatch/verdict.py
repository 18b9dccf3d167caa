"""What one call says of the deployment that was called: nothing, if the fault was the caller's or ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from gateway.policies.backoff import park_s
from gateway.policies.breaker import Outcome, Why
from gateway.policies.deadline import allowed_s
from gateway.policies.pace import pace
from providers.errors import (
    AttemptTimedOut,
    CredentialsRejected,
    Interrupted,
    MalformedReply,
    ProviderError,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
)

if TYPE_CHECKING:
    from config.reliability import Breakers


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What to remember of a call."""

    outcome: Outcome = Outcome.NEUTRAL
    park: tuple[Why, float] | None = None  # leave it alone, for so many seconds
    pace: float | None = None  # how fast it was, where it came to an end
    is_crash: bool = False  # whoever worked on it ended, and took along whatever else it worked on


NOTHING: Final = Verdict()


def of_answer(
    seconds: float, duration_s: float | None, settings: Breakers, spent_for_s: float | None = None
) -> Verdict:
    """Judge a call that was answered. seconds: what it took. spent_for_s: how long the next would be refused."""
    slow = settings.slow_call
    is_slow = seconds > allowed_s(slow.base, slow.per_audio_second, slow.max, duration_s or 0)
    return Verdict(
        outcome=Outcome.SLOW if is_slow else Outcome.OK,
        park=None if spent_for_s is None else (Why.LIMIT, min(spent_for_s, settings.park_max)),
        pace=pace(seconds, duration_s),
    )


def of_error(error: ProviderError, settings: Breakers, *, hurried: bool, own_key: bool) -> Verdict:
    """Judge a call that failed.

    hurried: the caller allowed less time than the gateway would have. own_key: the credential was the caller's, so
    that what the provider says of it concerns nobody else.
    """
    match error:
        case RateLimited() | CredentialsRejected() | QuotaExhausted() if own_key:
            return NOTHING
        case RateLimited(retry_after_s=asked_s):
            for_s = park_s(asked_s, default_s=settings.rate_limited, cap_s=settings.park_max)
            return Verdict(park=(Why.RATE_LIMITED, for_s))
        case CredentialsRejected() | QuotaExhausted():
            why = Why.CREDENTIALS if isinstance(error, CredentialsRejected) else Why.QUOTA
            return Verdict(park=(why, settings.park_max))
        case Interrupted():
            return Verdict(outcome=Outcome.FAILED, is_crash=True)
        case ProviderUnavailable() | MalformedReply() | AttemptTimedOut():
            is_ours = hurried and isinstance(error, AttemptTimedOut)
            return NOTHING if is_ours else Verdict(outcome=Outcome.FAILED)
    return NOTHING
