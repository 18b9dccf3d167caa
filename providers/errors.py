"""Why there is no transcript.

ProviderError
├── JobRejected           the caller's fault, and the adapter knows it       no retry, no failover
├── JobUnsupported        this provider cannot take it; another may          failover
├── CredentialsRejected   the operator's key                                 failover
├── QuotaExhausted        the operator's money                               failover
├── Temporary             nobody's fault, over by itself; says when, maybe   retry, failover
│   ├── RateLimited           429
│   └── ProviderUnavailable   5xx, no connection
│       ├── FateUnknown           a job was sent, and may be running there   failover
│       └── Interrupted           whoever worked on it ended; nobody bills   retry, failover
├── AttemptTimedOut       no answer in time, perhaps billed                  failover
└── MalformedReply        ours: the adapter must be mended                   failover
    └── ReplyCutOff           the network's: it ended too soon
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, ClassVar, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class ProviderError(Exception):
    """Base of everything a provider call may raise."""

    retryable: ClassVar[bool] = False  # worth sending again to the same provider
    failover: ClassVar[bool] = True  # worth sending to another
    outcome: ClassVar[str] = "error"  # the word for metrics and attempt lines

    def __init__(self, provider: str, reason: str = "") -> None:
        """Take the adapter's name, and the reason in our own words, safe to show to a caller."""
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


class Temporary(ProviderError):
    """What time alone may mend."""

    retryable = True

    def __init__(self, provider: str, reason: str = "", *, retry_after_s: float | None = None) -> None:
        """retry_after_s: when to come back, as the provider asks; uncapped, None where it does not."""
        super().__init__(provider, reason)
        self.retry_after_s = retry_after_s


class RateLimited(Temporary):
    """429, or a provider's own way to say so."""

    outcome = "rate_limited"


class ProviderUnavailable(Temporary):
    """A 5xx, or no connection."""

    outcome = "unavailable"


class FateUnknown(ProviderUnavailable):
    """A job was sent there and lost sight of: it may be running, and be billed. Sent again it might be twice."""

    retryable = False


class Interrupted(ProviderUnavailable):
    """Who worked on the job ended meanwhile, and nobody bills what was done: to send it again costs nothing."""


class AttemptTimedOut(ProviderError):
    """No answer inside the attempt's time. It may have been billed."""

    outcome = "timeout"


class MalformedReply(ProviderError):
    """Any other reply, or a 200 that cannot be believed."""

    outcome = "malformed"


class ReplyCutOff(MalformedReply):
    """A reply that broke off before its end."""


def by_status(provider: str, status: int, reason: str, *, retry_after_s: float | None = None) -> ProviderError:
    """Name an error reply by its status alone, for what an adapter does not know better.

    A 400 or 422 of unknown reason is JobUnsupported: the audio was readable to us, so another may take it.
    """
    named = _BY_STATUS.get(status, ProviderUnavailable if 500 <= status <= 599 else MalformedReply)
    if issubclass(named, Temporary):
        return named(provider, reason, retry_after_s=retry_after_s)
    return named(provider, reason)


_BY_STATUS: Final[Mapping[int, type[ProviderError]]] = {
    HTTPStatus.UNAUTHORIZED: CredentialsRejected,
    HTTPStatus.FORBIDDEN: CredentialsRejected,
    HTTPStatus.PAYMENT_REQUIRED: QuotaExhausted,
    HTTPStatus.REQUEST_TIMEOUT: ProviderUnavailable,
    HTTPStatus.BAD_REQUEST: JobUnsupported,
    HTTPStatus.NOT_FOUND: JobUnsupported,
    HTTPStatus.METHOD_NOT_ALLOWED: JobUnsupported,
    HTTPStatus.CONFLICT: JobUnsupported,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: JobUnsupported,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: JobUnsupported,
    HTTPStatus.UNPROCESSABLE_ENTITY: JobUnsupported,
    HTTPStatus.TOO_MANY_REQUESTS: RateLimited,
}
