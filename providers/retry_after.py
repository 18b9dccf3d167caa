"""When a service says to come back, in every way that services have found to say it.

Source: RFC 9110, 10.2.3 (Retry-After) and 6.6.1 (Date); draft-ietf-httpapi-ratelimit-headers-06 and -10; openai 3.54.0
`_base_client.py` (`retry-after-ms`); the guides to rate limits of OpenAI and Groq (Go durations, "try again in 7.66s"),
Azure OpenAI ("retry after 33 seconds"), Together (bare seconds), OpenRouter (a time in milliseconds) and Replicate
("resets in ~30s"); Hugging Face's `estimated_time`; google.rpc.RetryInfo (`retryDelay`).
"""

from __future__ import annotations

import contextlib
import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from providers.exchange import HttpReply


def retry_after_s(reply: HttpReply) -> float | None:
    """Return the seconds to wait, finite and never negative; None where the reply does not say.

    What is meant for this very request counts before what is known of the whole allowance, which is full again only
    long after one more request would do.
    """
    for read in (_milliseconds, _retry_after, _told_in_the_body, _spent_allowance, _spent_policy):
        wait_s = read(reply)
        if wait_s is not None and math.isfinite(wait_s):
            return max(0.0, wait_s)
    return None


def spent_for_s(reply: HttpReply) -> float | None:
    """Return how long a success says that no more is allowed, finite and positive; None where something is left."""
    if "ratelimit" not in " ".join(reply.headers):  # as most say nothing: one look instead of one for each header
        return None
    waits = [each for each in (_spent_allowance(reply), _spent_policy(reply)) if each is not None]
    return max((each for each in waits if math.isfinite(each) and each > 0), default=None)


# --- headers

_NUMBER: Final = re.compile(r" *([+-]?\d+(?:\.\d*)?) *", re.ASCII)


def _number(text: str) -> float | None:
    found = _NUMBER.fullmatch(text)
    return float(found[1]) if found else None


def _milliseconds(reply: HttpReply) -> float | None:
    asked_ms = _number(reply.headers.get("retry-after-ms", ""))
    return None if asked_ms is None else asked_ms / 1000


def _retry_after(reply: HttpReply) -> float | None:
    asked = reply.headers.get("retry-after", "")
    asked_s = _number(asked)
    return _until_s(asked, reply) if asked_s is None else asked_s


def _until_s(text: str, reply: HttpReply) -> float | None:
    """Return the seconds to a date, by the clock of whoever wrote it: the one that its `Date` was read from."""
    then, now = _date(text), _date(reply.headers.get("date", ""))
    return max(0.0, (then - now).total_seconds()) if then and now else None


def _date(text: str) -> datetime | None:
    """Read a date of HTTP in any of its three forms, or of ISO 8601. Without a zone it is UTC."""
    for parse in (parsedate_to_datetime, datetime.fromisoformat):
        with contextlib.suppress(ValueError, OverflowError):
            moment = parse(text.strip())
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return None


_RESET: Final = re.compile(r"(?:x-)?ratelimit-reset(?:-[a-z-]+)?")


def _spent_allowance(reply: HttpReply) -> float | None:
    """Return when the last spent allowance is whole again: of requests, tokens, audio seconds or whatever is counted.

    On a 429 one that does not say what is left of it may be the spent one.
    """
    resets = {name: _reset_s(text, reply) for name, text in reply.headers.items() if _RESET.fullmatch(name)}
    left = {name: _number(reply.headers.get(name.replace("reset", "remaining"), "")) for name in resets}
    spent = [name for name in resets if left[name] == 0]
    if not spent and reply.status == HTTPStatus.TOO_MANY_REQUESTS:
        spent = [name for name in resets if (left[name] or -1) < 0]  # Azure's -1 says nothing (openai-dotnet#838)
    return max((wait_s for name in spent if (wait_s := resets[name]) is not None), default=None)


_A_DATE_S: Final = 1e9  # thirty years are no wait: a number beyond is a time, since 1970
_IN_MS: Final = 1e11  # and beyond this, which is the year 5138, one in milliseconds


def _reset_s(text: str, reply: HttpReply) -> float | None:
    """Read seconds, a Go duration, or a time; 0 and less say nothing there."""
    seconds = _number(text)
    if seconds is None:
        duration_s = go_duration_s(text)
        return _until_s(text, reply) if duration_s is None else duration_s
    if seconds < _A_DATE_S:
        return seconds if seconds > 0 else None
    now = _date(reply.headers.get("date", ""))
    return max(0.0, (seconds if seconds < _IN_MS else seconds / 1000) - now.timestamp()) if now else None


_UNIT_S: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_GO_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(h|ms|us|µs|ns|m|s)", re.ASCII)


def go_duration_s(text: str) -> float | None:
    """Read a Go duration (time.ParseDuration) such as `20ms`, `1.2s` or `6m0s`; None for anything else."""
    parts = _GO_PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    total_s = sum(float(number) * _UNIT_S[unit] for number, unit in parts)
    return total_s if math.isfinite(total_s) else None


_POLICY: Final = re.compile(r"(?:\br|\bremaining)=0\b.{0,80}?(?:\bt|\breset)=(\d{1,9})", re.ASCII)


def _spent_policy(reply: HttpReply) -> float | None:
    """Read `RateLimit: "default";r=0;t=30`, or `limit=10, remaining=0, reset=30` as it was before."""
    found = _POLICY.search(reply.headers.get("ratelimit", ""))
    return float(found[1]) if found else None


# --- bodies

_UNIT: Final = r"(?:milliseconds?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d)(?![a-z])"
_AMOUNT: Final = rf"\d{{1,9}}(?:\.\d*)? ?{_UNIT}"
_PART: Final = re.compile(rf"(\d{{1,9}}(?:\.\d*)?) ?({_UNIT})", re.IGNORECASE | re.ASCII)
_SENTENCE: Final = re.compile(
    rf"\b(?:again|retry|wait|resets?)(?: (?:in|after|for))?(?: (?:about|approximately))? ?~? ?((?:{_AMOUNT} ?){{1,4}})",
    re.IGNORECASE | re.ASCII,
)
_FIELD: Final = re.compile(
    r'"(?:estimated_time|retry_?delay|retry_?after)(?P<unit>_?(?:ms|s|seconds))?"\s*:\s*"?(?P<number>\d{1,9}(?:\.\d*)?)',
    re.IGNORECASE | re.ASCII,
)


def _told_in_the_body(reply: HttpReply) -> float | None:
    """Look through the text as it is: where the number stands in the JSON differs, its name does not."""
    text = reply.said
    if field := _FIELD.search(text):
        return float(field["number"]) * (1e-3 if (field["unit"] or "").lower().endswith("ms") else 1.0)
    if sentence := _SENTENCE.search(text):
        return sum(float(number) * _named_unit_s(unit) for number, unit in _PART.findall(sentence[1]))
    return None


def _named_unit_s(unit: str) -> float:
    name = unit.lower()
    return 1e-3 if name.startswith(("ms", "mil")) else {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}[name[0]]
