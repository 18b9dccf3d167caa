"""What a start without a configuration serves: every provider whose usual key is set, else a demonstration."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import TYPE_CHECKING

from pydantic import SecretStr

from config.auth import AuthMode
from config.faults import BadConfiguration
from config.local import LocalSettings
from config.settings import AccountSettings, Route, Settings, Target
from gateway.dispatch.routes import WILDCARD
from providers.local.models import EMBEDDED, MULTILINGUAL, installed
from providers.local.provider import NAME as LOCAL
from providers.local.wire import ELSEWHERE
from providers.registry import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from config.catalog import Catalog
    from providers.provider import Provider

DEMO_MODEL = "openai/whisper-tiny.en"
DEMO_MULTILINGUAL_MODEL = "openai/whisper-base"
DEMO_TARGETS = frozenset({f"{LOCAL}/{EMBEDDED}", f"{LOCAL}/{MULTILINGUAL}"})
_ENGLISH_ONLY = ".en"  # is how names of such models end
_HF = "hf-inference"


def from_environment(settings: Settings, catalog: Catalog, environ: Mapping[str, str]) -> Settings:
    """Fill in accounts and models where the configuration names none.

    A model name means that model: only the providers that have it are its targets. A key alone enables no provider
    whose models are each account's own: nobody could say which.
    """
    if settings.providers or settings.models:
        return settings
    accounts = {
        name: AccountSettings(adapter=name, api_key=SecretStr(environ[provider.key_variable]))
        for name, provider in PROVIDERS.items()
        if provider.key_variable and environ.get(provider.key_variable) and catalog.native_models(name)
    }
    if not accounts:
        return demonstration(settings, catalog, installed())
    models = {
        model: Route(targets=targets)
        for model, native_ids in catalog.models.items()
        if (targets := tuple(Target(target=f"{name}/{native_ids[name]}") for name in native_ids if name in accounts))
    }
    if _HF in accounts:
        models[WILDCARD] = Route(targets=(Target(target=f"{_HF}/{{model}}"),))
    default = settings.default_model or next(iter(models), None)
    return settings.model_copy(update={"providers": accounts, "models": models, "default_model": default})


def demonstration(settings: Settings, catalog: Catalog, embedded: Collection[str]) -> Settings:
    """Let the embedded models answer every catalog name; each answer says which model it really was.

    embedded: those that are installed. Without the multilingual one, the English one answers for all.
    """
    models = {name: Route(targets=(_demo_target(name, ids, embedded),)) for name, ids in catalog.models.items()}
    return settings.model_copy(
        update={
            "providers": {LOCAL: AccountSettings(adapter=LOCAL)},
            "models": models,
            "default_model": DEMO_MULTILINGUAL_MODEL if MULTILINGUAL in embedded else DEMO_MODEL,
        }
    )


def _demo_target(model: str, native_ids: Mapping[str, str], embedded: Collection[str]) -> Target:
    in_any_language = MULTILINGUAL in embedded and not model.endswith(_ENGLISH_ONLY)
    native = MULTILINGUAL if in_any_language else EMBEDDED
    return Target(target=f"{LOCAL}/{native}", substitute=native_ids.get(LOCAL) != native)


def check_adapters(settings: Settings) -> None:
    """Check what only this package can: that adapters exist and accounts have what theirs needs.

    Raises BadConfiguration.
    """
    own_keys = settings.auth.mode is not AuthMode.PASSTHROUGH
    for name, account in settings.providers.items():
        try:
            _check_account(account, needs_key=own_keys)
        except BadConfiguration as error:
            raise BadConfiguration(f"providers.{name}.{error}") from error
    if settings.tracing.endpoint is not None and not _can_trace():
        raise BadConfiguration('tracing.endpoint: traces need an extra: pip install "asr-gateway[traces]"')


def _can_trace() -> bool:
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False


def _check_account(account: AccountSettings, *, needs_key: bool) -> None:
    provider = PROVIDERS.get(account.adapter)
    if provider is None and account.adapter not in {LOCAL, ELSEWHERE}:
        known = ", ".join(sorted((*PROVIDERS, LOCAL, ELSEWHERE)))
        raise BadConfiguration(f"adapter: {account.adapter!r} is not one of {known}")
    unread = {name for name in _unread_by(account.adapter) if _is_set(account, name)}
    if unread:
        raise BadConfiguration(f"{min(unread)}: means nothing to the adapter {account.adapter}")
    if account.adapter == ELSEWHERE and not account.base_url:
        raise BadConfiguration("base_url: missing; an engine is wherever you started it")
    if provider:
        _check_provider_account(account, provider, needs_key=needs_key)


def _unread_by(adapter: str) -> frozenset[str]:
    """Return the settings that mean nothing to an adapter."""
    if adapter == ELSEWHERE:
        return (_OF_LOCAL | _OF_PROVIDERS) - _OF_ENGINES
    return _OF_PROVIDERS if adapter == LOCAL else _OF_LOCAL


def _is_set(account: AccountSettings, name: str) -> bool:
    """Tell by the value: settings built from objects, not from a file, count every field as set."""
    return bool(getattr(account, name) != AccountSettings.model_fields[name].default)


_OPTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,99}")  # it stands in an address
_OF_LOCAL = frozenset(LocalSettings.model_fields)
_OF_ENGINES = frozenset({"api_key", "api_key_file", "base_url"})
_OF_PROVIDERS = frozenset({"api_key", "api_key_file", "base_url", "base_urls", "options"})


def _check_provider_account(account: AccountSettings, provider: Provider, *, needs_key: bool) -> None:
    if "api" not in provider.base_urls and not account.base_url:
        raise BadConfiguration(f"base_url: missing; {provider.name} has no address of its own")
    if unknown := set(account.base_urls) - set(provider.base_urls):
        known = ", ".join(provider.base_urls) or "none; use base_url"
        raise BadConfiguration(f"base_urls.{min(unknown)}: is not one that {provider.name} has: {known}")
    has_key = bool(account.secret())  # ${VAR} of nothing is none
    for name in sorted(provider.account_options | (provider.key_options if has_key else frozenset())):
        if not _OPTION.fullmatch(account.options.get(name, "")):
            raise BadConfiguration(f"options.{name}: missing, or not letters, digits, points and hyphens")
    wants_key = provider.key_required or not provider.key_options.isdisjoint(account.options)
    if not has_key and wants_key and needs_key:
        usual = f"set it to ${{{provider.key_variable}}}" if provider.key_variable else "write it"
        raise BadConfiguration(f"api_key: missing; {usual} or name an api_key_file")
