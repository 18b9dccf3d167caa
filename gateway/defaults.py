"""What a start without a configuration serves: every provider whose usual key is set, else a demonstration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import SecretStr

from config.settings import AccountSettings, BadConfiguration, Route, Settings, Target
from gateway.dispatch.routes import WILDCARD
from providers.local.models import EMBEDDED
from providers.local.provider import NAME as LOCAL
from providers.registry import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from config.catalog import Catalog

DEMO_MODEL = "openai/whisper-tiny.en"
_HF = "hf-inference"


def from_environment(settings: Settings, catalog: Catalog, environ: Mapping[str, str]) -> Settings:
    """Fill in accounts and models where the configuration names none.

    A model name means that model: only the providers that have it are its targets.
    """
    if settings.providers or settings.models:
        return settings
    accounts = {
        name: AccountSettings(adapter=name, api_key=SecretStr(environ[provider.key_variable]))
        for name, provider in PROVIDERS.items()
        if provider.key_variable and environ.get(provider.key_variable)
    }
    if not accounts:
        return demonstration(settings, catalog)
    models = {
        model: Route(targets=targets)
        for model, native_ids in catalog.models.items()
        if (targets := tuple(Target(target=f"{name}/{native_ids[name]}") for name in native_ids if name in accounts))
    }
    if _HF in accounts:
        models[WILDCARD] = Route(targets=(Target(target=f"{_HF}/{{model}}"),))
    default = settings.default_model or next(iter(models), None)
    return settings.model_copy(update={"providers": accounts, "models": models, "default_model": default})


def demonstration(settings: Settings, catalog: Catalog) -> Settings:
    """Let the embedded model answer every catalog name; each answer says which model it really was."""
    target = f"{LOCAL}/{EMBEDDED}"
    models = {name: Route(targets=(Target(target=target, substitute=name != DEMO_MODEL),)) for name in catalog.models}
    return settings.model_copy(
        update={
            "providers": {LOCAL: AccountSettings(adapter=LOCAL)},
            "models": models,
            "default_model": DEMO_MODEL,
        }
    )


def check_adapters(settings: Settings) -> None:
    """Check what only this package can: that adapters exist and accounts have what theirs needs.

    Raises BadConfiguration.
    """
    for name, account in settings.providers.items():
        if account.adapter == LOCAL:
            continue
        provider = PROVIDERS.get(account.adapter)
        if provider is None:
            known = ", ".join(sorted((*PROVIDERS, LOCAL)))
            raise BadConfiguration(f"providers.{name}.adapter: {account.adapter!r} is not one of {known}")
        if "api" not in provider.base_urls and not account.base_url:
            raise BadConfiguration(f"providers.{name}.base_url: missing; {account.adapter} has no address of its own")
        if unknown := set(account.base_urls) - set(provider.base_urls):
            raise BadConfiguration(
                f"providers.{name}.base_urls: {min(unknown)} is not one of {', '.join(provider.base_urls)}"
            )
        if provider.key_required and not account.secret() and settings.auth.mode != "passthrough":
            raise BadConfiguration(
                f"providers.{name}.api_key: missing; set it to ${{{provider.key_variable}}} or name an api_key_file"
            )
