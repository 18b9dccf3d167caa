"""Answers in a file: shared, bounded, outliving the process, and done without where it cannot be used."""

from __future__ import annotations

import sqlite3
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from gateway.stores.kept import Extent, Kept
from gateway.stores.memory_cache import MemoryCache
from gateway.stores.sqlite_cache import SqliteCache

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def opened(
    file: Path, clock: Clock, max_bytes: int = 1 << 20, told: list[str | None] | None = None
) -> AsyncIterator[SqliteCache]:
    store = SqliteCache(file, max_bytes, MemoryCache(10_000, clock), clock, (told if told is not None else []).append)
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "answers.sqlite"


def size_of(file: Path) -> int:
    return file.stat().st_size


async def test_a_value_outlives_the_process_and_ages(file: Path) -> None:
    clock = Clock()
    async with opened(file, clock) as store:
        await store.put("a", b"one", 60.0)
    clock.now += 59.0
    async with opened(file, clock) as store:
        assert await store.get("a") == Kept(value=b"one", age_s=59.0)
        clock.now += 1.0
        assert await store.get("a") is None
        await store.put("b", b"two", 60.0)
        assert (await store.extent()).entries == 1, "what is over is removed"
        assert store.evictions == 0


async def test_what_one_worker_keeps_another_finds(file: Path) -> None:
    clock = Clock()
    async with opened(file, clock) as one, opened(file, clock) as other:
        await one.put("a", b"one", 60.0)
        assert await other.get("a") == Kept(value=b"one", age_s=0.0)
        await other.put("a", b"another", 60.0)
        assert await one.get("a") == Kept(value=b"another", age_s=0.0)
        assert await one.extent() == await other.extent() == Extent(entries=1, size_bytes=407)


async def test_the_least_lately_used_make_room(file: Path) -> None:
    clock = Clock()
    async with opened(file, clock, max_bytes=100_000) as store:
        for at in range(100):
            await store.put(f"{at}", bytes(1600), 1e6)
            clock.now += 61.0
            assert await store.get("0"), "it is used all the time"
        extent = await store.extent()
        assert extent.size_bytes <= 100_000
        assert store.size_bytes == extent.size_bytes
        assert store.evictions + extent.entries == 100
        assert await store.get("1") is None
        assert await store.get("99")
        await store.put("large", bytes(100_000), 1e6)
        assert await store.get("large") is None, "it would have filled the file alone"
        assert await store.get("99")


async def test_it_forgets_and_gives_the_room_back(file: Path) -> None:
    async with opened(file, Clock()) as store:
        for at in range(100):
            await store.put(f"{at}", bytes(5000), 1e6)
        assert await store.purge() == 100
        assert await store.extent() == Extent(entries=0, size_bytes=0)
    assert size_of(file) < 100_000


async def test_a_clock_that_was_set_back_makes_nothing_younger_than_new(file: Path) -> None:
    """Trial F18: an hour back, an hour ahead."""
    clock = Clock()
    async with opened(file, clock) as store:
        await store.put("a", b"one", 7 * 86_400.0)
        for shift_s in (-3600.0, 7200.0):
            clock.now += shift_s
            found = await store.get("a")
            assert found
            assert found.age_s in {0.0, 3600.0}


async def test_nobody_else_may_read_it(file: Path) -> None:
    async with opened(file, Clock()) as store:
        await store.put("a", b"what was said", 60.0)
        assert {each.stat().st_mode & 0o077 for each in file.parent.iterdir()} == {0}


@pytest.mark.parametrize("how", ["no database", "another version", "no folder"])
async def test_a_file_that_cannot_be_used_is_done_without(tmp_path: Path, how: str) -> None:
    file = tmp_path / "taken" / "answers.sqlite" if how == "no folder" else tmp_path / "answers.sqlite"
    told: list[str | None] = []
    if how == "no database":
        file.write_text("somebody's notes " * 100)
    if how == "another version":
        with sqlite3.connect(file) as connection:
            connection.execute("PRAGMA user_version = 9")
    if how == "no folder":
        (tmp_path / "taken").touch()
    async with opened(file, Clock(), told=told) as store:
        await store.open()
        assert store.name == "memory"
        await store.put("a", b"one", 60.0)
        assert await store.get("a") == Kept(value=b"one", age_s=0.0)
        assert await store.extent() == Extent(entries=1, size_bytes=603)
    assert len(told) == 1, "said once"
    assert str(file.parent) in (told[0] or "")


async def test_a_file_that_is_mended_is_used_again(tmp_path: Path) -> None:
    file, clock = tmp_path / "answers.sqlite", Clock()
    told: list[str | None] = []
    file.write_text("somebody's notes " * 100)
    async with opened(file, clock, told=told) as store:
        await store.put("a", b"one", 60.0)
        assert file.read_text().startswith("somebody's notes"), "left as it was"
        file.unlink()
        assert await store.get("a"), "it is not tried again at once"
        clock.now += 11.0
        assert await store.get("a") is None, "the file is new, and empty"
        assert (store.name, told[1:]) == ("sqlite", [None])


async def test_a_file_that_breaks_while_it_is_used_is_done_without(file: Path) -> None:
    told: list[str | None] = []
    async with opened(file, Clock(), told=told) as store:
        await store.put("a", b"one", 60.0)
        with sqlite3.connect(file) as connection:
            connection.execute("DROP TABLE answers")
        assert await store.get("a") is None
        await store.put("a", b"two", 60.0)
        assert await store.get("a") == Kept(value=b"two", age_s=0.0)
        assert told == ["OperationalError"]
