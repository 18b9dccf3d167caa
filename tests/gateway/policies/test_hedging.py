"""When a second attempt joins the race."""

from __future__ import annotations

import pytest

from gateway.policies.hedging import After, delay_s
from gateway.policies.pace import pace

RECENT = [pace(1.0, 10.0)] * 95 + [pace(30.0, 10.0)] * 5


def test_a_fixed_delay_needs_no_history() -> None:
    assert delay_s(After(seconds=2.5), [], None) == 2.5


@pytest.mark.parametrize(("q", "expected_s"), [(0.5, 1.0), (0.95, 1.0), (0.99, 30.0)])
def test_a_quantile_is_of_audio_that_long(q: float, expected_s: float) -> None:
    assert delay_s(After(quantile=q), RECENT, 10.0) == pytest.approx(expected_s)
    assert delay_s(After(quantile=q), RECENT, 110.0) == pytest.approx(6 * expected_s)


def test_of_a_stranger_nothing_is_known() -> None:
    assert delay_s(After(quantile=0.95), RECENT[:5], 10.0) is None
