"""The shared store against a real Redis that is killed, frozen, filled and demoted, and one that says: not here."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from config.limits import Limits, WhenLost
from config.stores import Redis
from gateway.policies.limits import Demand, Denied, Granted, Scope, rules_of
from gateway.stores.limits_memory import MemoryLimits
from gateway.stores.limits_redis import SharedLimits
from gateway.stores.memory_cache import MemoryCache
from gateway.stores.redis import SharedStore
from gateway.stores.redis_cache import RedisCache, Where
from gateway.stores.shared import StoreLost
from tests.redis_server import RedisServer, redis_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Told:
    """What the store says of the server, in order."""

    def __init__(self) -> None:
        self.changes: list[bool] = []
        self.changed = asyncio.Event()

    def __call__(self, lost: bool) -> None:  # noqa: FBT001 - the store's callback
        self.changes.append(lost)
        self.changed.set()

    async def wait_for(self, changes: list[bool]) -> None:
        while self.changes != changes:
            self.changed.clear()
            await self.changed.wait()


@asynccontextmanager
async def store_of(url: str, told: Told | None = None) -> AsyncIterator[SharedStore]:
    store = SharedStore(Redis(url=SecretStr(url)), told or Told())
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def watched(store: SharedStore) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(store.watch())
        yield
        watching.cancel()


async def asks(store: SharedStore) -> float:
    """Ask once of a server that is gone; return the seconds until the store said so."""
    clock = asyncio.get_running_loop().time
    started = clock()
    with pytest.raises(StoreLost):
        await store.run(lambda client: client.get("a"))
    return clock() - started


async def test_it_answers() -> None:
    async with redis_server() as server, store_of(server.url) as store:
        await store.run(lambda client: client.set("a", b"1"))

        assert await store.run(lambda client: client.get("a")) == b"1"
        assert not store.is_lost


async def kill(server: RedisServer) -> None:
    await server.kill()


async def freeze(server: RedisServer) -> None:
    server.freeze()


@pytest.mark.parametrize("end", [kill, freeze])
async def test_a_server_that_goes_away_is_asked_three_times_and_no_more(end: object) -> None:
    told = Told()
    async with redis_server() as server, store_of(server.url, told) as store, watched(store):
        await store.run(lambda client: client.set("a", b"1"))
        await end(server)  # type: ignore[operator] # kill or freeze
        took_s = [await asks(store) for _ in range(3)]
        assert max(took_s) < 1, "it hung"
        assert told.changes == [True]
        assert store.is_lost
        assert await asks(store) < 0.05, "what is lost is not asked"
        server.thaw() if end is freeze else await server.start()
        await told.wait_for([True, False])
        await store.run(lambda client: client.set("a", b"2"))


async def test_one_that_is_not_there_at_the_start_is_said_to_be_lost_and_found() -> None:
    told = Told()
    async with redis_server() as server:
        await server.kill()
        async with store_of(server.url, told) as store, watched(store):
            await told.wait_for([True])
            await server.start()
            await told.wait_for([True, False])


@pytest.mark.parametrize("how", ["full", "read-only"])
async def test_one_that_cannot_be_written_to_is_lost_though_it_answers(how: str) -> None:
    told = Told()
    async with redis_server() as server, store_of(server.url, told) as store, watched(store):
        async with server.client() as client:
            if how == "full":
                await client.config_set("maxmemory", "1")
            else:
                await client.execute_command("REPLICAOF", "127.0.0.1", "1")  # type: ignore[no-untyped-call]
            for _ in range(3):
                with pytest.raises(StoreLost):
                    await store.run(lambda client: client.set("a", b"1"))
            await asyncio.sleep(1.2)  # it has been asked again meanwhile
            assert told.changes == [True], "it answers to PING, and is no use"
            await client.config_set("maxmemory", "0")
            await client.execute_command("REPLICAOF", "NO", "ONE")  # type: ignore[no-untyped-call]
        await told.wait_for([True, False])


async def test_a_key_of_the_wrong_kind_says_nothing_of_the_server() -> None:
    async with redis_server() as server, store_of(server.url) as store:
        await store.run(lambda client: client.set("a", b"1"))
        for _ in range(5):
            with pytest.raises(StoreLost):
                await store.run(lambda client: client.lpush("a", "x"))
        assert not store.is_lost


@pytest.mark.parametrize("steps", range(12))
async def test_who_leaves_is_let_go_wherever_it_stands(steps: int) -> None:
    async with redis_server() as server, store_of(server.url) as store:
        await store.run(lambda client: client.get("a"))
        asking = asyncio.get_running_loop().create_task(store.run(lambda client: client.get("a")))
        for _ in range(steps):
            await asyncio.sleep(0)
        if asking.cancel():
            with pytest.raises(asyncio.CancelledError):
                await asking


async def test_more_requests_than_connections_wait_their_turn() -> None:
    async with redis_server() as server:
        store = SharedStore(Redis(url=SecretStr(server.url), max_connections=2, timeout=5), Told())
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(store.run(lambda client: client.incr("n"))) for _ in range(50)]
        assert sorted(int(each.result()) for each in asked) == list(range(1, 51))
        await store.close()


OF_ANOTHERS_TURN = [
    "LOADING Redis is loading the dataset in memory",
    "MOVED 3999 127.0.0.1:6381",
    "CLUSTERDOWN Hash slot not served",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
]


@asynccontextmanager
async def replying(error: str) -> AsyncIterator[tuple[str, list[str]]]:
    """Be a server that answers everything with an error; give its URL and the error, which may be taken out."""
    errors = [error]
    beside: set[asyncio.Task[None]] = set()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while parts := int((await reader.readuntil(b"\r\n"))[1:]):
                for _ in range(parts):
                    size = int((await reader.readuntil(b"\r\n"))[1:])
                    await reader.readexactly(size + 2)
                writer.write(f"-{errors[0]}\r\n".encode() if errors else b"+OK\r\n")
        writer.close()

    def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        beside.add(asyncio.get_running_loop().create_task(converse(reader, writer)))

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0?protocol=2", errors
    finally:
        server.close()
        for each in beside:
            each.cancel()
        await asyncio.gather(*beside, return_exceptions=True)


@pytest.mark.parametrize("error", OF_ANOTHERS_TURN, ids=lambda error: error.split()[0])
async def test_r5_one_that_sends_elsewhere_or_is_not_ready_is_lost_until_it_is(error: str) -> None:
    """Each reply is any key's: what they say is of the server. Where it points to, nobody goes."""
    told = Told()
    async with replying(error) as (url, errors), store_of(url, told) as store, watched(store):
        took_s = [await asks(store) for _ in range(3)]
        assert max(took_s) < 1, "it hung"
        assert told.changes == [True]
        assert await asks(store) < 0.05, "what is lost is not asked"
        errors.clear()
        await told.wait_for([True, False])
        assert await store.run(lambda client: client.set("a", b"1"))


@pytest.mark.parametrize("error", OF_ANOTHERS_TURN, ids=lambda error: error.split()[0])
async def test_r5_limits_and_cache_do_without_it(error: str) -> None:
    clock = asyncio.get_running_loop().time
    demand = Demand(rules=rules_of(Scope.KEY, "newsroom", Limits(requests_per_minute=2)), requests=1)
    async with replying(error) as (url, _), store_of(url) as store:
        limits = SharedLimits(store, MemoryLimits(clock, clock), clock, lambda: WhenLost.CLOSED)
        cache = RedisCache(store, MemoryCache(10_000, clock))
        async with asyncio.timeout(5):
            answers = [await limits.take_and_look(demand, cache.looking("k", fresh_s=60.0)) for _ in range(3)]
            await cache.put("k", b"v", 60.0)
            kept = await cache.get("k")
        assert [type(taken) for taken, _ in answers] == [Granted, Granted, Denied]
        assert {seen.where for _, seen in answers if seen is not None} == {Where.UNKNOWN}
        assert kept is not None
        assert kept.value == b"v"
