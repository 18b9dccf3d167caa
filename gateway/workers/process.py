"""One of the parent's processes: what it is asked, how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.logs import event
from gateway.workers.channel import Channel, ChannelClosed, QuestionFailed

_PATIENCE_S: Final = 5.0  # for a worker to say how it is


@dataclass(slots=True, kw_only=True, eq=False)
class Child:
    """A process, the way to it, and whether it has ever been ready."""

    process: asyncio.subprocess.Process
    is_engine: bool
    channel: Channel = field(init=False)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    missing: list[str] = field(default_factory=list)  # of local models, once it is ready


async def asked(child: Child, what: str, value: object = None) -> Any:  # noqa: ANN401 - as it answers
    """Return its answer; None where it gives none in time."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            return await child.channel.ask(what, value)
    except (TimeoutError, ChannelClosed, QuestionFailed):
        return None


async def alone(child: Child) -> None:
    """Return when a worker goes by the latest configuration only, or is gone."""
    with contextlib.suppress(ChannelClosed, QuestionFailed):
        await child.channel.ask("alone")


async def ended(child: Child) -> int:
    """Answer a child's questions until it ends; return its exit code."""
    try:
        async with asyncio.TaskGroup() as group:
            answering = group.create_task(child.channel.serve())
            code = await child.process.wait()
            answering.cancel()
        return code
    finally:
        child.channel.close()


def kill(child: Child) -> None:
    """End one that hangs."""
    event("hung", logging.ERROR, process=child.process.pid)
    with contextlib.suppress(ProcessLookupError):
        child.process.kill()
