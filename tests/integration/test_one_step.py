"""Limits and kept answers on one Redis: one step for both, and nothing of either left where it comes to nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from config.auth import Auth
from config.limits import GatewayLimits
from config.stores import Redis
from gateway.stores.limits_redis import SharedLimits
from tests.asking import key, serving
from tests.between import Between, between
from tests.chaos.upstream import answers, hangs, upstream
from tests.conftest import encoded, tone
from tests.integration.test_cache import kept, state
from tests.integration.test_limits import left
from tests.integration.test_single_flight import Gate, aboard, asked, until, waiting
from tests.redis_server import RedisServer, redis_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from config.settings import Settings
    from tests.asking import Served
    from tests.chaos.upstream import Upstream

AMPLE = {"requests_per_minute": 1000, "audio_seconds_per_hour": 36_000, "concurrent": 100}
SMALL, ANOTHER = (encoded(tone(seconds, 8000), 8000, "wav", "pcm_s16le") for seconds in (3, 5))
NEWSROOM, OTHER = {"Authorization": "Bearer hf_gw_newsroom"}, {"Authorization": "Bearer hf_gw_other"}


def limited(
    up: Upstream,
    port: int,
    own: Mapping[str, Any],
    *,
    other: Mapping[str, Any] | None = None,
    timeout: str = "1s",
    **cache: Any,
) -> Settings:
    """Return one model, two keys with limits, and both limits and answers on the Redis at a port."""
    keys = [key("newsroom", "hf_gw_newsroom", limits=own), key("other", "hf_gw_other", limits=other or {})]
    auth = Auth.model_validate({"mode": "keys", "keys": keys})
    stores = {
        "redis": Redis.model_validate({"url": f"redis://127.0.0.1:{port}/0", "timeout": timeout}),
        "limits": GatewayLimits.model_validate({"store": "redis"}),
    }
    return kept({"up": up.url}, {"store": "redis", **cache}, auth=auth).model_copy(update=stores)


@asynccontextmanager
async def limited_at(up: Upstream, port: int, own: Mapping[str, Any], **more: Any) -> AsyncIterator[Served]:
    async with serving(limited(up, port, own, **more), **NEWSROOM) as served:
        await until(lambda: not counters(served).is_near)
        yield served


def counters(served: Served) -> SharedLimits:
    found = served.gateway.state.counters
    assert isinstance(found, SharedLimits)
    return found


async def settled(served: Served) -> None:
    """Return when what is done beside the requests is done."""
    await until(lambda: not served.gateway.flights._aloft)
    await until(lambda: not counters(served)._waiting and not counters(served)._leaving)


async def quiet(stands: Between) -> None:
    """Return when a gateway that has just started asks nothing more by itself."""
    before = -1
    while before != stands.asked:
        before = stands.asked
        await asyncio.sleep(0.2)


@pytest.mark.parametrize("told", ["miss", "hit"])
async def test_r6_one_answer_of_redis_is_all_that_a_request_needs(told: str) -> None:
    """The server falls silent after it: what a request asked besides would keep it waiting for a minute."""
    async with (
        redis_server() as server,
        upstream(answers()) as up,
        between(server.port) as stands,
        limited_at(up, stands.port, AMPLE, timeout="60s") as served,
    ):
        assert state(await served.post(body=SMALL)) == "miss"
        await settled(served)
        await quiet(stands)
        stands.asked, stands.answers_left = 0, 1
        async with asyncio.timeout(20):
            answer = await served.post(body=SMALL if told == "hit" else ANOTHER)
        assert (answer.status, state(answer)) == (200, told)
        await until(lambda: stands.quiet)  # what is asked beside it comes after it
        stands.answers_left = None
        await server.kill()  # and who waits for that is let go


async def test_who_is_refused_has_no_lease_and_starts_no_call() -> None:
    async with (
        redis_server() as server,
        upstream(answers()) as up,
        server.client() as client,
        limited_at(up, server.port, {"requests_per_minute": 1}) as served,
    ):
        assert (await served.post(body=ANOTHER)).status == 200
        await settled(served)
        before = await client.keys("asr:cache:*")
        told = await served.post(body=SMALL)
        assert (told.status, told.type, told.headers["Retry-After"]) == (429, "limit", "60")
        assert await client.keys("asr:cache:*") == before
        assert (len(up.calls), aboard(served)) == (1, 0)
        assert state(await served.post(body=SMALL, **OTHER)) == "miss", "and another need not wait for it"


async def test_a_hit_is_a_request_and_no_audio() -> None:
    own = {"requests_per_minute": 10, "audio_seconds_per_day": 1000}
    async with redis_server() as server, upstream(answers()) as up, limited_at(up, server.port, own) as served:
        for n, told in enumerate(("miss", "hit", "hit"), 1):
            answer = await served.post(body=SMALL)
            assert state(answer) == told
            assert (left(answer, "requests"), left(answer, "audio-seconds-per-day")) == (10 - n, 997)
            await settled(served)


async def test_each_of_those_who_share_a_call_is_charged_and_one_pays() -> None:
    gate = Gate()
    own = {"requests_per_minute": 30, "audio_seconds_per_hour": 3600}
    async with redis_server() as server, upstream(gate) as up, limited_at(up, server.port, own) as served:
        async with asked(served, *[{}] * 20, body=SMALL) as tasks:
            await until(lambda: aboard(served) == 20)
            gate.opened.set()
        assert Counter(state(task.result()) for task in tasks) == {"miss": 1, "joined": 19}
        assert len(up.calls) == 1
        await settled(served)
        told = await served.post(body=ANOTHER)
        assert left(told, "requests") == 9


async def test_one_who_is_refused_takes_nobody_with_it() -> None:
    """Both ask for the same at once, of shared answers; one of them has nothing left."""
    gate = Gate()
    async with redis_server() as server, upstream(gate) as up:
        own = {"requests_per_minute": 1}
        async with limited_at(up, server.port, own, other=AMPLE, scope="shared") as served:
            gate.opened.set()
            await served.post(body=ANOTHER)
            gate.opened.clear()
            async with asyncio.TaskGroup() as group:
                both = [group.create_task(served.post(body=SMALL, **whose)) for whose in (NEWSROOM, OTHER)]
                await waiting(up, 2)
                gate.opened.set()
            assert [task.result().status for task in both] == [429, 200]


@pytest.mark.parametrize("end", ["answered", "unanswered"])
async def test_who_leaves_while_it_asks_leaves_nothing_taken(end: str) -> None:
    """Whether the server is heard of in time or not: the place, the audio and the lease are there for others."""
    own = {"audio_seconds_per_hour": 3600, "concurrent": 1}
    async with redis_server() as server, upstream(answers()) as up:
        timeout = "5s" if end == "answered" else "300ms"
        async with limited_at(up, server.port, own, timeout=timeout) as served:
            server.freeze()
            task = asyncio.get_running_loop().create_task(served.post(body=SMALL))
            await until(lambda: served.gateway.drain.in_flight == 1)
            await asyncio.sleep(0.1)
            task.cancel()
            if end == "answered":
                await asyncio.sleep(0.1)  # it has left
            else:
                await until(lambda: served.gateway.drain.in_flight == 0)
            server.thaw()
            await until(lambda: served.gateway.drain.in_flight == 0)
            await settled(served)
            async with asyncio.timeout(3):  # a lease lasts five seconds
                told = await served.post(body=SMALL)
            assert (told.status, state(told), len(up.calls)) == (200, "miss", 1)
            assert left(told, "audio-seconds-per-hour") > 3600 - 60


async def test_the_last_to_leave_gives_the_lease_back() -> None:
    async with redis_server() as server, upstream(hangs) as up, limited_at(up, server.port, AMPLE) as served:
        async with asked(served, {}, {}, body=SMALL) as tasks:
            await waiting(up, 1)
            for task in tasks:
                task.cancel()
        await settled(served)
        up.act = answers()
        async with asyncio.timeout(3):
            assert state(await served.post(body=SMALL)) == "miss"


@pytest.mark.parametrize(
    ("headers", "cache"),
    [
        ({"Cache-Control": "no-store"}, {}),
        ({"Cache-Control": "no-cache"}, {}),
        ({"Cache-Control": "only-if-cached"}, {}),
        ({"Cache-Control": "max-age=0"}, {}),
        ({}, {"same_sound": True}),
        ({}, {"store": "memory"}),
        ({}, {"store": "none"}),
    ],
)
async def test_whichever_way_it_takes_it_is_charged_once(headers: dict[str, str], cache: dict[str, Any]) -> None:
    async with (
        redis_server() as server,
        upstream(answers()) as up,
        limited_at(up, server.port, {"requests_per_minute": 4}, **cache) as served,
    ):
        assert left(await served.post(body=SMALL), "requests") == 3
        await settled(served)
        assert left(await served.post(body=SMALL, **headers), "requests") == 2
        await served.post("/models/openai/whisper-large-v3?temperature=0.5", SMALL)
        assert (await served.post(body=SMALL, **headers)).status == 200
        assert (await served.post(body=SMALL, **headers)).status == 429


@pytest.mark.parametrize("how", ["killed", "frozen", "full", "read-only", "without scripts", "garbage"])
async def test_without_it_each_has_its_share_and_its_own_memory(how: str) -> None:
    async with (
        redis_server() as server,
        upstream(answers()) as up,
        limited_at(up, server.port, {"requests_per_minute": 6}, timeout="300ms") as served,
    ):
        assert state(await served.post(body=SMALL)) == "miss"
        await settled(served)
        await broken(server, how)
        told = [await served.post(body=SMALL) for _ in range(5)]
        assert [each.status for each in told] == [200] * 5
        assert state(told[-1]) == "hit"
        assert (await served.post(body=SMALL)).status == 429
        server.thaw() if how == "frozen" else None


async def broken(server: RedisServer, how: str) -> None:
    if how == "killed":
        await server.kill()
        return
    if how == "frozen":
        server.freeze()
        return
    async with server.client() as client:
        if how == "full":
            await client.config_set("maxmemory", "1")
        elif how == "read-only":
            await client.execute_command("REPLICAOF", "127.0.0.1", "1")  # type: ignore[no-untyped-call]
        elif how == "without scripts":
            await client.script_flush()
        else:
            for name in await client.keys("asr:cache:*"):
                await client.delete(name)
                await client.lpush(name, "x")
