"""Limits counted in this process: exact, at once, and forgotten when it ends."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, TypeAlias

from gateway.policies import gcra, spend
from gateway.policies.limits import Budget, Correction, Demand, Denied, Granted, Rule, Standing

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.policies.limits import Places, Rate
    from gateway.stores.redis_cache import Look

MOST: Final = 100_000
"""Counters of a kind that are kept; beyond it, the one that was asked for longest ago is begun anew."""
PLACE_AGAIN_S: Final = 1.0  # when a place is free nobody knows
_CLEANED: Final = 2  # counters looked at for each request: more go than come, and no request pays for all

Refusals: TypeAlias = list[tuple[float, Rule]]  # with seconds to wait


class MemoryLimits:
    """One process's counters. Nothing here waits."""

    def __init__(self, clock: Callable[[], float], wall: Callable[[], float], most: int = MOST) -> None:
        """clock: seconds that never step back, for rates. wall: Unix time, for days and months."""
        self._clock = clock
        self._wall = wall
        self._most = most
        self._tats: OrderedDict[str, float] = OrderedDict()
        self._spent: OrderedDict[str, spend.Spent] = OrderedDict()
        self._taken: dict[str, int] = {}  # places, as many as there are requests at most

    @property
    def is_near(self) -> bool:
        return True

    def __len__(self) -> int:
        return len(self._tats) + len(self._spent) + len(self._taken)

    async def take(self, demand: Demand) -> Granted | Denied:
        return self.take_now(demand)

    async def take_and_look(self, demand: Demand, look: Look) -> tuple[Granted | Denied, None]:
        """Take; nothing is saved by looking with the same step."""
        del look
        return self.take_now(demand), None

    def take_now(self, demand: Demand) -> Granted | Denied:
        """Take all that is asked for, or nothing."""
        now, today = self._clock(), self._wall()
        tats, refused = self._rates(demand, now)
        spent, too_dear = self._budgets(demand, today)
        refused += too_dear
        refused += [(PLACE_AGAIN_S, each) for each in demand.places if self._taken.get(each.name, 0) >= each.count]
        if refused:
            wait_s, rule = max(refused, key=lambda each: each[0])
            return Denied(rule=rule, retry_after_s=wait_s, standings=self._standings(demand, now, today))
        self._keep(demand, tats, spent)
        self._clean(now, today)
        return Granted(
            standings=self._standings(demand, now, today) if demand.is_told else (),
            since=tuple(each.since for each in spent.values()),
            correct=self.correct,
        )

    def note(self, demand: Demand) -> None:
        """Count what was taken elsewhere, whatever is left of it here."""
        now, today = self._clock(), self._wall()
        tats = {
            rate.name: gcra.corrected(self._tats.get(rate.name, now), now, interval_s=rate.interval_s, units=units)
            for rate, units in demand.rates
            if units
        }
        spent = {budget.name: self._spent_after(budget, usd, today) for budget, usd in demand.budgets if usd}
        self._keep(demand, tats, spent)
        self._clean(now, today)

    def _spent_after(self, budget: Budget, usd: float, today: float) -> spend.Spent:
        start = spend.window_of(today, budget.period).start
        before = self._spent.get(budget.name)
        return spend.Spent(start, usd + (before.usd if before is not None and before.since == start else 0.0))

    def correct(self, correction: Correction) -> None:
        """Note what became of something that was taken here."""
        now = self._clock()
        for rate, units in correction.rates:
            tat = gcra.corrected(self._tats.get(rate.name, now), now, interval_s=rate.interval_s, units=units)
            self._tats[rate.name] = tat
        for budget, since, usd in correction.budgets:
            settled = spend.corrected(self._spent.get(budget.name), since, usd)
            if settled is not None:
                self._spent[budget.name] = settled
        for each in correction.places:
            self._give_back(each)

    def _rates(self, demand: Demand, now: float) -> tuple[dict[str, float], Refusals]:
        """Return the next tat of each rate that something is taken of, where it admits, and the refusals."""
        tats: dict[str, float] = {}
        refused: Refusals = []
        for rate, units in demand.rates:
            tat = self._tats.get(rate.name, now)
            decided = gcra.decide(tat, now, interval_s=rate.interval_s, burst=rate.quota, cost=units)
            if isinstance(decided, gcra.Refused):
                refused.append((decided.retry_after_s, rate))
            elif units:
                tats[rate.name] = decided.next_tat
        return tats, refused

    def _budgets(self, demand: Demand, today: float) -> tuple[dict[str, spend.Spent], Refusals]:
        """Return what will have been spent of each budget, where it suffices, and the refusals."""
        spent: dict[str, spend.Spent] = {}
        refused: Refusals = []
        for budget, usd in demand.budgets:
            before = self._spent.get(budget.name)
            match spend.decide(before, today, period=budget.period, limit_usd=budget.usd, usd=usd):
                case spend.Spent() as after:
                    spent[budget.name] = after
                case spend.Overspent(retry_after_s=wait_s):
                    refused.append((wait_s, budget))
        return spent, refused

    def _keep(self, demand: Demand, tats: dict[str, float], spent: dict[str, spend.Spent]) -> None:
        for name, tat in tats.items():
            self._tats[name] = tat
            self._tats.move_to_end(name)
        for name, after in spent.items():
            self._spent[name] = after
            self._spent.move_to_end(name)
        for place in demand.places:
            self._taken[place.name] = self._taken.get(place.name, 0) + 1

    def _give_back(self, place: Places) -> None:
        taken = self._taken.pop(place.name, 0)
        if taken > 1:
            self._taken[place.name] = taken - 1

    def _clean(self, now: float, today: float) -> None:
        """Drop, of those that were asked for longest ago, what is at rest; and what is too many."""
        for _ in range(_CLEANED):
            name = next(iter(self._tats), None)
            if name is not None and (self._tats[name] <= now or len(self._tats) > self._most):
                del self._tats[name]
            name = next(iter(self._spent), None)
            # After 31 days no window is the present one any more.
            if name is not None and (self._spent[name].since < today - _MONTH_S or len(self._spent) > self._most):
                del self._spent[name]

    def _standings(self, demand: Demand, now: float, today: float) -> tuple[Standing, ...]:
        rates = [rate_standing(rate, max(0.0, self._tats.get(rate.name, now) - now)) for rate, _ in demand.rates]
        return (*rates, *[self._budget_standing(budget, today) for budget, _ in demand.budgets])

    def _budget_standing(self, budget: Budget, today: float) -> Standing:
        window = spend.window_of(today, budget.period)
        known = self._spent.get(budget.name)
        usd = known.usd if known is not None and known.since == window.start else 0.0
        return budget_standing(budget, usd, today)


_MONTH_S: Final = 31 * 86_400.0


def rate_standing(rate: Rate, ahead_s: float) -> Standing:
    """Say how a rate stands. ahead_s: of its sustained rate."""
    return Standing(
        rule=rate,
        left=gcra.left(ahead_s, 0.0, interval_s=rate.interval_s, burst=rate.quota),
        reset_s=ahead_s,
        window_s=rate.window_s,
    )


def budget_standing(budget: Budget, usd: float, today: float) -> Standing:
    """Say how a budget stands. usd: spent in the present window."""
    window = spend.window_of(today, budget.period)
    return Standing(
        rule=budget,
        left=max(0.0, budget.usd - usd),
        reset_s=window.end - today,
        window_s=window.end - window.start,
    )
