"""Limits in memory: all or nothing, as they are corrected, and never more counters than there may be."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.limits import Limits
from gateway.policies.limits import (
    Correction,
    Demand,
    Denied,
    Granted,
    Kind,
    Rules,
    Scope,
    corrected,
    part_of,
    rules_of,
)
from gateway.stores.limits_memory import MemoryLimits

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC).timestamp()


class Clocks:
    """One that never steps back, and the wall's."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def wall(self) -> float:
        return NOON + self.now - 1000


@pytest.fixture
def clock() -> Clocks:
    return Clocks()


@pytest.fixture
def store(clock: Clocks) -> MemoryLimits:
    return MemoryLimits(clock, clock.wall)


def rules(name: str = "newsroom", **limits: float) -> Rules:
    return rules_of(Scope.KEY, name, Limits.model_validate(limits))


def demand(of: Rules, *, audio_s: float = 0.0, usd: float = 0.0) -> Demand:
    return Demand(rules=of, requests=1, audio_s=audio_s, usd=usd, places=of.places)


def taken(store: MemoryLimits, asked: Demand) -> Granted:
    granted = store.take_now(asked)
    assert isinstance(granted, Granted)
    return granted


def denied(store: MemoryLimits, asked: Demand) -> Denied:
    refused = store.take_now(asked)
    assert isinstance(refused, Denied)
    return refused


def test_a_minutes_requests_and_no_more(store: MemoryLimits, clock: Clocks) -> None:
    asked = demand(rules(requests_per_minute=3))
    standings = [taken(store, asked).levels.standings()[0] for _ in range(3)]
    assert [each.left for each in standings] == pytest.approx([2, 1, 0])
    assert [each.reset_s for each in standings] == pytest.approx([20, 40, 60])
    refused = denied(store, asked)
    assert refused.rule.words == "3 requests per minute"
    assert refused.retry_after_s == pytest.approx(20)
    clock.now += 20
    taken(store, asked)
    denied(store, asked)


def test_what_one_rule_refuses_is_taken_from_none(store: MemoryLimits) -> None:
    of = rules(requests_per_minute=10, audio_seconds_per_minute=60, concurrent=5, usd_per_day=1)
    taken(store, demand(of, audio_s=100, usd=0.1))
    refused = denied(store, demand(of, audio_s=1, usd=0.1))
    assert refused.rule.kind is Kind.AUDIO
    requests, audio, usd = refused.levels.standings()
    assert [requests.left, audio.left, usd.left] == pytest.approx([9, 0, 0.9])


def test_it_is_told_of_what_takes_longest_to_mend(store: MemoryLimits) -> None:
    of = rules(requests_per_minute=1, usd_per_month=1)
    taken(store, demand(of, usd=1))
    refused = denied(store, demand(of, usd=1))
    assert refused.rule.kind is Kind.USD
    assert refused.retry_after_s == pytest.approx(4.5 * 86_400)


def test_places_come_back(store: MemoryLimits) -> None:
    asked = demand(rules(concurrent=2))
    first, _ = taken(store, asked), taken(store, asked)
    assert denied(store, asked).rule.kind is Kind.CONCURRENT
    first.correct(Correction(places=asked.places))
    taken(store, asked)
    denied(store, asked)


def test_what_was_not_used_is_corrected(store: MemoryLimits) -> None:
    of = rules(audio_seconds_per_hour=3600, usd_per_day=1)
    asked = demand(of, audio_s=3600, usd=0.6)
    granted = taken(store, asked)
    denied(store, demand(of, audio_s=1))
    assert [each.left for each in granted.levels.standings(-3600, -0.5)] == pytest.approx([3600, 0.9])
    granted.correct(corrected(asked, granted, audio_s=-3600, usd=-0.5))
    audio, usd = taken(store, demand(of)).levels.standings()
    assert [audio.left, usd.left] == pytest.approx([3600, 0.9])


def test_an_estimate_of_yesterday_is_no_credit_today(store: MemoryLimits, clock: Clocks) -> None:
    of = rules(usd_per_day=1)
    asked = demand(of, usd=1)
    granted = taken(store, asked)
    clock.now += 12 * 3600
    taken(store, demand(of, usd=0.5))
    granted.correct(corrected(asked, granted, usd=-1))
    assert taken(store, demand(of)).levels.standings()[0].left == 0.5


def test_what_is_at_rest_is_forgotten(store: MemoryLimits, clock: Clocks) -> None:
    for n in range(100):
        asked = demand(rules(f"key-{n}", requests_per_minute=60, concurrent=1, usd_per_day=1))
        taken(store, asked).correct(Correction(places=asked.places))
    assert len(store) == 200
    clock.now += 32 * 86_400
    for _ in range(51):
        taken(store, demand(rules(requests_per_minute=6000)))
    assert len(store) <= 2


def test_there_are_never_more_counters_than_may_be(clock: Clocks) -> None:
    store = MemoryLimits(clock, clock.wall, most=10)
    for n in range(1000):
        taken(store, demand(rules(f"key-{n}", requests_per_minute=1, usd_per_month=1), usd=1))
    assert len(store) == 20
    denied(store, demand(rules("key-999", requests_per_minute=1)))
    taken(store, demand(rules("key-0", requests_per_minute=1)))


@given(quota=st.integers(1, 5000), processes=st.integers(1, 64))
def test_parts_keep_the_whole(quota: int, processes: int) -> None:
    """Unless there are more processes than there is to share: each has one at least."""
    of = rules(requests_per_minute=quota, concurrent=quota, usd_per_day=quota)
    part = part_of(demand(of), processes)
    assert part.rules.rates[0].quota * processes <= max(quota, processes) * (1 + 1e-9)
    assert part.places[0].count * processes <= max(quota, processes)
    assert part.rules.budgets[0].usd * processes == pytest.approx(quota)
    assert part.places[0].count >= 1
