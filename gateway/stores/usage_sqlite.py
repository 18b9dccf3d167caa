"""The ledger in a SQLite file that the workers of one machine share."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.stores.sqlite import DatabaseUnusable, open_database
from gateway.stores.usage import ABANDONED, NOT_PAID, OK, By, Row, Sum, UsageUnusable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    import aiosqlite

    from gateway.stores.usage import Batch, Period

_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS usage (
    id INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    request_id TEXT NOT NULL,
    key TEXT NOT NULL,
    model TEXT NOT NULL,
    deployment TEXT NOT NULL,
    front TEXT NOT NULL,
    audio_s REAL,
    billed_s REAL,
    cost_usd REAL,
    cache TEXT NOT NULL,
    outcome TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    seconds REAL NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS usage_at ON usage (at);
"""
_FIELDS: Final = ", ".join(Row.__struct_fields__)
# One statement for a whole batch: it is written entirely or not at all, whenever it is cut off.
_INSERT: Final = (
    f"INSERT INTO usage ({_FIELDS}) SELECT "  # noqa: S608 - names of our own
    + ", ".join(f"json_extract(value, '$[{at}]')" for at in range(len(Row.__struct_fields__)))
    + " FROM json_each(?)"
)
_AT_ONCE: Final = 10_000  # rows deleted, or read: the file is nobody else's meanwhile
_TOO_OLD: Final = "DELETE FROM usage WHERE id IN (SELECT id FROM usage WHERE at < ? ORDER BY at LIMIT ?)"
_TOO_MANY: Final = (
    "DELETE FROM usage WHERE id IN "
    "(SELECT id FROM usage WHERE id <= (SELECT max(id) FROM usage) - ? ORDER BY id LIMIT ?)"
)
_SUMS: Final = f"""
    total(outcome <> '{ABANDONED}'), total(CASE WHEN outcome = '{OK}' THEN audio_s END),
    total(billed_s), total(cost_usd),
    total(cache IN ({", ".join(f"'{each}'" for each in sorted(NOT_PAID))})),
    total(outcome NOT IN ('{OK}', '{ABANDONED}')),
    total(outcome = '{OK}' AND cost_usd IS NULL)
"""
_DAY: Final = "date(at, 'unixepoch')"


class SqliteUsage:
    """One process's connection; opened when it is first needed."""

    def __init__(self, file: Path, max_rows: int) -> None:
        self.file = file
        self._max_rows = max_rows
        self._connection: aiosqlite.Connection | None = None
        self._opening = asyncio.Lock()

    async def append(self, batch: Batch) -> None:
        async with self._opened() as connection:
            await connection.execute(_INSERT, (msgspec.json.encode(batch.rows).decode(),))

    async def trim(self, before: float) -> None:
        async with self._opened() as connection:
            for statement, bound in ((_TOO_OLD, before), (_TOO_MANY, self._max_rows)):
                while (await connection.execute(statement, (bound, _AT_ONCE))).rowcount == _AT_ONCE:
                    pass

    async def sums(self, by: Sequence[By], period: Period) -> list[Sum]:
        names = ", ".join(_DAY if each is By.DAY else each.value for each in by)
        statement = (
            f"SELECT {f'{names}, ' if names else ''}{_SUMS} FROM usage WHERE at >= ? AND at < ? "  # noqa: S608 - of a closed set
            + (f"GROUP BY {names}" if names else "HAVING count(*) > 0")
        )
        async with self._opened() as connection:
            return [_sum(row, len(by)) for row in await connection.execute_fetchall(statement, period)]

    async def rows(self, period: Period) -> AsyncIterator[Row]:
        """Yield a part after the other: what is read at once is bounded, and writers come between."""
        statement = f"SELECT id, {_FIELDS} FROM usage WHERE (at, id) > (?, ?) AND at < ? ORDER BY at, id LIMIT ?"  # noqa: S608 - names of our own
        after = (period.since, -1)
        while True:
            async with self._opened() as connection:
                part = list(await connection.execute_fetchall(statement, (*after, period.until, _AT_ONCE)))
            for row in part:
                yield Row(**dict(zip(Row.__struct_fields__, row[1:], strict=True)))
            if len(part) < _AT_ONCE:
                return
            after = (part[-1][1], part[-1][0])

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[aiosqlite.Connection]:
        """Give the connection. Raises UsageUnusable, whatever SQLite says inside."""
        try:
            async with self._opening:
                if self._connection is None:
                    self._connection = await open_database(self.file, _SCHEMA, _VERSION)
            yield self._connection
        except DatabaseUnusable as error:
            raise UsageUnusable(str(error)) from error
        except sqlite3.Error as error:
            raise UsageUnusable(f"{self.file}: {error}") from error


def usual_file(environ: Mapping[str, str]) -> Path:
    """Return where the ledger is unless told: in the user's state folder, by the XDG Base Directory Specification."""
    folder = Path(environ.get("XDG_STATE_HOME", ""))
    if not folder.is_absolute():  # it is to be ignored then
        try:
            folder = Path.home() / ".local" / "state"
        except RuntimeError:  # a user without a home, as containers have them
            folder = Path("/var/lib")
    return folder / "asr-gateway" / "usage.sqlite"


def _sum(row: sqlite3.Row, names: int) -> Sum:
    requests, audio_s, billed_s, cost_usd, hits, failures, unpriced = row[names:]
    return Sum(
        names=tuple(row[:names]),
        requests=int(requests),
        audio_s=audio_s,
        billed_s=billed_s,
        cost_usd=cost_usd,
        hits=int(hits),
        failures=int(failures),
        unpriced=int(unpriced),
    )
