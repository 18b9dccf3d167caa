"""The process that holds the local models for all workers. `python -m gateway.workers.engine CHANNEL LISTENER`."""

from __future__ import annotations

import asyncio
import signal
import socket
from typing import TYPE_CHECKING

from aiohttp import web

from config.faults import BadConfiguration
from gateway.hosting import Host
from gateway.intake.spool import spool_budget
from gateway.logs import HTTP, event
from gateway.state import begin_tracing
from gateway.workers.child import begin_log, first_settings, main, opened
from gateway.workers.sockets import BACKLOG

if TYPE_CHECKING:
    from config.settings import Settings
    from gateway.workers.channel import Channel


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
        await host.close()
        if tracer is not None:
            await tracer.sink.close()
        log.stop()


async def _load_first(host: Host, settings: Settings, channel: Channel) -> None:
    channel.tell("ready", await host.begin(settings))
    event("engine_ready", models=sorted(host.models))


if __name__ == "__main__":
    main(work)
