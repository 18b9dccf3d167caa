"""How long to wait before asking again, and for how long to leave somebody alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from random import Random

_MOST_DOUBLINGS: Final = 1023  # 2.0 to a higher power raises OverflowError; what is larger is capped long before


def full_jitter_s(tries: int, chance: Random, *, base_s: float, cap_s: float) -> float:
    """Return a random wait in seconds: anything up to base_s, doubled with every try after the first, and to cap_s.

    tries: how often it has been asked, from 1. cap_s: finite.
    Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015: full jitter.
    """
    return chance.uniform(0.0, min(cap_s, base_s * 2.0 ** min(tries - 1, _MOST_DOUBLINGS)))


def park_s(asked_s: float | None, *, default_s: float, cap_s: float) -> float:
    """Return for how long to leave a provider alone that asked for asked_s: never for ever, never not at all."""
    return min(asked_s if asked_s is not None and asked_s > 0 else default_s, cap_s)
