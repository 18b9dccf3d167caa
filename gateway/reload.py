"""Another configuration without a restart: built beside the old one, then taken up between requests."""

from __future__ import annotations

import asyncio
import logging
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from config.faults import BadConfiguration
from gateway.logs import event

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    from pydantic import BaseModel

    from config.settings import Settings

# What the listening socket and the process were made with.
_ONLY_AT_THE_START = ("host", "port", "admin_host", "admin_port", "workers", "header_timeout", "keep_alive")
_SECTIONS_AT_THE_START = ("logs", "redis", "tracing", "usage")
_OF_THE_CACHE = ("store", "max_bytes", "path")


C = TypeVar("C")
"""What is read: a configuration, perhaps with what was said beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reloaded:
    """How a reload went."""

    needs_restart: tuple[str, ...] = ()  # changed, and not taken up
    error: str | None = None  # nothing was changed


class Reloader(Generic[C]):
    """Reads the configuration again when it is told to, one time after the other."""

    def __init__(
        self,
        read: Callable[[], C],
        adopt: Callable[[C], Awaitable[None]],
        needs_restart: Callable[[C], tuple[str, ...]],
        on_end: Callable[[str | None], None] = lambda _: None,
    ) -> None:
        """read, adopt: raise BadConfiguration; read may block.

        needs_restart: names the keys that nothing but a start takes up.
        on_end: told what was wrong; None where a reload succeeded.
        """
        self._read = read
        self._adopt = adopt
        self._needs_restart = needs_restart
        self._on_end = on_end
        self._one_at_a_time = asyncio.Lock()
        self.error: str | None = None  # of the last reload

    async def reload(self) -> Reloaded:
        """Take up what the file and the environment say now; change nothing where that cannot be used."""
        async with self._one_at_a_time:
            try:
                read = await asyncio.to_thread(self._read)
                await self._adopt(read)
            except BadConfiguration as error:
                self.error = str(error)
                event("reload_refused", logging.ERROR, reason=self.error)
                self._on_end(self.error)
                return Reloaded(error=self.error)
            self.error, restart = None, self._needs_restart(read)
            event("reloaded", needs_restart=restart)
            self._on_end(None)
            return Reloaded(needs_restart=restart)


class OnHangup:
    """The reloads that SIGHUP asks for, from now on until `stop`."""

    def __init__(self, group: asyncio.TaskGroup, reload: Callable[[], Awaitable[Reloaded]]) -> None:
        """group: runs them."""
        self._group = group
        self._reload = reload
        self._tasks: set[asyncio.Task[None]] = set()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._begin)

    def stop(self) -> None:
        """Hear no more, and leave what is not done: a model that is being downloaded is waited for by nobody now."""
        asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for task in self._tasks:
            task.cancel()

    def _begin(self) -> None:
        task = self._group.create_task(self._run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self) -> None:
        await self._reload()


def needs_restart(first: Settings, now: Settings) -> tuple[str, ...]:
    """Return the keys that differ from those the process was started with, and that nothing but a start reads."""
    return (
        *changed(first.server, now.server, _ONLY_AT_THE_START, "server."),
        *changed(first.server.spool, now.server.spool, ("directory",), "server.spool."),
        *changed(first.cache, now.cache, _OF_THE_CACHE, "cache."),
        *changed(first.limits, now.limits, ("store",), "limits."),
        *changed(first.auth, now.auth, ("store", "path"), "auth."),
        *changed(first, now, _SECTIONS_AT_THE_START),
    )


def changed(first: BaseModel, now: BaseModel, names: Iterable[str], prefix: str = "") -> Iterator[str]:
    """Yield the keys that differ, of those named."""
    return (f"{prefix}{name}" for name in names if getattr(first, name) != getattr(now, name))
