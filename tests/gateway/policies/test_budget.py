"""Extra calls stay in proportion to requests, whatever the order and the clock."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway.policies.budget import WINDOW_S, Budget, deposit, withdraw

RATIO, FLOOR = 0.2, 3.0


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


class AnyRun(RuleBasedStateMachine):
    """Requests and retries in any order, on a clock that stands, runs, or goes back by mistake."""

    def __init__(self) -> None:
        super().__init__()
        self.budget = Budget()
        self.now = self.latest = 0.0
        self.requests = self.granted = 0

    @rule(seconds=st.floats(-5, 30))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.latest = max(self.latest, self.now)

    @rule(count=st.integers(1, 30))
    def requests_come(self, count: int) -> None:
        for _ in range(count):
            self.budget = deposit(self.budget, self.now)
        self.requests += count

    @rule(count=st.integers(1, 30))
    def retries_are_wanted(self, count: int) -> None:
        for _ in range(count):
            left = withdraw(self.budget, self.now, ratio=RATIO, floor=FLOOR)
            if left is None:
                break
            self.budget, self.granted = left, self.granted + 1

    @invariant()
    def the_promise_is_kept(self) -> None:
        assert self.granted <= RATIO * self.requests + FLOOR * (1 + self.latest / WINDOW_S) + 1e-6

    @invariant()
    def counts_are_never_negative(self) -> None:
        assert self.budget.requests >= 0
        assert 0 <= self.budget.extras <= RATIO * self.budget.requests + FLOOR + 1e-9


TestAnyRun = AnyRun.TestCase
