"""The process that holds the models. `python -m gateway.standalone.child CHANNEL LISTENERS...`."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry

from config.faults import BadConfiguration
from gateway.drain import Drain
from gateway.hosting import Host
from gateway.intake.spool import spool_budget
from gateway.logs import event
from gateway.metrics import LocalMetrics
from gateway.serve import Listener
from gateway.standalone.door import Door
from gateway.standalone.serving import native_name
from gateway.state import begin_tracing
from gateway.workers.child import begin_log, main, opened

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from gateway.standalone.serving import Serving
    from gateway.workers.channel import Channel


class Engine:
    """Models on the sockets that it was given."""

    def __init__(self, serving: Serving) -> None:
        settings = serving.settings
        registry = CollectorRegistry()
        self.drain = Drain()
        self.settings = settings
        self.host = Host(
            spool_budget(settings),
            begin_tracing(settings.tracing, "engine"),
            metrics=LocalMetrics(registry, registry),
            known_as=native_name,
            max_bytes=settings.server.max_upload,
        )
        self._door = Door(self.host, self.drain, serving.key)
        self._listeners: list[Listener] = []
        self._loading = asyncio.Lock()

    async def start(self, listeners: list[socket.socket]) -> None:
        for each in listeners:
            listener = Listener(self._door.web_app(), self.settings.server)
            self._listeners.append(listener)
            await listener.take_over(each)

    async def load(self, channel: Channel) -> None:
        """Load, and say what is missing."""
        async with self._loading:
            missing = await self.host.begin(self.settings)
        for sentence in missing:
            event("model_missing", logging.ERROR, reason=sentence)
        event("engine_ready", models=sorted(name for name, model in self.host.models.items() if model.ready))
        channel.tell("ready", missing)

    async def adopt(self, serving: Serving) -> list[str]:
        """Load what is new and serve by it from now on; say what is missing: nothing has changed then."""
        async with self._loading:
            try:
                missing = await self.host.adopt(serving.settings)
            except BadConfiguration as error:
                return [str(error)]
        if not missing:
            self.settings, self._door.key = serving.settings, serving.key
            self.host.budget.adopt(serving.settings.server.spool)
            self.host.hearing.max_bytes = serving.settings.server.max_upload
        return missing

    async def let_go(self) -> None:
        """Let go of the models that are served no more, when whoever may ask for them has been answered.

        Where another configuration was taken up meanwhile, that is left to whoever lets go for that one.
        """
        settings = self.settings
        await self._door.left()
        async with self._loading:  # what is being adopted may count on what is there
            gone = self.host.forgotten() if self.settings is settings else ()
        await self.host.let_go(gone)

    async def stop(self, grace_s: float) -> None:
        """Let what is in flight finish, cut what does not, and close. grace_s: how long to listen on before."""
        self.drain.is_draining = True
        event("draining", in_flight=self.drain.in_flight)
        await asyncio.sleep(grace_s)
        for each in self._listeners:
            each.close()
        await self.drain.wait(self.settings.server.drain)
        self.drain.cut_all()
        for each in self._listeners:
            await each.end()
        await self.host.close()
        if self.host.tracer is not None:
            await self.host.tracer.sink.close()


async def work(arguments: list[str]) -> None:
    """Serve until the parent says so, or is gone; then drain. arguments: the channel's descriptor, the listeners'."""
    channel_fd, *listener_fds = map(int, arguments)
    asked_to_stop: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    begun: set[asyncio.Task[None]] = set()
    made: asyncio.Future[Engine] = asyncio.get_running_loop().create_future()

    def end(grace_s: float) -> None:
        if not asked_to_stop.done():
            asked_to_stop.set_result(grace_s)

    def begin(work: Coroutine[Any, Any, None]) -> None:
        task = group.create_task(work)
        begun.add(task)
        task.add_done_callback(begun.discard)

    async def stop(grace_s: float) -> None:
        end(grace_s)

    async def adopt(serving: Serving) -> list[str]:
        engine = await made
        missing = await engine.adopt(serving)
        if not missing:
            begin(engine.let_go())
        return missing

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end, 0.0)
    async with asyncio.TaskGroup() as group:
        channel, served = await opened(channel_fd, {"stop": stop, "adopt": adopt}, group)
        served.add_done_callback(lambda _: end(0.0))  # whoever is started in the parent's place wants the port
        serving: Serving = await channel.ask("settings")
        log = begin_log(serving.settings)
        engine = Engine(serving)
        made.set_result(engine)
        await engine.start([socket.socket(fileno=each) for each in listener_fds])
        begin(engine.load(channel))
        grace_s = await asked_to_stop
        for task in begun:
            task.cancel()
        await engine.stop(grace_s)
        log.stop()
        channel.close()


if __name__ == "__main__":
    main(work)
