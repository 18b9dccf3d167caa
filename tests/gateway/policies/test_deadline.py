"""Until when, for a job and for each of its attempts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policies.deadline import allowed_s, lowered, share


@pytest.mark.parametrize(("length_s", "expected_s"), [(0.0, 10.0), (60.0, 40.0), (1e6, 100.0)])
def test_time_grows_with_the_audio_up_to_a_limit(length_s: float, expected_s: float) -> None:
    assert allowed_s(10.0, 0.5, 100.0, length_s) == expected_s


@pytest.mark.parametrize(("asked_s", "deadline"), [(None, 110.0), (30.0, 40.0), (100.0, 110.0), (1e9, 110.0)])
def test_a_caller_can_lower_a_deadline_only(asked_s: float | None, deadline: float) -> None:
    assert lowered(110.0, 10.0, asked_s) == deadline


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.integers(1, 8))
def test_an_attempt_that_hangs_leaves_the_next_its_turn(now: float, left_s: float, others: int) -> None:
    """Each takes half of what the one before left; the last takes all."""
    deadline = now + left_s
    for _ in range(others):
        until = share(now, deadline, is_last=False)
        assert now <= until <= deadline
        assert until - now == pytest.approx((deadline - now) / 2, abs=1e-6)
        now = until
    assert share(now, deadline, is_last=True) == deadline


@given(deadline=st.floats(-1e6, 1e6), now=st.floats(-1e6, 1e6), asked_s=st.none() | st.floats())
def test_a_caller_never_raises_it(deadline: float, now: float, asked_s: float | None) -> None:
    """Not even with a number that is none."""
    assert lowered(deadline, now, asked_s) <= deadline


@given(late_s=st.floats(0, 100), is_last=st.booleans())
def test_past_the_deadline_there_is_no_time(late_s: float, is_last: bool) -> None:  # noqa: FBT001 - Hypothesis passes it
    assert share(160.0 + late_s, 160.0, is_last=is_last) <= 160.0 + late_s
