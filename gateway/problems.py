"""Everything a caller can be told instead of a transcript: a status, a stable word, a sentence.

Each API renders these in its own shape, with the same status and wording.
`BY_STATUS` has them all, docs/operations.md what to do about each.
"""

from __future__ import annotations

import reprlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ProblemType = Literal[
    "abandoned",
    "account-needed",
    "all-failed",
    "bad-configuration",
    "bad-request",
    "budget",
    "credentials-rejected",
    "deadline",
    "draining",
    "fetch-failed",
    "fetch-timeout",
    "forbidden",
    "internal",
    "invalid-parameter",
    "key-exists",
    "keys-unavailable",
    "limit",
    "limits-not-counted",
    "method-not-allowed",
    "model-not-allowed",
    "no-admin-key",
    "no-audio",
    "no-deployment",
    "no-key-store",
    "not-cached",
    "not-found",
    "origin-not-allowed",
    "overloaded",
    "rate-limited",
    "spool-full",
    "stalled",
    "too-large",
    "too-long",
    "too-many-keys",
    "unauthorized",
    "unknown-key",
    "unknown-model",
    "unreadable-audio",
    "unsupported-job",
    "unsupported-media-type",
    "unsupported-parameter",
    "unsupported-value",
    "url-input-disabled",
    "url-not-allowed",
    "usage-unusable",
]
"""The stable words, for programs."""

BY_STATUS: Final[Mapping[int, tuple[ProblemType, ...]]] = {
    400: ("bad-request", "fetch-failed", "no-audio", "unreadable-audio", "unsupported-value"),
    401: ("unauthorized",),
    403: ("account-needed", "forbidden", "model-not-allowed", "no-admin-key", "origin-not-allowed"),
    404: ("not-found", "unknown-key", "unknown-model"),
    405: ("method-not-allowed",),
    408: ("stalled",),
    409: ("key-exists", "limits-not-counted", "no-key-store", "too-many-keys"),
    413: ("too-large", "too-long"),
    415: ("unsupported-media-type",),
    422: (
        "bad-configuration",
        "invalid-parameter",
        "unsupported-job",
        "unsupported-parameter",
        "url-input-disabled",
        "url-not-allowed",
    ),
    429: ("budget", "keys-unavailable", "limit", "overloaded", "rate-limited"),
    500: ("internal",),
    502: ("abandoned", "all-failed", "credentials-rejected", "draining", "no-deployment"),
    503: ("keys-unavailable", "usage-unusable"),
    504: ("deadline", "fetch-timeout", "not-cached"),
    507: ("spool-full",),
}
"""With which HTTP status each is told. `abandoned` is seen by nobody: who asks just then, asks anew."""

_BRIEF = reprlib.Repr()  # of what callers sent, however long or deep
_BRIEF.maxstring = 60
_LONGEST_NAME = 80


@dataclass(slots=True, kw_only=True, eq=False)
class Problem(Exception):
    """Raised anywhere on a request's way; rendered by the API it came through."""

    status: int
    type: ProblemType
    message: str  # one sentence, for people; never a credential, a transcript or a provider's raw words
    param: str | None = None  # the field at fault
    headers: Mapping[str, str] = field(default_factory=dict)
    cause: str = ""  # for the operator's log alone; no credential either
    leaves_body: bool = False  # what is still to come of a large body is left where it is
    attempts: int = 0  # calls that were made in vain
    calls: tuple[str, ...] = ()  # their spans, where they are traced

    def __str__(self) -> str:
        return f"{self.type}: {self.message}"


def bad_request(message: str, *, param: str | None = None, kind: ProblemType = "bad-request") -> Problem:
    """Name a body or field of the wrong shape."""
    return Problem(status=400, type=kind, message=message, param=param)


def bad_audio(message: str) -> Problem:
    """Name bytes that cannot be decoded."""
    return bad_request(message, kind="unreadable-audio")


def unsupported_media(message: str) -> Problem:
    """Name a kind of file, or an encoding, that is never taken."""
    return Problem(status=415, type="unsupported-media-type", message=message, headers={"Connection": "close"})


def invalid_parameter(name: str, value: object, allowed: str) -> Problem:
    """Name a parameter out of range or of the wrong type."""
    shown, name = _BRIEF.repr(value), name[:_LONGEST_NAME]
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    return Problem(
        status=422, type="invalid-parameter", message=f"{name}: {shown} is not allowed; expected {allowed}", param=name
    )


def unknown_parameter(name: str, known: Iterable[str]) -> Problem:
    """Name a parameter that no provider has a meaning for."""
    name = name[:_LONGEST_NAME]
    message = f"{name}: not a parameter known here; known are: {', '.join(known)}"
    return Problem(status=422, type="invalid-parameter", message=message, param=name)


def url_input_disabled(param: str) -> Problem:
    """Name an address where audio belongs, at a gateway that fetches nothing on a caller's word."""
    return Problem(
        status=422,
        type="url-input-disabled",
        message=f"{param}: an address was given where audio is expected; send the audio itself",
        param=param,
    )


def url_not_allowed(param: str, *, cause: str) -> Problem:
    """Refuse to fetch, in the same words whatever the reason: they would tell of the network around the gateway."""
    return Problem(
        status=422,
        type="url-not-allowed",
        message=f"{param}: this address may not be fetched; allowed is https to the hosts listed for this gateway, "
        "as far as they are public",
        param=param,
        cause=cause,
    )


def fetch_failed(param: str, why: str, *, cause: str = "") -> Problem:
    """Name a host that did not give what its address promised."""
    return Problem(
        status=400,
        type="fetch-failed",
        message=f"{param}: the audio could not be fetched: {why}",
        param=param,
        cause=cause or why,
    )


def fetch_timeout(param: str) -> Problem:
    """Name a host that is too slow. An SDK that tried again at once would have the whole wait once more."""
    return Problem(
        status=504,
        type="fetch-timeout",
        message=f"{param}: the audio did not arrive from its address in time",
        param=param,
        headers={"x-should-retry": "false"},
    )


def too_large(what: str, limit: str) -> Problem:
    """Name more bytes than allowed."""
    return Problem(
        status=413, type="too-large", message=f"{what} is larger than {limit}", headers={"Connection": "close"}
    )


def too_long(duration_s: float, limit_s: float) -> Problem:
    """Name more audio than allowed."""
    return Problem(
        status=413, type="too-long", message=f"the audio lasts {duration_s:.1f} s, more than the {limit_s:g} s allowed"
    )


def stalled(message: str) -> Problem:
    """Name a body that stopped arriving, or trickles."""
    return Problem(status=408, type="stalled", message=message, headers={"Connection": "close"})


def spool_full() -> Problem:
    """Name the want of room to keep an upload."""
    return Problem(
        status=507, type="spool-full", message="there is no room to keep the upload", headers={"Connection": "close"}
    )


def unauthorized(message: str) -> Problem:
    """Name a missing or wrong key."""
    return Problem(status=401, type="unauthorized", message=message, headers={"WWW-Authenticate": "Bearer"})


def forbidden(message: str, kind: ProblemType = "forbidden") -> Problem:
    """Name a known caller who may not."""
    return Problem(status=403, type=kind, message=message)


def not_found(message: str, kind: ProblemType = "not-found") -> Problem:
    """Name a missing route or model."""
    return Problem(status=404, type=kind, message=message)
