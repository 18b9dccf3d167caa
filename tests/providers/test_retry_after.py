"""When to come back: every form in which a service is known to say it, and no other."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from providers.exchange import HttpReply
from providers.retry_after import go_duration_s, retry_after_s, spent_for_s

DATE = "Mon, 23 Nov 2026 10:00:00 GMT"
UNIX = 1_795_428_000  # the same


def limited(body: object = b"", /, **headers: str) -> HttpReply:
    """Return a 429. Underscores in a header's name stand for hyphens."""
    encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpReply(status=429, headers={name.replace("_", "-"): text for name, text in headers.items()}, body=encoded)


@pytest.mark.parametrize(
    ("text", "wait_s"),
    [
        ("2", 2.0),
        (" 2 ", 2.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("-3", 0.0),
        ("315360000", 315_360_000.0),  # ten years: how much of it is believed is dispatch's business
        ("Mon, 23 Nov 2026 10:00:30 GMT", 30.0),
        ("Monday, 23-Nov-26 10:00:30 GMT", 30.0),  # the obsolete forms that RFC 9110 5.6.7 still wants read
        ("Mon Nov 23 10:00:30 2026", 30.0),
        ("2026-11-23T10:00:30Z", 30.0),  # Replicate's SDK reads these
        ("2026-11-23T11:00:30+01:00", 30.0),
        ("Mon, 23 Nov 2026 09:00:00 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("1e3", None),
        ("1_000", None),
        ("0\x1f", None),  # white space to `strip`, none to `float`
        ("\u0662", None),  # a digit, in Arabic
        ("9" * 400, None),
        ("Mon, 23 Nov 99999999999999999999 10:00:30 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, wait_s: float | None) -> None:
    assert retry_after_s(limited(retry_after=text, date=DATE)) == wait_s


def test_a_date_without_the_time_it_was_written_says_nothing() -> None:
    """Nobody here has a clock: the transport dates each reply."""
    later = "Mon, 23 Nov 2026 10:00:30 GMT"

    assert retry_after_s(limited(retry_after=later)) is None
    assert retry_after_s(limited(retry_after=later, date="yesterday")) is None


@given(wait_s=st.integers(0, 10**9), unix_s=st.integers(UNIX - 10**9, UNIX + 10**9))
def test_a_date_is_read_by_the_clock_that_wrote_it(wait_s: int, unix_s: int) -> None:
    """However wrong that is."""
    now = datetime.fromtimestamp(unix_s, UTC)
    then = format_datetime(now + timedelta(seconds=wait_s), usegmt=True)

    assert retry_after_s(limited(retry_after=then, date=format_datetime(now, usegmt=True))) == wait_s


@pytest.mark.parametrize(("text", "wait_s"), [("250", 0.25), ("-5", 0.0), ("1500.5", 1.5005), ("x", 7.0), ("", 7.0)])
def test_milliseconds_go_before_seconds(text: str, wait_s: float) -> None:
    assert retry_after_s(limited(retry_after_ms=text, retry_after="7")) == wait_s


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        # Go durations, as OpenAI, Groq and Azure write them. What has nothing left decides.
        ({"x_ratelimit_reset_requests": "6m0s", "x_ratelimit_remaining_requests": "0"}, 360.0),
        ({"x_ratelimit_reset_requests": "2h3m", "x_ratelimit_remaining_requests": "0"}, 7380.0),
        ({"x_ratelimit_reset_tokens": "120ms", "x_ratelimit_remaining_tokens": "0"}, 0.12),
        ({"x_ratelimit_reset_audio_seconds": "1m30.5s", "x_ratelimit_remaining_audio_seconds": "0"}, 90.5),
        (
            {
                "x_ratelimit_reset_requests": "2h0m0s",
                "x_ratelimit_remaining_requests": "499",
                "x_ratelimit_reset_tokens": "1m1.5s",
                "x_ratelimit_remaining_tokens": "0",
            },
            61.5,
        ),
        ({"x_ratelimit_reset_requests": "2m59.5s", "x_ratelimit_reset_tokens": "1s"}, 179.5),
        ({"x_ratelimit_reset_requests": "2h", "x_ratelimit_remaining_requests": "499"}, None),
        ({"x_ratelimit_reset_requests": "9s", "x_ratelimit_remaining_requests": "-1"}, 9.0),
        # Seconds, or a time.
        ({"x_ratelimit_reset": "6", "x_ratelimit_remaining": "0"}, 6.0),
        ({"ratelimit_reset": "30"}, 30.0),
        ({"x_ratelimit_reset": "0"}, None),
        ({"x_ratelimit_reset": "-1"}, None),
        ({"x_ratelimit_reset": "inf"}, None),
        ({"x_ratelimit_reset": str(UNIX + 45)}, 45.0),
        ({"x_ratelimit_reset": str(UNIX * 1000 + 1500)}, 1.5),
        ({"x_ratelimit_reset": str(UNIX - 45)}, 0.0),
        ({"x_ratelimit_reset": "2026-11-23T10:00:30Z"}, 30.0),
        ({"x_ratelimit_reset": "tomorrow"}, None),
        # The drafts of one header for all.
        ({"ratelimit": '"default";r=0;t=30'}, 30.0),
        ({"ratelimit": "limit=10, remaining=0, reset=12"}, 12.0),
        ({"ratelimit": '"default";r=3;t=30'}, None),
        # A request's own word goes before the allowance's.
        ({"x_ratelimit_reset_requests": "6m0s", "x_ratelimit_remaining_requests": "0", "retry_after": "2"}, 2.0),
    ],
)
def test_an_allowance_is_whole_again_after(headers: dict[str, str], wait_s: float | None) -> None:
    assert retry_after_s(limited(date=DATE, **headers)) == pytest.approx(wait_s)


def test_an_allowance_that_is_not_spent_says_nothing_of_a_failure() -> None:
    headers = {"x_ratelimit_reset_requests": "6m0s"}

    assert retry_after_s(replace(limited(**headers), status=500)) is None
    assert retry_after_s(replace(limited(x_ratelimit_remaining_requests="0", **headers), status=503)) == 360.0


def test_a_time_without_a_date_to_count_from_says_nothing() -> None:
    assert retry_after_s(limited(x_ratelimit_reset=str(UNIX))) is None


@pytest.mark.parametrize(
    ("body", "wait_s"),
    [
        # OpenAI, Groq
        (
            {"error": {"message": "Rate limit reached for whisper-1. Please try again in 7.66s. Visit https://x/y"}},
            7.66,
        ),
        ({"error": {"message": "Limit 7200, Used 7100, Requested 200. Please try again in 2m59.56s."}}, 179.56),
        ({"error": {"message": "Please try again in 120ms."}}, 0.12),
        ({"error": {"message": "Please try again in 6m0s"}}, 360.0),
        ({"error": {"message": "Please try again in 20 seconds, or add a payment method."}}, 20.0),
        ({"detail": "try again in 2 minutes"}, 120.0),
        ({"detail": "Try again in 1 hour 5 minutes"}, 3900.0),
        # Azure OpenAI, Azure Speech
        ({"error": {"message": "have exceeded call rate limit. Please retry after 33 seconds."}}, 33.0),
        ({"error": {"message": "Please retry after 1 second."}}, 1.0),
        # Replicate
        ({"detail": "Request was throttled. Your rate limit resets in ~30s."}, 30.0),
        ({"detail": "Your rate limit resets in ~1.5s."}, 1.5),
        # Hugging Face
        ({"error": "Model openai/whisper-large-v3 is currently loading", "estimated_time": 20.5}, 20.5),
        ({"error": "Model x is currently loading", "estimated_time": 20}, 20.0),
        # google.rpc.RetryInfo
        ({"error": {"details": [{"@type": "x/google.rpc.RetryInfo", "retryDelay": "34.07s"}]}}, 34.07),
        # and what others write
        ({"retry_after": 3}, 3.0),
        ({"retryAfter": "3"}, 3.0),
        ({"retry_after_ms": 250}, 0.25),
        ({"retry_after_seconds": 4}, 4.0),
        (b"Too many requests, retry after about 5 min", 300.0),
        (b"<html>Please wait 10 s</html>", 10.0),
        (b"Retry in 2 days", 172_800.0),
        # none of these says when
        ({"detail": "Request was throttled."}, None),
        ({"error": "Too many requests. Please try again later"}, None),
        ({"error": "retry after 2 more attempts"}, None),
        ({"error": "Rate limit of 3 requests per 20 s reached"}, None),
        ({"error": "x", "estimated_time": None}, None),
        ({"error": "x", "estimated_time": -1}, None),
        (b"try again in 1e9 s", None),
        (b"try again in 9999999999999 s", None),
        (b"\xff\xfe try again in \xff", None),
        (b"", None),
    ],
)
def test_when_stands_in_a_field_or_a_sentence(body: object, wait_s: float | None) -> None:
    assert retry_after_s(limited(body)) == pytest.approx(wait_s)


def test_a_header_goes_before_the_sentence() -> None:
    assert retry_after_s(limited({"detail": "resets in ~30s"}, retry_after="2")) == 2.0


def test_a_sentence_goes_before_the_allowance() -> None:
    """The one says when this request would do, the other when everything is allowed again."""
    headers = {"x_ratelimit_reset_tokens": "1m0s", "x_ratelimit_remaining_tokens": "0"}

    assert retry_after_s(limited({"error": {"message": "Please try again in 7.66s."}}, **headers)) == 7.66


@pytest.mark.parametrize("text", ["", "1", "1d", "1s ", "-1s", "s", "1s!", "9" * 400 + "h", "\u0661s"])
def test_what_is_no_go_duration_is_none(text: str) -> None:
    assert go_duration_s(text) is None


@given(hours=st.integers(0, 99), minutes=st.integers(0, 59), milliseconds=st.integers(0, 59_999))
def test_a_go_duration_is_the_sum_of_its_parts(hours: int, minutes: int, milliseconds: int) -> None:
    text = f"{hours}h{minutes}m{milliseconds / 1000}s"

    assert go_duration_s(text) == pytest.approx(hours * 3600 + minutes * 60 + milliseconds / 1000)


NAMES = st.sampled_from(
    [
        *("retry-after", "retry-after-ms", "date", "ratelimit", "ratelimit-reset", "ratelimit-remaining"),
        *("x-ratelimit-reset", "x-ratelimit-remaining", "x-ratelimit-reset-tokens", "x-ratelimit-remaining-tokens"),
    ]
)
TEXTS = (
    st.text(max_size=30)
    | st.from_regex(r"[0-9:\-+ ,.TZhmsGd]{0,30}")
    | st.from_regex(
        r"[A-Z][a-z]{2}, ?[0-9]{1,3} [A-Z][a-z]{2} [0-9]{1,6} [0-9:]{1,12} [A-Z+\-0-9]{1,9}", fullmatch=True
    )
    | st.integers().map(str)
    | st.sampled_from([DATE, str(UNIX), "0", "1s"])
)
BODIES = st.binary(max_size=60) | st.from_regex(
    r'("(estimated_time|retry_after_ms|retryDelay)": ?"?|try again in ~?|retry after )[0-9.]{1,30} ?(s|ms|minutes|h)?'
).map(str.encode)


@given(status=st.integers(100, 999), headers=st.dictionaries(NAMES, TEXTS), body=BODIES)
def test_whatever_a_reply_says_it_is_a_wait_or_none(status: int, headers: dict[str, str], body: bytes) -> None:
    wait_s = retry_after_s(HttpReply(status=status, headers=headers, body=body))

    assert wait_s is None or (wait_s >= 0 and math.isfinite(wait_s))


@pytest.mark.parametrize(
    "part", [b"try again in 1 s ", b"1s", b'"retry_after": ', b"again in ", b"retry 1", b"wait ~ "]
)
def test_a_long_body_costs_little(part: bytes) -> None:
    """Expressions that look back again and again would take minutes over a megabyte."""
    wait_s = retry_after_s(limited(part * (1_000_000 // len(part)), ratelimit="r=0;" * 2000))

    assert wait_s is None or math.isfinite(wait_s)


@pytest.mark.parametrize(
    ("headers", "spent_s"),
    [
        ({}, None),
        ({"x_ratelimit_remaining_requests": "0", "x_ratelimit_reset_requests": "1m30s"}, 90.0),
        ({"x_ratelimit_remaining_requests": "1", "x_ratelimit_reset_requests": "1m30s"}, None),
        ({"x_ratelimit_remaining_requests": "-1", "x_ratelimit_reset_requests": "60"}, None),
        ({"x_ratelimit_remaining_requests": "0", "x_ratelimit_reset_requests": "0"}, None),
        ({"x_ratelimit_remaining_requests": "0"}, None),
        ({"ratelimit": '"default";r=0;t=30'}, 30.0),
        ({"ratelimit": '"default";r=3;t=30'}, None),
    ],
)
def test_what_a_success_says_of_the_next_call(headers: dict[str, str], spent_s: float | None) -> None:
    assert spent_for_s(replace(limited(**headers), status=200)) == spent_s
