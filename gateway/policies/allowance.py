"""What a provider allows in a minute, kept before it has to say so.

Unlike callers' limits (gcra.py) this is another's rule, and how it counts is not known: so never more than the quota in
any minute, and all of it at once. Calls are counted by tenths of a minute; a tenth that is partly over still counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, TypeAlias

_PARTS: Final = 10
_PART_S: Final = 60.0 / _PARTS

Taken: TypeAlias = tuple[tuple[int, float], ...]
"""Units by tenths of a minute since the clock's zero, oldest first: eleven at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Minute:
    """Units taken lately, of one kind."""

    quota: float
    taken: Taken = ()


def due_at(minute: Minute, now: float) -> float | None:
    """Return when a unit can be taken: None for now."""
    kept = _kept(minute.taken, now)
    if _sum(kept) < minute.quota:
        return None
    last = next(index for at, (index, _) in enumerate(kept) if _sum(kept[at + 1 :]) < minute.quota)
    return (last + 1 + _PARTS) * _PART_S


def after(minute: Minute, now: float, units: float) -> Minute:
    """Take units, whatever is left: audio is not cut to what fits."""
    index = math.floor(now / _PART_S)
    kept = dict(_kept(minute.taken, now))
    kept[index] = kept.get(index, 0.0) + units
    return Minute(quota=minute.quota, taken=tuple(sorted(kept.items())))


def _sum(taken: Taken) -> float:
    return sum(units for _, units in taken)


def _kept(taken: Taken, now: float) -> Taken:
    """Leave out what is over; what lies ahead was counted by a clock that has stepped back."""
    index = math.floor(now / _PART_S)
    return tuple((each, units) for each, units in taken if index - _PARTS <= each <= index)
