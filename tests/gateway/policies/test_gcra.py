"""A rate is kept whatever the order, the costs and the clock; what was not used is given back, and no more."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.policies.gcra import Admitted, Refused, corrected, decide, left

AT_REST = 0.0
INTERVALS, BURSTS = st.floats(1e-3, 100), st.floats(1, 1000)
COSTS, NOWS = st.floats(0, 1000), st.floats(0, 2e9)


def admitted_at_once(tat: float, now: float, *, interval_s: float, burst: float) -> int:
    count = 0
    while isinstance(decided := decide(tat, now, interval_s=interval_s, burst=burst), Admitted):
        tat, count = decided.next_tat, count + 1
    return count


@pytest.mark.parametrize(("quota", "window_s"), [(1, 60), (7, 60), (600, 60), (36_000, 3600), (1000, 86_400)])
@pytest.mark.parametrize("now", [0.0, 12_345.678, 1.8e9])
def test_a_whole_quota_at_once_and_not_one_more(quota: int, window_s: float, now: float) -> None:
    assert admitted_at_once(AT_REST, now, interval_s=window_s / quota, burst=quota) == quota


def test_then_one_each_interval() -> None:
    tat, admitted = AT_REST, 0
    for tick in range(6000):  # a minute, a hundred times a second
        decided = decide(tat, 100 + tick / 100, interval_s=0.5, burst=10)
        if isinstance(decided, Admitted):
            tat, admitted = decided.next_tat, admitted + 1
    assert admitted == 10 + 120


def test_what_costs_more_than_the_burst_is_admitted_and_leaves_debt() -> None:
    """Ten minutes of audio where a minute is allowed at once: nine more must pass before anything else."""
    decided = decide(AT_REST, 50.0, interval_s=1.0, burst=60, cost=600)
    assert decided == Admitted(next_tat=650.0)
    assert decide(650.0, 50.0, interval_s=1.0, burst=60) == Refused(retry_after_s=541.0)
    assert left(650.0, 50.0, interval_s=1.0, burst=60) == 0
    assert isinstance(decide(650.0, 591.0, interval_s=1.0, burst=60), Admitted)


def test_to_ask_costs_nothing() -> None:
    assert decide(70.0, 50.0, interval_s=1.0, burst=60, cost=0) == Admitted(next_tat=70.0)


def test_what_was_not_used_is_given_back() -> None:
    assert corrected(650.0, 50.0, interval_s=1.0, units=-600) == 50.0
    assert corrected(110.0, 50.0, interval_s=1.0, units=-20) == 90.0
    assert corrected(90.0, 50.0, interval_s=1.0, units=5) == 95.0


@given(tat=NOWS, now=NOWS, interval_s=INTERVALS, burst=BURSTS)
def test_who_is_refused_is_admitted_after_the_time_it_is_told(
    tat: float, now: float, interval_s: float, burst: float
) -> None:
    decided = decide(tat, now, interval_s=interval_s, burst=burst)
    if isinstance(decided, Refused):
        assert decided.retry_after_s > 0
        assert left(tat, now, interval_s=interval_s, burst=burst) < 1
        again = decide(tat, now + decided.retry_after_s, interval_s=interval_s, burst=burst)
        assert isinstance(again, Admitted)


@given(now=NOWS, interval_s=INTERVALS, burst=BURSTS, cost=COSTS, later_s=st.floats(0, 1e5))
def test_giving_back_never_leaves_less_than_nothing_was_taken(
    now: float, interval_s: float, burst: float, cost: float, later_s: float
) -> None:
    decided = decide(AT_REST, now, interval_s=interval_s, burst=burst, cost=cost)
    assert isinstance(decided, Admitted)
    tat = corrected(decided.next_tat, now + later_s, interval_s=interval_s, units=-cost)
    assert tat >= now + later_s, "no credit is made of it"
    assert left(tat, now + later_s, interval_s=interval_s, burst=burst) == pytest.approx(burst, abs=1e-3)


@given(now=NOWS, interval_s=INTERVALS, burst=BURSTS, back_s=st.floats(0, 7200))
def test_a_clock_that_steps_back_refuses_for_no_longer_than_it_stepped(
    now: float, interval_s: float, burst: float, back_s: float
) -> None:
    assume(now - back_s >= 0)
    decided = decide(AT_REST, now, interval_s=interval_s, burst=burst)
    assert isinstance(decided, Admitted)
    again = decide(decided.next_tat, now - back_s, interval_s=interval_s, burst=burst)
    assert isinstance(again, Admitted) or again.retry_after_s <= back_s + interval_s + 1e-3


class AnyUse(RuleBasedStateMachine):
    """Requests of any cost, some given back, beside a plain record of what was taken."""

    @initialize(interval_s=INTERVALS, burst=BURSTS, now=st.floats(0, 1e6))
    def start(self, interval_s: float, burst: float, now: float) -> None:
        self.interval_s, self.burst, self.now, self.started = interval_s, burst, now, now
        self.tat = AT_REST
        self.used = 0.0  # taken and not given back
        self.dearest = 0.0
        self.out: list[float] = []  # costs of those that may still be given back

    @rule(seconds=st.just(0.0) | st.floats(0, 1) | st.floats(0, 1000))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(cost=st.just(1.0) | COSTS)
    def somebody_asks(self, cost: float) -> None:
        decided = decide(self.tat, self.now, interval_s=self.interval_s, burst=self.burst, cost=cost)
        if isinstance(decided, Admitted):
            self.tat = decided.next_tat
            self.used += cost
            self.dearest = max(self.dearest, cost)
            self.out.append(cost)
        else:
            assert left(self.tat, self.now, interval_s=self.interval_s, burst=self.burst) < 1

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def one_is_given_back(self, data: st.DataObject) -> None:
        cost = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        self.tat = corrected(self.tat, self.now, interval_s=self.interval_s, units=-cost)
        self.used -= cost

    @precondition(lambda self: self.out)
    @rule(more=st.floats(0, 10))
    def one_used_more_than_it_took(self, more: float) -> None:
        self.tat = corrected(self.tat, self.now, interval_s=self.interval_s, units=more)
        self.used += more
        self.dearest += more

    @invariant()
    def no_more_is_used_than_the_burst_the_rate_and_one_request(self) -> None:
        elapsed = (self.now - self.started) / self.interval_s
        assert self.used <= self.burst - 0.5 + elapsed + self.dearest + 1e-2

    @invariant()
    def whoever_waits_is_served(self) -> None:
        later = max(self.now, self.tat)
        assert isinstance(decide(self.tat, later, interval_s=self.interval_s, burst=self.burst), Admitted)

    @invariant()
    def at_rest_it_may_be_forgotten(self) -> None:
        if self.tat <= self.now:
            known = decide(self.tat, self.now, interval_s=self.interval_s, burst=self.burst)
            assert known == decide(AT_REST, self.now, interval_s=self.interval_s, burst=self.burst)


TestAnyUse = AnyUse.TestCase
