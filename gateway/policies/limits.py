"""What limits there are, and what one request asks of them; where they are counted is a store's business."""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

import msgspec
from msgspec.structs import replace

from gateway.policies import gcra
from gateway.policies.spend import Period

if TYPE_CHECKING:
    from collections.abc import Callable

    from config.limits import Limits

_MINUTE_S, _HOUR_S, _DAY_S = 60.0, 3600.0, 86_400.0


class Scope(StrEnum):
    """Whose limit it is."""

    GATEWAY = "gateway"  # everybody's together
    KEY = "key"
    MODEL = "model"


class Kind(StrEnum):
    """What it limits."""

    REQUESTS = "requests"
    AUDIO = "audio-seconds"
    CONCURRENT = "concurrent"
    USD = "usd"


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """So many units in a window, and no more than so many at once."""

    name: str  # of its counter
    scope: Scope
    kind: Kind  # requests or audio seconds
    per: str  # minute, hour or day
    quota: float
    window_s: float

    @property
    def interval_s(self) -> float:
        return self.window_s / self.quota

    @property
    def words(self) -> str:
        return f"{self.quota:g} {self.kind.value.replace('-', ' ')} per {self.per}"


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """So much money in a day or a month."""

    name: str
    scope: Scope
    period: Period
    usd: float
    kind: Kind = Kind.USD

    @property
    def words(self) -> str:
        return f"{self.usd:g} USD per {self.period}"


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """So many requests at once."""

    name: str
    scope: Scope
    count: int
    kind: Kind = Kind.CONCURRENT

    @property
    def words(self) -> str:
        return f"{self.count} at once"


Rule: TypeAlias = Rate | Budget | Places


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What a request stands under."""

    rates: tuple[Rate, ...] = ()
    budgets: tuple[Budget, ...] = ()
    places: tuple[Places, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.rates or self.budgets or self.places)

    def __add__(self, other: Rules) -> Rules:
        return Rules(
            rates=self.rates + other.rates, budgets=self.budgets + other.budgets, places=self.places + other.places
        )


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """What one request asks for at one moment: all of it or nothing."""

    rates: tuple[tuple[Rate, float], ...] = ()  # with units to take; 0 only asks
    budgets: tuple[tuple[Budget, float], ...] = ()  # with USD to take
    places: tuple[Places, ...] = ()
    lease: str = ""  # by which its places are known
    is_told: bool = True  # False: how it stands afterwards need only be told where it is refused


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How much is left of a rate or a budget, and until when."""

    rule: Rate | Budget
    left: float  # units, or USD
    reset_s: float  # until all of it is there again
    window_s: float


class Correction(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a demand afterwards."""

    rates: tuple[tuple[Rate, float], ...] = ()  # with units used besides those taken; negative: not used
    budgets: tuple[tuple[Budget, float, float], ...] = ()  # with the window's start, and USD likewise
    places: tuple[Places, ...] = ()  # to give back
    lease: str = ""


class Granted(msgspec.Struct, frozen=True, kw_only=True):
    """All of it was taken."""

    standings: tuple[Standing, ...]  # perhaps none, where the demand says so
    since: tuple[float, ...]  # the start of each budget's window, in the demand's order
    correct: Callable[[Correction], None]  # where it was taken; returns at once, whatever becomes of the store


class Denied(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing was taken, for one of the rules; of several, for the one that takes longest to mend."""

    rule: Rule
    retry_after_s: float
    standings: tuple[Standing, ...] = ()
    is_unknown: bool = False  # what is left of the budget cannot be said


@lru_cache(maxsize=4096)
def rules_of(scope: Scope, name: str, limits: Limits) -> Rules:
    """Return a scope's rules. name: of the key or the model."""
    prefix = f"{scope}:{name}:"
    rates = (
        (Kind.REQUESTS, "minute", limits.requests_per_minute, _MINUTE_S),
        (Kind.AUDIO, "minute", limits.audio_seconds_per_minute, _MINUTE_S),
        (Kind.AUDIO, "hour", limits.audio_seconds_per_hour, _HOUR_S),
        (Kind.AUDIO, "day", limits.audio_seconds_per_day, _DAY_S),
    )
    budgets = ((Period.DAY, limits.usd_per_day), (Period.MONTH, limits.usd_per_month))
    return Rules(
        rates=tuple(
            Rate(name=f"{prefix}{kind}:{per}", scope=scope, kind=kind, per=per, quota=quota, window_s=window_s)
            for kind, per, quota, window_s in rates
            if quota is not None
        ),
        budgets=tuple(
            Budget(name=budget_name(scope, name, period), scope=scope, period=period, usd=usd)
            for period, usd in budgets
            if usd is not None
        ),
        places=()
        if limits.concurrent is None
        else (Places(name=f"{prefix}concurrent", scope=scope, count=limits.concurrent),),
    )


def budget_name(scope: Scope, name: str, period: Period) -> str:
    """Return the name of a budget's counter."""
    return f"{scope}:{name}:usd:{period}"


def standings_after(standings: tuple[Standing, ...], correction: Correction) -> tuple[Standing, ...]:
    """Return how rates and budgets stand once a correction has been made."""
    if not correction.rates and not correction.budgets:
        return standings
    units = {rate.name: units for rate, units in correction.rates}
    units |= {budget.name: usd for budget, _, usd in correction.budgets}
    return tuple(_after(each, units.get(each.rule.name, 0.0)) for each in standings)


def _after(standing: Standing, units: float) -> Standing:
    rule = standing.rule
    if isinstance(rule, Budget):
        return replace(standing, left=min(rule.usd, max(0.0, standing.left - units)))
    ahead_s = gcra.corrected(standing.reset_s, 0.0, interval_s=rule.interval_s, units=units)
    left = gcra.left(ahead_s, 0.0, interval_s=rule.interval_s, burst=rule.quota)
    return replace(standing, left=left, reset_s=ahead_s)


def undone(demand: Demand, granted: Granted) -> Correction:
    """Return what gives all of it back."""
    return Correction(
        rates=tuple((rate, -units) for rate, units in demand.rates if units),
        budgets=tuple(
            (budget, since, -usd) for (budget, usd), since in zip(demand.budgets, granted.since, strict=True) if usd
        ),
        places=demand.places,
        lease=demand.lease,
    )


def part_of(demand: Demand, processes: int) -> Demand:
    """Return the demand under one process's part of each limit, so that all together keep it, and at least 1."""
    return replace(
        demand,
        rates=tuple((part_of_rate(rate, processes), units) for rate, units in demand.rates),
        budgets=tuple((replace(budget, usd=budget.usd / processes), usd) for budget, usd in demand.budgets),
        places=tuple(replace(each, count=max(1, each.count // processes)) for each in demand.places),
    )


def part_of_rate(rate: Rate, processes: int) -> Rate:
    """Return one process's part of a rate."""
    return replace(rate, quota=max(1.0, rate.quota / processes))
