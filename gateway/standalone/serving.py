"""What an engine by itself is told: which models, and who may ask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import model_validator

from config.catalog import load_catalog
from config.faults import BadConfiguration
from config.settings import AccountSettings, Route, Settings, Target
from gateway.fleet import build_routes
from gateway.reload import changed
from providers.local.provider import NAME as LOCAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import SecretStr


class EngineSettings(Settings):
    """A gateway's configuration, of which an engine reads a part: where it listens and who may ask is told it apart."""

    @model_validator(mode="after")
    def _public_needs_keys(self) -> EngineSettings:
        return self  # the address is the gateway's, also where an image's variable says it


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What the parent gives its child."""

    settings: Settings  # with local models alone
    key: SecretStr | None  # what callers send as a bearer token; None: whoever comes may ask


def needs_restart(first: Serving, now: Serving) -> tuple[str, ...]:
    """Return the keys that differ from those the engine was started with, and that nothing but a start reads."""
    before, after = first.settings, now.settings
    return (
        *changed(before.server, after.server, ("header_timeout", "keep_alive"), "server."),
        *changed(before.server.spool, after.server.spool, ("directory",), "server.spool."),
        *changed(before, after, ("logs", "tracing")),
    )


def native_name(deployment: str) -> str:
    """Return the name that a model is asked for by: there are no accounts here."""
    return deployment.partition("/")[2]


def with_local_models(file: Settings, natives: Sequence[str]) -> Settings:
    """Return the settings with nothing but the file's local models, and those named besides.

    Raises BadConfiguration where there is none, or two accounts have one of the same name.
    """
    accounts = {name: each for name, each in file.providers.items() if each.adapter == LOCAL}
    accounts = accounts or {LOCAL: AccountSettings(adapter=LOCAL)}
    routes = build_routes(file, load_catalog()).by_model.values()
    held = [each.name for route in routes for each in route.deployments if each.account.name in accounts]
    held += [f"{next(iter(accounts))}/{native}" for native in natives]
    targets = {native_name(name): name for name in dict.fromkeys(held)}
    if not targets:
        raise BadConfiguration("no local model: name one with --model, or among the targets of the file's models")
    if len(targets) < len(set(held)):
        raise BadConfiguration("two local accounts have a model of the same name: it could not be told whose is meant")
    models = {
        f"model-{at}": Route(targets=(Target(target=name, substitute=True),))
        for at, name in enumerate(targets.values())
    }
    return file.model_copy(update={"providers": accounts, "models": models, "default_model": None})
