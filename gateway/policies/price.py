"""What audio costs."""

from __future__ import annotations

import math


def billed_s(duration_s: float, *, minimum_s: float = 0.0, step_s: float = 0.0) -> float:
    """Return the seconds that are billed.

    minimum_s: what less is billed as. step_s: what is begun is billed whole; 0: billed exactly.
    """
    seconds = max(duration_s, minimum_s)
    if step_s > 0:
        seconds = math.ceil(round(seconds / step_s, 6)) * step_s  # 60.0000000001 s are 60, not 61
    return seconds


def cost_usd(
    usd_per_minute: float | None,
    duration_s: float | None,
    *,
    usd_per_request: float = 0.0,
    minimum_s: float = 0.0,
    step_s: float = 0.0,
) -> float | None:
    """Return US dollars; None where the price is not known, or depends on a length that is not."""
    if usd_per_minute is None:
        return None
    if not usd_per_minute:
        return usd_per_request
    if duration_s is None:
        return None
    return billed_s(duration_s, minimum_s=minimum_s, step_s=step_s) / 60 * usd_per_minute + usd_per_request
