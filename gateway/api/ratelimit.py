"""What a caller is told of its limits. Source: draft-ietf-httpapi-ratelimit-headers-10, structured fields."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from gateway.policies.limits import Budget, Kind, Rate, Scope

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.policies.limits import Standing

_NAMES: Final = {Scope.KEY: "", Scope.MODEL: "model-", Scope.GATEWAY: "gateway-"}


def headers_of(standings: Iterable[Standing]) -> dict[str, str]:
    """Return `RateLimit-Policy`, every quota and its window, and `RateLimit`, what is left of each, and until when.

    Nothing where there is nothing to tell: what others may spend is the operator's business.
    """
    policies, levels = [], []
    for each in standings:
        rule = each.rule
        if isinstance(rule, Rate) or rule.scope is Scope.KEY:
            policies.append(_policy(rule, each.window_s))
            levels.append(f"{_name(rule)};r={_left(each)};t={math.ceil(each.reset_s)}")
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(levels)} if policies else {}


@lru_cache(maxsize=4096)
def _policy(rule: Rate | Budget, window_s: float) -> str:
    return f"{_name(rule)};q={_quota(rule)};w={window_s:.0f}{_unit(rule)}"


@lru_cache(maxsize=4096)
def _name(rule: Rate | Budget) -> str:
    if isinstance(rule, Budget):
        return f'"budget-per-{rule.period}"'
    kind = rule.kind if rule.kind is Kind.REQUESTS else f"{rule.kind}-per-{rule.per}"
    return f'"{_NAMES[rule.scope]}{kind}"'


def _unit(rule: Rate | Budget) -> str:
    """Name what is counted, where it is not requests."""
    if isinstance(rule, Budget):
        return ';qu="usd-cents"'  # quotas are whole numbers
    return f';qu="{rule.kind}"' if rule.kind is Kind.AUDIO else ""


def _quota(rule: Rate | Budget) -> int:
    return _whole(rule.usd * 100) if isinstance(rule, Budget) else _whole(rule.quota)


def _left(standing: Standing) -> int:
    return _whole(standing.left * 100) if isinstance(standing.rule, Budget) else _whole(standing.left)


def _whole(units: float) -> int:
    """Return how many whole units there are: 599.0000000001 and 598.9999999999 are both 599, 100 * 0.29 is 29."""
    return int(round(units, 6))
