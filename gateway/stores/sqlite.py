"""A SQLite file that several workers of one machine may share."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final

import aiosqlite
from tenacity import retry, retry_if_exception, stop_after_delay, wait_random

if TYPE_CHECKING:
    from pathlib import Path

_BUSY_S: Final = 5.0  # how long another process's write is waited for


class DatabaseUnusable(Exception):
    """The file cannot be opened, is no database, or was written by another version."""


async def open_database(file: Path, schema: str, version: int) -> aiosqlite.Connection:
    """Open a database, made where it is not there yet. Raises DatabaseUnusable. To be closed by the caller.

    schema: statements that make its tables, each harmless where they are there already.
    version: of the schema; a file of any other is refused, never read as if it were this one.
    """
    try:
        _make(file)
        connection = await aiosqlite.connect(file, timeout=_BUSY_S, isolation_level=None)
    except (OSError, sqlite3.Error) as error:
        raise DatabaseUnusable(f"{file}: {error}") from error
    try:
        await _prepare(connection, file, schema, version)
    except BaseException as error:  # who is told to stop meanwhile leaves nothing open either
        await connection.close()
        if isinstance(error, sqlite3.Error):
            raise DatabaseUnusable(f"{file}: {error}") from error
        raise
    return connection


def _make(file: Path) -> None:
    """Make it where it is not there: what was said, and who asked, is nobody else's to read."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)


def _is_busy(error: BaseException) -> bool:
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


# SQLite itself does not wait where two open a new file at once and both turn to its write-ahead log.
@retry(
    retry=retry_if_exception(_is_busy),
    stop=stop_after_delay(_BUSY_S),
    wait=wait_random(0.01, 0.05),
    reraise=True,
)
async def _prepare(connection: aiosqlite.Connection, file: Path, schema: str, version: int) -> None:
    await connection.execute("PRAGMA journal_mode = WAL")  # readers and the writer do not wait for each other
    await connection.execute("PRAGMA synchronous = NORMAL")  # a crash of the machine loses the last moments, no more
    async with connection.execute("PRAGMA user_version") as cursor:
        row = await cursor.fetchone()
    found = row[0] if row else 0
    if found not in {0, version}:
        raise DatabaseUnusable(f"{file}: written by version {found} of its schema; this program knows {version}")
    await connection.executescript(schema)
    await connection.execute(f"PRAGMA user_version = {version:d}")
