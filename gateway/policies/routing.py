"""Who is asked first."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from config.reliability import Strategy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a deployment when a job comes."""

    weight: float = 1.0
    pace: float | None = None  # None: never heard from, or not yet
    in_flight: int = 0
    others: float = 0.0  # jobs besides ours that it is said to have
    cost_usd: float | None = None  # of this job


def order(strategy: Strategy, options: Sequence[Option], chance: Random) -> list[int]:
    """Return the options' indices, best first, each once."""
    indices = list(range(len(options)))
    if strategy is Strategy.WEIGHTED:
        return sorted(indices, key=lambda at: _weighted_key(options[at].weight, chance), reverse=True)
    if strategy is Strategy.FASTEST:
        return _fastest([_load(each) for each in options], chance)
    if strategy is Strategy.CHEAPEST:
        return sorted(indices, key=lambda at: _known(options[at].cost_usd))
    if strategy is Strategy.LEAST_LOADED:
        # Among equals by chance: all gateways would go to the first otherwise, before any of them hears of the others.
        return [at for _, _, at in sorted((_share(options[at]), chance.random(), at) for at in indices)]
    return indices


def _share(option: Option) -> float:
    """Return how much it would have to do for its weight with one job more; without any weight, more than all.

    Source: Envoy's weighted least request, and what its comparison of an active host with an idle one comes to.
    """
    return (option.in_flight + option.others + 1) / option.weight if option.weight > 0 else math.inf


def _weighted_key(weight: float, chance: Random) -> tuple[bool, float]:
    """Return a key whose largest is drawn in proportion to weight; without any, it is last, in the order given.

    Source: P. Efraimidis and P. Spirakis, "Weighted random sampling with a reservoir", 2006, in logarithms, since
    u ** (1 / weight) is 0 for many a small weight.
    """
    return (True, math.log(1.0 - chance.random()) / weight) if weight > 0 else (False, 0.0)


def _load(option: Option) -> tuple[float, int]:
    """Return what grows with the time until an answer.

    Whose pace is unknown is tried at once, but by one: until that one is back, the others go elsewhere. Source:
    Finagle's PeakEwma, which multiplies by the calls in flight and puts off to the end what it is only just trying.
    """
    if option.pace is None:
        return (math.inf if option.in_flight else 0.0, option.in_flight)
    return (option.pace * (option.in_flight + 1), option.in_flight)


def _fastest(loads: Sequence[tuple[float, int]], chance: Random) -> list[int]:
    """Draw two, take the better, and again: the best of all would get every job before its pace can show it.

    Source: M. Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001.
    """
    left, ordered = list(range(len(loads))), []
    while left:
        best = min(chance.sample(left, min(2, len(left))), key=lambda at: loads[at])
        left.remove(best)
        ordered.append(best)
    return ordered


def _known(cost_usd: float | None) -> float:
    return math.inf if cost_usd is None else cost_usd
