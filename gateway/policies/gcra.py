"""Rate limit by GCRA (ITU-T I.371): one number per key, no window edges.

The number is the theoretical arrival time (tat): when what has been taken will have been paid for at the sustained
rate. One whose tat has passed is at rest: as if it had never been seen, so that it need not be kept.

A request is admitted where one unit is free, whatever it costs, and charged its whole cost, which may leave its key in
debt: audio longer than the burst would never be admitted otherwise, and long audio would starve beside short. So in T
seconds from rest, at most burst + T / interval_s units are taken, and the last request's cost beyond that. For what is
taken comes out of the level of a bucket that leaks a unit each interval_s, and the level was under the burst before
the last request. Giving back lowers the level by no more than was taken, which leaves the bound as it is.
"""

from __future__ import annotations

from typing import Final

import msgspec

_ROUNDING_S: Final = 0.01
"""How early one passes, or half a unit where that is less: sums of many floats must not refuse the last of a burst."""


class Admitted(msgspec.Struct, frozen=True):
    """It may pass."""

    next_tat: float


class Refused(msgspec.Struct, frozen=True):
    """It may not, for now."""

    retry_after_s: float  # until a unit is free, if nobody takes it first


def decide(tat: float, now: float, *, interval_s: float, burst: float, cost: float = 1) -> Admitted | Refused:
    """Admit a request unless its key is ahead of its rate.

    tat: theoretical arrival time kept for the key, on the clock of `now`, in seconds.
    interval_s: seconds between units at the sustained rate.
    burst: units admitted at once; 1 means none beyond the rate.
    cost: what this request takes, in requests (or audio seconds); it may leave the key in debt. 0 only asks.
    """
    start = max(tat, now)
    ahead_s = start - now
    tolerance_s = (burst - 1) * interval_s
    if ahead_s > tolerance_s + min(_ROUNDING_S, interval_s / 2):
        return Refused(retry_after_s=ahead_s - tolerance_s)
    return Admitted(next_tat=start + cost * interval_s)


def corrected(tat: float, now: float, *, interval_s: float, units: float) -> float:
    """Return the tat after the fact: units that were taken and not used are negative, those used besides positive."""
    return max(now, max(tat, now) + units * interval_s)


def left(tat: float, now: float, *, interval_s: float, burst: float) -> float:
    """Return how many units could be taken at once; 0 in debt."""
    return max(0.0, burst - max(0.0, tat - now) / interval_s)
