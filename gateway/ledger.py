"""The usage ledger: a row for each request, written beside the requests and never waited for by one."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress
from secrets import token_hex
from typing import TYPE_CHECKING, Final

from config.usage import UsageStore as Where
from gateway.logs import event
from gateway.stores.usage import Batch, Row, UsageUnusable
from gateway.stores.usage_redis import RedisUsage
from gateway.stores.usage_sqlite import SqliteUsage, usual_file

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from config.usage import Usage
    from gateway.observe import Observed
    from gateway.stores.redis import SharedStore
    from gateway.stores.usage import UsageStore

_MOST_WAITING: Final = 10_000  # rows, some 5 MB: ten minutes without a store at 16 requests a second
_BATCH: Final = 100  # rows: their encoding takes 4 ms of the event loop for Redis, less for SQLite
_GATHER_S: Final = 0.25  # from a row to its batch
_AGAIN_S: Final = 2.0  # from a store's failure to the next try
_TRIM_EVERY_S: Final = 3600.0
_LAST_S: Final = 3.0  # to write what is left at the end


class Ledger:
    """One process's. Rows that cannot be written wait, up to a bound; those beyond it are dropped, and counted."""

    def __init__(
        self,
        store: UsageStore,
        *,
        keep_s: float,
        now: Callable[[], float],
        on_dropped: Callable[[int], None],
    ) -> None:
        """now: seconds since 1970. on_dropped: told how many rows."""
        self.store = store
        self._keep_s = keep_s
        self.now = now
        self._on_dropped = on_dropped
        self._waiting: deque[Row] = deque()
        self._batch: Batch | None = None  # the one being written, until it is
        self._trim_at = 0.0
        self._is_unusable = False
        self._filled, self._ending, self._carried = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._carried.set()  # nothing is carried yet

    def note(self, observed: Observed, status: str, seconds: float) -> None:
        """Note a request at its end. status: a number, or "cancelled"."""
        if not _is_usage(observed, status):
            return
        if len(self._waiting) >= _MOST_WAITING:
            self._on_dropped(1)
            return
        self._waiting.append(row_of(observed, status, seconds, self.now()))
        self._filled.set()

    async def carry(self) -> None:
        """Write rows as they come. Returns after `end`."""
        self._carried.clear()
        try:
            await self._tried(self._trim())
            while not self._ending.is_set():
                await self._filled.wait()
                await self._pause(_GATHER_S)
                if not await self._tried(self._write()):
                    await self._pause(_AGAIN_S)
            await self._tried(self._write())
        finally:
            await self.store.close()
            self._carried.set()

    async def end(self) -> None:
        """Let what waits be written, for a moment; what is not by then is lost."""
        self._ending.set()
        self._filled.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_S):
                await self._carried.wait()
        left = len(self._waiting) + (len(self._batch.rows) if self._batch else 0)
        if left:
            self._on_dropped(left)
            event("usage_lost", logging.ERROR, rows=left)

    async def _write(self) -> None:
        while (batch := self._next()) is not None:
            await self.store.append(batch)
            self._batch = None
        if not self._ending.is_set():
            self._filled.clear()
        await self._trim()

    async def _trim(self) -> None:
        if self.now() >= self._trim_at:
            await self.store.trim(self.now() - self._keep_s)
            self._trim_at = self.now() + _TRIM_EVERY_S

    def _next(self) -> Batch | None:
        """Return what is to be written now: what was to be before, where that may not have been."""
        if self._batch is None and self._waiting:
            rows = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
            self._batch = Batch(name=token_hex(16), rows=rows)
        return self._batch

    async def _tried(self, work: Awaitable[None]) -> bool:
        """Tell whether it could be done; tell operators when that changes."""
        try:
            await work
        except UsageUnusable as error:
            if not self._is_unusable:
                event("usage_unusable", logging.WARNING, reason=str(error))
            self._is_unusable = True
            return False
        if self._is_unusable:
            event("usage_written")
        self._is_unusable = False
        return True

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ending.wait()


def usage_store(settings: Usage, shared: SharedStore | None, environ: Mapping[str, str]) -> UsageStore | None:
    """Return where rows go; None where they go nowhere. shared: there where the settings say redis."""
    if settings.store is Where.REDIS and shared is not None:
        return RedisUsage(shared, settings.max_rows)
    if settings.store is Where.SQLITE:
        return SqliteUsage(settings.path or usual_file(environ), settings.max_rows)
    return None


def row_of(observed: Observed, status: str, seconds: float, at: float) -> Row:
    """Return a request's row. status: a number, or "cancelled"; at: seconds since 1970."""
    return Row(
        at=at,
        request_id=observed.request_id,
        key=observed.caller,
        model=observed.model or "none",
        deployment=observed.label or next((label for label, _ in observed.charges), "none"),
        front=observed.front,
        audio_s=observed.audio_s,
        billed_s=observed.billed_s,
        cost_usd=observed.cost_usd,
        cache=observed.cache,
        outcome=observed.outcome(status),
        attempts=observed.attempts,
        seconds=seconds,
    )


def _is_usage(observed: Observed, status: str) -> bool:
    """Tell whether it was about audio; a plan that was asked for, and carried out by nobody, is not."""
    return observed.front != "ops" and bool(observed.deployment or not status.startswith("2"))
