"""Answers in a file: they outlive the process, and the workers of one machine share them.

Where the file cannot be used, each process keeps its own in memory.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from gateway.stores.kept import Extent, Kept
from gateway.stores.sqlite import DatabaseUnusable, open_database

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    import aiosqlite

    from gateway.stores.memory_cache import MemoryCache

T = TypeVar("T")

_VERSION: Final = 1
_OVERHEAD_BYTES: Final = 400  # of a row besides its value: the key twice, three times, its pages' own; see the schema
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY,
    value BLOB NOT NULL,
    at REAL NOT NULL,     -- UNIX seconds, as all times here
    until REAL NOT NULL,
    used REAL NOT NULL    -- to the minute: a hit need not write
) STRICT;
CREATE INDEX IF NOT EXISTS by_until ON answers (until);
CREATE INDEX IF NOT EXISTS by_used ON answers (used);
CREATE TABLE IF NOT EXISTS extent (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    entries INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) STRICT;
INSERT OR IGNORE INTO extent VALUES (1, 0, 0);
CREATE TRIGGER IF NOT EXISTS added AFTER INSERT ON answers BEGIN
    UPDATE extent SET entries = entries + 1, bytes = bytes + length(NEW.value) + 400;
END;
CREATE TRIGGER IF NOT EXISTS changed AFTER UPDATE OF value ON answers BEGIN
    UPDATE extent SET bytes = bytes + length(NEW.value) - length(OLD.value);
END;
CREATE TRIGGER IF NOT EXISTS removed AFTER DELETE ON answers BEGIN
    UPDATE extent SET entries = entries - 1, bytes = bytes - length(OLD.value) - 400;
END;
"""
_PUT: Final = """
INSERT INTO answers VALUES (:key, :value, :now, :until, :now)
ON CONFLICT (key) DO UPDATE SET value = excluded.value, at = excluded.at, until = excluded.until, used = excluded.used
"""
_MAKE_ROOM: Final = "DELETE FROM answers WHERE key IN (SELECT key FROM answers ORDER BY used, at LIMIT 16)"
_USED_EVERY_S: Final = 60.0
_TRY_AGAIN_S: Final = 10.0  # after the file could not be opened


class SqliteCache:
    """One process's connection. It never fails."""

    def __init__(
        self,
        file: Path,
        max_bytes: int,
        alone: MemoryCache,
        now: Callable[[], float],
        on_change: Callable[[str | None], None],
    ) -> None:
        """alone: what is used while the file cannot be.

        now: in UNIX seconds, since the file outlives every other clock.
        on_change: told once each time the file cannot be used any more, and why; None when it can be again.
        """
        self._file = file
        self._max_bytes = max_bytes
        self._alone = alone
        self._now = now
        self._on_change = on_change
        self._connection: aiosqlite.Connection | None = None
        self._opening = asyncio.Lock()
        self._not_before = 0.0
        self._lost: str | None = None
        self._size_bytes = 0
        self.evictions = 0

    @property
    def name(self) -> str:
        return "sqlite" if self._lost is None else self._alone.name

    @property
    def size_bytes(self) -> int:
        return self._size_bytes if self._lost is None else self._alone.size_bytes

    async def open(self) -> None:
        """Open the file now, so that what is wrong with it is said at the start."""
        with suppress(DatabaseUnusable):
            await self._tried(self._measure)

    async def get(self, key: str) -> Kept | None:
        try:
            return await self._tried(lambda connection: self._get(connection, key))
        except DatabaseUnusable:
            return await self._alone.get(key)

    async def put(self, key: str, value: bytes, keep_s: float) -> None:
        if len(value) + _OVERHEAD_BYTES > self._max_bytes:
            return
        try:
            await self._tried(lambda connection: self._put(connection, key, value, keep_s))
        except DatabaseUnusable:
            await self._alone.put(key, value, keep_s)

    async def purge(self) -> int:
        entries = await self._alone.purge()
        with suppress(DatabaseUnusable):
            entries += await self._tried(self._purge)
        return entries

    async def extent(self) -> Extent:
        try:
            return await self._tried(self._measure)
        except DatabaseUnusable:
            return await self._alone.extent()

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def _tried(self, work: Callable[[aiosqlite.Connection], Awaitable[T]]) -> T:
        """Return what work returns. Raises DatabaseUnusable: for that there is memory."""
        try:
            done = await work(await self._opened())
        except (sqlite3.Error, ValueError) as error:  # ValueError: the connection was closed meanwhile
            self._say(type(error).__name__)
            raise DatabaseUnusable(str(error)) from error
        except DatabaseUnusable as error:
            self._say(str(error))
            raise
        self._say(None)
        return done

    async def _opened(self) -> aiosqlite.Connection:
        async with self._opening:
            if self._connection is None:
                now = self._now()
                if now < self._not_before:
                    raise DatabaseUnusable(self._lost or "")
                self._not_before = now + _TRY_AGAIN_S
                await asyncio.to_thread(self._make_private)
                self._connection = await open_database(self._file, _SCHEMA, _VERSION)
            return self._connection

    def _make_private(self) -> None:
        """Make the file for its owner alone: it holds what was said."""
        with suppress(OSError):  # opening it says why
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.touch(0o600)

    def _say(self, lost: str | None) -> None:
        if (lost is None) != (self._lost is None):
            self._on_change(lost)
        self._lost = lost

    async def _get(self, connection: aiosqlite.Connection, key: str) -> Kept | None:
        now = self._now()
        query = "SELECT value, at, used FROM answers WHERE key = ? AND until > ?"
        async with connection.execute(query, (key, now)) as cursor:
            row = await cursor.fetchone()
        if row is None:
            return None
        value, at, used = row
        if now - used > _USED_EVERY_S:
            await _do(connection, "UPDATE answers SET used = ? WHERE key = ?", (now, key))
        return Kept(value=value, age_s=max(0.0, now - at))

    async def _put(self, connection: aiosqlite.Connection, key: str, value: bytes, keep_s: float) -> None:
        now = self._now()
        await _do(connection, "DELETE FROM answers WHERE until <= ?", (now,))
        await _do(connection, _PUT, {"key": key, "value": value, "now": now, "until": now + keep_s})
        while (await self._measure(connection)).size_bytes > self._max_bytes:
            self.evictions += await _do(connection, _MAKE_ROOM)

    async def _purge(self, connection: aiosqlite.Connection) -> int:
        entries = await _do(connection, "DELETE FROM answers")
        with suppress(sqlite3.OperationalError):  # another process is at it: the room is used again anyway
            await _do(connection, "VACUUM")
        await self._measure(connection)
        return entries

    async def _measure(self, connection: aiosqlite.Connection) -> Extent:
        async with connection.execute("SELECT entries, bytes FROM extent") as cursor:
            row = await cursor.fetchone()
        entries, size_bytes = row or (0, 0)
        self._size_bytes = size_bytes
        return Extent(entries=entries, size_bytes=size_bytes)


async def _do(connection: aiosqlite.Connection, statement: str, values: Any = ()) -> int:  # noqa: ANN401 - as SQLite takes them
    """Run a statement; return how many rows it changed."""
    async with connection.execute(statement, values) as cursor:
        return cursor.rowcount
