"""When a second attempt joins the race. Source: J. Dean and L. A. Barroso, "The Tail at Scale", CACM, 2013."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.policies.pace import expected_s, quantile

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class After:
    """A quantile (0 to 1) of how long the deployment lately took for such audio, or seconds: one of the two."""

    quantile: float | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        if (self.quantile is None) == (self.seconds is None):
            raise ValueError("hedge after a quantile or after so many seconds: exactly one of them")


def delay_s(after: After, recent_paces: Sequence[float], duration_s: float | None) -> float | None:
    """Return after how many seconds to start it; None where too little is known of the first, and it is not started.

    recent_paces: of the first deployment's latest calls. duration_s: of the audio.
    """
    if after.quantile is None:
        return after.seconds
    known = quantile(recent_paces, after.quantile)
    return None if known is None else expected_s(known, duration_s)
