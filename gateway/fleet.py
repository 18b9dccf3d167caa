"""Every configured deployment: its account, its backend, what it can do."""

from __future__ import annotations

import asyncio
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

from pydantic import ValidationError

from config.faults import BadConfiguration
from gateway.dispatch.means import Backend
from gateway.dispatch.routes import NAME_HERE, WILDCARD, Route, Routes
from gateway.policies.hedging import After
from providers.local.models import EMBEDDED
from providers.local.provider import NAME as LOCAL
from providers.local.remote import RemoteModel
from providers.local.wire import ELSEWHERE
from providers.registry import PROVIDERS
from providers.transport import UNWATCHED, HttpProvider, Watch
from providers.types import Account, Deployment, Price

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from aiohttp import ClientSession
    from pydantic import BaseModel

    from config.catalog import Catalog
    from config.catalog import Price as ListedPrice
    from config.settings import AccountSettings, Settings, Target
    from config.settings import Route as RouteSettings
    from providers.local.models import ModelMissing
    from providers.local.remote import EngineElsewhere
    from providers.types import Capabilities


HELD: Final = frozenset({LOCAL, ELSEWHERE})
"""The adapters of models that are known one by one, and say themselves what they can do: no provider's."""


class LocalBackend(Backend, Protocol):
    """A model on a machine of ours, in this process or another."""

    made_for: object  # what it was loaded by besides its name

    @property
    def missing(self) -> ModelMissing | None: ...
    @property
    def ready(self) -> bool: ...
    @property
    def waiting(self) -> int: ...
    @property
    def queued(self) -> tuple[str, int] | None: ...
    @property
    def capabilities(self) -> Capabilities | None: ...
    async def load(self) -> None: ...
    async def wait_loaded(self) -> None: ...
    def close(self) -> None: ...


def queues(models: Iterable[LocalBackend]) -> Iterator[tuple[str, int]]:
    """Yield each model that runs in this process, with how many jobs wait for it."""
    yield from (each.queued for each in dict.fromkeys(models) if each.queued is not None)


def close_others(models: Mapping[str, LocalBackend], kept: Mapping[str, LocalBackend]) -> None:
    """Close those that were made for a configuration that is not taken up. Blocking."""
    for model in dict.fromkeys(models.values()):
        if model not in kept.values():
            model.close()


class Fleet:
    """What dispatch asks for backends and abilities."""

    def __init__(self, session: ClientSession, local: Mapping[str, LocalBackend], watch: Watch = UNWATCHED) -> None:
        """local: models on machines of ours, by deployment name. watch: of every request to a provider."""
        self._session, self._watch = session, watch
        self._http: dict[str, HttpProvider] = {}
        self.local = local
        self._away: frozenset[str] = frozenset()  # deployments at engines that could not be had when they were asked

    def backend(self, deployment: Deployment) -> Backend:
        if deployment.account.adapter in HELD:
            return self.local[deployment.name]
        return self._http.get(deployment.account.adapter) or self._over_http(deployment.account.adapter)

    def _over_http(self, adapter: str) -> HttpProvider:
        self._http[adapter] = HttpProvider(PROVIDERS[adapter], self._session, watch=self._watch)
        return self._http[adapter]

    def capabilities(self, deployment: Deployment) -> Capabilities | None:
        if deployment.account.adapter in HELD:
            return self.local[deployment.name].capabilities
        return PROVIDERS[deployment.account.adapter].capabilities(deployment)

    def others(self, deployment: Deployment) -> float:
        """Return how many jobs of others it has, where it tells."""
        model = self.local.get(deployment.name)
        return model.others if isinstance(model, RemoteModel) else 0.0

    async def wait_loaded(self, deployments: Sequence[Deployment]) -> None:
        """Return when one of them can serve or none is loading any more; at once where one is a provider's."""
        if any(each.account.adapter not in HELD for each in deployments):
            return
        models = [self.local[each.name] for each in deployments]
        for model in models:
            if not any(each.ready for each in models):
                await model.wait_loaded()

    async def load(self) -> None:
        """Load every local model, one after another: together they would only compete for the disk.

        Engines elsewhere are asked once, all together.
        """
        await self.find()
        for model in self.local.values():
            if not may_be_away(model):
                await model.load()

    async def find(self, on_change: Callable[[str, str | None], None] = lambda *_: None) -> None:
        """Ask engines elsewhere that are not known, or were away, what their models can do.

        on_change: told a deployment that went away, with why, or that is back.
        """

        async def ask(name: str, model: RemoteModel) -> None:
            await model.load()
            if model.is_away != (name in self._away):
                self._away ^= {name}
                on_change(name, str(model.missing or "it does not answer") if model.is_away else None)

        async with asyncio.TaskGroup() as group:
            for name, model in self.local.items():
                if isinstance(model, RemoteModel) and may_be_away(model) and (model.is_in_doubt or not model.ready):
                    group.create_task(ask(name, model))

    @property
    def loading(self) -> bool:
        return any(not model.ready and model.missing is None for model in self.local.values())

    @property
    def missing(self) -> list[str]:
        """Say what is missing, a sentence for each local model that could not be loaded."""
        return [str(model.missing) for model in self.local.values() if model.missing]

    async def end_errands(self) -> None:
        """Return when what providers are still to be told of jobs that are over has been said."""
        for provider in self._http.values():
            await provider.close()

    async def close(self) -> None:
        await self.end_errands()
        for model in self.local.values():
            await asyncio.to_thread(model.close)


def may_be_away(model: LocalBackend) -> bool:
    """Tell whether a gateway starts and serves without it: it is at an engine elsewhere."""
    return isinstance(model, RemoteModel) and model.may_be_away


def build_routes(settings: Settings, catalog: Catalog) -> Routes:
    """Return every route of the configuration. Raises BadConfiguration where a target cannot be one."""
    accounts = {name: _account(name, each) for name, each in settings.providers.items()}
    by_model = {name: _route(name, route, accounts, catalog) for name, route in settings.models.items()}
    return Routes(by_model=by_model, default_model=settings.default_model)


def build_local(
    routes: Routes,
    settings: Settings,
    make: Callable[[Deployment, AccountSettings], LocalBackend],
    loaded: Mapping[str, LocalBackend] = MappingProxyType({}),
) -> dict[str, LocalBackend]:
    """Return a model for each local deployment, not yet loaded; deployments of one native model share it.

    loaded: models of another configuration, of which those that would be loaded in the same way are kept.
    """
    models: dict[str, LocalBackend] = {}
    for deployment in _deployments(routes):
        if deployment.account.adapter == LOCAL and deployment.name not in models:
            account = settings.providers[deployment.account.name]
            kept = loaded.get(deployment.name)
            is_same = kept is not None and kept.made_for == account
            models[deployment.name] = kept if kept is not None and is_same else make(deployment, account)
    return models


def build_elsewhere(
    routes: Routes,
    engine_of: Callable[[Account], EngineElsewhere],
    known: Mapping[str, LocalBackend] = MappingProxyType({}),
) -> dict[str, LocalBackend]:
    """Return a model for each deployment at an engine elsewhere; those known that are asked for with the same key."""
    models: dict[str, LocalBackend] = {}
    for deployment in _deployments(routes):
        if deployment.account.adapter == ELSEWHERE and deployment.name not in models:
            kept = known.get(deployment.name)
            is_same = kept is not None and kept.made_for == deployment.account
            models[deployment.name] = kept if kept is not None and is_same else _elsewhere(deployment, engine_of)
    return models


def _elsewhere(deployment: Deployment, engine_of: Callable[[Account], EngineElsewhere]) -> RemoteModel:
    account = deployment.account
    return RemoteModel(deployment.native_model, engine_of(account), made_for=account)


def _deployments(routes: Routes) -> Iterable[Deployment]:
    return (deployment for route in routes.by_model.values() for deployment in route.deployments)


def _account(name: str, settings: AccountSettings) -> Account:
    provider = PROVIDERS.get(settings.adapter)
    named = provider.base_urls if provider else {}
    urls = {key: _filled(url, settings.options) for key, url in named.items()}
    if settings.base_url:
        # All of them: a key or an upload meant for that address must not go to the provider's own. But where the
        # provider has none for its calls, each account names its own there, and the others are the provider's.
        own = settings.base_url.rstrip("/")
        urls = dict.fromkeys(urls, own) if "api" in urls else {**urls, "api": own}
    urls |= {key: url.rstrip("/") for key, url in settings.base_urls.items()}
    # What a local model hears depends on how it counts: the options tell such accounts apart, as in a cache's key.
    options = _of_local(settings) if settings.adapter == LOCAL else settings.options
    return Account(name=name, adapter=settings.adapter, base_urls=urls, api_key=settings.secret(), options=options)


def _of_local(settings: AccountSettings) -> dict[str, str]:
    heard_by = {"engine": settings.engine, "compute_type": settings.compute_type, "dtype": settings.dtype}
    return heard_by | ({"language": settings.language} if settings.language else {})


def _filled(url: str, options: Mapping[str, str]) -> str:
    """Put options into an address where it names them."""
    for name, value in options.items():
        url = url.replace(f"{{{name}}}", value)
    return url


def _route(name: str, settings: RouteSettings, accounts: Mapping[str, Account], catalog: Catalog) -> Route:
    deployments = tuple(_deployment(name, each, accounts[each.account], catalog) for each in settings.targets)
    return Route(
        deployments=deployments,
        on_unsupported=settings.on_unsupported,
        strategy=settings.strategy,
        hedge_after=_hedge_after(settings.hedge_after),
        long_audio=settings.long_audio,
    )


def _hedge_after(setting: str | float | None) -> After | None:
    """Read p95, or seconds."""
    if setting is None:
        return None
    return After(quantile=int(setting[1:]) / 100) if isinstance(setting, str) else After(seconds=setting)


def _deployment(name: str, target: Target, account: Account, catalog: Catalog) -> Deployment:
    native = target.native_model or (EMBEDDED if account.adapter == LOCAL else "")
    if name != WILDCARD:
        native = native.replace(NAME_HERE, name)
    deployment = Deployment(
        account=account,
        native_model=native,
        price=_price(target, catalog.price(account.adapter, native)),
        weight=target.weight,
        max_concurrent=target.max_concurrent,
        requests_per_minute=target.requests_per_minute,
        audio_seconds_per_minute=target.audio_seconds_per_minute,
        options=_options(name, target, account.adapter),
    )
    if fault := _fault(name, target, deployment, catalog):
        raise BadConfiguration(f"models.{name}: target {target.target} {fault}")
    return deployment


def _options(name: str, target: Target, adapter: str) -> BaseModel | None:
    """Read what a target's provider is told besides. Raises BadConfiguration."""
    if not target.options:
        return None
    where = f"models.{name}: target {target.target}"
    if adapter in HELD:
        raise BadConfiguration(f"{where} has options, which mean nothing to the adapter {adapter}")
    try:
        return PROVIDERS[adapter].options.model_validate(target.options)
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        at = ".".join(str(each) for each in ("options", *fault["loc"]))
        raise BadConfiguration(f"{where}: {at}: {fault['msg']}") from None


def _price(target: Target, listed: ListedPrice | None) -> Price | None:
    """Return the operator's own price, else the catalog's."""
    if target.usd_per_minute is not None:
        return Price(usd_per_minute=target.usd_per_minute)
    if (own := target.price) is not None:
        return Price(
            usd_per_minute=own.rate_usd_per_minute,
            usd_per_request=own.usd_per_request,
            minimum_s=own.minimum,
            step_s=own.step,
        )
    if listed is None:
        return None
    return Price(
        usd_per_minute=listed.usd_per_minute,
        usd_per_request=listed.usd_per_request,
        minimum_s=listed.minimum_s,
        step_s=listed.step_s,
    )


def _fault(name: str, target: Target, deployment: Deployment, catalog: Catalog) -> str | None:
    """Say why a target cannot stand on a route. A name means that model, unless the operator says otherwise."""
    adapter, native = deployment.account.adapter, deployment.native_model
    if adapter in HELD and NAME_HERE in native:
        return "is loaded at the start, so it must be named"
    if adapter == ELSEWHERE and not native:
        return "names no model of the engine"
    if name == WILDCARD and NAME_HERE not in native and not target.substitute:
        return f"would answer for every name: put {NAME_HERE} into it, or say substitute: true"
    really = catalog.canonical(LOCAL if adapter == ELSEWHERE else adapter, native)
    if name in catalog.models and really not in {None, name} and not target.substitute:
        return f"is another model, {really}: say substitute: true if it may answer"
    try:
        if adapter not in HELD:
            PROVIDERS[adapter].capabilities(deployment)
    except ValueError as error:
        return f"does not fit: {error}"
    return _unread(deployment)


def _unread(deployment: Deployment) -> str | None:
    """Say which of the options that a target is told its model does not read."""
    if deployment.options is None:
        return None
    known = PROVIDERS[deployment.account.adapter].capabilities(deployment).options
    unread = deployment.options.model_dump(exclude_unset=True, by_alias=True).keys() - known
    if not unread:
        return None
    return f"has the option {min(unread)}, which the model does not read; it reads {', '.join(sorted(known)) or 'none'}"
