"""Never more than a provider allows in any minute, and all of that at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policies.allowance import Minute, after, due_at


def test_all_of_it_at_once_and_then_none_for_a_minute() -> None:
    minute = Minute(quota=3)
    for _ in range(3):
        assert due_at(minute, 100.0) is None
        minute = after(minute, 100.0, 1)
    due = due_at(minute, 100.0)
    assert due is not None
    assert 160 <= due <= 166
    assert due_at(minute, due - 0.01) == due
    assert due_at(minute, due) is None


def test_long_audio_is_waited_out_once() -> None:
    minute = after(Minute(quota=60), 0.0, 3600)
    assert due_at(minute, 1.0) == 66.0
    assert due_at(minute, 66.0) is None


def test_what_comes_back_is_as_much_as_was_taken_then() -> None:
    minute = after(after(Minute(quota=10), 0.0, 4), 30.0, 6)
    assert due_at(minute, 31.0) == 66.0
    minute = after(minute, 66.0, 4)
    assert due_at(minute, 66.0) == 96.0


@given(
    steps=st.lists(st.tuples(st.floats(0, 30), st.floats(0, 5)), max_size=80),
    quota=st.floats(0.5, 20),
    start=st.floats(0, 1e6),
)
def test_no_minute_has_more_than_the_quota_and_the_last_call(
    steps: list[tuple[float, float]], quota: float, start: float
) -> None:
    minute, now = Minute(quota=quota), start
    calls: list[tuple[float, float]] = []
    for pause_s, units in steps:
        now += pause_s
        due = due_at(minute, now)
        if due is not None:
            assert now < due <= now + 66
            assert due_at(minute, due) is None
            continue
        before = sum(each for at, each in calls if at > now - 60)
        assert before < quota + 1e-6
        minute = after(minute, now, units)
        calls.append((now, units))
        assert len(minute.taken) <= 11


@pytest.mark.parametrize("now", [0.0, 500.0])
def test_a_clock_that_steps_back_holds_nobody_up(now: float) -> None:
    assert due_at(after(Minute(quota=1), 1000.0, 1), now) is None
