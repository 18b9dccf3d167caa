"""`asr-gateway keys`: callers' keys, each shown once. Where a store is configured, running gateways follow it."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click
import yaml
from pydantic import ValidationError

from config.settings import BadConfiguration, Key, Settings, explain, load, refuse_uncounted
from config.units import moment, seconds
from gateway.keyring import Keyring, NameTaken, NoStore, NoSuchKey, TooManyKeys, digest_of, new_secret
from gateway.loop import run
from gateway.stores.keys import key_store
from gateway.stores.redis import SharedStore, StoreLost

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

T = TypeVar("T")
_CONFIG = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    envvar="ASR_GATEWAY_CONFIG",
    help="The YAML file whose auth.store keeps the keys.",
)
_COLUMNS = ("NAME", "ROLE", "MODELS", "EXPIRES", "LABELS", "KEPT IN")


@click.group()
def keys() -> None:
    """Make, list, revoke and rotate callers' keys."""


@keys.command()
@_CONFIG
@click.option("--name", required=True, help="Whose it is: letters, digits, . _ and -; it stands in logs.")
@click.option("--role", type=click.Choice(["caller", "admin"]), default="caller", show_default=True)
@click.option(
    "--model",
    "models",
    metavar="PATTERN",
    multiple=True,
    help="What it may use: a model, or a pattern such as 'openai/*'. May be repeated; all models unless told.",
)
@click.option("--expires", metavar="WHEN", help="A day (its last second, UTC), a moment, or from now: 90d.")
@click.option(
    "--limit",
    "limits",
    metavar="NAME=NUMBER",
    multiple=True,
    help="As under auth.keys[].limits: requests_per_minute=600, usd_per_day=25. May be repeated.",
)
@click.option("--label", "labels", metavar="NAME=VALUE", multiple=True, help="A note of your own. May be repeated.")
def new(
    config_file: Path | None,
    *,
    name: str,
    role: str,
    models: tuple[str, ...],
    expires: str | None,
    limits: tuple[str, ...],
    labels: tuple[str, ...],
) -> None:
    """Make a key. It is written to standard output once; only its hash is kept."""
    secret = new_secret().get_secret_value()
    key = _key(
        name=name,
        role=role,
        hash=digest_of(secret),
        models=models or ("*",),
        expires=_expiry(expires) if expires is not None else None,
        limits=dict(_pair("--limit", each) for each in limits),
        labels=dict(_pair("--label", each) for each in labels),
    )
    settings = _settings(config_file)
    if settings.auth.store == "none":
        told = f"Under auth.keys of the configuration:\n\n{_entry(key)}"
    else:
        _check_counted(settings, key)
        _done(settings, lambda keyring: keyring.add(key))
        told = f"Kept in {settings.auth.store}."
    click.echo(secret)
    click.echo(f"It is not shown again. {told}", err=True)


@keys.command("list")
@_CONFIG
def show(config_file: Path | None) -> None:
    """List the keys of the configuration and of its store."""

    async def rows(keyring: Keyring) -> list[tuple[str, ...]]:
        await keyring.refresh()
        if keyring.is_lost:
            raise StoreLost("it does not answer")
        kept = (("file", keyring.of_file), ("store", keyring.stored))
        return [_row(each, where) for where, of in kept for each in sorted(of, key=lambda key: key.name)]

    table = [_COLUMNS, *_done(_settings(config_file), rows)]
    widths = [max(len(row[at]) for row in table) for at in range(len(_COLUMNS))]
    for row in table:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@keys.command()
@click.argument("name")
@_CONFIG
def revoke(name: str, config_file: Path | None) -> None:
    """Forget a key of the store. Running gateways refuse it within two seconds."""
    _done(_settings(config_file), lambda keyring: keyring.revoke(name))
    click.echo("Revoked.", err=True)


@keys.command()
@click.argument("name")
@_CONFIG
def rotate(name: str, config_file: Path | None) -> None:
    """Give a key of the store another secret, written to standard output once. The old one is refused."""
    secret = _done(_settings(config_file), lambda keyring: keyring.rotate(name))
    click.echo(secret.get_secret_value())
    click.echo("It is not shown again; the old one is refused within two seconds.", err=True)


def _done(settings: Settings, work: Callable[[Keyring], Awaitable[T]]) -> T:
    """Return what work returns; say why it could not be done."""

    async def working() -> T:
        async with _opened(settings) as keyring:
            return await work(keyring)

    try:
        return run(working())
    except NoStore as error:
        raise click.ClickException("auth.store is none: keys are made and ended in the configuration") from error
    except NameTaken as error:
        raise click.ClickException("there is a key of that name; rotate it, or take another name") from error
    except NoSuchKey as error:
        raise click.ClickException("the store has no key of that name; those of the file end there") from error
    except TooManyKeys as error:
        raise click.ClickException("the store has as many keys as it may; revoke some") from error
    except StoreLost as error:
        raise click.ClickException(f"the store of keys: {error}") from error


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Keyring]:
    shared = SharedStore(settings.redis, lambda _: None) if settings.redis else None
    keyring = Keyring(key_store(settings.auth, shared), now=lambda: datetime.now(UTC))
    keyring.adopt(settings.auth.keys)
    try:
        yield keyring
    finally:
        await keyring.close()
        if shared is not None:
            await shared.close()


def _settings(config_file: Path | None) -> Settings:
    try:
        return load(config_file)
    except BadConfiguration as error:
        click.echo(f"The configuration cannot be used:\n{error}", err=True)
        sys.exit(2)


def _key(**fields: object) -> Key:
    try:
        return Key.model_validate(fields)
    except ValidationError as error:
        raise click.UsageError(explain(error)) from None


def _check_counted(settings: Settings, key: Key) -> None:
    """Refuse limits that each of several workers would allow in full."""
    try:
        refuse_uncounted(settings, (key,))
    except ValueError as error:
        raise click.ClickException(str(error)) from error


def _row(key: Key, where: str) -> tuple[str, ...]:
    return (
        key.name,
        key.role,
        ",".join(key.models),
        "-" if key.expires is None else key.expires.isoformat(timespec="seconds"),
        ",".join(f"{name}={value}" for name, value in key.labels.items()) or "-",
        where,
    )


def _entry(key: Key) -> str:
    """Return the key as the configuration has it."""
    document = key.model_dump(mode="json", exclude_defaults=True)
    return yaml.safe_dump([document], sort_keys=False, default_flow_style=None, allow_unicode=True, width=120)


def _pair(option: str, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"{option} {text}: expected NAME=VALUE")
    return name, value


def _expiry(text: str) -> datetime:
    try:
        return moment(text) if "-" in text else _from_now(text)
    except (ValueError, OverflowError) as error:
        message = f"--expires {text}: neither a day such as 2026-12-31 nor a duration such as 90d ({error})"
        raise click.UsageError(message) from error


def _from_now(duration: str) -> datetime:
    if duration.strip().isdigit():
        raise ValueError("a number alone says no unit")
    return datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=float(str(seconds(duration))))
