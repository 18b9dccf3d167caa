"""Limits counted in this process: exact, at once, and forgotten when it ends."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, TypeAlias

from gateway.policies import gcra, spend
from gateway.policies.limits import Correction, Demand, Denied, Granted, Levels, Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.policies.limits import Budget, Places, Rules
    from gateway.stores.redis_cache import Look

MOST: Final = 100_000
"""Counters of a kind that are kept; beyond it, the one that was asked for longest ago is begun anew."""
PLACE_AGAIN_S: Final = 1.0  # when a place is free nobody knows
_CLEANED: Final = 2  # counters looked at for each request: more go than come, and no request pays for all

_MONTH_S: Final = 31 * 86_400.0

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
        ahead_s, refused = self._asked(demand, now, today)
        if refused:
            wait_s, rule = max(refused, key=lambda each: each[0])
            return Denied(rule=rule, retry_after_s=wait_s, levels=self._levels(demand.rules, ahead_s, today))
        self._take(demand, ahead_s, now, today)
        return Granted(levels=self._levels(demand.rules, ahead_s, today), correct=self.correct)

    def note(self, demand: Demand) -> None:
        """Count what was taken elsewhere, whatever is left of it here."""
        now, today = self._clock(), self._wall()
        ahead_s, _ = self._asked(demand, now, today)
        self._take(demand, ahead_s, now, today)

    def note_spent(self, budget: Budget, usd: float) -> None:
        """Count money that was spent elsewhere."""
        self._spend(budget, usd, self._wall())

    def correct(self, correction: Correction) -> None:
        """Note what became of something that was taken here."""
        if correction.audio_s or correction.requests:
            now = self._clock()
            for rate in correction.rules.rates:
                if units := correction.units_of(rate):
                    self._tats[rate.name] = now + gcra.after(self._tats.get(rate.name, now) - now, units, rate)
        if correction.usd:
            for budget, since in zip(correction.rules.budgets, correction.since, strict=True):
                settled = spend.corrected(self._spent.get(budget.name), since, correction.usd)
                if settled is not None:
                    self._spent[budget.name] = settled
        for each in correction.places:
            self._give_back(each)

    def _asked(self, demand: Demand, now: float, today: float) -> tuple[list[float], Refusals]:
        """Return how far each rate is ahead, and what refuses the demand."""
        ahead_s: list[float] = []
        refused: Refusals = []
        for rate in demand.rules.rates:
            each_s = self._tats.get(rate.name, now) - now
            ahead_s.append(each_s)
            if each_s > rate.most_ahead_s:
                refused.append((gcra.wait_s(each_s, rate), rate))
        if demand.rules.budgets:
            refused += self._too_dear(demand, today)
        for place in demand.places:
            if self._taken.get(place.name, 0) >= place.count:
                refused.append((PLACE_AGAIN_S, place))
        return ahead_s, refused

    def _too_dear(self, demand: Demand, today: float) -> Iterator[tuple[float, Budget]]:
        for budget in demand.rules.budgets:
            before = self._spent.get(budget.name)
            match spend.decide(before, today, period=budget.period, limit_usd=budget.usd, usd=demand.usd):
                case spend.Overspent(retry_after_s=wait_s):
                    yield wait_s, budget

    def _take(self, demand: Demand, ahead_s: list[float], now: float, today: float) -> None:
        """Count it. ahead_s: brought up to what that leaves."""
        for budget in demand.rules.budgets:
            self._spend(budget, demand.usd, today)
        for place in demand.places:
            self._taken[place.name] = self._taken.get(place.name, 0) + 1
        if not demand.requests and not demand.audio_s:  # at the door
            return
        for n, rate in enumerate(demand.rules.rates):
            if units := demand.units_of(rate):
                ahead_s[n] = gcra.after(ahead_s[n], units, rate)
                self._tats[rate.name] = now + ahead_s[n]
                self._tats.move_to_end(rate.name)
        self._clean(now, today)

    def _spend(self, budget: Budget, usd: float, today: float) -> None:
        before = spend.present(self._spent.get(budget.name), today, budget.period)
        self._spent[budget.name] = spend.Spent(before.since, before.usd + usd)
        self._spent.move_to_end(budget.name)

    def _give_back(self, place: Places) -> None:
        taken = self._taken.pop(place.name, 0)
        if taken > 1:
            self._taken[place.name] = taken - 1

    def _clean(self, now: float, today: float) -> None:
        """Drop, of those that were asked for longest ago, what is at rest; and what is too many."""
        tats, spent = self._tats, self._spent
        for _ in range(_CLEANED):
            name = next(iter(tats), None)
            if name is None or (tats[name] > now and len(tats) <= self._most):
                break
            del tats[name]
        for _ in range(_CLEANED):
            name = next(iter(spent), None)
            # After 31 days no window is the present one any more.
            if name is None or (spent[name].since >= today - _MONTH_S and len(spent) <= self._most):
                break
            del spent[name]

    def _levels(self, rules: Rules, ahead_s: list[float], today: float) -> Levels:
        if not rules.budgets:
            return Levels(rules=rules, ahead_s=ahead_s)
        spent = [spend.present(self._spent.get(each.name), today, each.period) for each in rules.budgets]
        return Levels(rules=rules, ahead_s=ahead_s, spent=spent, today=today)
