"""What callers read of their limits, as the draft writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from config.limits import Limits
from gateway.api.ratelimit import headers_of
from gateway.policies.limits import Scope, budget_standing, rate_standing, rules_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.policies.limits import Standing

EVERYTHING = Limits(
    requests_per_minute=600,
    audio_seconds_per_minute=100,
    audio_seconds_per_hour=1000,
    audio_seconds_per_day=10_000,
    concurrent=2,
    usd_per_day=2.5,
    usd_per_month=30,
)
MIDNIGHT = 1_798_761_600.0  # a first of January


def standings(scope: Scope, limits: Limits, *, ahead_s: float = 0.0, usd: float = 0.0) -> tuple[Standing, ...]:
    of = rules_of(scope, "a", limits)
    return (
        *(rate_standing(each, ahead_s) for each in of.rates),
        *(budget_standing(each, usd, MIDNIGHT) for each in of.budgets),
    )


def policies(of: Iterable[Standing]) -> str:
    return headers_of(of)["RateLimit-Policy"]


def levels(of: Iterable[Standing]) -> str:
    return headers_of(of)["RateLimit"]


def test_every_policy() -> None:
    assert policies(standings(Scope.KEY, EVERYTHING)) == (
        '"requests";q=600;w=60, '
        '"audio-seconds-per-minute";q=100;w=60;qu="audio-seconds", '
        '"audio-seconds-per-hour";q=1000;w=3600;qu="audio-seconds", '
        '"audio-seconds-per-day";q=10000;w=86400;qu="audio-seconds", '
        '"budget-per-day";q=250;w=86400;qu="usd-cents", '
        '"budget-per-month";q=3000;w=2678400;qu="usd-cents"'
    )


@pytest.mark.parametrize(
    ("ahead_s", "field"),
    [
        (0.0, '"requests";r=600;t=0'),
        (0.1, '"requests";r=599;t=1'),
        (12.0, '"requests";r=480;t=12'),
        (12.05, '"requests";r=479;t=13'),
        (3600.0, '"requests";r=0;t=3600'),
    ],
)
def test_what_is_left(ahead_s: float, field: str) -> None:
    assert levels(standings(Scope.KEY, Limits(requests_per_minute=600), ahead_s=ahead_s)) == field


def test_money_is_told_in_cents_and_never_rounded_up() -> None:
    told_ = levels(standings(Scope.KEY, Limits(usd_per_day=2.5), usd=1.001))
    assert told_ == '"budget-per-day";r=149;t=86400'


def test_no_cent_is_lost_to_binary_fractions() -> None:
    """100 * 1.15 is a little less than 115."""
    of = standings(Scope.KEY, Limits(usd_per_day=1.15))
    assert policies(of).startswith('"budget-per-day";q=115;')
    assert levels(of) == '"budget-per-day";r=115;t=86400'


def test_the_names_say_whose_limit_it_is() -> None:
    limits = Limits(requests_per_minute=1, audio_seconds_per_day=2)
    assert levels(standings(Scope.MODEL, limits)) == ('"model-requests";r=1;t=0, "model-audio-seconds-per-day";r=2;t=0')
    assert levels(standings(Scope.GATEWAY, limits)).startswith('"gateway-requests";r=1;t=0, "gateway-audio')


def test_what_all_together_may_spend_is_told_to_nobody() -> None:
    everybody = [*standings(Scope.GATEWAY, EVERYTHING), *standings(Scope.MODEL, EVERYTHING)]
    assert "budget" not in policies(everybody)
    assert "budget" in policies(standings(Scope.KEY, Limits(usd_per_day=1)))
    assert headers_of(standings(Scope.GATEWAY, Limits(usd_per_day=1))) == {}
