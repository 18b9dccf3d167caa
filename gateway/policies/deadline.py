"""Until when. Moments are on one monotonic clock, in seconds."""

from __future__ import annotations


def allowed_s(base_s: float, per_audio_second: float, max_s: float, length_s: float) -> float:
    """Return how many seconds there are for length_s seconds of audio."""
    return min(base_s + per_audio_second * length_s, max_s)


def lowered(deadline: float, now: float, asked_s: float | None) -> float:
    """Return the deadline where the caller allows asked_s seconds: sooner perhaps, never later."""
    return deadline if asked_s is None else min(deadline, now + asked_s)


def share(now: float, deadline: float, *, is_last: bool) -> float:
    """Return when an attempt must be over: half of what is left, so that one that hangs leaves the next its turn.

    is_last: nobody else could still be asked, so that it gets all there is.
    """
    return deadline if is_last else now + (deadline - now) / 2
