"""`asr-gateway providers`: who can be asked, what each can do, and whether those configured let us in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from config.catalog import load_catalog
from gateway.abilities import HEADINGS, Listed, listed
from gateway.columns import aligned
from gateway.dispatch.checks import SAMPLE_S
from gateway.fleet import build_routes
from gateway.loop import run
from gateway.provider_checks import Found, Planned, check, planned, without_key
from providers.registry import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from config.settings import Settings

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
    calls = _chosen(settings, accounts)
    click.echo(_announced(calls), err=True)
    if not agreed:
        click.confirm("Ask them?", abort=True, err=True)
    found = run(check(settings, calls))
    click.echo(aligned([_OF_FOUND, *map(_told, found)]))
    return all(each.is_well for each in found)


def _chosen(settings: Settings, accounts: Sequence[str]) -> list[Planned]:
    catalog = load_catalog()
    calls = {each.deployment.account.name: each for each in planned(build_routes(settings, catalog), catalog)}
    if unknown := [name for name in accounts if name not in calls]:
        known = ", ".join(calls) or "none"
        raise click.ClickException(f"{unknown[0]} is no account that a model is asked for at: {known}")
    chosen = [calls[name] for name in accounts or calls]
    if not chosen:
        raise click.ClickException("no account is configured that is not on this machine")
    if lacking := without_key(settings, chosen):
        raise click.ClickException(f"no key to ask {', '.join(lacking)} with: here it is each caller's own")
    return chosen


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
        f"{found.seconds:.2f} s",
        ", ".join(map(str, found.left)) or "-",
        f"{found.outcome}: {found.reason}" if found.reason else found.outcome,
    )
