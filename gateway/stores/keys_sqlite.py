"""Keys in a SQLite file, which the workers of one machine share."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING, Final

from gateway.stores.shared import StoreLost
from gateway.stores.sqlite import DatabaseUnusable, open_database

if TYPE_CHECKING:
    from pathlib import Path

    import aiosqlite

_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS keys (name TEXT PRIMARY KEY, document TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS revision (number INTEGER NOT NULL) STRICT;
INSERT INTO revision SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM revision);
CREATE TRIGGER IF NOT EXISTS added AFTER INSERT ON keys BEGIN UPDATE revision SET number = number + 1; END;
CREATE TRIGGER IF NOT EXISTS replaced AFTER UPDATE ON keys BEGIN UPDATE revision SET number = number + 1; END;
CREATE TRIGGER IF NOT EXISTS removed AFTER DELETE ON keys BEGIN UPDATE revision SET number = number + 1; END;
"""


class SqliteKeys:
    """The file is opened when it is first asked, and again after a failure to open it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._connection: aiosqlite.Connection | None = None
        self._one_at_a_time = asyncio.Lock()

    async def revision(self) -> str:
        rows = await self._rows("SELECT number FROM revision")
        return str(rows[0][0])

    async def read(self) -> dict[str, str]:
        return {str(name): str(document) for name, document in await self._rows("SELECT name, document FROM keys")}

    async def add(self, name: str, document: str) -> bool:
        return await self._changes("INSERT OR IGNORE INTO keys (name, document) VALUES (?, ?)", name, document)

    async def replace(self, name: str, document: str) -> bool:
        return await self._changes("UPDATE keys SET document = ? WHERE name = ?", document, name)

    async def remove(self, name: str) -> bool:
        return await self._changes("DELETE FROM keys WHERE name = ?", name)

    async def close(self) -> None:
        async with self._one_at_a_time:
            if self._connection is not None:
                await self._connection.close()
                self._connection = None

    async def _rows(self, statement: str) -> list[sqlite3.Row]:
        connection = await self._opened()
        try:
            async with connection.execute(statement) as cursor:
                return list(await cursor.fetchall())
        except sqlite3.Error as error:
            raise StoreLost(f"{self._file}: {error}") from error

    async def _changes(self, statement: str, *values: str) -> bool:
        connection = await self._opened()
        try:
            async with connection.execute(statement, values) as cursor:
                return cursor.rowcount > 0
        except sqlite3.Error as error:
            raise StoreLost(f"{self._file}: {error}") from error

    async def _opened(self) -> aiosqlite.Connection:
        async with self._one_at_a_time:
            if self._connection is None:
                try:
                    self._connection = await open_database(self._file, _SCHEMA, _VERSION)
                    await self._connection.execute("PRAGMA synchronous = FULL")  # a revocation outlives a power cut
                except (DatabaseUnusable, sqlite3.Error) as error:
                    raise StoreLost(str(error)) from error
            return self._connection
