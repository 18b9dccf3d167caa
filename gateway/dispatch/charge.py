"""What an answer cost."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from gateway.dispatch.answers import Paid
from gateway.dispatch.routes import cost_of
from gateway.policies.price import billed_s

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.dispatch.answers import Answer
    from providers.types import Deployment


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """What a job is charged with. None where that is not known."""

    billed_s: float | None
    cost_usd: float | None


NOTHING = Charge(billed_s=0.0, cost_usd=0.0)
"""Of a failure, and of an answer that somebody has paid for already."""


def charge_of(answer: Answer | Paid, duration_s: float | None) -> Charge:
    """Return what an answer of its deployment cost: what the provider says, else what its price comes to.

    duration_s: as measured here, which no response format changes; where it is not known, the provider's own measure.
    """
    heard = answer.transcript
    if isinstance(answer, Paid) and answer.length_s is not None:
        duration_s = answer.length_s
    length_s = duration_s if duration_s is not None or heard is None else heard.duration_s
    said_usd = heard.cost_usd if heard is not None else None
    is_said = said_usd is not None and math.isfinite(said_usd) and said_usd >= 0
    return Charge(
        billed_s=None if length_s is None else _billed_s(answer.deployment, length_s),
        cost_usd=said_usd if is_said else cost_of(answer.deployment, length_s),
    )


def charges_of(answer: Answer, duration_s: float | None) -> tuple[tuple[Deployment, Charge], ...]:
    """Return what each call cost that was paid for this answer, the one that brought it first."""
    length_s = duration_s if duration_s is not None else answer.transcript.duration_s
    if not answer.parts and not answer.besides:  # as nearly always
        return ((answer.deployment, charge_of(answer, length_s)),)
    paid: tuple[Answer | Paid, ...] = (*(answer.parts or (answer,)), *answer.besides)
    return tuple((each.deployment, charge_of(each, length_s)) for each in paid)


def total(charges: Iterable[Charge]) -> Charge:
    """Return what they come to together, as far as it is known."""
    known = list(charges)
    if len(known) == 1:
        return known[0]
    return Charge(billed_s=_sum([each.billed_s for each in known]), cost_usd=_sum([each.cost_usd for each in known]))


def _sum(numbers: Iterable[float | None]) -> float | None:
    known = [each for each in numbers if each is not None]
    return sum(known) if known else None


def _billed_s(deployment: Deployment, length_s: float) -> float:
    price = deployment.price
    return length_s if price is None else billed_s(length_s, minimum_s=price.minimum_s, step_s=price.step_s)
