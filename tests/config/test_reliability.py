"""What a route says of its strategy and its hedges."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from config.reliability import Strategy
from config.settings import Route, Target


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("off", None),
        (False, None),
        (None, None),
        ("p95", "p95"),
        ("p50", "p50"),
        ("2s", 2.0),
        ("250ms", 0.25),
        (3, 3.0),
    ],
)
def test_a_hedge_starts_after_a_quantile_or_a_time(written: object, meant: object) -> None:
    assert Route.model_validate({"targets": ["a/x"], "hedge_after": written}).hedge_after == meant


@pytest.mark.parametrize("written", ["p49", "p100", "p5", "soon", "0s", -1, True, []])
def test_anything_else_is_refused(written: object) -> None:
    with pytest.raises(ValidationError, match="hedge_after"):
        Route.model_validate({"targets": ["a/x"], "hedge_after": written})


def test_a_route_fails_over_in_order_unless_told() -> None:
    assert Route(targets=(Target(target="a/x"),)).strategy is Strategy.FAILOVER
    with pytest.raises(ValidationError, match="strategy"):
        Route.model_validate({"targets": ["a/x"], "strategy": "luck"})


def test_a_target_has_a_weight_a_limit_and_a_price() -> None:
    target = Target.model_validate({"target": "a/x", "weight": 3, "max_concurrent": 4, "usd_per_minute": 0.006})

    assert (target.weight, target.max_concurrent, target.usd_per_minute) == (3.0, 4, 0.006)
    target = Target.model_validate({"target": "a/x", "requests_per_minute": 60, "audio_seconds_per_minute": 600})
    assert (target.requests_per_minute, target.audio_seconds_per_minute) == (60, 600)
    nothing = ({"requests_per_minute": 0}, {"audio_seconds_per_minute": 0})
    for wrong in ({"weight": -1}, {"max_concurrent": 0}, {"usd_per_minute": -0.1}, *nothing):
        with pytest.raises(ValidationError):
            Target.model_validate({"target": "a/x", **wrong})
