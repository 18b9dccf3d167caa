"""When a deployment is asked for its own sake, with nobody's audio."""

from __future__ import annotations

from typing import Final

_LONGEST_S: Final = 1.0
_SHORTEST_S: Final = 0.05


def is_due(now: float, called_at: float, every_s: float, *, proves_itself: bool, admits: bool) -> bool:
    """Tell whether to ask now.

    now, called_at: on one clock, in seconds; called_at is minus infinity where it was never called.
    proves_itself: it was left alone, and the next call tells whether it is well again: better ours than a caller's.
    admits: it may be called at all.
    """
    return admits and (proves_itself or now - called_at >= every_s)


def pause_s(every_s: float | None) -> float:
    """Return how long to wait before looking again: a fraction of the interval. None: checks are off, for now."""
    return _LONGEST_S if every_s is None else min(_LONGEST_S, max(_SHORTEST_S, every_s / 4))
