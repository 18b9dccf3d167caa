"""Rate limit by GCRA (ITU-T I.371): one number per key, no window edges.

The number is the theoretical arrival time (tat): when what has been taken will have been paid for at the sustained
rate. All that is asked here is how far ahead of the present that lies, in seconds: 0 or less at rest, where it is as if
the key had never been seen, so that its number need not be kept.

A request is admitted where one unit is free, whatever it costs, and charged its whole cost, which may leave its key in
debt: audio longer than the burst would never be admitted otherwise, and long audio would starve beside short. So in T
seconds from rest, at most quota + T / interval_s units are taken, and the last request's cost beyond that. For what is
taken comes out of the level of a bucket that leaks a unit each interval_s, and the level was under the quota before
the last request. Giving back lowers the level by no more than was taken, which leaves the bound as it is.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec.structs import force_setattr

_ROUNDING_S: Final = 0.01
"""How early one passes, or half a unit where that is less: sums of many floats must not refuse the last of a burst."""


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """So many units in a window, and no more than so many at once; what follows from that is worked out once."""

    quota: float  # 1: none beyond the rate
    window_s: float
    interval_s: float = 0.0  # between units at the sustained rate
    most_ahead_s: float = 0.0  # of itself at which one still passes: who is further ahead is refused

    def __post_init__(self) -> None:
        interval_s = self.window_s / self.quota
        force_setattr(self, "interval_s", interval_s)
        force_setattr(self, "most_ahead_s", self.window_s - interval_s + min(_ROUNDING_S, interval_s / 2))


def wait_s(ahead_s: float, pace: Pace) -> float:
    """Return for how long whoever is refused waits until a unit is free, if nobody takes it first."""
    return ahead_s - (pace.window_s - pace.interval_s)


def after(ahead_s: float, units: float, pace: Pace) -> float:
    """Return how far a key is ahead once units have been taken, in debt too; negative ones are given back."""
    return max(0.0, max(0.0, ahead_s) + units * pace.interval_s)


def left(ahead_s: float, pace: Pace) -> float:
    """Return how many units could be taken at once; 0 in debt."""
    return max(0.0, pace.quota - max(0.0, ahead_s) / pace.interval_s)
