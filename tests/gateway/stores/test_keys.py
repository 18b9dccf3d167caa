"""The stores of keys, in a file and in a real Redis: one behaviour."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from config.stores import Redis
from gateway.stores.keys import KeyStore
from gateway.stores.keys_redis import RedisKeys
from gateway.stores.keys_sqlite import SqliteKeys
from gateway.stores.redis import SharedStore
from gateway.stores.shared import StoreLost
from tests.redis_server import redis_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def two(kind: str, folder: Path) -> AsyncIterator[tuple[KeyStore, KeyStore]]:
    """Give two processes' views of one store."""
    if kind == "sqlite":
        one, other = SqliteKeys(folder / "keys.sqlite"), SqliteKeys(folder / "keys.sqlite")
        try:
            yield one, other
        finally:
            await one.close()
            await other.close()
        return
    async with redis_server() as server:
        shared = SharedStore(Redis(url=SecretStr(server.url), timeout=2), lambda _: None)
        yield RedisKeys(shared), RedisKeys(shared)
        await shared.close()


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
async def test_what_one_changes_the_other_sees(kind: str, tmp_path: Path) -> None:
    """And knows by the revision that there is something to see."""
    async with two(kind, tmp_path) as (one, other):
        revisions = [await other.revision()]
        assert await other.read() == {}
        assert await one.add("a", "first")
        revisions.append(await other.revision())
        assert await one.replace("a", "second")
        revisions.append(await other.revision())
        assert await one.add("b", "third")
        assert await other.read() == {"a": "second", "b": "third"}
        revisions.append(await other.revision())
        assert await one.remove("a")
        revisions.append(await other.revision())
        assert await other.read() == {"b": "third"}
        assert len(set(revisions)) == 5


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
async def test_what_does_not_fit_changes_nothing(kind: str, tmp_path: Path) -> None:
    async with two(kind, tmp_path) as (one, other):
        await one.add("a", "first")
        before = await other.revision()
        assert not await other.add("a", "second")
        assert not await other.replace("b", "second")
        assert not await other.remove("b")
        assert (await other.revision(), await other.read()) == (before, {"a": "first"})


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
async def test_thousands_are_read(kind: str, tmp_path: Path) -> None:
    async with two(kind, tmp_path) as (one, other):
        for n in range(2_000):
            await one.add(f"k{n}", f"document {n}")
        assert await other.read() == {f"k{n}": f"document {n}" for n in range(2_000)}


async def test_a_file_that_is_none_is_a_store_that_is_lost(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("no database" * 200)
    store = SqliteKeys(tmp_path / "notes")
    with pytest.raises(StoreLost, match="notes"):
        await store.read()
    (tmp_path / "notes").unlink()
    assert await store.read() == {}
    await store.close()
