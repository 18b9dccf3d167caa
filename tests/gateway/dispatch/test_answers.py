"""What a caller is told when nobody answered: the status, the stable word, and whether it is worth asking again."""

from __future__ import annotations

import pytest

from gateway.dispatch.answers import Attempt, overloaded, problem_of
from gateway.dispatch.copies import TooMuch
from gateway.dispatch.health import Condition
from providers.errors import (
    AttemptTimedOut,
    CredentialsRejected,
    JobUnsupported,
    ProviderError,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
)

LINES = [
    Attempt(deployment="a/0", outcome="unavailable", seconds=1.234, reason="status 500"),
    Attempt(deployment="a/1", outcome="timeout", seconds=2.0),
]
TOLD = "a/0: unavailable after 1.23 s (status 500); a/1: timeout after 2.00 s"


@pytest.mark.parametrize(
    ("errors", "late", "status", "kind", "retry"),
    [
        ([ProviderUnavailable("p")], False, 502, "all-failed", "false"),
        ([CredentialsRejected("p"), JobUnsupported("p")], False, 502, "all-failed", "false"),
        ([RateLimited("p"), ProviderUnavailable("p")], False, 502, "all-failed", "false"),
        ([AttemptTimedOut("p"), AttemptTimedOut("p")], False, 504, "deadline", "false"),
        ([ProviderUnavailable("p")], True, 504, "deadline", "false"),
        ([RateLimited("p")], True, 504, "deadline", "false"),
        ([RateLimited("p"), RateLimited("p")], False, 429, "rate-limited", None),
        ([JobUnsupported("p"), JobUnsupported("p")], False, 422, "unsupported-job", None),
        ([TooMuch("p"), JobUnsupported("p")], False, 422, "unsupported-job", None),
        ([TooMuch("p"), TooMuch("p")], False, 413, "too-large", None),
        ([], False, 502, "all-failed", "false"),
        ([RateLimited("p"), CredentialsRejected("p")], False, 429, "rate-limited", None),
        ([RateLimited("p"), JobUnsupported("p")], False, 429, "rate-limited", None),
        ([CredentialsRejected("p"), CredentialsRejected("p")], False, 502, "credentials-rejected", "false"),
        ([QuotaExhausted("p")], False, 502, "all-failed", "false"),
    ],
)
def test_what_callers_are_told(
    *,
    errors: list[ProviderError],
    late: bool,
    status: int,
    kind: str,
    retry: str | None,
) -> None:
    """One line for each attempt; and whether an SDK may buy it all again."""
    problem = problem_of(errors, LINES, past_deadline=late)

    assert (problem.status, problem.type) == (status, kind)
    assert problem.message.endswith(f": {TOLD}")
    assert problem.headers.get("x-should-retry") == retry


@pytest.mark.parametrize(
    ("again_in_s", "retry_after"), [(None, "1"), (0.0, "1"), (0.2, "1"), (1.2, "2"), (7.0, "7"), (1e9, "3600")]
)
def test_retry_after_is_in_whole_seconds(again_in_s: float | None, retry_after: str) -> None:
    problem = problem_of([RateLimited("p")], LINES, past_deadline=False, again_in_s=again_in_s)

    assert problem.headers == {"Retry-After": retry_after}


def away(name: str, why: str, again_in_s: float | None = 4.2) -> Condition:
    return Condition(deployment=name, state="open", why=why, again_in_s=again_in_s, in_flight=0, waiting=0, pace=None)


@pytest.mark.parametrize(
    ("errors", "left_alone", "status", "kind"),
    [
        ([], [away("a/0", "failing")], 429, "rate-limited"),
        ([], [away("a/0", "rate-limited"), away("a/1", "failing", None)], 429, "rate-limited"),
        ([RateLimited("p", retry_after_s=60)], [away("a/1", "failing")], 429, "rate-limited"),
        ([ProviderUnavailable("p")], [away("a/1", "failing")], 502, "all-failed"),
        ([AttemptTimedOut("p")], [away("a/1", "failing")], 502, "all-failed"),
        ([], [away("a/0", "credentials"), away("a/1", "quota")], 502, "all-failed"),
        ([], [away("a/0", "credentials")], 502, "credentials-rejected"),
        ([], [away("a/0", "credentials"), away("a/1", "failing")], 429, "rate-limited"),
        ([CredentialsRejected("p")], [away("a/1", "failing")], 429, "rate-limited"),
    ],
)
def test_those_left_alone_count_as_what_they_are(
    errors: list[ProviderError], left_alone: list[Condition], status: int, kind: str
) -> None:
    """Where waiting helps, the caller is told for how long; where only an operator can, not."""
    problem = problem_of(errors, [], left_alone, past_deadline=False, again_in_s=4.2)

    assert (problem.status, problem.type) == (status, kind)
    assert problem.headers["Retry-After"] == "5"
    assert f"{left_alone[0].deployment}: not asked ({left_alone[0].why}" in problem.message


def test_an_overload_says_when_to_come_back() -> None:
    problem = overloaded("the process is", 0.2)

    assert (problem.status, problem.type, problem.headers["Retry-After"]) == (429, "overloaded", "1")
