"""`asr-gateway keys`: callers' keys, made and shown once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click
import yaml
from pydantic import ValidationError

from config.settings import Key, explain
from config.units import moment, seconds
from gateway.keyring import digest_of, new_secret


@click.group()
def keys() -> None:
    """Make callers' keys."""


@keys.command()
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
@click.option("--label", "labels", metavar="NAME=VALUE", multiple=True, help="A note of your own. May be repeated.")
def new(
    name: str,
    role: str,
    models: tuple[str, ...],
    expires: str | None,
    labels: tuple[str, ...],
) -> None:
    """Make a key. It is written to standard output once; only its hash is kept."""
    secret = new_secret()
    key = _key(
        name=name,
        role=role,
        hash=digest_of(secret.get_secret_value()),
        models=models or ("*",),
        expires=_expiry(expires) if expires is not None else None,
        labels=dict(map(_label, labels)),
    )
    click.echo(secret.get_secret_value())
    click.echo(f"Keep it: it is not shown again. Under auth.keys of the configuration:\n\n{_entry(key)}", err=True)


def _key(**fields: object) -> Key:
    try:
        return Key.model_validate(fields)
    except ValidationError as error:
        raise click.UsageError(explain(error)) from None


def _entry(key: Key) -> str:
    """Return the key as the configuration has it."""
    document = key.model_dump(mode="json", exclude_defaults=True)
    return yaml.safe_dump([document], sort_keys=False, default_flow_style=None, allow_unicode=True, width=120)


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"--label {text}: expected NAME=VALUE")
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
