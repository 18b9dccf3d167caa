"""Limits in memory whose budgets go on where the process before left off: the ledger says what was spent.

Read beside the requests, at the start. Who has a budget waits for it, for a moment; while it cannot be read, budgets
close or begin at nothing, as configured for a lost store. What was spent before this process began is read, and what
since then is counted here, so that nothing counts twice whenever the reading succeeds.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from config.limits import WhenLost
from gateway.policies.limits import Budget, Denied, Scope, budget_name
from gateway.policies.spend import Period as Of
from gateway.policies.spend import window_of
from gateway.stores.usage import CHECKS, By, Period, UsageUnusable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.policies.limits import Correction, Demand, Granted
    from gateway.stores.limits_memory import MemoryLimits
    from gateway.stores.redis_cache import Look
    from gateway.stores.usage import Sum, UsageStore

PATIENCE_S: Final = 2.0  # of those who come first
_AGAIN_S: Final = 2.0  # from a failed reading to the next
_ASK_AGAIN_S: Final = 5.0  # while nobody can say what is left of a budget
_MODELS: Final = {"other": "*", "none": None}  # of the ledger, by whose limits they are


class SeededLimits:
    """One process's counters."""

    is_near = True

    def __init__(
        self,
        inner: MemoryLimits,
        ledger: UsageStore,
        wall: Callable[[], float],
        when_lost: Callable[[], WhenLost],
        on_change: Callable[[str | None], None],
    ) -> None:
        """ledger: to read from, and to close. on_change: told why it cannot be read, or None once it was after all."""
        self._inner = inner
        self._ledger = ledger
        self._wall = wall
        self._when_lost = when_lost
        self._on_change = on_change
        self._began = wall()
        self._wanted, self._known = asyncio.Event(), asyncio.Event()
        self._is_late = self._is_unusable = False

    def __len__(self) -> int:
        return len(self._inner)

    def begin(self) -> None:
        """Read now, not only when the first comes who has a budget."""
        self._wanted.set()

    async def take(self, demand: Demand) -> Granted | Denied:
        """Take all that is asked for, or nothing."""
        if demand.rules.budgets and not self._known.is_set():
            await self._hear()
            if not self._known.is_set() and self._when_lost() is WhenLost.CLOSED:
                return Denied(rule=demand.rules.budgets[0], retry_after_s=_ASK_AGAIN_S, is_unknown=True)
        return self._inner.take_now(demand)

    async def take_and_look(self, demand: Demand, look: Look) -> tuple[Granted | Denied, None]:
        """Take; nothing is saved by looking with the same step."""
        del look
        return await self.take(demand), None

    def correct(self, correction: Correction) -> None:
        self._inner.correct(correction)

    async def carry(self) -> None:
        """Read until that succeeds. Raises nothing."""
        await self._wanted.wait()
        try:
            while not await self._read():  # noqa: ASYNC110 - a store that is back says so nowhere
                await asyncio.sleep(_AGAIN_S)
        finally:
            await self._ledger.close()

    async def _hear(self) -> None:
        """Wait until it is known, unless others have waited in vain."""
        self.begin()
        if self._is_late:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await self._known.wait()
        self._is_late = not self._known.is_set()

    async def _read(self) -> bool:
        try:
            spent = [each for of in Of for each in await self._spent(of)]
        except UsageUnusable as error:
            if not self._is_unusable:
                self._on_change(str(error))
            self._is_late = self._is_unusable = True
            return False
        if self._is_unusable:
            self._on_change(None)
        for budget, usd in spent:
            self._inner.note_spent(budget, usd)
        self._known.set()
        return True

    async def _spent(self, of: Of) -> list[tuple[Budget, float]]:
        """Return what was spent in the present day or month, before this process began."""
        start = window_of(self._wall(), of).start
        if start >= self._began:
            return []
        return _by_budget(await self._ledger.sums((By.KEY, By.MODEL), Period(start, self._began)), of)


def _by_budget(sums: Iterable[Sum], of: Of) -> list[tuple[Budget, float]]:
    """Return what was spent of each budget there may be: the keys', the models', and everybody's together."""
    spent: dict[tuple[Scope, str], float] = {}
    for each in sums:
        key, model = each.names
        if key == CHECKS:  # on nobody's budget
            continue
        whose = [(Scope.GATEWAY, "all"), (Scope.KEY, key), (Scope.MODEL, _MODELS.get(model, model))]
        for scope, name in whose:
            if name is not None:
                spent[scope, name] = spent.get((scope, name), 0.0) + each.cost_usd
    return [
        (Budget(name=budget_name(scope, name, of), scope=scope, period=of, usd=0.0), usd)
        for (scope, name), usd in spent.items()
    ]
