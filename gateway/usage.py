"""The ledger on the command line: read where it is kept, whether a gateway runs or not."""

from __future__ import annotations

import csv
import io
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TextIO

import click
import msgspec

from gateway.ledger import usage_store
from gateway.stores.shared import shared_store
from gateway.stores.usage import Row, UsageUnusable
from gateway.stores.usage_query import as_document, in_order
from gateway.stores.usage_sqlite import SqliteUsage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from config.settings import Settings
    from gateway.stores.usage import By, Period, UsageStore

_PATIENCE_S: Final = 10.0  # for each answer of Redis: no request waits here
_FIGURES: Final = {  # of a sum: its heading, and how it is written for people
    "requests": ("REQUESTS", "{}"),
    "audio_s": ("AUDIO S", "{:.1f}"),
    "billed_s": ("BILLED S", "{:.1f}"),
    "cost_usd": ("USD", "{:.6f}"),
    "hits": ("HITS", "{}"),
    "failures": ("FAILURES", "{}"),
    "unpriced": ("UNPRICED", "{}"),
}


async def sums_of(settings: Settings, by: Sequence[By], period: Period, format_: str) -> str:
    """Return what the ledger says, as table, csv or json. Raises ClickException where it cannot be read."""
    async with _opened(settings) as store:
        sums = in_order(await store.sums(by, period), by)
    document = as_document(sums, by, period)
    if format_ == "json":
        return msgspec.json.encode(document).decode()
    if format_ == "csv":
        return _as_csv([*map(str, by), *_FIGURES], document["sums"])
    return _as_table([*map(str, by)], [*(document["sums"] if by else ()), _total(document["sums"])])


async def write_json_lines(settings: Settings, period: Period, to: TextIO) -> None:
    """Write every row as a JSON object, a line each, without holding them all. Raises ClickException."""
    async with _opened(settings) as store:
        async for row in store.rows(period):
            named = dict(zip(Row.__struct_fields__, msgspec.structs.astuple(row), strict=True))
            to.write(f"{msgspec.json.encode(named).decode()}\n")


async def write_rows(settings: Settings, period: Period, to: TextIO) -> None:
    """Write every row as CSV, a line each, without holding them all. Raises ClickException."""
    writer = csv.writer(to, lineterminator="\n")
    async with _opened(settings) as store:
        writer.writerow(Row.__struct_fields__)
        async for row in store.rows(period):
            writer.writerow(["" if value is None else value for value in msgspec.structs.astuple(row)])


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[UsageStore]:
    patient = settings.redis and settings.redis.model_copy(update={"timeout": _PATIENCE_S})
    shared = shared_store(patient, lambda _: None)
    store = usage_store(settings.usage, shared, os.environ)
    if store is None:
        raise click.ClickException("usage.store is none: nothing is written down")
    if isinstance(store, SqliteUsage) and not store.file.exists():
        raise click.ClickException(f"{store.file}: there is no ledger; a gateway makes it when it serves")
    try:
        yield store
    except UsageUnusable as error:
        raise click.ClickException(str(error)) from error
    finally:
        await store.close()
        if shared is not None:
            await shared.close()


def _total(sums: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {name: sum(each[name] for each in sums) for name in _FIGURES}


def _as_csv(columns: Sequence[str], sums: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(sums)
    return text.getvalue().rstrip("\n")


def _as_table(by: Sequence[str], sums: Sequence[Mapping[str, Any]]) -> str:
    """Return names to the left and figures to the right; the last line is the total's."""
    head = [*(name.upper() for name in by), *(heading for heading, _ in _FIGURES.values())]
    rows = [head, *(_cells(by, each) for each in sums)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(widths[at]) if at < len(by) else cell.rjust(widths[at]) for at, cell in enumerate(row))
        for row in rows
    )


def _cells(by: Sequence[str], one: Mapping[str, Any]) -> list[str]:
    names = [one.get(name, "" if at else "total") for at, name in enumerate(by)]
    return [*names, *(form.format(one[name]) for name, (_, form) in _FIGURES.items())]
