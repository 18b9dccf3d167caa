"""The process that holds the local models for all workers. `python -m gateway.workers.engine CHANNEL LISTENER`."""

from __future__ import annotations

import asyncio
import signal
import socket
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry

from config.catalog import load_catalog
from config.faults import BadConfiguration
from gateway.app import spool_budget
from gateway.engines import load_here
from gateway.fleet import build_local, build_routes, queues
from gateway.intake.spool import Spool
from gateway.logs import HTTP, event
from gateway.metrics import LocalMetrics
from gateway.problems import Problem
from gateway.state import begin_tracing
from gateway.workers.child import begin_log, first_settings, main, opened
from gateway.workers.sockets import BACKLOG
from providers.errors import JobRejected, ProviderError, ProviderUnavailable
from providers.exchange import Progress
from providers.local.provider import NAME
from providers.local.wire import JOB_BYTES, MAX_JOB_BYTES, REFUSED, TIME_LEFT, Model, Refusal, Written, refusal
from providers.types import Account, Deployment, Moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from config.settings import Settings
    from gateway.fleet import LocalBackend
    from gateway.intake.spool import SpoolBudget
    from gateway.tracing import Tracer
    from gateway.workers.channel import Channel

_READ_BYTES: Final = 256 * 1024
_LOOK_EVERY_S: Final = 0.2
_HERE: Final = Deployment(account=Account(name=NAME, adapter=NAME, base_urls={}), native_model="")


class Host:
    """The models there are, by deployment name."""

    def __init__(self, budget: SpoolBudget, tracer: Tracer | None = None) -> None:
        self.budget = budget
        self.tracer = tracer
        self.models: Mapping[str, LocalBackend] = {}
        self._wanted: Mapping[str, LocalBackend] = {}
        self.metrics = LocalMetrics(CollectorRegistry(), CollectorRegistry())
        self.metrics.watch(lambda: queues(self.models.values()))

    async def begin(self, settings: Settings) -> list[str]:
        """Load the first configuration's; say which of it is missing. Who asks for one meanwhile waits."""
        self.models = self._wanted = self._built(settings)
        return await _missing_of(self.models.values())

    async def adopt(self, settings: Settings) -> list[str]:
        """Load what another configuration names besides; say which of it is missing: nothing has changed then.

        What was there answers until the new is loaded, and until `keep` where that has another name.
        """
        before, wanted = self.models, self._built(settings)
        new = [model for name, model in wanted.items() if before.get(name) is not model or not model.ready]
        if missing := await _missing_of(new):
            return missing
        self._wanted = wanted
        self.models = {**before, **wanted}
        return []

    def _built(self, settings: Settings) -> Mapping[str, LocalBackend]:
        make = partial(load_here, on_batch=self.metrics.batch)
        return build_local(build_routes(settings, load_catalog()), settings, make, self.models)

    async def keep(self) -> None:
        """Let go of what the latest configuration does not name, once nothing runs on it any more."""
        gone = [model for model in self.models.values() if model not in self._wanted.values()]
        self.models = self._wanted
        for model in gone:
            while model.waiting:  # noqa: ASYNC110 - a count has no event
                await asyncio.sleep(_LOOK_EVERY_S)
            await asyncio.to_thread(model.close)

    def web_app(self) -> web.Application:
        app = web.Application(client_max_size=0)
        app.router.add_post("/transcribe", self._transcribe)
        app.router.add_get("/model", self._model)
        return app

    async def _model(self, request: web.Request) -> web.Response:
        model = self.models.get(request.query["model"])
        if model is None:
            return web.Response(status=404)
        await model.wait_loaded()
        missing = str(model.missing) if model.missing else None
        return _json(200, Model(capabilities=model.capabilities, missing=missing))

    async def _transcribe(self, request: web.Request) -> web.Response:
        trace = self.tracer.begin(request.method, request.headers) if self.tracer is not None else None
        response, outcome = await self._answered(request)
        if self.tracer is not None and trace is not None:
            self.tracer.inference(trace, request.query["model"], outcome)
        return response

    async def _answered(self, request: web.Request) -> tuple[web.Response, str]:
        """Return the answer, and how it went in a word."""
        spool = Spool(self.budget)
        try:
            return _json(200, await self._heard(request, spool)), "ok"
        except ProviderError as error:
            return _json(REFUSED, refusal(error)), error.outcome
        except Problem as problem:  # there is no room for the audio
            unavailable = Refusal(kind=ProviderUnavailable.__name__, reason=problem.message)
            return _json(REFUSED, unavailable), ProviderUnavailable.outcome
        finally:
            spool.close()

    async def _heard(self, request: web.Request, spool: Spool) -> Any:  # noqa: ANN401 - a transcript
        """Return the transcript. Raises ProviderError, Problem."""
        clock = asyncio.get_running_loop().time
        until = Moment(clock() + float(request.headers[TIME_LEFT]))
        job = await _read_job(request)
        async for chunk in request.content.iter_chunked(_READ_BYTES):
            await spool.write(chunk)
        content, _ = await spool.finish()
        model = self.models.get(request.query["model"])
        if model is None:
            raise ProviderUnavailable(NAME, "the model is not held here any more")
        try:
            async with asyncio.timeout_at(until):
                await model.wait_loaded()  # after a crash it is loaded again: who asked before waits
        except TimeoutError as error:
            raise ProviderUnavailable(NAME, "the model is still loading") from error
        return await model.transcribe(job.read(content), _HERE, until, Progress())


async def _missing_of(models: Iterable[LocalBackend]) -> list[str]:
    """Load them, one after another; say which could not be."""
    loaded = list(models)
    for model in loaded:
        await model.load()
    return [str(model.missing) for model in loaded if model.missing]


async def _read_job(request: web.Request) -> Written:
    size = int(request.headers[JOB_BYTES])
    if not 0 < size <= MAX_JOB_BYTES:
        raise JobRejected(NAME, "the job is larger than any can be")
    return msgspec.json.decode(await request.content.readexactly(size), type=Written)


def _json(status: int, value: object) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(value), content_type="application/json")


async def work(arguments: list[str]) -> None:
    """Hold models as the parent says. arguments: the channel's and the listener's descriptors."""
    channel_fd, listener_fd = map(int, arguments)
    made: asyncio.Future[Host] = asyncio.get_running_loop().create_future()

    async def adopt(settings: Settings) -> list[str]:
        try:
            return await (await made).adopt(settings)
        except BadConfiguration as error:
            return [str(error)]

    async def keep(_: object) -> None:
        await (await made).keep()

    async def metrics(_: object) -> bytes:
        return (await made).metrics.shown_now()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: None)  # its workers need it to their end
    async with asyncio.TaskGroup() as group:
        channel, served = await opened(channel_fd, {"adopt": adopt, "keep": keep, "metrics": metrics}, group)
        settings = await first_settings(channel)
        log = begin_log(settings)
        tracer = begin_tracing(settings.tracing, "engine")
        host = Host(spool_budget(settings), tracer)
        runner = web.AppRunner(host.web_app(), access_log=None, handler_cancellation=True, logger=HTTP)
        await runner.setup()
        await web.SockSite(runner, socket.socket(fileno=listener_fd), backlog=BACKLOG).start()
        made.set_result(host)
        loading = group.create_task(_load_first(host, settings, channel))
        await asyncio.wait((served,))
        loading.cancel()  # nobody waits for it any more
        await runner.cleanup()
        for model in host.models.values():
            await asyncio.to_thread(model.close)
        if tracer is not None:
            await tracer.sink.close()
        log.stop()


async def _load_first(host: Host, settings: Settings, channel: Channel) -> None:
    channel.tell("ready", await host.begin(settings))
    event("engine_ready", models=sorted(host.models))


if __name__ == "__main__":
    main(work)
