"""What audio costs."""

from __future__ import annotations

import math


def cost_usd(
    usd_per_minute: float | None, duration_s: float | None, *, minimum_s: float = 0.0, step_s: float = 0.0
) -> float | None:
    """Return US dollars; None where the price or the length is not known.

    minimum_s: what less is billed as. step_s: what is begun is billed whole; 0: billed exactly.
    """
    if usd_per_minute is None or duration_s is None:
        return None
    billed_s = max(duration_s, minimum_s)
    if step_s > 0:
        billed_s = math.ceil(round(billed_s / step_s, 6)) * step_s  # 60.0000000001 s are 60, not 61
    return billed_s / 60 * usd_per_minute
