"""How fast a deployment is, whatever the length of the audio."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

OVERHEAD_S: Final = 10.0
"""What a call costs whatever its audio, in seconds of audio: without it short audio would look slow, or long audio."""
MIN_SAMPLES: Final = 20
HALF_LIFE_S: Final = 60.0
_LEAST_FALL: Final = 0.1


def pace(seconds: float, duration_s: float | None) -> float:
    """Return the real-time factor of a call that took so many seconds, with the overhead taken into account."""
    return seconds / ((duration_s or 0.0) + OVERHEAD_S)


def expected_s(pace: float, duration_s: float | None) -> float:
    """Return how many seconds a call of that pace takes."""
    return pace * ((duration_s or 0.0) + OVERHEAD_S)


def decayed(mean: float | None, value: float, *, idle_s: float, half_life_s: float = HALF_LIFE_S) -> float:
    """Return the mean after one more value. It rises at once and falls slowly: what was slow must prove itself.

    idle_s: seconds since the value before; after half_life_s the mean has come half of the way down to the new one.
    It comes down by a tenth at least, however quickly values follow each other: by time alone, one slow call in a
    busy minute would stand for that minute, and the more calls a deployment answers, the slower it would look.
    Source: the peak-sensitive moving average of Finagle's load balancer (PeakEwma), which falls by time alone.
    """
    if mean is None or value >= mean:
        return value
    kept = min(_part_left(idle_s, half_life_s), 1 - _LEAST_FALL)
    return value + (mean - value) * kept


def faded(mean: float | None, *, idle_s: float, half_life_s: float = HALF_LIFE_S) -> float | None:
    """Return what a mean still says when nobody has called for idle_s seconds: less and less.

    Otherwise one slow call would keep a deployment from being asked for ever. Reckoned from the start of the last
    call, it is asked once when it has faded enough, not by everybody until it answers. Source: Finagle's PeakEwma.
    """
    return None if mean is None else mean * _part_left(idle_s, half_life_s)


def quantile(recent: Sequence[float], q: float) -> float | None:
    """Return the smallest value that a part q (0 to 1) of recent does not exceed; None where they are too few to tell.

    The nearest rank, without interpolation: a value that has really been seen.
    """
    if len(recent) < MIN_SAMPLES:
        return None
    rank = math.ceil(round(q * len(recent), 9))  # 0.55 of 100 is 55, though the product is a little more
    return sorted(recent)[max(rank, 1) - 1]


def _part_left(idle_s: float, half_life_s: float) -> float:
    return math.exp2(-max(0.0, idle_s) / half_life_s)  # a clock that goes back ages nothing
