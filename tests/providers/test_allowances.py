"""What is left of a provider's rate limits, as headers tell it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.allowances import allowances


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({}, []),
        ({"X-RateLimit-Remaining-Requests": "59", "X-RateLimit-Limit-Requests": "60"}, ["59 of 60 requests"]),
        ({"x-ratelimit-remaining": "599", "x-ratelimit-limit": "600"}, ["599 of 600 requests"]),
        ({"ratelimit-remaining": "4"}, ["4 requests"]),
        (
            {"x-ratelimit-remaining-tokens": "7", "x-ratelimit-remaining-audio-seconds": "7200.5"},
            ["7200.5 audio-seconds", "7 tokens"],
        ),
        ({"RateLimit": '"default";r=50;t=30, "day";r=9;t=80000'}, ["9 day", "50 default"]),
        ({"x-ratelimit-remaining-requests": "unlimited"}, []),
        ({"x-ratelimit-remaining-requests": "-1"}, []),  # Azure's way to say nothing (openai-dotnet#838)
        ({"x-ratelimit-reset-requests": "1"}, []),
    ],
)
def test_what_is_left_is_read(headers: dict[str, str], said: list[str]) -> None:
    assert [str(each) for each in allowances(headers)] == said


@given(st.dictionaries(st.sampled_from(["ratelimit", "x-ratelimit-remaining", "ratelimit-remaining-a"]), st.text()))
def test_no_header_is_too_strange(headers: dict[str, str]) -> None:
    assert all(each.left[0].isdecimal() for each in allowances(headers))
