"""Budgets in memory after a restart: what the ledger says was spent is not there to be spent again."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from config.limits import Limits, WhenLost
from gateway.policies.limits import Demand, Denied, Granted, Scope, corrected, rules_of
from gateway.stores.limits_memory import MemoryLimits
from gateway.stores.limits_seeded import SeededLimits
from gateway.stores.usage import CHECKS, Sum, UsageUnusable
from gateway.stores.usage_sqlite import SqliteUsage
from tests.gateway.stores.usage_rows import batch, row

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from gateway.stores.usage import By, Period, UsageStore

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC).timestamp()
HOUR_S = 3600.0


class Ledger(SqliteUsage):
    """One that cannot be read as often as a test says, or not at all."""

    def __init__(self, file: Path, failures: int = 0) -> None:
        super().__init__(file, 1000)
        self.failures = failures
        self.hangs = False
        self.readings = 0

    async def sums(self, by: Sequence[By], period: Period) -> list[Sum]:
        self.readings += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.failures:
            self.failures -= 1
            raise UsageUnusable("it is broken")
        return await super().sums(by, period)


@asynccontextmanager
async def seeded(
    ledger: UsageStore, when_lost: WhenLost = WhenLost.CLOSED, told: list[str | None] | None = None
) -> AsyncIterator[SeededLimits]:
    told = [] if told is None else told
    memory = MemoryLimits(lambda: 0.0, lambda: NOW)
    limits = SeededLimits(memory, ledger, lambda: NOW, lambda: when_lost, told.append)
    async with asyncio.TaskGroup() as group:
        carrying = group.create_task(limits.carry())
        yield limits
        carrying.cancel()


def asked(scope: Scope, name: str, usd: float = 0.0, **limits: float) -> Demand:
    return Demand(rules=rules_of(scope, name, Limits.model_validate(limits)), usd=usd)


async def left_usd(limits: SeededLimits, scope: Scope, name: str) -> tuple[float, float]:
    """Return what is left of ten dollars a day, and of a hundred a month."""
    told = await limits.take(asked(scope, name, usd_per_day=10, usd_per_month=100))
    assert isinstance(told, Granted)
    of_day, of_month = told.levels.standings()
    return of_day.left, of_month.left


async def test_what_was_spent_in_this_day_and_month_is_gone(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "usage.sqlite")
    rows = [
        row(NOW - HOUR_S, cost_usd=1.0),
        row(NOW - HOUR_S, cost_usd=0.5, outcome="abandoned"),
        row(NOW - HOUR_S, cost_usd=2.0, key="other", model="other"),
        row(NOW - HOUR_S, cost_usd=4.0, key=CHECKS),
        row(NOW - 24 * HOUR_S, cost_usd=8.0),
        row(NOW - 30 * 24 * HOUR_S, cost_usd=16.0),
        row(NOW + HOUR_S, cost_usd=32.0),  # since this process began: counted here as it happens
        row(NOW - HOUR_S, cost_usd=None),
    ]
    await ledger.append(batch(*rows))
    async with seeded(ledger) as limits:
        assert await left_usd(limits, Scope.KEY, "newsroom") == (8.5, 90.5)
        assert await left_usd(limits, Scope.KEY, "other") == (8.0, 98.0)
        assert await left_usd(limits, Scope.KEY, CHECKS) == (10.0, 100.0)
        assert await left_usd(limits, Scope.MODEL, "whisper-1") == (8.5, 90.5)
        assert await left_usd(limits, Scope.MODEL, "*") == (8.0, 98.0)
        assert await left_usd(limits, Scope.GATEWAY, "all") == (6.5, 88.5)


async def test_it_is_read_once_and_only_where_there_is_a_budget(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "usage.sqlite")
    async with seeded(ledger) as limits:
        assert isinstance(await limits.take(asked(Scope.KEY, "a")), Granted)
        await asyncio.sleep(0)
        assert ledger.readings == 0
        budget = asked(Scope.KEY, "a", usd=7.0, usd_per_day=10)
        taken = await limits.take(budget)
        assert isinstance(taken, Granted)
        assert isinstance(await limits.take(budget), Denied)
        taken.correct(corrected(budget, taken, usd=-7.0))
        assert isinstance(await limits.take(budget), Granted)
        assert ledger.readings == 2, "the day and the month"
        assert len(limits) == 1


@pytest.mark.parametrize(("when_lost", "admits"), [(WhenLost.CLOSED, False), (WhenLost.OPEN, True)])
async def test_while_it_cannot_be_read_budgets_are_as_configured(
    when_lost: WhenLost,
    admits: bool,  # noqa: FBT001 - a parameter
    tmp_path: Path,
) -> None:
    """Who comes waits once; what can be read later counts then."""
    ledger = Ledger(tmp_path / "usage.sqlite", failures=1)
    await ledger.append(batch(row(NOW - HOUR_S, cost_usd=9.0)))
    told: list[str | None] = []
    async with seeded(ledger, when_lost, told) as limits:
        limits.begin()
        budget = asked(Scope.KEY, "newsroom", usd=2.0, usd_per_day=10)
        while not told:  # noqa: ASYNC110 - SQLite has a thread
            await asyncio.sleep(0.005)
        answer = await limits.take(budget)
        assert (isinstance(answer, Granted), told) == (admits, ["it is broken"])
        assert admits or (isinstance(answer, Denied) and answer.is_unknown)
        while len(told) == 1:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
        answer = await limits.take(budget)
        assert isinstance(answer, Denied)
        assert (answer.is_unknown, told[1:]) == (False, [None])


async def test_nobody_waits_longer_than_a_moment_and_only_the_first(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "usage.sqlite")
    ledger.hangs = True
    clock = asyncio.get_running_loop().time
    async with seeded(ledger) as limits:
        budget = asked(Scope.KEY, "newsroom", usd_per_day=10)
        began = clock()
        assert isinstance(await limits.take(budget), Denied)
        waited_s = clock() - began
        assert isinstance(await limits.take(budget), Denied)
        assert 1.9 < waited_s < 10
        assert clock() - began - waited_s < 0.5
