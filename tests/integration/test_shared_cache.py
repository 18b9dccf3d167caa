"""Several gateways and one Redis: what one has, all have; what one asks, nobody else asks; and without it all go on."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest

from config.stores import Redis
from gateway.stores.redis_cache import RedisCache
from tests.asking import WAV, serving
from tests.chaos.upstream import answers, hangs, upstream
from tests.integration.test_cache import FLAC, kept, state
from tests.integration.test_single_flight import Gate, aboard, asked, until, waiting
from tests.redis_server import RedisServer, redis_server
from tests.watching import samples

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from config.settings import Settings
    from tests.asking import Served
    from tests.chaos.upstream import Upstream


def shared(up: Upstream, server: RedisServer, **cache: Any) -> Settings:
    settings = kept({"up": up.url}, {"store": "redis", **cache})
    # A machine that is busy with other tests may take longer than a tenth of a second.
    return settings.model_copy(update={"redis": Redis.model_validate({"url": server.url, "timeout": "1s"})})


@asynccontextmanager
async def two(up: Upstream, server: RedisServer, **cache: Any) -> AsyncIterator[tuple[Served, Served]]:
    async with serving(shared(up, server, **cache)) as one, serving(shared(up, server, **cache)) as other:
        yield one, other


async def test_what_one_gateway_heard_another_knows() -> None:
    async with redis_server() as server, upstream(answers()) as up, two(up, server) as (one, other):
        first = await one.post()
        await until(lambda: not one.gateway.flights._aloft)
        told = await other.post()
        assert [state(first), state(told)] == ["miss", "hit"]
        assert (told.body, told.headers["Age"], len(up.calls)) == (first.body, "0", 1)
        only = await other.post(**{"Cache-Control": "only-if-cached"})
        assert state(only) == "hit"
        assert [state(await other.post(**{"Cache-Control": each})) for each in ("max-age=0", "max-age=60")] == [
            "miss",
            "hit",
        ]


async def test_one_round_trip_finds_it() -> None:
    """Trial R6: the look and the lease are one step."""
    async with (
        redis_server() as server,
        upstream(answers()) as up,
        serving(shared(up, server)) as served,
        server.client() as client,
    ):
        for told in ("miss", "hit"):
            before = await client.info("commandstats")
            assert state(await served.post()) == told
            await until(lambda: not served.gateway.flights._aloft)
            after = await client.info("commandstats")
            asked_of_it = after["cmdstat_evalsha"]["calls"] - before.get("cmdstat_evalsha", {"calls": 0})["calls"]
            assert asked_of_it == {"miss": 2, "hit": 1}[told], "a miss keeps its answer when its caller has it"


async def test_l8_the_same_at_two_gateways_is_one_call() -> None:
    gate = Gate()
    async with redis_server() as server, upstream(gate) as up, two(up, server) as (one, other):
        async with asked(one, *[{}] * 10) as here:
            await until(lambda: aboard(one) == 10)
            await waiting(up, 1)
            async with asked(other, *[{}] * 10) as there:
                await until(lambda: aboard(other) == 10)
                gate.opened.set()
        told = [task.result() for task in (*here, *there)]
        assert Counter(state(each) for each in told) == {"miss": 1, "joined": 19}
        assert len({each.body["text"] for each in told}) == len(up.calls) == 1


async def test_an_error_reaches_those_who_wait_elsewhere_and_nobody_else() -> None:
    gate = Gate(500)
    async with redis_server() as server, upstream(gate) as up, two(up, server) as (one, other):
        async with asked(one, {}) as here:
            await waiting(up, 1)
            async with asked(other, {}) as there:
                await until(lambda: aboard(other) == 1)
                await asyncio.sleep(0.1)  # it has looked
                gate.opened.set()
        assert [task.result().type for task in (*here, *there)] == ["all-failed", "all-failed"]
        assert len(up.calls) == 1
        up.act = answers()
        assert state(await other.post()) == "miss"


async def test_where_the_one_who_asks_leaves_another_asks() -> None:
    async with redis_server() as server, upstream(hangs) as up, two(up, server) as (one, other):
        async with asked(one, {}) as here:
            await waiting(up, 1)
            async with asked(other, {}) as there:
                await until(lambda: aboard(other) == 1)
                up.act = answers()
                here[0].cancel()
        assert state(there[0].result()) == "miss"
        assert len(up.calls) == 2


async def test_of_another_deadline_nobody_is_told() -> None:
    async with redis_server() as server, upstream(hangs) as up, two(up, server) as (one, other):
        async with asked(one, {"X-Gateway-Timeout": "300ms"}) as here:
            await waiting(up, 1)
            async with asked(other, {}) as there:
                await until(lambda: aboard(other) == 1)
                up.act = answers()
        assert here[0].result().type == "deadline"
        assert there[0].result().status == 200


async def test_who_waits_for_another_gateway_has_a_deadline() -> None:
    async with redis_server() as server, upstream(hangs) as up, two(up, server) as (one, other):
        async with asked(one, {}) as here:
            await waiting(up, 1)
            told = await other.post(**{"X-Gateway-Timeout": "200ms"})
            here[0].cancel()
        assert (told.status, told.type, len(up.calls)) == (504, "deadline", 1)


@pytest.mark.parametrize("how", ["wrong type", "garbage", "half of it", "a lease that is no lease", "gone"])
async def test_r5_what_others_wrote_is_a_miss(how: str) -> None:
    async with redis_server() as server, upstream(answers()) as up, serving(shared(up, server)) as served:
        first = await served.post()
        await until(lambda: not served.gateway.flights._aloft)
        async with server.client() as client:
            (found,) = await client.keys("asr:cache:*")
            name = found if isinstance(found, str) else found.decode()
            if how in {"wrong type", "gone"}:
                await client.delete(name)
            if how == "wrong type":
                await client.lpush(name, "x")
            if how == "garbage":
                await client.hset(name, "value", b"\x01\xff garbage")
            if how == "half of it":
                await client.hdel(name, "at")
            if how == "a lease that is no lease":
                await client.delete(name)
                await client.lpush(name.replace(":kept", ":lease"), "x")
        again = await served.post()
        assert (again.status, state(again), again.body) == (200, "miss", first.body)
        await until(lambda: not served.gateway.flights._aloft)
        assert state(await served.post()) == "hit", "what was wrong was written over"
        assert not [line for line in served.lines if line["event"] == "redis_lost"]


@pytest.mark.parametrize("how", ["full", "read-only"])
async def test_r5_a_server_that_takes_nothing_is_done_without(how: str) -> None:
    async with redis_server() as server, upstream(answers()) as up, serving(shared(up, server)) as served:
        async with server.client() as client:
            if how == "full":
                await client.config_set("maxmemory", "1")
            else:
                await client.execute_command("REPLICAOF", "127.0.0.1", "1")  # type: ignore[no-untyped-call]
        told = [await served.post() for _ in range(4)]
        assert [each.status for each in told] == [200] * 4
        assert state(told[-1]) == "hit", "from its own memory"


async def test_r2_when_redis_is_killed_each_has_its_own_memory() -> None:
    async with redis_server() as server, upstream(answers()) as up, serving(shared(up, server)) as served:
        assert [state(await served.post()) for _ in range(2)] == ["miss", "hit"]
        await server.kill()
        told = [await served.post() for _ in range(6)]
        assert [each.status for each in told] == [200] * 6
        assert [state(each) for each in told[-2:]] == ["hit", "hit"]
        await until(lambda: any(line["event"] == "redis_lost" for line in served.lines))
        await server.start()
        await until(lambda: any(line["event"] == "redis_back" for line in served.lines))
        back = await served.post()
        assert state(back) == "miss"
        await until(lambda: not served.gateway.flights._aloft)
        assert state(await served.post()) == "hit"


async def test_r3_when_redis_freezes_under_a_follower_it_asks_itself() -> None:
    gate = Gate()
    async with redis_server() as server, upstream(gate) as up, two(up, server) as (one, other):
        async with asked(one, {}) as here:
            await waiting(up, 1)
            async with asked(other, {}) as there:
                await until(lambda: aboard(other) == 1)
                server.freeze()
                await waiting(up, 2)
                gate.opened.set()
        server.thaw()
        assert [task.result().status for task in (*here, *there)] == [200, 200]


async def test_it_is_counted_and_purged() -> None:
    async with redis_server() as server, upstream(answers()) as up, serving(shared(up, server)) as served:
        for body in (WAV, FLAC):
            await served.post(body=BytesIO(body))
        await until(lambda: not served.gateway.flights._aloft)
        store = served.gateway.state.answers
        assert isinstance(store, RedisCache)
        extent = await store.extent()
        assert extent.entries == 2
        assert 100 < extent.size_bytes < 2000
        async with server.client() as client:
            await client.set("somebody-elses", "1")
            assert await store.purge() == 2
            assert await client.exists("somebody-elses")
        assert state(await served.post()) == "miss"
        numbers = samples(served.gateway)
        assert numbers["asr_cache_lookups_total{outcome=miss,store=redis}"] == 3
        assert not [name for name in numbers if name.startswith("asr_cache_bytes")], "Redis counts its own"


async def test_a_stale_answer_is_found_there_too() -> None:
    async with (
        redis_server() as server,
        upstream(answers()) as up,
        serving(shared(up, server, ttl="50ms", stale_for="1h")) as served,
    ):
        await served.post()
        await asyncio.sleep(0.1)
        up.act = answers(500)
        told = await served.post()
        assert (told.status, state(told)) == (200, "stale")
