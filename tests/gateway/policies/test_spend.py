"""A budget is never overrun by what was known beforehand; days and months end by UTC."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.policies.spend import Overspent, Period, Spent, Window, corrected, decide, window_of


def at(*when: int) -> float:
    return datetime(*when, tzinfo=UTC).timestamp()  # type: ignore[arg-type, misc] # year, month, day and so on


@pytest.mark.parametrize(
    ("now", "period", "start", "end"),
    [
        (at(2026, 2, 28, 23, 59, 59), Period.DAY, at(2026, 2, 28), at(2026, 3, 1)),
        (at(2026, 3, 1), Period.DAY, at(2026, 3, 1), at(2026, 3, 2)),
        (at(2028, 2, 29, 12), Period.MONTH, at(2028, 2, 1), at(2028, 3, 1)),
        (at(2026, 12, 31, 23), Period.MONTH, at(2026, 12, 1), at(2027, 1, 1)),
        (at(2026, 1, 1), Period.MONTH, at(2026, 1, 1), at(2026, 2, 1)),
    ],
)
def test_windows_are_days_and_months_by_utc(now: float, period: Period, start: float, end: float) -> None:
    assert window_of(now, period) == Window(start, end)


@given(now=st.floats(0, 4e9), period=st.sampled_from(Period))
def test_every_moment_lies_in_its_window(now: float, period: Period) -> None:
    window = window_of(now, period)
    assert window.start <= now < window.end
    assert window_of(window.end, period).start == window.end


NOON = at(2026, 11, 26, 12)
TODAY = at(2026, 11, 26)


@pytest.mark.parametrize(
    ("spent", "usd", "expected"),
    [
        (None, 0.5, Spent(TODAY, 0.5)),
        (Spent(TODAY, 0.5), 0.5, Spent(TODAY, 1.0)),
        (Spent(TODAY, 0.6), 0.5, Overspent(12 * 3600)),
        (Spent(TODAY, 1.0), 0.0, Overspent(12 * 3600)),  # what looks free may fail over to what is not
        (Spent(TODAY, 0.99), 0.0, Spent(TODAY, 0.99)),
        (Spent(TODAY - 86_400, 1.0), 0.5, Spent(TODAY, 0.5)),
        (None, 1.5, Overspent(12 * 3600)),
    ],
)
def test_what_may_be_spent(spent: Spent | None, usd: float, expected: Spent | Overspent) -> None:
    assert decide(spent, NOON, period=Period.DAY, limit_usd=1.0, usd=usd) == expected


def test_many_small_sums_make_the_whole() -> None:
    spent: Spent | None = None
    for _ in range(1000):
        decided = decide(spent, NOON, period=Period.DAY, limit_usd=1.0, usd=0.001)
        assert isinstance(decided, Spent)
        spent = decided
    assert isinstance(decide(spent, NOON, period=Period.DAY, limit_usd=1.0, usd=0.001), Overspent)


@pytest.mark.parametrize(
    ("spent", "since", "usd", "expected"),
    [
        (Spent(TODAY, 0.5), TODAY, -0.2, Spent(TODAY, 0.3)),
        (Spent(TODAY, 0.5), TODAY, 0.2, Spent(TODAY, 0.7)),
        (Spent(TODAY, 0.5), TODAY, -0.7, Spent(TODAY, 0.0)),
        (Spent(TODAY, 0.5), TODAY - 86_400, -0.2, Spent(TODAY, 0.5)),  # yesterday's estimate, after midnight
        (None, TODAY, -0.2, None),
    ],
)
def test_what_is_corrected(spent: Spent | None, since: float, usd: float, expected: Spent | None) -> None:
    settled = corrected(spent, since, usd)
    if expected is None:
        assert settled is None
    else:
        assert settled is not None
        assert settled.since == expected.since
        assert settled.usd == pytest.approx(expected.usd)


class AnyUse(RuleBasedStateMachine):
    """Jobs estimated, settled and given back, across midnights, beside a plain record."""

    @initialize(limit_usd=st.floats(0.01, 100), period=st.sampled_from(Period), now=st.floats(0, 2e9))
    def start(self, limit_usd: float, period: Period, now: float) -> None:
        self.limit_usd, self.period, self.now = limit_usd, period, now
        self.spent: Spent | None = None
        self.jobs: list[tuple[float, float]] = []  # window and estimate of those that run
        self.record: dict[float, float] = {}  # USD by window
        self.dearer: dict[float, float] = {}  # what jobs cost beyond their estimates

    @rule(seconds=st.floats(0, 100) | st.floats(0, 40 * 86_400))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(usd=st.just(0.0) | st.floats(0, 10))
    def a_job_begins(self, usd: float) -> None:
        decided = decide(self.spent, self.now, period=self.period, limit_usd=self.limit_usd, usd=usd)
        window = window_of(self.now, self.period)
        if isinstance(decided, Overspent):
            assert self.record.get(window.start, 0.0) + usd >= self.limit_usd - 1e-6
            assert self.now + decided.retry_after_s == pytest.approx(window.end)
            return
        self.spent = decided
        self.record[window.start] = self.record.get(window.start, 0.0) + usd
        self.jobs.append((window.start, usd))

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), factor=st.floats(0, 2))
    def a_job_ends(self, data: st.DataObject, factor: float) -> None:
        """factor: of its estimate, what it really cost; 0 where it failed."""
        since, usd = self.jobs.pop(data.draw(st.integers(0, len(self.jobs) - 1)))
        self.spent = corrected(self.spent, since, usd * factor - usd)
        self.record[since] += usd * factor - usd
        self.dearer[since] = self.dearer.get(since, 0.0) + max(0.0, usd * factor - usd)

    @invariant()
    def it_is_what_the_record_says(self) -> None:
        if self.spent is not None:
            assert self.spent.usd == pytest.approx(self.record[self.spent.since], abs=1e-6)

    @invariant()
    def no_window_is_overrun_by_more_than_jobs_cost_beyond_their_estimates(self) -> None:
        for since, usd in self.record.items():
            assert usd <= self.limit_usd + self.dearer.get(since, 0.0) + 1e-6


TestAnyUse = AnyUse.TestCase
