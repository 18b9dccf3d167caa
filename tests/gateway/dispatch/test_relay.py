"""Leases between processes: one asks, one takes its place where it dies, and no two ever lead at once."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from pydantic import SecretStr

from config.stores import Redis
from gateway.dispatch.answers import ABANDONED, Answer, Cached, abandoned
from gateway.dispatch.kept_answers import pack, unpack
from gateway.dispatch.means import Terms
from gateway.dispatch.relay import Relay, Relayed
from gateway.problems import Problem
from gateway.stores.memory_cache import MemoryCache
from gateway.stores.redis import SharedStore
from gateway.stores.redis_cache import RedisCache
from providers.types import Moment, Transcript
from tests.gateway.dispatch.conftest import deployment, route
from tests.redis_server import redis_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.stores.kept import Kept

ANSWER = Answer(
    transcript=Transcript(text="hello"), deployment=deployment("a/m"), ignored=(), attempts=(), cached=Cached.MISS
)
LEASE_S = 0.4


@dataclass(slots=True)
class Calls:
    """What all processes together sent."""

    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    running: int = 0
    most_at_once: int = 0
    made: int = 0

    async def call(self, terms: Terms) -> Answer:
        del terms
        self.made += 1
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        try:
            await self.go_on.wait()
        finally:
            self.running -= 1
        return ANSWER


@asynccontextmanager
async def relays(number: int) -> AsyncIterator[list[Relay]]:
    """Give as many processes' relays on one Redis."""
    clock = asyncio.get_running_loop().time
    async with redis_server() as server:
        stores = [SharedStore(Redis(url=SecretStr(server.url), timeout=1.0), lambda _: None) for _ in range(number)]
        yield [Relay(RedisCache(each, MemoryCache(10_000, clock)), clock, lease_s=LEASE_S) for each in stores]
        for each in stores:
            await each.close()


def job(calls: Calls) -> Relayed:
    return Relayed(key="k", fresh_s=60.0, call=calls.call, read=_read)


async def _read(kept: Kept | None) -> Answer | None:
    return None if kept is None else await unpack(kept.value, route("a/m"))


def terms() -> Terms:
    return Terms(deadline=Moment(asyncio.get_running_loop().time() + 60.0))


async def kept_answer(relay: Relay, part: Relayed) -> Answer:
    """Do what a flight does."""
    answer = await relay.answer(part, terms())
    if answer.cached is Cached.MISS:
        await relay.keep(part, await pack(answer), 60.0)
    return answer


async def test_a_leader_that_dies_is_replaced_by_exactly_one() -> None:
    """It holds the lease, and neither renews it nor gives it back: so does a process that was killed."""
    calls = Calls()
    async with relays(6) as (dead, *alive):
        part = job(calls)
        await dead.store.look(dead.store.looking(part.key, fresh_s=60.0, token=part.token, lease_s=LEASE_S))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(kept_answer(each, job(calls))) for each in alive]
            await asyncio.sleep(3 * LEASE_S)  # longer than any lease that is not renewed
            assert (calls.made, calls.running) == (1, 1)
            calls.go_on.set()
    assert sorted(task.result().cached for task in tasks) == ["joined"] * 4 + ["miss"]
    assert calls.made == 1


async def test_what_failed_because_all_had_left_is_asked_in_its_place() -> None:
    calls, left = Calls(), asyncio.Event()

    async def fails(_: Terms) -> Answer:
        calls.running = 1
        await left.wait()
        raise abandoned()

    async with relays(2) as (one, other), asyncio.TaskGroup() as group:
        leading = group.create_task(_error(one, replace(job(calls), call=fails)))
        while not calls.running:  # noqa: ASYNC110 - a count has no event
            await asyncio.sleep(0.005)
        following = group.create_task(kept_answer(other, job(calls)))
        await asyncio.sleep(0.1)
        calls.go_on.set()
        left.set()
        assert (await following).cached is Cached.MISS
        assert (calls.made, (await leading).type) == (1, ABANDONED)


async def _error(relay: Relay, part: Relayed) -> Problem:
    with pytest.raises(Problem) as caught:
        await relay.answer(part, terms())
    return caught.value


async def test_a_leader_that_wakes_late_harms_nobody() -> None:
    """Its lease went to another; what it brings is an answer like any, and the other's lease stays the other's."""
    calls = Calls()
    async with relays(2) as (late, other):
        one, two = job(calls), job(calls)
        await late.store.look(late.store.looking(one.key, fresh_s=60.0, token=one.token, lease_s=0.01))
        await asyncio.sleep(0.05)
        seen = await other.store.look(other.store.looking(two.key, fresh_s=60.0, token=two.token, lease_s=60.0))
        assert seen.where == "lead"
        await late.store.leave(one.key, one.token)
        await late.store.renew(one.key, one.token, 0.001)
        third = await late.store.look(late.store.looking(one.key, fresh_s=60.0, token="third", lease_s=60.0))
        assert (third.where, third.value.decode()) == ("follow", two.token)


async def test_a_long_call_keeps_its_lease() -> None:
    calls = Calls()
    async with relays(3) as all_of_them, asyncio.TaskGroup() as group:
        tasks = [group.create_task(kept_answer(each, job(calls))) for each in all_of_them]
        await asyncio.sleep(4 * LEASE_S)
        calls.go_on.set()
    assert (calls.made, calls.most_at_once) == (1, 1)
    assert sorted(task.result().cached for task in tasks) == ["joined", "joined", "miss"]


async def test_one_who_is_cancelled_gives_the_lease_back_at_once() -> None:
    calls = Calls()
    async with relays(2) as (one, other), asyncio.TaskGroup() as group:
        leading = group.create_task(one.answer(job(calls), terms()))
        while not calls.running:  # noqa: ASYNC110 - a count has no event
            await asyncio.sleep(0.005)
        leading.cancel()
        await asyncio.wait((leading,))
        seen = await other.store.look(other.store.looking("k", fresh_s=60.0, token="next", lease_s=60.0))
        assert seen.where == "lead"


async def test_an_answer_is_as_old_as_redis_says() -> None:
    calls = Calls()
    calls.go_on.set()
    async with relays(1) as (relay,):
        await kept_answer(relay, job(calls))
        await asyncio.sleep(0.05)
        young = await relay.answer(job(calls), terms())
        assert (young.cached, calls.made) == (Cached.HIT, 1)
        assert 0.05 <= (young.age_s or 0.0) < 5
        old = await relay.answer(replace(job(calls), fresh_s=0.01), terms())
        assert (old.cached, calls.made) == (Cached.MISS, 2)
