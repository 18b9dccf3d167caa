"""How many extra calls may be made, retries and hedges, in proportion to the requests there are.

Where everything fails, every request would be retried, and a provider in trouble would get several times its load; a
limit of tries for each request does not prevent that. Source: the retry budgets of Finagle (a part of the requests,
and a floor for quiet times) and Envoy. Theirs count over a window or what is in flight; here both counts decay
exponentially, which needs no buckets and has no edges.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec
from msgspec.structs import replace

WINDOW_S: Final = 10.0
"""The decay's time constant: after so long a count has fallen to a third."""


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """Decayed counts, as of a moment."""

    requests: float = 0.0
    extras: float = 0.0
    at: float = 0.0


def deposit(budget: Budget, now: float) -> Budget:
    """Note a request."""
    left = _part_left(budget, now)
    return Budget(requests=budget.requests * left + 1, extras=budget.extras * left, at=max(now, budget.at))


def withdraw(budget: Budget, now: float, *, ratio: float, floor: float) -> Budget | None:
    """Take one extra call; None where there is none left now.

    ratio: extras for each request. floor: extras that need no request. They come back as what was granted decays: the
    third of 3 after 4 s; the only one of 1 with the next requests, after 30 s where ratio is 0.05.
    In T seconds with n requests, at most ratio * n + floor * (1 + T / WINDOW_S) are granted, whatever their order.
    For the decayed extras E never exceed ratio * R + floor, R being the decayed requests: it holds where one is
    granted, and E falls no slower than that afterwards. All that was granted is E plus what has decayed of it, which
    is the integral of E / WINDOW_S. The bound on E put into both, R and what has decayed of R are the n requests, and
    the floor counts once and T / WINDOW_S times more.
    """
    current = _decayed(budget, now)
    if current.extras + 1 > ratio * current.requests + floor:
        return None
    return replace(current, extras=current.extras + 1)


def _decayed(budget: Budget, now: float) -> Budget:
    left = _part_left(budget, now)
    return Budget(requests=budget.requests * left, extras=budget.extras * left, at=max(now, budget.at))


def _part_left(budget: Budget, now: float) -> float:
    elapsed_s = max(0.0, now - budget.at)  # a clock that goes back ages nothing
    return math.exp(-elapsed_s / WINDOW_S)
