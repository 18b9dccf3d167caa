"""Each provider's account asked once, with half a second of silence: whether it lets us in, how fast, what is left."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, replace  # noqa: TID251 - of a dataclass
from typing import TYPE_CHECKING

from msgspec import structs

from gateway.app import Gateway
from gateway.dispatch.call import Call
from gateway.dispatch.checks import SAMPLE_S, ask_once, silence
from gateway.dispatch.routes import NAME_HERE, cost_of
from gateway.fleet import HELD
from gateway.found import Found
from providers.allowances import allowances
from providers.registry import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from config.catalog import Catalog
    from config.settings import Settings
    from gateway.dispatch.routes import Routes
    from providers.types import Deployment


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """Whom to ask, and what that costs."""

    deployment: Deployment
    cost_usd: float | None  # None: not known


def planned(routes: Routes, catalog: Catalog) -> list[Planned]:
    """Return a call for each account that has a model to ask: the cheapest that its targets name, else the catalog's.

    Models on machines of ours are none of a provider's: `engine_checks` and `local_checks` are about them.
    """
    deployments = [each for route in routes.by_model.values() for each in route.deployments]
    accounts = dict.fromkeys(each.account.name for each in deployments if each.account.adapter not in HELD)
    of_each = ([each for each in deployments if each.account.name == name] for name in accounts)
    return [_cheapest(own, catalog) for own in of_each]


def without_key(settings: Settings, calls: Iterable[Planned]) -> list[str]:
    """Return the names of accounts that need a key and have none: in mode passthrough it is the caller's."""
    accounts = settings.providers
    lacking = (each.deployment.account for each in calls if PROVIDERS[each.deployment.account.adapter].key_required)
    return [account.name for account in lacking if not accounts[account.name].secret()]


async def check(settings: Settings, calls: Sequence[Planned]) -> list[Found]:
    """Ask all at once; return what was found, in the same order."""
    if not calls:
        return []
    gateway = Gateway(settings)
    try:
        return list(await asyncio.gather(*(_found(gateway, each.deployment) for each in calls)))
    finally:
        await gateway.close()


def _cheapest(deployments: Sequence[Deployment], catalog: Catalog) -> Planned:
    """Return the call that costs least; an unknown price is more than any known one."""
    calls = [Planned(deployment=each, cost_usd=cost_of(each, SAMPLE_S)) for each in _named(deployments, catalog)]
    return min(calls, key=lambda call: math.inf if call.cost_usd is None else call.cost_usd)


def _named(deployments: Sequence[Deployment], catalog: Catalog) -> list[Deployment]:
    """Return those that name a model; where an account only stands for every name, the catalog's first there."""
    named = [each for each in deployments if NAME_HERE not in each.native_model]
    if named:
        return named
    any_name = deployments[0]
    natives = catalog.native_models(any_name.account.adapter)
    return [
        structs.replace(any_name, native_model=any_name.native_model.replace(NAME_HERE, natives[0] if natives else ""))
    ]


async def _found(gateway: Gateway, deployment: Deployment) -> Found:
    call = Call()
    dispatcher = gateway.dispatcher
    watched = replace(dispatcher, means=replace(dispatcher.means, new_call=lambda: call))
    attempt = (await ask_once(watched, deployment, silence())).attempt
    if attempt is None:
        raise RuntimeError(f"{deployment.name} was not asked, though nobody had asked it before")
    return Found(
        deployment=deployment,
        outcome=attempt.outcome,
        reason=attempt.reason,
        seconds=attempt.seconds,
        left=tuple(allowances(call.headers or {})),
    )
