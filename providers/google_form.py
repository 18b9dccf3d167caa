"""What Google's services in JSON have in common: errors as google.rpc.Status, and times as text.

Source: googleapis `google/rpc/status.proto` and `error_details.proto`, AIP-193; google-genai 3.6.1 `errors.py`; the
guides to errors of the Gemini API and of Cloud Speech-to-Text (2026).
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

from pydantic import BaseModel, BeforeValidator, FiniteFloat, ValidationError

from providers.errors import CredentialsRejected, ProviderUnavailable, QuotaExhausted, RateLimited
from providers.refusals import by_reply
from providers.retry_after import go_duration_s, retry_after_s

if TYPE_CHECKING:
    from providers.errors import ProviderError
    from providers.exchange import HttpReply


def _seconds(value: object) -> object:
    """Read a google.protobuf.Duration, such as "0.080s"."""
    if not isinstance(value, str):
        return value
    seconds = go_duration_s(value)
    if seconds is None:
        raise ValueError("no duration")
    return seconds


Offset: TypeAlias = Annotated[FiniteFloat | None, BeforeValidator(_seconds)]
"""Seconds, in a reply. Zero is left out there."""


class _Detail(BaseModel):
    reason: str = ""


class _Status(BaseModel):
    message: str = ""
    status: str = ""
    details: list[_Detail] | None = None


class _Error(BaseModel):
    error: _Status


_BILLING: Final = re.compile(r"\bbilling\b", re.IGNORECASE)
_BY_THE_DAY: Final = re.compile(rb"per_?day", re.IGNORECASE)  # in a QuotaFailure's quotaId
_CANCELLED = 499


def classify_error(provider: str, reply: HttpReply) -> ProviderError:
    """Name a reply that is not 2xx. A key that is none is a 400, and a rate limit always speaks of the quota."""
    if named := _by_reason(provider, _read(reply)):
        return named
    if reply.status == HTTPStatus.TOO_MANY_REQUESTS:
        if _BY_THE_DAY.search(reply.body):
            return QuotaExhausted(provider, "the day's quota is used up")
        return RateLimited(provider, "status 429", retry_after_s=retry_after_s(reply))
    if reply.status == _CANCELLED:
        return ProviderUnavailable(provider, "cancelled there")
    return by_reply(provider, reply)


def _by_reason(provider: str, given: _Status) -> ProviderError | None:
    reasons = {each.reason for each in given.details or ()}
    if "API_KEY_INVALID" in reasons:
        return CredentialsRejected(provider, "the key is not valid")
    if "SERVICE_DISABLED" in reasons:
        return CredentialsRejected(provider, "the project has not enabled this service")
    if "BILLING_DISABLED" in reasons or (given.status == "FAILED_PRECONDITION" and _BILLING.search(given.message)):
        return QuotaExhausted(provider, "the project has no billing account")
    return None


def _read(reply: HttpReply) -> _Status:
    """Return what the error says; for deciding by, never for showing."""
    try:
        return _Error.model_validate_json(reply.body).error
    except ValidationError:
        return _Status()
