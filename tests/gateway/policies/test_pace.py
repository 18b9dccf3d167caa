"""How fast is told from calls over audio of any length."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policies.pace import MIN_SAMPLES, decayed, expected_s, pace, quantile


def test_long_audio_does_not_look_slow_nor_short_audio() -> None:
    """A service that needs half a second, and a second for each minute of audio."""
    paces = [pace(0.5 + length_s / 60, length_s) for length_s in (1.0, 10.0, 60.0, 600.0, 3600.0)]

    assert max(paces) < 3 * min(paces)


@given(st.floats(0, 1e4), st.one_of(st.none(), st.floats(0, 1e5)))
def test_what_is_expected_is_the_inverse(seconds: float, duration_s: float | None) -> None:
    assert expected_s(pace(seconds, duration_s), duration_s) == pytest.approx(seconds)


def test_it_rises_at_once_and_falls_slowly() -> None:
    assert decayed(None, 0.1, idle_s=0.0) == 0.1
    assert decayed(0.1, 0.9, idle_s=0.0) == 0.9
    assert decayed(0.9, 0.1, idle_s=0.0) == pytest.approx(0.82)
    assert decayed(0.9, 0.1, idle_s=60.0) == pytest.approx(0.5)
    assert decayed(0.9, 0.1, idle_s=1e9) == pytest.approx(0.1)
    assert decayed(0.9, 0.1, idle_s=-5.0) == pytest.approx(0.82)


@given(st.lists(st.floats(0, 100), min_size=MIN_SAMPLES, max_size=200), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_a_quantile_is_one_of_them_and_bounds_its_part(recent: list[float], q: float) -> None:
    found = quantile(recent, q)

    assert found in recent
    assert found is not None
    assert sum(each <= found for each in recent) >= q * len(recent)
    assert sum(each < found for each in recent) <= q * len(recent)


def test_too_few_tell_nothing() -> None:
    assert quantile([1.0] * (MIN_SAMPLES - 1), 0.95) is None
