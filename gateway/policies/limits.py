"""What limits there are, and what one request asks of them; where they are counted is a store's business."""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import msgspec
from msgspec.structs import replace

from gateway.policies import gcra
from gateway.policies.spend import Period, window_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from config.limits import Limits
    from gateway.policies.spend import Spent

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


class Rate(gcra.Pace, frozen=True, kw_only=True):
    """So many units in a window, and no more than so many at once."""

    name: str  # of its counter
    scope: Scope
    kind: Kind  # requests or audio seconds
    per: str  # minute, hour or day

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


class Amounts(msgspec.Struct, frozen=True, kw_only=True):
    """What a request uses of its rules."""

    rules: Rules = Rules()
    requests: float = 0.0
    audio_s: float = 0.0
    usd: float = 0.0
    places: tuple[Places, ...] = ()  # not always all of the rules'
    lease: str = ""  # by which its places are known

    def units_of(self, rate: Rate) -> float:
        """Return what it uses of a rate, in the rate's units."""
        return self.audio_s if rate.kind is Kind.AUDIO else self.requests


_Amounts = TypeVar("_Amounts", bound=Amounts)


class Demand(Amounts, frozen=True, kw_only=True):
    """What one request asks for at one moment: all of it or nothing. Where an amount is 0 it only asks."""


class Correction(Amounts, frozen=True, kw_only=True):
    """What becomes of a demand afterwards: used besides what was taken; negative: not used. Places are given back."""

    since: tuple[float, ...] = ()  # the start of each budget's window when money was taken, in the rules' order


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How much is left of a rate or a budget, and until when."""

    rule: Rate | Budget
    left: float  # units, or USD
    reset_s: float  # until all of it is there again
    window_s: float


class Levels(msgspec.Struct, frozen=True, kw_only=True):
    """How far rules were used up at a moment, each in the rules' order."""

    rules: Rules = Rules()
    ahead_s: Sequence[float] = ()  # of rates: see gcra
    spent: Sequence[Spent] = ()  # of budgets, in their present windows
    today: float = 0.0  # the moment, in Unix time

    def standings(self, audio_s: float = 0.0, usd: float = 0.0) -> list[Standing]:
        """Return how they stand once as much was used besides; negative: given back."""
        rates = [
            rate_standing(rate, gcra.after(ahead_s, audio_s, rate) if rate.kind is Kind.AUDIO else max(0.0, ahead_s))
            for rate, ahead_s in zip(self.rules.rates, self.ahead_s, strict=True)
        ]
        if not self.rules.budgets:
            return rates
        budgets = zip(self.rules.budgets, self.spent, strict=True)
        return [*rates, *[budget_standing(budget, spent.usd + usd, self.today) for budget, spent in budgets]]


class Granted(msgspec.Struct, frozen=True, kw_only=True):
    """All of it was taken."""

    levels: Levels  # with what was taken
    correct: Callable[[Correction], None]  # where it was taken; returns at once, whatever becomes of the store


class Denied(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing was taken, for one of the rules; of several, for the one that takes longest to mend."""

    rule: Rule
    retry_after_s: float
    levels: Levels = Levels()
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


@lru_cache(maxsize=4096)
def rules_for(key: str, limits: Limits, everybodys: Limits) -> Rules:
    """Return the rules that a key's requests stand under whatever they ask for."""
    return rules_of(Scope.GATEWAY, "all", everybodys) + rules_of(Scope.KEY, key, limits)


def budget_name(scope: Scope, name: str, period: Period) -> str:
    """Return the name of a budget's counter."""
    return f"{scope}:{name}:usd:{period}"


def rate_standing(rate: Rate, ahead_s: float) -> Standing:
    """Say how a rate stands. ahead_s: 0 or more."""
    return Standing(rule=rate, left=gcra.left(ahead_s, rate), reset_s=ahead_s, window_s=rate.window_s)


def budget_standing(budget: Budget, usd: float, today: float) -> Standing:
    """Say how a budget stands. usd: spent in the present window."""
    window = window_of(today, budget.period)
    left = min(budget.usd, max(0.0, budget.usd - usd))
    return Standing(rule=budget, left=left, reset_s=window.end - today, window_s=window.end - window.start)


def corrected(demand: Demand, granted: Granted, *, audio_s: float = 0.0, usd: float = 0.0) -> Correction:
    """Return what corrects a demand that is over by as much, and gives its places back."""
    return Correction(
        rules=demand.rules,
        since=tuple([each.since for each in granted.levels.spent]),
        audio_s=audio_s,
        usd=usd,
        places=demand.places,
        lease=demand.lease,
    )


def undone(demand: Demand, granted: Granted) -> Correction:
    """Return what gives all of it back."""
    given_back = corrected(demand, granted, audio_s=-demand.audio_s, usd=-demand.usd)
    return replace(given_back, requests=-demand.requests)


def part_of(amounts: _Amounts, processes: int) -> _Amounts:
    """Return the same under one process's part of each limit, so that all together keep it, and at least 1."""
    rules, places = _part_of_rules(amounts.rules, processes), _part_of_places(amounts.places, processes)
    return replace(amounts, rules=rules, places=places)


@lru_cache(maxsize=4096)
def _part_of_rules(rules: Rules, processes: int) -> Rules:
    return Rules(
        rates=tuple(replace(each, quota=max(1.0, each.quota / processes)) for each in rules.rates),
        budgets=tuple(replace(each, usd=each.usd / processes) for each in rules.budgets),
        places=_part_of_places(rules.places, processes),
    )


def _part_of_places(places: tuple[Places, ...], processes: int) -> tuple[Places, ...]:
    return tuple(replace(each, count=max(1, each.count // processes)) for each in places)
