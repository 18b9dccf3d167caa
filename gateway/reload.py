"""Another configuration without a restart: built beside the old one, then taken up between requests."""

from __future__ import annotations

import asyncio
import logging
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from config.faults import BadConfiguration
from gateway.logs import event

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from config.settings import Settings
    from gateway.metrics import Metrics

# What the listening socket and the process were made with.
_ONLY_AT_THE_START = ("host", "port", "admin_host", "admin_port", "workers", "header_timeout", "keep_alive")
_SECTIONS_AT_THE_START = ("logs", "redis", "tracing", "usage")
_OF_THE_CACHE = ("store", "max_bytes", "path")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reloaded:
    """How a reload went."""

    needs_restart: tuple[str, ...] = ()  # changed, and not taken up
    error: str | None = None  # nothing was changed


class Reloader:
    """Reads the configuration again when it is told to, one time after the other."""

    def __init__(
        self,
        settings: Settings,
        read: Callable[[], Settings],
        adopt: Callable[[Settings], Awaitable[None]],
        metrics: Metrics,
    ) -> None:
        """read, adopt: raise BadConfiguration; read may block."""
        self._first = settings
        self._read = read
        self._adopt = adopt
        self._metrics = metrics
        self._one_at_a_time = asyncio.Lock()
        self.error: str | None = None  # of the last reload

    async def reload(self) -> Reloaded:
        """Take up what the file and the environment say now; change nothing where that cannot be used."""
        async with self._one_at_a_time:
            try:
                settings = await asyncio.to_thread(self._read)
                await self._adopt(settings)
            except BadConfiguration as error:
                self.error = str(error)
                event("reload_refused", logging.ERROR, reason=self.error)
            else:
                self.error = None
                event("reloaded", needs_restart=_needs_restart(self._first, settings))
            self._metrics.reload(succeeded=self.error is None)
            if self.error is not None:
                return Reloaded(error=self.error)
            return Reloaded(needs_restart=_needs_restart(self._first, settings))


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


def _needs_restart(first: Settings, now: Settings) -> tuple[str, ...]:
    """Return the keys that differ from those the process was started with, and that nothing but a start reads."""
    names = [
        f"server.{name}" for name in _ONLY_AT_THE_START if getattr(first.server, name) != getattr(now.server, name)
    ]
    moved = ("server.spool.directory",) if first.server.spool.directory != now.server.spool.directory else ()
    cache = tuple(f"cache.{name}" for name in _OF_THE_CACHE if getattr(first.cache, name) != getattr(now.cache, name))
    counted = ("limits.store",) if first.limits.store != now.limits.store else ()
    whole = tuple(name for name in _SECTIONS_AT_THE_START if getattr(first, name) != getattr(now, name))
    keys = tuple(f"auth.{name}" for name in ("store", "path") if getattr(first.auth, name) != getattr(now.auth, name))
    return (*names, *moved, *cache, *counted, *keys, *whole)
