"""Why there is no transcript.

ProviderError
├── JobRejected           the caller's fault, and the adapter knows it       no retry, no failover
├── JobUnsupported        this provider cannot take it; another may          failover
├── CredentialsRejected   the operator's key                                 failover
├── QuotaExhausted        the operator's money                               failover
├── RateLimited           nobody's fault: wait                               retry, failover
├── ProviderUnavailable   5xx, no connection                                 retry, failover
├── AttemptTimedOut       no answer in time, perhaps billed                  failover
└── MalformedReply        ours: the adapter must be mended                   failover
"""

from __future__ import annotations

from http import HTTPStatus
from typing import ClassVar


class ProviderError(Exception):
    """Base of everything a provider call may raise."""

    retryable: ClassVar[bool] = False  # worth sending again to the same provider
    failover: ClassVar[bool] = True  # worth sending to another
    outcome: ClassVar[str] = "error"  # the word for metrics and attempt lines

    def __init__(self, provider: str, reason: str = "") -> None:
        """provider: adapter name. reason: our own words, safe to show to a caller."""
        super().__init__(f"{provider}: {reason}" if reason else provider)
        self.provider = provider
        self.reason = reason


class JobRejected(ProviderError):
    """A 400 or 422 whose reason the adapter knows to be the caller's fault."""

    failover = False
    outcome = "rejected"


class JobUnsupported(ProviderError):
    """413, 415, or a 400 or 422 about length, size, container or option: another provider may take it."""

    outcome = "unsupported"


class CredentialsRejected(ProviderError):
    """401 or 403."""

    outcome = "credentials"


class QuotaExhausted(ProviderError):
    """402, or a rate-limit reply that says the money is gone."""

    outcome = "quota"


class RateLimited(ProviderError):
    """429, or a provider's own way to say so."""

    retryable = True
    outcome = "rate_limited"

    def __init__(self, provider: str, reason: str = "", *, retry_after_s: float | None = None) -> None:
        super().__init__(provider, reason)
        self.retry_after_s = retry_after_s


class ProviderUnavailable(ProviderError):
    """A 5xx, or no connection."""

    retryable = True
    outcome = "unavailable"


class AttemptTimedOut(ProviderError):
    """No answer inside the attempt's time. It may have been billed."""

    outcome = "timeout"


class MalformedReply(ProviderError):
    """Any other reply, or a 200 that cannot be believed."""

    outcome = "malformed"


def by_status(provider: str, status: int, reason: str, *, retry_after_s: float | None = None) -> ProviderError:
    """Name an error reply by its status alone, for what an adapter does not know better.

    A 400 or 422 of unknown reason is JobUnsupported: the audio was readable to us, so another may take it.
    """
    match status:
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            return CredentialsRejected(provider, reason)
        case HTTPStatus.PAYMENT_REQUIRED:
            return QuotaExhausted(provider, reason)
        case HTTPStatus.TOO_MANY_REQUESTS:
            return RateLimited(provider, reason, retry_after_s=retry_after_s)
        case HTTPStatus.REQUEST_TIMEOUT | HTTPStatus.GATEWAY_TIMEOUT:
            return ProviderUnavailable(provider, reason)
        case HTTPStatus.NOT_FOUND:
            return JobUnsupported(provider, reason)
        case 400 | 405 | 409 | 413 | 415 | 422:
            return JobUnsupported(provider, reason)
        case _ if status >= 500:
            return ProviderUnavailable(provider, reason)
        case _:
            return MalformedReply(provider, reason)
