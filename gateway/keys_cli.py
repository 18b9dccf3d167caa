"""`asr-gateway keys`: callers' keys, each shown once. Where a store is configured, running gateways follow it."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec
import yaml
from pydantic import ValidationError

from config.auth import Key
from config.faults import BadConfiguration
from config.settings import Settings, explain, load, refuse_uncounted
from config.units import moment, seconds
from gateway.columns import aligned
from gateway.dispatch.routes import WILDCARD
from gateway.keyring import (
    MOST_OVERLAP_S,
    Keyring,
    NameTaken,
    NoStore,
    NoSuchKey,
    TooManyKeys,
    digest_of,
    new_secret,
    written,
)
from gateway.loop import run
from gateway.stores.keys import key_store
from gateway.stores.shared import StoreLost, shared_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping

T = TypeVar("T")
_CONFIG = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    envvar="ASR_GATEWAY_CONFIG",
    help="The YAML file whose auth.store keeps the keys.",
)
_COLUMNS = ("NAME", "ROLE", "MODELS", "LIMITS", "CREATED", "EXPIRES", "OLD SECRET UNTIL", "LABELS", "KEPT IN")


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
    now = datetime.now(UTC).replace(microsecond=0)
    key = _key(
        name=name,
        role=role,
        hash=digest_of(secret),
        models=models or ("*",),
        created=now,
        expires=_expiry(expires, now) if expires is not None else None,
        limits=dict(_pair("--limit", each) for each in limits),
        labels=dict(_pair("--label", each) for each in labels),
    )
    settings = _settings(config_file)
    _warn_of_models(settings, models)
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
@click.option("--json", "as_json", is_flag=True, help="As /admin/keys says it.")
def show(config_file: Path | None, *, as_json: bool) -> None:
    """List the keys of the configuration and of its store, with all but their secrets."""

    async def told(keyring: Keyring) -> list[dict[str, Any]]:
        await keyring.refresh()
        if keyring.is_lost:
            raise StoreLost("it does not answer")
        return keyring.told()

    keys = _done(_settings(config_file), told)
    click.echo(msgspec.json.encode({"keys": keys}).decode() if as_json else aligned([_COLUMNS, *map(_row, keys)]))


@keys.command()
@click.argument("name")
@_CONFIG
def revoke(name: str, config_file: Path | None) -> None:
    """Forget a key of the store, and the secret it had before. Running gateways refuse both within two seconds."""
    _done(_settings(config_file), lambda keyring: keyring.revoke(name))
    click.echo("Revoked.", err=True)


@keys.command()
@click.argument("name")
@_CONFIG
@click.option(
    "--overlap",
    metavar="DURATION",
    default="1h",
    show_default=True,
    help="For how long the old secret is good beside it: 24h, 30d at most; 0 where it has leaked.",
)
def rotate(name: str, config_file: Path | None, *, overlap: str) -> None:
    """Give a key of the store another secret, written to standard output once.

    A secret that is still good from a rotation before ends at once.
    """
    overlap_s = _overlap_s(overlap)
    rotated = _done(_settings(config_file), lambda keyring: keyring.rotate(name, overlap_s))
    click.echo(rotated.secret.get_secret_value())
    if rotated.old_until is None:
        told = "The old one is refused within two seconds."
    else:
        told = f"The old one is good until {written(rotated.old_until)}; --overlap 0 would have ended it at once."
    click.echo(f"It is not shown again. {told}", err=True)


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
    shared = shared_store(settings.redis, lambda _: None)
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


def _warn_of_models(settings: Settings, patterns: Iterable[str]) -> None:
    """Say what no model is called, where the configuration lists all there are."""
    names = settings.models
    if not names or WILDCARD in names:
        return
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            some = ", ".join(sorted(names)[:5])
            click.echo(f"Warning: --model {pattern} matches no model of the configuration, such as {some}", err=True)


def _row(key: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        key["name"],
        key["role"],
        ",".join(key["models"]),
        _pairs(key["limits"]),
        key["created"] or "-",
        f"{key['expires'] or '-'}{' (expired)' if key['expired'] else ''}",
        key["old_secret_until"] or "-",
        _pairs(key["labels"]),
        key["kept_in"],
    )


def _pairs(of: Mapping[str, Any]) -> str:
    return ",".join(f"{name}={value}" for name, value in of.items() if value is not None) or "-"


def _entry(key: Key) -> str:
    """Return the key as the configuration has it."""
    document = key.model_dump(mode="json", exclude_defaults=True)
    return yaml.safe_dump([document], sort_keys=False, default_flow_style=None, allow_unicode=True, width=120)


def _pair(option: str, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"{option} {text}: expected NAME=VALUE")
    return name, value


def _expiry(text: str, now: datetime) -> datetime:
    try:
        expires = moment(text) if "-" in text else now + timedelta(seconds=_duration_s(text))
    except (ValueError, OverflowError) as error:
        message = f"--expires {text}: neither a day such as 2026-12-31 nor a duration such as 90d ({error})"
        raise click.UsageError(message) from error
    if expires <= now:
        raise click.UsageError(f"--expires {text}: that is over already, so that the key would open nothing")
    return expires


def _overlap_s(text: str) -> float:
    try:
        overlap_s = 0.0 if text.strip() == "0" else _duration_s(text)
    except ValueError as error:
        raise click.UsageError(f"--overlap {text}: {error}") from error
    if overlap_s > MOST_OVERLAP_S:
        raise click.UsageError(f"--overlap {text}: 30d is the most")
    return overlap_s


def _duration_s(text: str) -> float:
    """Raise ValueError."""
    if text.strip().isdigit():
        raise ValueError("a number alone says no unit")
    return float(str(seconds(text)))
