"""The composition root: read settings, build each part once, join them."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache, partial
from random import Random
from typing import TYPE_CHECKING, Any, Final

from config.cache import CacheStore
from config.catalog import load_catalog
from config.faults import BadConfiguration
from config.tracing import Propagate
from gateway.api import hf
from gateway.api.admission import Limiting
from gateway.api.auth import enter, enter_admin_port
from gateway.api.controls import Controls
from gateway.api.edge import Edge, not_noted
from gateway.api.page_files import File, load_files
from gateway.api.paths import add_operator_routes, add_routes
from gateway.api.request import Paths, Site
from gateway.api.service import Service
from gateway.defaults import check_adapters
from gateway.dispatch.caching import Caching
from gateway.dispatch.call import Call, CallWatch, is_own
from gateway.dispatch.checks import Checks
from gateway.dispatch.flights import Flights
from gateway.dispatch.health import HealthBook
from gateway.dispatch.means import Means
from gateway.dispatch.service import Dispatcher
from gateway.drain import Drain
from gateway.engines import LocalModels
from gateway.fleet import Fleet, build_elsewhere, build_local, build_routes, close_others, may_be_away, queues
from gateway.heap import give_back_at_rest
from gateway.intake.fetch import Fetcher
from gateway.intake.fetch import new_session as new_fetching_session
from gateway.intake.receive import BodyLimits
from gateway.intake.sound import SoundReader
from gateway.intake.speech import SpeechDetector
from gateway.intake.spool import spool_budget
from gateway.intake.transcoder import Transcoder
from gateway.intake.upload import Intake
from gateway.logs import model_load
from gateway.metrics import Exposition, Metrics, exposed, shown_now
from gateway.observe import exemplar
from gateway.reload import Reloader, needs_restart
from gateway.state import State
from gateway.witness import Witness
from providers.audio.demux import Demuxer
from providers.errands import Errands
from providers.local.remote import EngineElsewhere
from providers.transport import new_session

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping

    from aiohttp import ClientSession

    from config.settings import AccountSettings, Settings
    from gateway.api.edge import Door
    from gateway.dispatch.routes import Routes
    from gateway.fleet import LocalBackend
    from providers.types import Account, Deployment


_FIND_EVERY_S = 1.0
_DOUBTED_FROM_S = 1.0  # of speech in audio whose text is empty
_TOLD_OF_TRACES: Final[Mapping[Propagate, Callable[[Account], bool]]] = {
    Propagate.OWN: is_own,
    Propagate.ALL: lambda _: True,
    Propagate.NONE: lambda _: False,
}


class Gateway:
    """One process's parts. Build it inside a running event loop; close it after draining."""

    def __init__(
        self,
        settings: Settings,
        read: Callable[[], Settings] | None = None,
        make_local: Callable[[Deployment, AccountSettings], LocalBackend] | None = None,
        make_fetching: Callable[[], ClientSession] = new_fetching_session,
    ) -> None:
        """Raise BadConfiguration where settings and adapters do not fit.

        read: gives the settings as they are now, where they can change. Blocking; raises BadConfiguration.
        make_local: gives a local model, not yet loaded; unless told, one in this process.
        make_fetching: gives the session for audio that callers name by address.
        """
        self.catalog = load_catalog()
        self.metrics = Metrics(exemplar if settings.tracing.endpoint is not None else None)
        self.drain = Drain()
        self.demuxer = Demuxer()
        self.spool = spool_budget(settings)
        self.speech = SpeechDetector()
        self.sounds = SoundReader(settings.server.max_duration)
        self.health = HealthBook(asyncio.get_running_loop().time)
        self.transcoder = Transcoder(
            max_duration_s=settings.server.max_duration, directory=settings.server.spool.directory
        )
        self.reloader = Reloader(
            read or (lambda: settings),
            self.adopt,
            partial(needs_restart, settings),
            lambda error: self.metrics.reload(succeeded=error is None),
        )
        self._closing, self._beside = asyncio.Event(), asyncio.Event()
        self._beside.set()  # nothing is done yet that `close` must wait for
        self.state = State(settings, self.metrics, self.health.clock, when_lost=lambda: self.settings.limits.when_lost)
        self.witness = Witness(
            metrics=self.metrics, health=self.health, state=self.state, routes=lambda: self.service.routes
        )
        self.flights = Flights(self.health.clock, self.drain, self.metrics.flight)
        self.watch = CallWatch(_TOLD_OF_TRACES[settings.tracing.propagate])
        self._session, self._fetching = new_session(), make_fetching()
        self._earlier: list[tuple[Service, Fleet]] = []  # configurations that a request still goes by
        self._leaving = Errands()  # what is still to be done for those that are over
        self._is_alone = asyncio.Event()
        self._is_alone.set()
        told = self.metrics.local
        self._make_local = make_local or LocalModels(on_batch=told.batch, on_load=model_load, on_download=told.download)
        self.controls = Controls(
            reload=self.reloader.reload,
            status=self.own_status,
            metrics=self.own_metrics,
            cache=self.own_cache,
            purge=self.purge_cache,
        )
        self.fleet, self.service = self._built(settings, {})
        self._take_up()
        self._watch()

    @property
    def settings(self) -> Settings:
        return self.service.settings

    @property
    def routes(self) -> Routes:
        return self.service.routes

    @property
    def dispatcher(self) -> Dispatcher:
        return self.service.dispatcher

    async def background(self) -> None:
        """Do what is done beside the requests, until this is closed."""
        self._beside.clear()
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(work) for work in self._work()]
                await self._closing.wait()
                for task in tasks:
                    task.cancel()
        finally:
            self._beside.set()

    def _work(self) -> Iterator[Coroutine[Any, Any, None]]:
        yield Checks(lambda: self.dispatcher, self.witness.check_failed, self.witness.check_paid).watch()
        yield self.flights.carry()
        yield self._find_engines()
        yield give_back_at_rest(lambda: self.drain.in_flight)
        yield from self.state.work()

    async def _find_engines(self) -> None:
        while True:
            await asyncio.sleep(_FIND_EVERY_S)
            await self.fleet.find(self.witness.engine_changed)

    async def close(self) -> None:
        """Give everything back."""
        if self.state.ledger is not None:
            await self.state.ledger.end()
        self._closing.set()
        await self._beside.wait()
        await self.fleet.close()
        await self._leaving.close()
        await self._session.close()
        await self._fetching.close()
        await self.state.close()
        for each in (self.transcoder, self.demuxer, self.speech, self.sounds):
            await asyncio.to_thread(each.close)

    async def adopt(self, settings: Settings) -> None:
        """Serve another configuration from the next request on. Raises BadConfiguration; nothing has changed then.

        Local models that stay are kept; new ones are loaded first; those that go end with the last request they serve.
        """
        fleet, service = self._built(settings, self.fleet.local)
        await fleet.load()
        missing = [str(model.missing) for name, model in fleet.local.items() if self._is_new(name, model)]
        if missing:
            await asyncio.to_thread(close_others, fleet.local, self.fleet.local)
            raise BadConfiguration("; ".join(missing))
        self.service.on_idle = self._let_go
        self._earlier.append((self.service, self.fleet))
        self._is_alone.clear()
        self.fleet, self.service = fleet, service
        self._take_up()
        self._let_go()

    async def alone(self) -> None:
        """Return when nothing that began with an earlier configuration goes on."""
        await self._is_alone.wait()

    def status(self) -> str:
        """Say whether this process wants traffic, in a word."""
        if self.drain.is_draining:
            return "draining"
        if self.fleet.loading:
            return "loading"
        away = any(each.state != "closed" for each in self.health.conditions())
        lacking = self.fleet.missing or away or self.state.is_alone or self.reloader.error
        return "degraded" if lacking else "ready"

    async def own_metrics(self, accept: str = "") -> Exposition:
        """Return this process's numbers in the form that a scraper asks for."""
        return await exposed(self.metrics, accept)

    def shown_metrics(self) -> bytes:
        """Return what is so in this process at the moment, without what it has counted."""
        return shown_now(self.metrics)

    async def own_cache(self) -> dict[str, Any]:
        """Say how much is kept."""
        if self.state.answers is None:
            return {"store": CacheStore.NONE.value, "entries": 0, "bytes": 0, "evictions": 0}
        extent = await self.state.answers.extent()
        return {
            "store": self.state.answers.name,
            "entries": extent.entries,
            "bytes": extent.size_bytes,
            "evictions": self.state.answers.evictions,
        }

    async def purge_cache(self) -> int:
        """Forget every answer; return how many there were."""
        return 0 if self.state.answers is None else await self.state.answers.purge()

    async def own_status(self) -> dict[str, Any]:
        """Say how everything is in this process, for operators."""
        shared = self.state.shared
        return {
            "status": self.status(),
            "in_flight": self.drain.in_flight,
            "missing": self.fleet.missing,
            "reload_error": self.reloader.error,
            "redis": None if shared is None else "lost" if shared.is_lost else "ready",
            "deployments": [asdict(each) for each in self.health.conditions()],
        }

    def edge(self) -> Edge:
        """Return what answers at the port for everybody, with every route."""
        site = self._site(load_files())
        add_routes(site.paths)
        return self._edge(site, enter)

    def admin_edge(self) -> Edge:
        """Return what answers at the admin port, with its routes."""
        site = self._site({})
        add_operator_routes(site.paths)
        return self._edge(site, enter_admin_port)

    def _site(self, files: Mapping[str, File]) -> Site:
        paths = Paths()
        described: Callable[[], dict[str, Any]] = cache(partial(_described, paths))
        return Site(
            paths=paths,
            catalog=self.catalog,
            status=self.status,
            controls=self.controls,
            ledger=self.state.ledger,
            document=lambda: asyncio.to_thread(described),
            files=files,
        )

    def _edge(self, site: Site, door: Door) -> Edge:
        on_end = self.state.ledger.note if self.state.ledger is not None else not_noted
        return Edge(site, lambda: self.service, self.metrics, self.drain, door, on_end, self.state.tracer)

    def _built(self, settings: Settings, loaded: Mapping[str, LocalBackend]) -> tuple[Fleet, Service]:
        """Build what a configuration says, with the local models that are there already. Raises BadConfiguration."""
        check_adapters(settings)
        routes = build_routes(settings, self.catalog)
        models = build_local(routes, settings, self._make_local, loaded)
        models |= build_elsewhere(routes, lambda account: EngineElsewhere(self._session, account, self.watch), loaded)
        fleet = Fleet(self._session, models, self.watch)
        dispatcher = self._dispatcher(settings, fleet)
        service = Service(
            settings=settings,
            intake=Intake(_body_limits(settings), self.spool, self._fetcher(settings)),
            demuxer=self.demuxer,
            routes=routes,
            accounts=hf.pinned_paths({name: each.adapter for name, each in settings.providers.items()}),
            dispatcher=dispatcher,
            caching=Caching(
                dispatcher=dispatcher,
                settings=settings.cache,
                store=self.state.answers,
                flights=self.flights,
                sound_of=self.sounds.digest,
                relay=self.state.relay,
                on_lookup=self.metrics.cache_lookup,
            ),
            limiting=Limiting(
                settings=settings,
                counters=self.state.counters,
                on_denied=self.metrics.limited,
                on_standings=self.metrics.budgets.note,
            ),
            keyring=self.state.keyring,
            book=self.witness.paid,
        )
        return fleet, service

    def _fetcher(self, settings: Settings) -> Fetcher | None:
        return Fetcher(settings.fetch, _body_limits(settings), self._fetching) if settings.fetch.hosts else None

    def _take_up(self) -> None:
        """Let what outlives a configuration follow the present one."""
        self.spool.adopt(self.settings.server.spool)
        self.transcoder.max_duration_s = self.sounds.max_duration_s = self.settings.server.max_duration
        self.state.keyring.adopt(self.settings.auth.keys)
        self.metrics.named_callers = frozenset(key.name for key in self.settings.auth.keys)
        self.health.adopt(self.routes, self.settings.reliability)

    def _let_go(self) -> None:
        """Close the local models that no request can come to any more, whatever it began with."""
        over = [fleet for service, fleet in self._earlier if not service.in_use]
        self._earlier = [(service, fleet) for service, fleet in self._earlier if service.in_use]
        needed = [
            model for fleet in (self.fleet, *(each for _, each in self._earlier)) for model in fleet.local.values()
        ]
        gone = {model: None for fleet in over for model in fleet.local.values() if model not in needed}
        if over:
            self._leaving.add(_left(over, list(gone)))
        if not self._earlier:
            self._is_alone.set()

    def _is_new(self, name: str, model: LocalBackend) -> bool:
        is_lacking = model.missing is not None and not may_be_away(model)
        return is_lacking and self.fleet.local.get(name) is not model

    def _dispatcher(self, settings: Settings, fleet: Fleet) -> Dispatcher:
        means = Means(
            backend_of=fleet.backend,
            health=self.health,
            transcoder=self.transcoder,
            hears_speech=partial(self.speech.speech_at_least, seconds=_DOUBTED_FROM_S),
            on_attempt=self.witness.attempt,
            on_failover=self.witness.failover,
            on_hedge=self.witness.hedge,
            reliability=settings.reliability,
            clock=self.health.clock,
            chance=Random(),  # noqa: S311 - it spreads load, it keeps no secret
            new_call=self.state.tracer.call if self.state.tracer is not None else Call,
        )
        return Dispatcher(
            fleet=fleet,
            deadline=settings.server.deadline,
            means=means,
            today=lambda: datetime.now(UTC).date(),
        )

    def _watch(self) -> None:
        """Let the gauges read what they show when they are scraped."""
        loop = asyncio.get_running_loop()
        self.metrics.tasks.set_function(lambda: len(asyncio.all_tasks(loop)))
        self.metrics.spool_bytes.labels("memory").set_function(lambda: self.spool.memory_used)
        self.metrics.spool_bytes.labels("disk").set_function(lambda: self.spool.disk_used)
        self.metrics.spool_limit_bytes.labels("memory").set_function(lambda: self.spool.memory_total)
        self.metrics.spool_limit_bytes.labels("disk").set_function(lambda: self.spool.disk_total)
        self.state.watch(self.metrics)
        self.metrics.watch_health(self.health.conditions)
        self.metrics.watch_ways(self.witness.ways)
        self.metrics.local.watch(lambda: queues(self.fleet.local.values()))
        self.metrics.watch_local(lambda: {name: model.waiting for name, model in self.fleet.local.items()})


def _described(paths: Paths) -> dict[str, Any]:
    """Return the OpenAPI document. Blocking."""
    from gateway.api.openapi import document  # noqa: PLC0415 - hardly anybody asks; it has schemas of everything

    return document(paths)


async def _left(over: Iterable[Fleet], gone: Iterable[LocalBackend]) -> None:
    """Do what is left of configurations that no request goes by any more, and close models that no other has."""
    for fleet in over:
        await fleet.end_errands()
    for model in gone:  # a worker may still be at a window of a job that was abandoned
        await asyncio.to_thread(model.close)


def _body_limits(settings: Settings) -> BodyLimits:
    server = settings.server
    return BodyLimits(max_upload_bytes=server.max_upload, idle_s=server.body_timeout, min_rate=server.body_min_rate)
