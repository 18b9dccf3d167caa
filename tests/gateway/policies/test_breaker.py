"""A deployment in trouble is left alone, found out about by one call at a time, and used again once it works."""

from __future__ import annotations

import math
from dataclasses import replace  # noqa: TID251 - of a dataclass
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.policies.breaker import (
    CLOSED,
    PARKED,
    Closed,
    HalfOpen,
    Open,
    Outcome,
    Rules,
    State,
    Why,
    admits,
    begin,
    describe,
    due_at,
    end,
    park,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

RULES = Rules()
OK, SLOW, FAILED, NEUTRAL = Outcome.OK, Outcome.SLOW, Outcome.FAILED, Outcome.NEUTRAL
FAILING_UNTIL_15 = Open(until=15.0, why=Why.FAILING)
PARKED_UNTIL_15 = Open(until=15.0, why=Why.RATE_LIMITED)


def after(outcomes: Iterable[Outcome], *, now: float = 10.0, every_s: float = 0.0, rules: Rules = RULES) -> State:
    """Return the state after calls that began and ended while it was closed."""
    state: State = CLOSED
    for at, outcome in enumerate(outcomes):
        state = end(state, now + at * every_s, outcome, rules, is_probe=False)
    return state


@pytest.mark.parametrize(
    ("outcomes", "opened"),
    [
        ([FAILED] * 4, None),
        ([FAILED] * 5, Why.FAILING),
        ([FAILED] * 4 + [OK] + [FAILED] * 4, None),
        ([FAILED] * 4 + [SLOW] + [FAILED] * 4, None),  # slow is an answer
        ([FAILED] * 4 + [NEUTRAL] * 50 + [FAILED], Why.FAILING),  # it neither fails nor answers
        ([NEUTRAL] * 500, None),
        ([OK, FAILED] * 9, None),  # a half, of too few
        ([OK, FAILED] * 10, Why.FAILING),
        ([FAILED] + [OK, FAILED] * 9 + [OK], Why.FAILING),  # the last says that they are enough
        ([OK, OK, FAILED] * 100, None),
        ([SLOW] * 19, None),
        ([SLOW] * 20, Why.SLOW),
        ([SLOW, SLOW, SLOW, SLOW, OK] * 4, Why.SLOW),
        ([SLOW, SLOW, SLOW, OK] * 50, None),
        ([SLOW, FAILED] * 10, Why.FAILING),
    ],
)
def test_what_opens_it(outcomes: list[Outcome], opened: Why | None) -> None:
    """A clock that stands counts as well as one that moves."""
    state = after(outcomes)
    if opened is None:
        assert isinstance(state, Closed)
    else:
        assert state == Open(until=10.0 + RULES.probe_after_s, why=opened)


@pytest.mark.parametrize(("failed", "is_open"), [(54, False), (55, True)])
def test_a_rate_is_reached_exactly(failed: int, is_open: bool) -> None:  # noqa: FBT001 - pytest passes it
    """0.55 of 100 is 55, though the product of the floats is a little more."""
    rules = Rules(consecutive=1000, min_calls=100, failure_rate=0.55)
    state = after([FAILED] * failed + [OK] * (100 - failed), rules=rules)
    assert isinstance(state, Open) == is_open


@pytest.mark.parametrize(("every_s", "is_open"), [(1.3, True), (1.6, False)])
def test_what_left_the_window_does_not_count(every_s: float, is_open: bool) -> None:  # noqa: FBT001 - pytest passes it
    """Twenty calls in 30 seconds are enough to judge by; twenty in more are not."""
    assert isinstance(after([OK, FAILED] * 50, every_s=every_s), Open) == is_open


def test_failures_in_a_row_count_however_far_apart() -> None:
    assert isinstance(after([FAILED] * 5, every_s=3600.0), Open)


def test_another_window_does_not_keep_old_counts_for_ever() -> None:
    """The rules change while the process runs: what was counted in tenths of a shorter window lies far ahead."""
    state = after([OK, FAILED] * 9, now=1e6, rules=replace(RULES, window_s=3.0))
    state = end(state, 1e6, OK, RULES, is_probe=False)
    assert isinstance(state, Closed)
    assert sum(each.calls for each in state.buckets) == 1


@settings(deadline=None)
@given(times=st.lists(st.floats(-1e6, 1e6) | st.floats(0, 60), max_size=200), window_s=st.floats(0.01, 1e4))
def test_there_are_ten_buckets_at_most_whatever_the_clock_does(times: list[float], window_s: float) -> None:
    rules = Rules(window_s=window_s)
    state: State = CLOSED
    for now in times:
        state = end(state, now, OK, rules, is_probe=False)
        assert isinstance(state, Closed)
        indices = [each.index for each in state.buckets]
        assert len(indices) <= 10
        assert indices == sorted(set(indices))


@pytest.mark.parametrize(
    ("state", "now", "is_admitted", "due", "word"),
    [
        (CLOSED, 10.0, True, None, "closed"),
        (FAILING_UNTIL_15, 14.9, False, 15.0, "open"),
        (FAILING_UNTIL_15, 15.0, True, None, "half-open"),
        (PARKED_UNTIL_15, 14.9, False, 15.0, "parked"),
        (PARKED_UNTIL_15, 15.0, True, None, "half-open"),
        (Open(until=15.0, why=Why.SLOW), 14.9, False, 15.0, "open"),
        (Open(until=15.0, why=Why.CREDENTIALS), 14.9, False, 15.0, "parked"),
        (Open(until=15.0, why=Why.QUOTA), 14.9, False, 15.0, "parked"),
        (HalfOpen(why=Why.FAILING), 1e9, False, math.inf, "half-open"),
        (HalfOpen(why=Why.QUOTA), 1e9, False, math.inf, "half-open"),
    ],
)
def test_who_may_call_and_what_operators_read(
    state: State,
    now: float,
    is_admitted: bool,  # noqa: FBT001 - pytest passes it
    due: float | None,
    word: str,
) -> None:
    assert (admits(state, now), due_at(state, now), describe(state, now)) == (is_admitted, due, word)


@pytest.mark.parametrize(
    ("state", "now", "next_", "is_probe"),
    [
        (CLOSED, 10.0, CLOSED, False),
        (FAILING_UNTIL_15, 15.0, HalfOpen(why=Why.FAILING), True),
        (FAILING_UNTIL_15, 14.9, FAILING_UNTIL_15, False),  # called all the same, for lack of another
        (HalfOpen(why=Why.SLOW), 20.0, HalfOpen(why=Why.SLOW), False),
    ],
)
def test_the_first_call_after_the_pause_is_the_probe(state: State, now: float, next_: State, is_probe: bool) -> None:  # noqa: FBT001 - pytest passes it
    assert begin(state, now) == (next_, is_probe)


@pytest.mark.parametrize("why", list(Why))
@pytest.mark.parametrize("outcome", list(Outcome))
def test_the_probe_decides(why: Why, outcome: Outcome) -> None:
    state = end(HalfOpen(why=why), 20.0, outcome, RULES, is_probe=True)
    if outcome is NEUTRAL:
        assert state == Open(until=20.0, why=why)  # the next call probes, at once
    elif outcome is FAILED:
        assert state == Open(until=25.0, why=Why.FAILING)
    elif (outcome, why) == (SLOW, Why.SLOW):
        assert state == Open(until=25.0, why=Why.SLOW)
    else:
        assert state == CLOSED  # with a window of its own


@pytest.mark.parametrize("state", [FAILING_UNTIL_15, PARKED_UNTIL_15, HalfOpen(why=Why.FAILING)])
@pytest.mark.parametrize("outcome", list(Outcome))
def test_a_call_from_before_it_opened_says_nothing_of_now(state: State, outcome: Outcome) -> None:
    assert end(state, 12.0, outcome, RULES, is_probe=False) == state


@pytest.mark.parametrize("state", [CLOSED, FAILING_UNTIL_15, PARKED_UNTIL_15])
@pytest.mark.parametrize("outcome", list(Outcome))
def test_a_probe_of_an_earlier_time_says_nothing_of_now(state: State, outcome: Outcome) -> None:
    assert end(state, 12.0, outcome, RULES, is_probe=True) == state


@pytest.mark.parametrize(
    ("state", "for_s", "expected"),
    [
        (CLOSED, 2.0, Open(until=12.0, why=Why.RATE_LIMITED)),
        (Closed(consecutive=4), 2.0, Open(until=12.0, why=Why.RATE_LIMITED)),
        (PARKED_UNTIL_15, 2.0, PARKED_UNTIL_15),
        (PARKED_UNTIL_15, 60.0, Open(until=70.0, why=Why.RATE_LIMITED)),
        (FAILING_UNTIL_15, 2.0, FAILING_UNTIL_15),
        (FAILING_UNTIL_15, 60.0, Open(until=70.0, why=Why.RATE_LIMITED)),
        (HalfOpen(why=Why.FAILING), 60.0, HalfOpen(why=Why.FAILING)),
    ],
)
def test_told_to_stay_away_it_stays_for_the_longest(state: State, for_s: float, expected: State) -> None:
    assert park(state, 10.0, Why.RATE_LIMITED, for_s) == expected


def test_a_probe_that_is_told_to_stay_away_ends() -> None:
    parked = park(HalfOpen(why=Why.RATE_LIMITED), 10.0, Why.RATE_LIMITED, 2.0, is_probe=True)
    assert parked == Open(until=12.0, why=Why.RATE_LIMITED)
    assert begin(parked, 12.0) == (HalfOpen(why=Why.RATE_LIMITED), True)


def test_back_within_a_probe_interval_of_its_recovery() -> None:
    """A caller every tenth of a second; it fails from second 10 to 40."""
    state: State = CLOSED
    reached: list[float] = []
    for tick in range(600):
        now = tick / 10
        if not admits(state, now):
            continue
        state, is_probe = begin(state, now)
        state = end(state, now, FAILED if 10 <= now < 40 else OK, RULES, is_probe=is_probe)
        reached.append(now)
    assert len([now for now in reached if 10 <= now < 40]) <= RULES.consecutive + 30 / RULES.probe_after_s
    assert min(now for now in reached if now >= 40) <= 40 + RULES.probe_after_s
    assert len([now for now in reached if now >= 45]) == 150  # everybody


class AnyUse(RuleBasedStateMachine):
    """Calls that begin, end and are cut off in any order, beside a plain record of what happened."""

    @initialize(
        rules=st.builds(
            Rules,
            consecutive=st.integers(1, 6),
            failure_rate=st.floats(0.1, 1),
            slow_rate=st.floats(0.1, 1),
            min_calls=st.integers(1, 12),
            window_s=st.floats(1, 60),
            probe_after_s=st.floats(0.1, 20),
        ),
        now=st.floats(0, 1e6),
    )
    def start(self, rules: Rules, now: float) -> None:
        self.limits, self.now = rules, now
        self.state: State = CLOSED
        self.calls: list[bool] = []  # in flight; True: a probe
        self.in_a_row = 0  # failures, since it closed or one was answered
        self.ended: list[tuple[float, Outcome]] = []  # calls that count, since it closed

    @rule(seconds=st.just(0.0) | st.floats(0, 2) | st.floats(0, 100))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: isinstance(self.state, Open))
    @rule()
    def its_time_comes(self) -> None:
        assert isinstance(self.state, Open)
        self.now = max(self.now, self.state.until)

    @rule()
    def somebody_asks(self) -> None:
        if admits(self.state, self.now):
            self.call_begins()

    @rule()
    def call_begins(self) -> None:
        """Whether it is admitted or not: what is slow may be called for lack of another."""
        self.state, is_probe = begin(self.state, self.now)
        self.calls.append(is_probe)

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), outcome=st.sampled_from(Outcome))
    def call_ends(self, data: st.DataObject, outcome: Outcome) -> None:
        is_probe = self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))
        before = self.state
        self.state = end(before, self.now, outcome, self.limits, is_probe=is_probe)
        if is_probe:
            self.a_probe_ended(outcome)
        elif outcome is NEUTRAL or not isinstance(before, Closed):
            assert self.state == before
        else:
            self.a_call_counted(outcome)

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), why=st.sampled_from(sorted(PARKED)), for_s=st.floats(0, 100))
    def call_ends_with_a_refusal(self, data: st.DataObject, why: Why, for_s: float) -> None:
        is_probe = self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))
        before = self.state
        self.state = park(before, self.now, why, for_s, is_probe=is_probe)
        if isinstance(before, HalfOpen) and not is_probe:
            assert self.state == before
            return
        assert isinstance(self.state, Open)
        assert self.state.until >= self.now + for_s
        if isinstance(before, Open):
            assert self.state.until >= before.until

    @rule(outcome=st.sampled_from([OK, SLOW, FAILED]), many=st.integers(1, 6))
    def calls_end_alike(self, outcome: Outcome, many: int) -> None:
        """End a run of calls that no other overtakes, while it is closed."""
        for _ in range(many):
            if isinstance(self.state, Closed):
                self.state = end(self.state, self.now, outcome, self.limits, is_probe=False)
                self.a_call_counted(outcome)

    def a_probe_ended(self, outcome: Outcome) -> None:
        if outcome is NEUTRAL:
            assert admits(self.state, self.now)  # a lost probe is followed by another, at once
            assert begin(self.state, self.now)[1]
        elif outcome is not FAILED and isinstance(self.state, Closed):
            assert self.state == CLOSED
            self.in_a_row, self.ended = 0, []
        else:
            assert isinstance(self.state, Open)
            assert outcome is FAILED or self.state.why is Why.SLOW

    def a_call_counted(self, outcome: Outcome) -> None:
        self.in_a_row = self.in_a_row + 1 if outcome is FAILED else 0
        self.ended.append((self.now, outcome))
        if self.in_a_row >= self.limits.consecutive:
            assert isinstance(self.state, Open)
            assert self.state.why is Why.FAILING
        elif isinstance(self.state, Open):
            # The window is nine tenths to ten long, by where its tenths begin.
            recent = [each for at, each in self.ended if at > self.now - self.limits.window_s]
            assert len(recent) >= self.limits.min_calls
            assert {Why.FAILING: FAILED, Why.SLOW: SLOW}[self.state.why] in recent
        else:
            self.is_right_to_stay_closed()

    def is_right_to_stay_closed(self) -> None:
        """Where every call that counts is surely inside the window, the rates are what the record says."""
        if all(at > self.now - 0.89 * self.limits.window_s for at, _ in self.ended):
            calls = len(self.ended)
            failed = sum(each is FAILED for _, each in self.ended)
            slow = sum(each is SLOW for _, each in self.ended)
            assert calls < self.limits.min_calls or failed / calls < self.limits.failure_rate
            assert calls < self.limits.min_calls or slow / calls < self.limits.slow_rate

    @invariant()
    def one_probe_at_most_is_out(self) -> None:
        assert sum(self.calls) == isinstance(self.state, HalfOpen)

    @invariant()
    def nobody_is_admitted_before_its_time(self) -> None:
        due = due_at(self.state, self.now)
        assert admits(self.state, self.now) == (due is None)
        assert due is None or due > self.now
        if isinstance(self.state, Open) and self.now < self.state.until:
            assert not begin(self.state, self.now)[1]

    @invariant()
    def no_failure_keeps_it_away_for_longer_than_to_the_next_probe(self) -> None:
        if isinstance(self.state, Open) and self.state.why not in PARKED:
            assert self.state.until <= self.now + self.limits.probe_after_s

    @invariant()
    def when_calls_succeed_it_closes_with_the_next_probe(self) -> None:
        """Whatever has happened; a probe that is out may be lost first."""
        state, now = self.state, self.now
        if isinstance(state, HalfOpen):
            state = end(state, now, NEUTRAL, self.limits, is_probe=True)
        if isinstance(state, Open):
            state, is_probe = begin(state, max(now, state.until))
            assert is_probe
            state = end(state, now, OK, self.limits, is_probe=True)
        assert isinstance(state, Closed)

    @invariant()
    def the_window_is_bounded(self) -> None:
        assert not isinstance(self.state, Closed) or len(self.state.buckets) <= 10

    @invariant()
    def operators_read_one_of_four_words(self) -> None:
        word = describe(self.state, self.now)
        assert word in {"closed", "open", "half-open", "parked"}
        assert (word in {"closed", "half-open"}) == (admits(self.state, self.now) or isinstance(self.state, HalfOpen))


TestAnyUse = AnyUse.TestCase
