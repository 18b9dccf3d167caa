"""SQLite files: made, shared, refused."""

from __future__ import annotations

import asyncio
import stat
from typing import TYPE_CHECKING

import pytest

from gateway.stores.sqlite import DatabaseUnusable, open_database

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = "CREATE TABLE IF NOT EXISTS said (word TEXT NOT NULL) STRICT"


async def test_what_one_connection_writes_another_reads(tmp_path: Path) -> None:
    """Two workers share the file; its folder is made where it is not there."""
    file = tmp_path / "deep" / "words.sqlite"
    one, other = await open_database(file, SCHEMA, 1), await open_database(file, SCHEMA, 1)
    try:
        await one.execute("INSERT INTO said VALUES ('hello')")
        async with other.execute("SELECT word FROM said") as cursor:
            assert [tuple(row) for row in await cursor.fetchall()] == [("hello",)]
    finally:
        await one.close()
        await other.close()


async def test_many_open_a_new_file_at_once(tmp_path: Path) -> None:
    """Workers start together; who comes second to the change of journal waits for it."""
    for again in range(20):
        file = tmp_path / f"{again}.sqlite"
        connections = await asyncio.gather(*(open_database(file, SCHEMA, 1) for _ in range(6)))
        for each in connections:
            await each.close()


async def test_a_file_of_another_version_is_refused(tmp_path: Path) -> None:
    """What another version wrote is not read as if it were this one's."""
    file = tmp_path / "words.sqlite"
    await (await open_database(file, SCHEMA, 2)).close()

    with pytest.raises(DatabaseUnusable, match="written by version 2"):
        await open_database(file, SCHEMA, 1)


async def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    """A mistaken path names somebody's file: it is left as it is."""
    file = tmp_path / "notes.txt"
    file.write_text("not a database at all, whatever its reader may think of it" * 20)

    with pytest.raises(DatabaseUnusable, match="not a database"):
        await open_database(file, SCHEMA, 1)
    assert file.read_text().startswith("not a database")


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """The operator reads which path it was."""
    (tmp_path / "taken").touch()

    with pytest.raises(DatabaseUnusable, match="taken"):
        await open_database(tmp_path / "taken" / "words.sqlite", SCHEMA, 1)


async def test_a_file_is_its_owners_alone(tmp_path: Path) -> None:
    """It may hold transcripts, or the names of callers."""
    file = tmp_path / "words.sqlite"
    await (await open_database(file, SCHEMA, 1)).close()

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
