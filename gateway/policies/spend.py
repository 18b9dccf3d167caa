"""Money spent within a day or a month, by UTC: estimated before the work, corrected after it."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

import msgspec
from msgspec.structs import replace

_DAY_S: Final = 86_400
_ROUNDING_USD: Final = 1e-9  # sums of many small floats must not refuse the last cent


class Period(StrEnum):
    """What a budget is for."""

    DAY = "day"
    MONTH = "month"


class Window(msgspec.Struct, frozen=True):
    """One day or month, in Unix time."""

    start: float
    end: float


class Spent(msgspec.Struct, frozen=True):
    """What is known to have been spent, and since when: in a later window it is nothing."""

    since: float  # the window's start
    usd: float = 0.0


class Overspent(msgspec.Struct, frozen=True):
    """There is not enough left for this."""

    retry_after_s: float  # until the next window


def window_of(now: float, period: Period) -> Window:
    """Return the window that a moment lies in. now: Unix time."""
    day = now // _DAY_S * _DAY_S
    if period is Period.DAY:
        return Window(day, day + _DAY_S)
    first = datetime.fromtimestamp(day, UTC).replace(day=1)
    following = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    return Window(first.timestamp(), following.timestamp())


def present(spent: Spent | None, now: float, period: Period) -> Spent:
    """Return what has been spent in the present window. spent: None where nothing is known."""
    start = window_of(now, period).start
    return spent if spent is not None and spent.since == start else Spent(start)


def decide(spent: Spent | None, now: float, *, period: Period, limit_usd: float, usd: float) -> Spent | Overspent:
    """Take money unless more would be spent than the limit.

    spent: None where nothing is known. usd: what this is thought to cost; 0 passes while anything is left.
    """
    before = present(spent, now, period)
    if before.usd >= limit_usd - _ROUNDING_USD or before.usd + usd > limit_usd + _ROUNDING_USD:
        return Overspent(retry_after_s=window_of(now, period).end - now)
    return Spent(before.since, before.usd + usd)


def corrected(spent: Spent | None, since: float, usd: float) -> Spent | None:
    """Return what was spent after the fact. usd: more than was estimated, or negative.

    since: the window in which it was estimated: once that has passed, nobody asks for it any more.
    """
    if spent is None or spent.since != since:
        return spent
    return replace(spent, usd=max(0.0, spent.usd + usd))
