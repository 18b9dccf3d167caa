"""What a worker and the engine begin with, over a real process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from config.settings import AccountSettings, Settings
from gateway.workers.channel import Channel
from tests.asking import MODEL
from tests.serving import routed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CHILD = """
import asyncio
from gateway.logs import event
from gateway.workers.child import begin_log, first_settings, main, opened

async def work(arguments):
    async def echo(value):
        return value

    async with asyncio.TaskGroup() as group:
        channel, served = await opened(int(arguments[0]), {"echo": echo}, group)
        settings = await first_settings(channel)
        log = begin_log(settings)
        event("begun", key=settings.providers["a"].secret().get_secret_value()[:3], models=list(settings.models))
        await asyncio.wait((served,))
        event("ended")
        log.stop()

main(work)
"""


@asynccontextmanager
async def child(settings: Settings) -> AsyncIterator[tuple[asyncio.subprocess.Process, Channel]]:
    """Start it as a parent does, and be its parent."""
    ours, theirs = socket.socketpair()
    with theirs:
        started = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", CHILD, str(theirs.fileno())),
            pass_fds=(theirs.fileno(),),
            stderr=asyncio.subprocess.PIPE,
        )

    async def first(_: object) -> Settings:
        return settings

    channel = Channel({"settings": first})
    await channel.open(ours)
    async with asyncio.TaskGroup() as group:
        group.create_task(channel.serve())
        try:
            yield started, channel
        finally:
            channel.close()
            await started.communicate()


async def next_line(of: asyncio.subprocess.Process) -> dict[str, Any]:
    assert of.stderr is not None
    line: dict[str, Any] = json.loads(await of.stderr.readline())
    return line


def settings() -> Settings:
    return routed(MODEL, {"a": AccountSettings(adapter="hf-inference", api_key="a-secret")}, "a/x")


async def test_it_has_the_configuration_of_its_parent_secrets_among_it() -> None:
    async with child(settings()) as (started, channel):
        line = await next_line(started)
        assert (line["event"], line["key"], line["models"]) == ("begun", "a-s", [MODEL])
        assert await channel.ask("echo", [1]) == [1]
        channel.close()
        assert (await next_line(started))["event"] == "ended"
        assert await started.wait() == 0


async def test_what_a_terminal_sends_to_all_is_for_the_parent_to_answer() -> None:
    async with child(settings()) as (started, channel):
        await next_line(started)
        for number in (signal.SIGINT, signal.SIGHUP):
            os.kill(started.pid, number)
        assert await channel.ask("echo", 1) == 1
        channel.close()
        assert (await next_line(started))["event"] == "ended"
        assert await started.wait() == 0


async def test_one_whose_parent_goes_before_it_has_said_anything_ends() -> None:
    async with child(settings()) as (started, channel):
        channel.close()
        async with asyncio.timeout(30):
            assert await started.wait() != 0
