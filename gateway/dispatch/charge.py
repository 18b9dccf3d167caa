"""What an answer cost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.dispatch.routes import cost_of
from gateway.policies.price import billed_s

if TYPE_CHECKING:
    from gateway.dispatch.answers import Answer
    from providers.types import Deployment


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What a job is charged with. None where that is not known."""

    billed_s: float | None
    cost_usd: float | None


NOTHING = Charge(billed_s=0.0, cost_usd=0.0)
"""Of a failure, and of an answer that somebody has paid for already."""


def charge_of(answer: Answer, duration_s: float | None) -> Charge:
    """Return what an answer of its deployment cost: what the provider says, else what its price comes to.

    duration_s: as measured here, which no response format changes; where it is not known, the provider's own measure.
    """
    length_s = duration_s if duration_s is not None else answer.transcript.duration_s
    said_usd = answer.transcript.cost_usd
    is_said = said_usd is not None and math.isfinite(said_usd) and said_usd >= 0
    return Charge(
        billed_s=None if length_s is None else _billed_s(answer.deployment, length_s),
        cost_usd=said_usd if is_said else cost_of(answer.deployment, length_s),
    )


def _billed_s(deployment: Deployment, length_s: float) -> float:
    price = deployment.price
    return length_s if price is None else billed_s(length_s, minimum_s=price.minimum_s, step_s=price.step_s)
