"""How fast is told from calls over audio of any length."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policies.pace import HALF_LIFE_S, MIN_SAMPLES, OVERHEAD_S, decayed, expected_s, faded, pace, quantile

PACES = st.floats(1e-6, 1e6)


def test_long_audio_does_not_look_slow_nor_short_audio() -> None:
    """A service that needs half a second, and a second for each minute of audio."""
    paces = [pace(0.5 + length_s / 60, length_s) for length_s in (1.0, 10.0, 60.0, 600.0, 3600.0)]

    assert max(paces) < 3 * min(paces)


@given(st.floats(0, 1e4), st.one_of(st.none(), st.floats(0, 1e5)))
def test_what_is_expected_is_the_inverse(seconds: float, duration_s: float | None) -> None:
    assert expected_s(pace(seconds, duration_s), duration_s) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("seconds", "duration_s"), [(1.0, 0.0), (1.0, None), (2.0, 10.0), (7.0, 60.0), (361.0, 3600.0)]
)
def test_a_pace_is_seconds_for_a_second_of_audio_and_overhead(seconds: float, duration_s: float | None) -> None:
    assert pace(seconds, duration_s) == pytest.approx(0.1)
    assert expected_s(0.1, duration_s) == pytest.approx(seconds)
    assert expected_s(0.1, None) == pytest.approx(0.1 * OVERHEAD_S)


def test_it_rises_at_once_and_falls_slowly() -> None:
    assert decayed(None, 0.1, idle_s=0.0) == 0.1
    assert decayed(0.1, 0.9, idle_s=0.0) == 0.9
    assert decayed(0.9, 0.1, idle_s=0.0) == pytest.approx(0.82)
    assert decayed(0.9, 0.1, idle_s=60.0) == pytest.approx(0.5)
    assert decayed(0.9, 0.1, idle_s=1e9) == pytest.approx(0.1)
    assert decayed(0.9, 0.1, idle_s=-5.0) == pytest.approx(0.82)
    assert decayed(0.9, 0.1, idle_s=math.inf) == pytest.approx(0.1)
    assert decayed(0.9, 0.1, idle_s=10.0, half_life_s=10.0) == pytest.approx(0.5)


def test_one_slow_call_is_forgotten_by_a_busy_deployment() -> None:
    """A hundred calls a second, one of them ten times as slow: half a second later the others count again."""
    mean = decayed(0.1, 1.0, idle_s=0.01)
    assert mean == 1.0
    for _ in range(50):
        mean = decayed(mean, 0.1, idle_s=0.01)
    assert mean < 0.11


@given(mean=PACES, value=PACES, idle_s=st.floats(-10, 1e6))
def test_the_mean_lies_between_what_it_was_and_what_came(mean: float, value: float, idle_s: float) -> None:
    after, tolerance = decayed(mean, value, idle_s=idle_s), 1e-9 * max(mean, value)
    assert value - tolerance <= after <= max(mean, value) + tolerance  # never better than the latest call


@given(mean=PACES, value=PACES, sooner_s=st.floats(0, 1e6), more_s=st.floats(0, 1e6))
def test_the_longer_ago_the_less_the_past_counts(mean: float, value: float, sooner_s: float, more_s: float) -> None:
    sooner = decayed(mean, value, idle_s=sooner_s)
    assert decayed(mean, value, idle_s=sooner_s + more_s) <= sooner * (1 + 1e-9)


@pytest.mark.parametrize(
    ("mean", "idle_s", "expected"),
    [
        (None, 100.0, None),
        (0.8, 0.0, 0.8),
        (0.8, -1.0, 0.8),
        (0.8, HALF_LIFE_S, 0.4),
        (0.8, 3 * HALF_LIFE_S, 0.1),
        (0.8, math.inf, 0.0),
    ],
)
def test_what_nobody_asks_looks_faster_with_time(mean: float | None, idle_s: float, expected: float | None) -> None:
    """Or one slow call would keep it from being asked for ever."""
    assert faded(mean, idle_s=idle_s) == (None if expected is None else pytest.approx(expected))


@given(st.lists(st.floats(0, 100), min_size=MIN_SAMPLES, max_size=200), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_a_quantile_is_one_of_them_and_bounds_its_part(recent: list[float], q: float) -> None:
    found = quantile(recent, q)

    assert found in recent
    assert found is not None
    assert sum(each <= found for each in recent) >= q * len(recent)
    assert sum(each < found for each in recent) <= q * len(recent)


@pytest.mark.parametrize(
    ("q", "expected"), [(0.0, 1.0), (0.01, 1.0), (0.5, 50.0), (0.55, 55.0), (0.95, 95.0), (0.99, 99.0), (1.0, 100.0)]
)
def test_quantiles_of_a_hundred(q: float, expected: float) -> None:
    """0.55 of 100 is 55, though the product of the floats is a little more."""
    assert quantile([float(each) for each in range(100, 0, -1)], q) == expected


def test_too_few_tell_nothing() -> None:
    assert quantile([1.0] * (MIN_SAMPLES - 1), 0.95) is None
    assert quantile([1.0] * MIN_SAMPLES, 0.95) == 1.0
