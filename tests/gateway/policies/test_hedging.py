"""When a second attempt joins the race."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.policies.hedging import After, delay_s
from gateway.policies.pace import MIN_SAMPLES, pace

RECENT = [pace(1.0, 10.0)] * 95 + [pace(30.0, 10.0)] * 5


def test_a_fixed_delay_needs_no_history() -> None:
    assert delay_s(After(seconds=2.5), [], None) == 2.5


@pytest.mark.parametrize(("q", "expected_s"), [(0.5, 1.0), (0.95, 1.0), (0.99, 30.0)])
def test_a_quantile_is_of_audio_that_long(q: float, expected_s: float) -> None:
    assert delay_s(After(quantile=q), RECENT, 10.0) == pytest.approx(expected_s)
    assert delay_s(After(quantile=q), RECENT, 110.0) == pytest.approx(6 * expected_s)


@pytest.mark.parametrize("known", [0, 1, MIN_SAMPLES - 1])
def test_of_a_stranger_nothing_is_known(known: int) -> None:
    assert delay_s(After(quantile=0.95), RECENT[:known], 10.0) is None


def test_where_the_length_is_not_known_it_is_the_shortest() -> None:
    assert delay_s(After(quantile=0.5), RECENT, None) == delay_s(After(quantile=0.5), RECENT, 0.0)


@settings(deadline=None)
@given(
    durations=st.lists(st.floats(0.1, 7200), min_size=MIN_SAMPLES, max_size=80),
    q=st.integers(50, 99).map(lambda each: each / 100),
)
def test_few_of_the_calls_it_is_measured_by_would_have_been_hedged(durations: list[float], q: float) -> None:
    """Calls of a second and a tenth of the audio, some of them several times that: no more than the quantile leaves."""
    took = [(1 + each / 10) * (1 + at % 7) for at, each in enumerate(durations)]
    calls = list(zip(took, durations, strict=True))
    paces = [pace(seconds, each) for seconds, each in calls]
    hedged = sum(seconds > (delay_s(After(quantile=q), paces, each) or 0.0) * (1 + 1e-9) for seconds, each in calls)
    assert hedged <= (1 - q) * len(durations) + 1e-6


@pytest.mark.parametrize("given_", [{}, {"quantile": 0.95, "seconds": 1.0}])
def test_a_quantile_or_seconds(given_: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="exactly one"):
        After(**given_)
