"""What a worker and the engine have in common: started by the parent, gone when the parent is."""

from __future__ import annotations

import signal
import socket
import sys
from typing import TYPE_CHECKING

from gateway import logs
from gateway.loop import run
from gateway.workers.channel import Channel

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from config.settings import Settings
    from gateway.workers.channel import Answers


async def opened(descriptor: int, answers: Answers, group: asyncio.TaskGroup) -> tuple[Channel, asyncio.Task[None]]:
    """Open the way to the parent; the task ends when the parent is gone."""
    channel = Channel(answers)
    await channel.open(socket.socket(fileno=descriptor))
    return channel, group.create_task(channel.serve())


async def first_settings(channel: Channel) -> Settings:
    """Ask the parent for the configuration."""
    settings: Settings = await channel.ask("settings")
    return settings


def main(work: Callable[[list[str]], Awaitable[None]]) -> None:
    """Run a child's work with the arguments it was started with.

    SIGINT and SIGHUP come from a terminal to all at once, and the parent says what is to be done about them.
    """
    for each in (signal.SIGINT, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)

    async def worked() -> None:
        await work(sys.argv[1:])

    run(worked())


def begin_log(settings: Settings) -> logs.Writer:
    """Write to the parent's standard error, as it does itself."""
    return logs.start(settings.logs.format, settings.logs.level)
