"""`asr-gateway providers`: who can be asked, what each can do, and whether those configured let us in."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

import click
import msgspec

from config.catalog import load_catalog
from gateway.abilities import HEADINGS, Listed, listed
from gateway.columns import aligned
from gateway.dispatch.checks import SAMPLE_S
from gateway.engine_checks import ask_engines
from gateway.fleet import build_routes
from gateway.local_checks import look_for
from gateway.loop import run
from gateway.provider_checks import Planned, check, planned, without_key
from providers.local.provider import NAME as LOCAL
from providers.local.wire import ELSEWHERE
from providers.registry import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from config.settings import Settings
    from gateway.found import Found
    from providers.types import Deployment

_COLUMNS = (*HEADINGS, "US dollars a minute", "key variable")
_OF_FOUND = ("ACCOUNT", "MODEL", "CREDENTIALS", "ANSWERED IN", "LEFT", "OUTCOME")


def list_providers(*, as_json: bool) -> str:
    """Return every provider that can be configured, with its models of the catalog and what each can do."""
    rows = [_row(each) for each in listed(load_catalog())]
    if as_json:
        names = [name.replace(" ", "_") for name in _COLUMNS]
        return msgspec.json.encode([dict(zip(names, row, strict=True)) for row in rows]).decode()
    return aligned([tuple(map(str.upper, _COLUMNS)), *rows])


def _row(each: Listed) -> tuple[str, ...]:
    price = "-" if each.price is None else f"{each.price.usd_per_minute:g}"
    return each.provider, each.name, *each.in_words(), price, PROVIDERS[each.provider].key_variable or "-"


def check_providers(settings: Settings, accounts: Sequence[str], *, agreed: bool) -> bool:
    """Ask each account once; tell whether all are well. Raises ClickException, and Abort where the user declines.

    accounts: whom to ask; all that are configured where empty. agreed: nobody need be asked whether to go on.
    """
    chosen = _chosen(settings, accounts)
    if chosen.calls:
        click.echo(_announced(chosen.calls), err=True)
        if not agreed:
            click.confirm("Ask them?", abort=True, err=True)
    found = run(_found(settings, chosen))
    click.echo(aligned([_OF_FOUND, *map(_told, found)]))
    return all(each.is_well for each in found)


class _Chosen(NamedTuple):
    """What is to be checked."""

    calls: Sequence[Planned]  # to providers: billed
    elsewhere: Sequence[Deployment]
    here: Sequence[Deployment]

    @property
    def accounts(self) -> dict[str, None]:
        called = (each.deployment for each in self.calls)
        return dict.fromkeys(each.account.name for each in (*called, *self.elsewhere, *self.here))


def _chosen(settings: Settings, accounts: Sequence[str]) -> _Chosen:
    """Return what those accounts have to check, or all. Raises ClickException."""
    known = _checkable(settings)
    if unknown := [name for name in accounts if name not in known.accounts]:
        raise click.ClickException(
            f"{unknown[0]} is no account that a model is asked for at: {', '.join(known.accounts) or 'none'}"
        )
    if not known.accounts:
        raise click.ClickException("no account is configured that a model is asked for at")
    chosen = _of(known, accounts) if accounts else known
    if lacking := without_key(settings, chosen.calls):
        raise click.ClickException(f"no key to ask {', '.join(lacking)} with: here it is each caller's own")
    return chosen


def _checkable(settings: Settings) -> _Chosen:
    catalog = load_catalog()
    routes = build_routes(settings, catalog)
    held = {each.name: each for route in routes.by_model.values() for each in route.deployments}.values()
    return _Chosen(
        calls=planned(routes, catalog),
        elsewhere=[each for each in held if each.account.adapter == ELSEWHERE],
        here=[each for each in held if each.account.adapter == LOCAL],
    )


def _of(known: _Chosen, accounts: Sequence[str]) -> _Chosen:
    """Return what those accounts have of it."""
    return _Chosen(
        calls=[each for each in known.calls if each.deployment.account.name in accounts],
        elsewhere=[each for each in known.elsewhere if each.account.name in accounts],
        here=[each for each in known.here if each.account.name in accounts],
    )


async def _found(settings: Settings, chosen: _Chosen) -> list[Found]:
    """Return what was found of each, in the order of the accounts' configuration."""
    asked, elsewhere, here = await asyncio.gather(
        check(settings, chosen.calls),
        ask_engines(chosen.elsewhere),
        asyncio.gather(
            *(asyncio.to_thread(look_for, each, settings.providers[each.account.name]) for each in chosen.here)
        ),
    )
    order = list(settings.providers)
    return sorted((*asked, *elsewhere, *here), key=lambda found: order.index(found.deployment.account.name))


def _announced(calls: Sequence[Planned]) -> str:
    """Say what will be sent, and what it costs."""
    known = [each.cost_usd for each in calls if each.cost_usd is not None]
    besides = "" if len(known) == len(calls) else f", besides what {len(calls) - len(known)} of unknown price take"
    rows = [(f"  {each.deployment.name}", _usd(each.cost_usd)) for each in calls]
    sent = "one call" if len(calls) == 1 else f"{len(calls)} calls, one to each account"
    return f"{SAMPLE_S:g} s of silence in {sent}, for {_usd(sum(known))}{besides}:\n{aligned(rows)}"


def _usd(cost_usd: float | None) -> str:
    return "price not known" if cost_usd is None else f"{cost_usd:.6f} US dollars"


def _told(found: Found) -> tuple[str, ...]:
    return (
        found.deployment.account.name,
        found.deployment.native_model or "-",
        found.credentials,
        "-" if found.seconds is None else f"{found.seconds:.2f} s",
        ", ".join(map(str, found.left)) or "-",
        f"{found.outcome}: {found.reason}" if found.reason else found.outcome,
    )
