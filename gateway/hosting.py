"""Local models that a process holds for others, and their HTTP application."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from aiohttp import web
from prometheus_client import CollectorRegistry

from config.catalog import load_catalog
from gateway.engines import LocalModels
from gateway.fleet import build_local, build_routes, close_others, queues
from gateway.hearing import READ_BYTES, Hearing
from gateway.logs import model_load
from gateway.metrics import LocalMetrics
from providers.local.wire import JOBS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from config.settings import Settings
    from gateway.fleet import LocalBackend
    from gateway.hearing import Told
    from gateway.intake.spool import SpoolBudget
    from gateway.tracing import Tracer

_LOOK_EVERY_S: Final = 0.2


class Host:
    """The models there are, by the names that they are asked for by."""

    def __init__(
        self,
        budget: SpoolBudget,
        tracer: Tracer | None = None,
        *,
        metrics: LocalMetrics | None = None,
        known_as: Callable[[str], str] = str,
        max_bytes: int | None = None,
    ) -> None:
        """known_as: gives the name to ask for a deployment by, which is its own unless told. max_bytes: see Hearing."""
        self.budget = budget
        self.tracer = tracer
        self.models: Mapping[str, LocalBackend] = {}
        self._made: Mapping[str, LocalBackend] = {}  # by deployment, also those that another configuration had
        self._replaced: list[LocalBackend] = []  # by one of the same deployment that is loaded in another way
        self._wanted: Mapping[str, LocalBackend] = {}  # by deployment, of the latest configuration
        self._known_as = known_as
        self.hearing = Hearing(self._held, budget, max_bytes)
        self.metrics = metrics or LocalMetrics(CollectorRegistry(), CollectorRegistry())
        self.metrics.watch(lambda: queues(self.models.values()))
        self._make = LocalModels(on_batch=self.metrics.batch, on_load=model_load, on_download=self.metrics.download)

    @property
    def jobs(self) -> int:
        """How many are queued or running, of all models: they share what they run on."""
        return sum(model.waiting for model in dict.fromkeys(self.models.values()))

    async def begin(self, settings: Settings) -> list[str]:
        """Load the first configuration's; say which of it is missing. Who asks for one meanwhile waits."""
        self._made = self._wanted = self._built(settings)
        self.models = self._named(self._made)
        return await _missing_of(self.models.values())

    async def adopt(self, settings: Settings) -> list[str]:
        """Load what another configuration names besides; say which of it is missing: nothing has changed then.

        What was there answers until the new is loaded, and until `keep` where that has another name.
        """
        before, wanted = self._made, self._built(settings)
        new = [model for name, model in wanted.items() if before.get(name) is not model or not model.ready]
        if missing := await _missing_of(new):
            await asyncio.to_thread(close_others, wanted, before)
            return missing
        self._replaced += [model for name, model in before.items() if wanted.get(name, model) is not model]
        self._made, self._wanted = {**before, **wanted}, wanted
        self.models = {**self.models, **self._named(wanted)}
        return []

    async def keep(self) -> None:
        """Let go of what the latest configuration does not name, once nothing runs on it any more."""
        await self.let_go(self.forgotten())

    def forgotten(self) -> Iterable[LocalBackend]:
        """Forget what the latest configuration does not name, and return it. Not while another is being adopted."""
        kept = self._wanted.values()
        gone = [model for model in dict.fromkeys((*self._made.values(), *self._replaced)) if model not in kept]
        self._made, self._replaced = self._wanted, []
        self.models = self._named(self._wanted)
        return gone

    async def let_go(self, gone: Iterable[LocalBackend]) -> None:
        """Close what was forgotten, once nothing runs on it any more."""
        for model in gone:
            while model.waiting:  # noqa: ASYNC110 - a count has no event
                await asyncio.sleep(_LOOK_EVERY_S)
            await asyncio.to_thread(model.close)

    async def close(self) -> None:
        """Let go of everything."""
        for model in dict.fromkeys((*self._made.values(), *self._replaced)):
            await asyncio.to_thread(model.close)

    def web_app(self) -> web.Application:
        app = web.Application(client_max_size=0)
        app.router.add_post("/transcribe", self._transcribe)
        app.router.add_get("/model", self._model)
        return app

    def _built(self, settings: Settings) -> Mapping[str, LocalBackend]:
        return build_local(build_routes(settings, load_catalog()), settings, self._make, self._made)

    def _named(self, made: Mapping[str, LocalBackend]) -> Mapping[str, LocalBackend]:
        return {self._known_as(name): model for name, model in made.items()}

    async def _held(self, name: str) -> LocalBackend | None:
        return self.models.get(name)

    async def _model(self, request: web.Request) -> web.Response:
        return self._json(await self.hearing.model(request.query.get("model", "")))

    async def _transcribe(self, request: web.Request) -> web.Response:
        trace = self.tracer.begin(request.method, request.headers) if self.tracer is not None else None
        name, body = request.query.get("model", ""), request.content.iter_chunked(READ_BYTES)
        told = await self.hearing.transcribe(name, request.headers, body)
        if self.tracer is not None and trace is not None:
            self.tracer.inference(trace, name, told.outcome)
        return self._json(told)

    def _json(self, told: Told) -> web.Response:
        jobs = {JOBS: str(self.jobs)}
        return web.Response(status=told.status, body=told.body, content_type="application/json", headers=jobs)


async def _missing_of(models: Iterable[LocalBackend]) -> list[str]:
    """Load them, one after another; say which could not be."""
    loaded = list(models)
    for model in loaded:
        await model.load()
    return [str(model.missing) for model in loaded if model.missing]
