"""Extra calls stay in proportion to requests, whatever the order and the clock."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway.policies.budget import WINDOW_S, Budget, deposit, withdraw

RATIO, FLOOR = 0.2, 3.0
RATIOS, FLOORS = st.floats(0, 1), st.floats(0, 20)


def granted_at_once(budget: Budget, now: float, *, ratio: float, floor: float) -> int:
    """Return how many are granted without a pause."""
    granted = 0
    while (left := withdraw(budget, now, ratio=ratio, floor=floor)) is not None:
        budget, granted = left, granted + 1
    return granted


def test_a_quiet_gateway_may_still_retry() -> None:
    budget = Budget()
    for _ in range(3):
        left = withdraw(budget, 0.0, ratio=RATIO, floor=FLOOR)
        assert left is not None
        budget = left
    assert withdraw(budget, 0.0, ratio=RATIO, floor=FLOOR) is None
    assert withdraw(budget, WINDOW_S, ratio=RATIO, floor=FLOOR) is not None


@pytest.mark.parametrize("rate", [10, 200])
def test_in_an_outage_a_fifth_is_tried_again(rate: int) -> None:
    """Every request fails and wants a retry, for a minute."""
    budget, granted = Budget(), 0
    for at in range(60 * rate):
        budget = deposit(budget, at / rate)
        if left := withdraw(budget, at / rate, ratio=RATIO, floor=0.0):
            budget, granted = left, granted + 1

    assert 0.19 <= granted / (60 * rate) <= 0.2


def test_nothing_allowed_is_nothing() -> None:
    assert withdraw(deposit(Budget(), 0.0), 0.0, ratio=0.0, floor=0.0) is None


def test_a_clock_that_steps_back_ages_nothing() -> None:
    budget = deposit(Budget(at=100.0), 40.0)

    assert (budget.requests, budget.at) == (1.0, 100.0)


@pytest.mark.parametrize(("floor", "granted"), [(0, 0), (0.9, 0), (1, 1), (3, 3), (3.5, 3)])
def test_without_requests_the_floor_is_all_there_is(floor: float, granted: int) -> None:
    assert granted_at_once(Budget(), 5.0, ratio=RATIO, floor=floor) == granted


@pytest.mark.parametrize(("requests", "granted"), [(4, 0), (5, 1), (9, 1), (50, 10)])
def test_requests_earn_extras_in_proportion(requests: int, granted: int) -> None:
    budget = Budget()
    for _ in range(requests):
        budget = deposit(budget, 5.0)
    assert granted_at_once(budget, 5.0, ratio=RATIO, floor=0) == granted
    assert granted_at_once(budget, 5.0 + 20 * WINDOW_S, ratio=RATIO, floor=0) == 0  # those of long ago earn nothing


@pytest.mark.parametrize(("floor", "ratio", "after_s"), [(3, 0, 4.1), (2, 0, 7.0), (1, 0.2, 16.1), (1, 0.05, 30.0)])
def test_the_floor_comes_back_with_time(floor: int, ratio: float, after_s: float) -> None:
    """Of one alone what is left decays for long; the request that the next one is for makes up for it."""
    budget = Budget()
    for _ in range(floor):
        budget = withdraw(budget, 5.0, ratio=ratio, floor=floor) or budget
    soon, later = 5.0 + 0.9 * after_s, 5.0 + after_s
    assert withdraw(deposit(budget, soon), soon, ratio=ratio, floor=floor) is None
    assert withdraw(deposit(budget, later), later, ratio=ratio, floor=floor) is not None


@given(ratio=RATIOS, floor=FLOORS, times=st.lists(st.floats(-1e9, 1e9), max_size=40))
def test_no_clock_makes_a_count_negative_or_endless(ratio: float, floor: float, times: list[float]) -> None:
    budget = Budget()
    for now in times:
        budget = deposit(budget, now)
        budget = withdraw(budget, now, ratio=ratio, floor=floor) or budget
        assert 0 <= budget.extras <= ratio * budget.requests + floor + 1e-9
        assert 0 <= budget.requests <= len(times)
        assert math.isfinite(budget.at)


class AnyRun(RuleBasedStateMachine):
    """Requests and extras in any order, on a clock that stands, runs, or goes back by mistake."""

    @initialize(ratio=RATIOS, floor=FLOORS, began=st.floats(0, 1e6))
    def begin(self, ratio: float, floor: float, began: float) -> None:
        self.ratio, self.floor = ratio, floor
        self.began = self.now = self.latest = began
        self.budget = Budget(at=began)
        self.requests = self.granted = self.granted_now = 0

    @rule(seconds=st.floats(-5, 30) | st.floats(0, 0.1))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        if self.now > self.latest:
            self.latest, self.granted_now = self.now, 0

    @rule(count=st.integers(1, 30))
    def requests_come(self, count: int) -> None:
        for _ in range(count):
            self.budget = deposit(self.budget, self.now)
        self.requests += count

    @rule(count=st.integers(1, 30))
    def extras_are_wanted(self, count: int) -> None:
        for _ in range(count):
            left = withdraw(self.budget, self.now, ratio=self.ratio, floor=self.floor)
            if left is None:
                break
            self.budget = left
            self.granted += 1
            self.granted_now += 1

    @invariant()
    def the_promise_is_kept(self) -> None:
        elapsed_s = self.latest - self.began
        assert self.granted <= self.ratio * self.requests + self.floor * (1 + elapsed_s / WINDOW_S) + 1e-6

    @invariant()
    def in_an_instant_without_requests_the_floor_is_all_there_is(self) -> None:
        assert self.requests or self.granted_now <= self.floor

    @invariant()
    def counts_are_never_negative(self) -> None:
        assert 0 <= self.budget.requests <= self.requests
        assert 0 <= self.budget.extras <= self.ratio * self.budget.requests + self.floor + 1e-9


TestAnyRun = AnyRun.TestCase
