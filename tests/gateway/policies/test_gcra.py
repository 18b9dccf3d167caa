"""A rate is kept whatever the order, the costs and the clock; what was not used is given back, and no more."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from gateway.policies.gcra import Pace, after, left, wait_s

AT_REST = 0.0
QUOTAS, INTERVALS = st.floats(1, 1000), st.floats(1e-3, 100)
PACES = st.builds(lambda quota, interval_s: Pace(quota=quota, window_s=quota * interval_s), QUOTAS, INTERVALS)
COSTS, NOWS = st.floats(0, 1000), st.floats(0, 2e9)
SECONDLY = Pace(quota=60, window_s=60)


def is_refused(tat: float, now: float, pace: Pace) -> bool:
    return tat - now > pace.most_ahead_s


def taken(tat: float, now: float, pace: Pace, units: float) -> float:
    """Return the next tat, as a store keeps it: on the clock of `now`."""
    return now + after(tat - now, units, pace)


def admitted_at_once(tat: float, now: float, pace: Pace) -> int:
    count = 0
    while not is_refused(tat, now, pace):
        tat, count = taken(tat, now, pace, 1), count + 1
    return count


@pytest.mark.parametrize(("quota", "window_s"), [(1, 60), (7, 60), (600, 60), (36_000, 3600), (1000, 86_400)])
@pytest.mark.parametrize("now", [0.0, 12_345.678, 1.8e9])
def test_a_whole_quota_at_once_and_not_one_more(quota: int, window_s: float, now: float) -> None:
    assert admitted_at_once(AT_REST, now, Pace(quota=quota, window_s=window_s)) == quota


def test_then_one_each_interval() -> None:
    tat, admitted, pace = AT_REST, 0, Pace(quota=10, window_s=5)
    for tick in range(6000):  # a minute, a hundred times a second
        now = 100 + tick / 100
        if not is_refused(tat, now, pace):
            tat, admitted = taken(tat, now, pace, 1), admitted + 1
    assert admitted == 10 + 120


def test_what_costs_more_than_the_burst_is_admitted_and_leaves_debt() -> None:
    """Ten minutes of audio where a minute is allowed at once: nine more must pass before anything else."""
    tat = taken(AT_REST, 0.0, SECONDLY, 600)
    assert tat == 600
    assert is_refused(tat, 0.0, SECONDLY)
    assert wait_s(tat, SECONDLY) == 541
    assert left(tat, SECONDLY) == 0
    assert not is_refused(tat, 541.0, SECONDLY)


def test_to_ask_costs_nothing() -> None:
    assert after(20, 0, SECONDLY) == 20


def test_what_was_not_used_is_given_back() -> None:
    assert after(600, -600, SECONDLY) == 0
    assert after(60, -20, SECONDLY) == 40
    assert after(40, 5, SECONDLY) == 45


def test_another_quota_is_another_pace() -> None:
    """A part of a limit is a copy of it with less: what follows from the quota is worked out for the copy too."""
    part = replace(SECONDLY, quota=6)
    assert part == Pace(quota=6, window_s=60)
    assert part.interval_s == 10


@given(tat=NOWS, now=NOWS, pace=PACES)
def test_who_is_refused_is_admitted_after_the_time_it_is_told(tat: float, now: float, pace: Pace) -> None:
    if is_refused(tat, now, pace):
        wait = wait_s(tat - now, pace)
        assert wait > 0
        assert left(tat - now, pace) < 1
        assert not is_refused(tat, now + wait, pace)


@given(now=NOWS, pace=PACES, cost=COSTS, later_s=st.floats(0, 1e5))
def test_giving_back_never_leaves_less_than_nothing_was_taken(
    now: float, pace: Pace, cost: float, later_s: float
) -> None:
    tat = taken(AT_REST, now, pace, cost)
    tat = taken(tat, now + later_s, pace, -cost)
    assert tat >= now + later_s, "no credit is made of it"
    assert left(tat - (now + later_s), pace) == pytest.approx(pace.quota, abs=1e-3)


@given(now=NOWS, pace=PACES, back_s=st.floats(0, 7200))
def test_a_clock_that_steps_back_refuses_for_no_longer_than_it_stepped(now: float, pace: Pace, back_s: float) -> None:
    assume(now - back_s >= 0)
    tat = taken(AT_REST, now, pace, 1)
    before = now - back_s
    assert not is_refused(tat, before, pace) or wait_s(tat - before, pace) <= back_s + pace.interval_s + 1e-3


class AnyUse(RuleBasedStateMachine):
    """Requests of any cost, some given back, beside a plain record of what was taken."""

    @initialize(pace=PACES, now=st.floats(0, 1e6))
    def start(self, pace: Pace, now: float) -> None:
        self.pace, self.now, self.started = pace, now, now
        self.tat = AT_REST
        self.used = 0.0  # taken and not given back
        self.dearest = 0.0
        self.out: list[float] = []  # costs of those that may still be given back

    @rule(seconds=st.just(0.0) | st.floats(0, 1) | st.floats(0, 1000))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(cost=st.just(1.0) | COSTS)
    def somebody_asks(self, cost: float) -> None:
        if is_refused(self.tat, self.now, self.pace):
            assert left(self.tat - self.now, self.pace) < 1
        else:
            self.tat = taken(self.tat, self.now, self.pace, cost)
            self.used += cost
            self.dearest = max(self.dearest, cost)
            self.out.append(cost)

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def one_is_given_back(self, data: st.DataObject) -> None:
        cost = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        self.tat = taken(self.tat, self.now, self.pace, -cost)
        self.used -= cost

    @precondition(lambda self: self.out)
    @rule(more=st.floats(0, 10))
    def one_used_more_than_it_took(self, more: float) -> None:
        self.tat = taken(self.tat, self.now, self.pace, more)
        self.used += more
        self.dearest += more

    @invariant()
    def no_more_is_used_than_the_burst_the_rate_and_one_request(self) -> None:
        elapsed = (self.now - self.started) / self.pace.interval_s
        assert self.used <= self.pace.quota - 0.5 + elapsed + self.dearest + 1e-2

    @invariant()
    def whoever_waits_is_served(self) -> None:
        later = max(self.now, self.tat)
        assert not is_refused(self.tat, later, self.pace)

    @invariant()
    def at_rest_it_may_be_forgotten(self) -> None:
        if self.tat <= self.now:
            assert not is_refused(self.tat, self.now, self.pace)
            known = taken(self.tat, self.now, self.pace, 1)
            assert known == taken(AT_REST, self.now, self.pace, 1)


TestAnyUse = AnyUse.TestCase
