"""Request directives of Cache-Control, as RFC 9111 has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policies.cache_control import ANY, CacheControl, parse


@pytest.mark.parametrize(
    ("header", "meant"),
    [
        ("", ANY),
        ("no-cache", CacheControl(no_cache=True)),
        ("No-Store", CacheControl(no_store=True)),
        ("only-if-cached", CacheControl(only_if_cached=True)),
        ("max-age=60", CacheControl(max_age_s=60.0)),
        ('max-age="60"', CacheControl(max_age_s=60.0)),
        (" no-cache ,max-age=0", CacheControl(no_cache=True, max_age_s=0.0)),
        ("max-age=60, max-age=5", CacheControl(max_age_s=5.0)),  # the stricter one
        ("max-age=99999999999999999999", CacheControl(max_age_s=2.0**31)),
        ("max-age=soon", CacheControl(max_age_s=0.0)),
        ("max-age=-1", CacheControl(max_age_s=0.0)),
        ("max-age=٣", CacheControl(max_age_s=0.0)),
        ("max-age", CacheControl(max_age_s=0.0)),
        ("no-transform, stale-if-error=60, x", ANY),
        ('x="no-store, no-cache"', ANY),  # inside quotes nothing is a directive
        (",, ,", ANY),
        ("no-cachet", ANY),
    ],
)
def test_what_is_asked_for(header: str, meant: CacheControl) -> None:
    assert parse(header) == meant


@given(st.text() | st.lists(st.sampled_from(["no-cache", "max-age", "=", '"', ",", " ", "1"])).map("".join))
def test_any_header_means_something(header: str) -> None:
    """However broken, it is read, and no age is below zero."""
    assert (parse(header).max_age_s or 0.0) >= 0.0


@pytest.mark.parametrize(("max_age_s", "fresh_s"), [(None, 100.0), (50.0, 50.0), (200.0, 100.0), (0.0, 0.0)])
def test_an_answer_is_young_enough_for_its_keeper_and_its_caller(max_age_s: float | None, fresh_s: float) -> None:
    assert CacheControl(max_age_s=max_age_s).fresh_s(ttl_s=100.0) == fresh_s


def test_stale_is_for_those_who_name_no_age() -> None:
    assert ANY.accepts_stale
    assert not CacheControl(max_age_s=1e6).accepts_stale
    assert not CacheControl(no_cache=True).accepts_stale
