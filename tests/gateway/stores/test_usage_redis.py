"""The ledger's stream in a real Redis: what goes in comes out, once, and sums are what adding by hand gives."""

from __future__ import annotations

import itertools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from config.stores import Redis
from gateway.stores.redis import SharedStore
from gateway.stores.usage import By, Period, UsageUnusable
from gateway.stores.usage_redis import RedisUsage
from tests.gateway.stores.usage_rows import ALWAYS, all_rows, batch, by_hand, in_order, row
from tests.redis_server import RedisServer, redis_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

STREAM = "asr:{usage}"


@asynccontextmanager
async def kept(max_rows: int = 10_000) -> AsyncIterator[tuple[RedisUsage, RedisServer]]:
    async with redis_server() as server:
        shared = SharedStore(Redis(url=SecretStr(server.url), timeout=1.0), lambda _: None)
        try:
            yield RedisUsage(shared, max_rows), server
        finally:
            await shared.close()


async def now(server: RedisServer) -> float:
    """Return the server's time: rows are written when they are, not when a test says."""
    async with server.client() as client:
        seconds, microseconds = await client.time()
        return float(seconds + microseconds / 1e6)


async def test_what_is_written_is_read() -> None:
    """Unknown stays unknown, and a name that says null is a name."""
    async with kept() as (store, server):
        at = await now(server)
        rows = [row(at + 0.123456, audio_s=None, cost_usd=None), row(at + 9, request_id="é'\"", key="null", audio_s=3)]
        await store.append(batch(*rows))

        assert await all_rows(store) == rows
        assert await all_rows(store, Period(at, at + 9)) == rows[:1]


async def test_a_batch_that_is_written_twice_counts_once() -> None:
    async with kept() as (store, _):
        for name in ("one", "one", "two"):
            await store.append(batch(row(), row(), name=name))

        assert [each.requests for each in await store.sums([], ALWAYS)] == [4]


async def test_sums_are_those_made_by_hand() -> None:
    async with kept() as (store, server):
        at = await now(server)
        kinds = itertools.product("ab", "xy", ["miss", "hit"], ["ok", "all-failed"], [None, 0.25], range(40))
        rows = [
            row(at + number, key=key, model=model, cache=cache, outcome=outcome, cost_usd=cost_usd)
            for key, model, cache, outcome, cost_usd, number in kinds
        ]
        for start in range(0, len(rows), 500):
            await store.append(batch(*rows[start : start + 500], name=str(start)))

        for by in ([], [By.KEY], [By.MODEL, By.KEY, By.CACHE], list(By)):
            for period in (ALWAYS, Period(at + 7, at + 30)):
                assert in_order(await store.sums(by, period)) == by_hand(rows, by, period)


async def test_what_is_too_much_and_what_is_too_old_goes() -> None:
    """About so: a stream is cut where its parts end."""
    async with kept(max_rows=1000) as (store, server):
        for number in range(10):
            await store.append(batch(*(row() for _ in range(500)), name=str(number)))
        (told,) = await store.sums([], ALWAYS)
        assert 1000 <= told.requests < 1200
        await store.trim(await now(server) + 60)
        assert sum(each.requests for each in await store.sums([], ALWAYS)) < 100


async def test_what_others_wrote_is_not_there() -> None:
    async with kept() as (store, server):
        async with server.client() as client:
            await client.xadd(STREAM, {"something": "else"})
            await client.xadd(STREAM, dict.fromkeys(row().__struct_fields__, b"\xff"))
        await store.append(batch(row()))

        assert await all_rows(store) == [row()]


async def test_a_key_of_another_kind_is_told_and_nothing_is_thought_written() -> None:
    async with kept() as (store, server), server.client() as client:
        await client.set(STREAM, "mine")
        for _ in range(2):
            with pytest.raises(UsageUnusable, match="redis: ResponseError"):
                await store.append(batch(row()))
        await client.delete(STREAM)
        await store.append(batch(row()))
        assert await all_rows(store) == [row()]


async def test_a_server_that_is_gone_is_told() -> None:
    async with kept() as (store, server):
        await server.kill()
        for asked in (store.append(batch(row())), store.trim(0.0), store.sums([], ALWAYS)):
            with pytest.raises(UsageUnusable, match="redis: "):
                await asked
