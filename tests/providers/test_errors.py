"""Why there is no transcript: two facts on each class, and one reading of a bare status."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers import errors
from providers.errors import ProviderError, Temporary, by_status

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS = [
    errors.JobRejected,
    errors.JobUnsupported,
    errors.CredentialsRejected,
    errors.QuotaExhausted,
    errors.RateLimited,
    errors.ProviderUnavailable,
    errors.AttemptTimedOut,
    errors.MalformedReply,
]
SPECIAL: list[type[ProviderError]] = [
    errors.FateUnknown,
    errors.Interrupted,
    errors.ReplyCutOff,
]  # of two of those above, and counted with them


@pytest.mark.parametrize(
    ("kind", "retryable", "failover"),
    [
        (errors.JobRejected, False, False),
        (errors.JobUnsupported, False, True),
        (errors.CredentialsRejected, False, True),
        (errors.QuotaExhausted, False, True),
        (errors.RateLimited, True, True),
        (errors.ProviderUnavailable, True, True),
        (errors.AttemptTimedOut, False, True),
        (errors.MalformedReply, False, True),
        (errors.FateUnknown, False, True),
        (errors.ReplyCutOff, False, True),
    ],
)
def test_dispatch_reads_two_facts(kind: type[ProviderError], *, retryable: bool, failover: bool) -> None:
    assert (kind.retryable, kind.failover) == (retryable, failover)


def test_these_are_all_and_each_has_a_word_of_its_own_for_metrics() -> None:
    assert set(descendants(ProviderError)) == {*KINDS, *SPECIAL, Temporary}
    assert {each.outcome for each in SPECIAL} <= {kind.outcome for kind in KINDS}
    assert len({kind.outcome for kind in KINDS}) == len(KINDS)


def descendants(kind: type[ProviderError]) -> Iterator[type[ProviderError]]:
    """Yield those of this package; whoever uses it may have its own."""
    for each in kind.__subclasses__():
        if each.__module__ == errors.__name__:
            yield each
        yield from descendants(each)


def test_the_message_names_provider_and_reason() -> None:
    error = errors.MalformedReply("acme", "a 200 without text")

    assert (str(error), error.provider, error.reason) == ("acme: a 200 without text", "acme", "a 200 without text")
    assert str(errors.MalformedReply("acme")) == "acme"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.JobUnsupported),
        (401, errors.CredentialsRejected),
        (402, errors.QuotaExhausted),
        (403, errors.CredentialsRejected),
        (404, errors.JobUnsupported),
        (405, errors.JobUnsupported),
        (408, errors.ProviderUnavailable),
        (409, errors.JobUnsupported),
        (413, errors.JobUnsupported),
        (415, errors.JobUnsupported),
        (418, errors.MalformedReply),
        (422, errors.JobUnsupported),
        (429, errors.RateLimited),
        (500, errors.ProviderUnavailable),
        (502, errors.ProviderUnavailable),
        (503, errors.ProviderUnavailable),
        (504, errors.ProviderUnavailable),
        (529, errors.ProviderUnavailable),
        (204, errors.MalformedReply),
        (302, errors.MalformedReply),
        (600, errors.MalformedReply),
    ],
)
def test_a_bare_status_has_a_name(status: int, kind: type[ProviderError]) -> None:
    error = by_status("acme", status, "why")

    assert type(error) is kind
    assert str(error) == "acme: why"


@pytest.mark.parametrize("status", [429, 408, 500, 503])
def test_what_passes_by_itself_says_when_to_come_back(status: int) -> None:
    passing = by_status("acme", status, "", retry_after_s=2.5)

    assert isinstance(passing, Temporary)
    assert passing.retry_after_s == 2.5
    assert type(passing)("acme").retry_after_s is None


@pytest.mark.parametrize("status", [400, 401, 402, 413, 418])
def test_what_does_not_pass_says_no_such_thing(status: int) -> None:
    assert not hasattr(by_status("acme", status, "", retry_after_s=2.5), "retry_after_s")


@given(st.integers())
def test_any_status_is_an_error_dispatch_knows(status: int) -> None:
    assert type(by_status("acme", status, "")) in KINDS
