"""What audio costs, as providers bill it."""

from __future__ import annotations

import pytest

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


def test_what_is_not_known_has_no_price() -> None:
    assert cost_usd(0.006, None) is None


def test_free_is_a_price() -> None:
    assert cost_usd(0.0, 60.0) == 0.0
