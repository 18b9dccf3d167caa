"""One of the processes that serve a port together: `python -m gateway.workers.worker CHANNEL LISTENERS... ENGINE`."""

from __future__ import annotations

import asyncio
import signal
import socket
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from config.faults import BadConfiguration
from gateway.api.controls import Controls
from gateway.app import Gateway
from gateway.dispatch.call import CallWatch
from gateway.heap import share_one_arena
from gateway.logs import event
from gateway.serve import Server, load_models
from gateway.workers.channel import ChannelClosed
from gateway.workers.child import begin_log, first_settings, main, opened
from providers.local.remote import EngineClient, RemoteModel

if TYPE_CHECKING:
    from config.settings import AccountSettings, Settings
    from gateway.reload import Reloaded
    from gateway.workers.channel import Answers, Channel
    from providers.types import Deployment


class Worker:
    """A gateway on a socket that it was given."""

    def __init__(self, settings: Settings, engine: EngineClient) -> None:
        self.latest: Settings | str = settings  # what was last adopted, or why it cannot be
        self.engine = engine
        self.asked_to_stop = asyncio.Event()
        self.grace_s: float | None = None  # before it stops listening; None: as configured
        self.gateway = Gateway(settings, self._read, self._remote)
        self._adopting = asyncio.Lock()

    async def adopt(self, settings: Settings | str) -> Reloaded:
        """Take up another configuration, or note why there is none."""
        async with self._adopting:
            self.latest = settings
            return await self.gateway.reloader.reload()

    async def alone(self) -> None:
        """Return when nothing that began with an earlier configuration goes on."""
        async with self._adopting:
            pass
        await self.gateway.alone()

    async def stop(self, grace_s: float | None) -> None:
        self.grace_s = grace_s
        self.asked_to_stop.set()

    def parent_gone(self) -> None:
        """End as soon as nothing is in flight: whoever is started in the parent's place wants the port."""
        if not self.asked_to_stop.is_set():
            self.grace_s = 0.0
            self.asked_to_stop.set()

    def ask_parent(self, channel: Channel) -> None:
        """Let operators be told of all workers, whichever of them they reach."""
        self.gateway.controls = Controls(
            reload=lambda: channel.ask("reload"),
            status=lambda: channel.ask("status"),
            metrics=lambda _: channel.ask("metrics"),
            cache=lambda: channel.ask("cache"),
            purge=lambda: channel.ask("purge"),
        )

    async def serve(self, listeners: list[socket.socket], channel: Channel) -> None:
        """Serve until it is asked to stop, or the parent is gone; then drain.

        listeners: the one for everybody, and the admin port's where there is one.
        """
        server = Server(self.gateway)
        await self.gateway.state.keyring.refresh()  # or the first to come would be told that nobody knows
        await server.start(*listeners)
        async with asyncio.TaskGroup() as group:
            loading = group.create_task(load_models(self.gateway, partial(self._say_ready, channel)))
            group.create_task(self.gateway.background())
            await self.asked_to_stop.wait()
            loading.cancel()
            event("draining", in_flight=self.gateway.drain.in_flight)
            now = self.gateway.settings.server
            await server.stop(now.drain, now.grace if self.grace_s is None else self.grace_s)
        await self.engine.close()

    def _say_ready(self, channel: Channel, missing: list[str]) -> None:
        channel.tell("ready", missing)

    def _read(self) -> Settings:
        if isinstance(self.latest, str):
            raise BadConfiguration(self.latest)
        return self.latest

    def _remote(self, deployment: Deployment, account: AccountSettings) -> RemoteModel:
        return RemoteModel(deployment.name, self.engine, made_for=account)


async def work(arguments: list[str]) -> None:
    """Serve as the parent says. arguments: the channel's and the listeners' descriptors, the engine's socket."""
    channel_fd, *listener_fds, engine_path = arguments
    made: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()

    async def adopt(settings: Settings | str) -> Reloaded:
        return await (await made).adopt(settings)

    async def alone(_: object) -> None:
        await (await made).alone()

    async def stop(grace_s: float | None) -> None:
        await (await made).stop(grace_s)

    async def status(_: object) -> object:
        return await (await made).gateway.own_status()

    async def metrics(_: object) -> object:
        return (await made).gateway.shown_metrics()

    async def cache(_: object) -> object:
        return await (await made).gateway.own_cache()

    async def purge(_: object) -> object:
        return await (await made).gateway.purge_cache()

    async with asyncio.TaskGroup() as group:
        answers: Answers = {
            "adopt": adopt,
            "alone": alone,
            "stop": stop,
            "status": status,
            "metrics": metrics,
            "cache": cache,
            "purge": purge,
        }
        channel, served = await opened(int(channel_fd), answers, group)
        settings = await first_settings(channel)
        log = begin_log(settings)
        worker = Worker(settings, EngineClient(Path(engine_path), CallWatch(lambda _: True)))
        worker.ask_parent(channel)
        made.set_result(worker)
        asked_to_stop = worker.asked_to_stop
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked_to_stop.set)
        served.add_done_callback(lambda _: worker.parent_gone())
        with suppress(ChannelClosed):
            await worker.serve([socket.socket(fileno=int(each)) for each in listener_fds], channel)
        log.stop()
        channel.close()


if __name__ == "__main__":
    share_one_arena()
    main(work)
