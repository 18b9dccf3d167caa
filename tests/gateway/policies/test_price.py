"""What audio costs, as providers bill it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policies.price import cost_usd


@pytest.mark.parametrize(
    ("duration_s", "minimum_s", "step_s", "billed_s"),
    [
        (60.0, 0, 0, 60.0),
        (13.69, 0, 0, 13.69),
        (3.0, 10, 0, 10.0),  # Groq
        (11.0, 10, 0, 11.0),
        (13.2, 0, 1, 14.0),  # by the second, begun ones whole
        (13.0, 0, 1, 13.0),
        (60.0 + 1e-12, 0, 1, 60.0),  # a sum of floats is no second begun
        (0.1 * 3 / 0.1 * 10, 0, 15, 30.0),
        (31.0, 0, 15, 45.0),
        (1.0, 15, 15, 15.0),
        (0.0, 0, 1, 0.0),
    ],
)
def test_the_bill(duration_s: float, minimum_s: float, step_s: float, billed_s: float) -> None:
    assert cost_usd(0.006, duration_s, minimum_s=minimum_s, step_s=step_s) == pytest.approx(billed_s / 60 * 0.006)


@pytest.mark.parametrize(("usd_per_minute", "duration_s"), [(None, 60.0), (0.006, None), (None, None)])
def test_what_is_not_known_has_no_price(usd_per_minute: float | None, duration_s: float | None) -> None:
    assert cost_usd(usd_per_minute, duration_s, minimum_s=10, step_s=1) is None


def test_free_is_a_price() -> None:
    assert cost_usd(0.0, 60.0) == 0.0


def test_a_call_may_cost_something_whatever_its_length() -> None:
    assert cost_usd(0.006, 30.0, usd_per_request=0.01) == pytest.approx(0.013)
    assert cost_usd(0.0, None, usd_per_request=0.01) == 0.01
    assert cost_usd(0.006, None, usd_per_request=0.01) is None


@given(duration_s=st.floats(0, 1e5), minimum_s=st.floats(0, 100), step_s=st.just(0.0) | st.floats(0.001, 100))
def test_no_less_than_exactly_and_no_more_than_a_step(duration_s: float, minimum_s: float, step_s: float) -> None:
    """At 60 dollars a minute a dollar is a second."""
    billed_s = cost_usd(60.0, duration_s, minimum_s=minimum_s, step_s=step_s)
    exact_s = max(duration_s, minimum_s)
    assert billed_s is not None
    assert exact_s - 1e-6 * step_s - 1e-6 <= billed_s <= exact_s + step_s + 1e-6


@given(whole=st.integers(0, 100_000), step_s=st.sampled_from([0.001, 0.1, 1.0, 6.0, 15.0]))
def test_whole_steps_are_billed_as_they_are(whole: int, step_s: float) -> None:
    """Although a length that comes of samples and a rate is a hair off."""
    for duration_s in (whole * step_s, whole * step_s * (1 + 1e-12)):
        assert cost_usd(60.0, duration_s, step_s=step_s) == pytest.approx(whole * step_s)
