"""Limits against a real Redis: as the policies decide, all or nothing, on its own clock, and alone without it."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib.resources import files
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from config.limits import Limits, WhenLost
from config.stores import Redis
from gateway.policies.limits import Correction, Demand, Denied, Granted, Kind, Rules, Scope, corrected, rules_of
from gateway.policies.spend import Period, window_of
from gateway.stores.limits_memory import MemoryLimits
from gateway.stores.limits_redis import SharedLimits
from gateway.stores.memory_cache import MemoryCache
from gateway.stores.redis import SharedStore
from gateway.stores.redis_cache import Look, RedisCache, Where
from tests.redis_server import RedisServer, redis_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def wall() -> float:
    return datetime.now(UTC).timestamp()


def memory() -> MemoryLimits:
    return MemoryLimits(asyncio.get_running_loop().time, wall)


@asynccontextmanager
async def limits_at(
    url: str, when_lost: WhenLost = WhenLost.CLOSED, timeout_s: float = 1.0
) -> AsyncIterator[SharedLimits]:
    """Give one process's view, with its work beside the requests going on."""
    store = SharedStore(Redis(url=SecretStr(url), timeout=timeout_s), lambda _: None)
    limits = SharedLimits(store, memory(), wall, lambda: when_lost)
    await limits._send()  # connected, and counted among the processes
    try:
        async with asyncio.TaskGroup() as group:
            beside = [group.create_task(limits.carry()), group.create_task(store.watch())]
            yield limits
            for each in beside:
                each.cancel()
    finally:
        await limits.close()
        await store.close()


def rules(name: str = "newsroom", **limits: Any) -> Rules:
    return rules_of(Scope.KEY, name, Limits.model_validate(limits))


def demand(of: Rules, *, audio_s: float = 0.0, usd: float = 0.0, lease: str = "a") -> Demand:
    return Demand(rules=of, requests=1, audio_s=audio_s, usd=usd, places=of.places, lease=lease)


async def taken(limits: SharedLimits, asked: Demand) -> Granted:
    granted = await limits.take(asked)
    assert isinstance(granted, Granted), granted
    return granted


async def denied(limits: SharedLimits, asked: Demand) -> Denied:
    refused = await limits.take(asked)
    assert isinstance(refused, Denied), refused
    return refused


async def until_taken(limits: SharedLimits, asked: Demand) -> None:
    """Return when it is granted; pytest's own limit ends the wait."""
    while isinstance(await limits.take(asked), Denied):  # noqa: ASYNC110 - another process's doing
        await asyncio.sleep(0.02)


EVERYTHING: dict[str, Any] = {
    "requests_per_minute": 30,
    "audio_seconds_per_hour": 4000,
    "audio_seconds_per_day": 9000,
    "concurrent": 4,
    "usd_per_day": 2,
    "usd_per_month": 3,
}


@pytest.mark.parametrize("seed", range(5))
async def test_it_decides_as_memory_does(seed: int) -> None:
    """Whatever is asked and corrected, in any order: the script is the policies once more."""
    chance, here = Random(seed), memory()  # noqa: S311 - a test's choices
    of = rules(**EVERYTHING)
    async with redis_server() as server, limits_at(server.url) as there:
        running: list[tuple[Demand, Granted, Granted]] = []
        for n in range(150):
            if running and chance.random() < 0.4:
                await _ends(chance, running.pop(chance.randrange(len(running))), there)
                continue
            asked = demand(of, audio_s=chance.choice([0, 1, 60, 700]), usd=chance.random() / 10, lease=str(n))
            mine, theirs = here.take_now(asked), await there.take(asked)
            assert type(mine) is type(theirs)
            if isinstance(mine, Granted) and isinstance(theirs, Granted):
                running.append((asked, mine, theirs))
                assert [each.since for each in mine.levels.spent] == [each.since for each in theirs.levels.spent]
            elif isinstance(mine, Denied) and isinstance(theirs, Denied):
                assert mine.rule == theirs.rule
                assert mine.retry_after_s == pytest.approx(theirs.retry_after_s, abs=0.5)
            for one, other in zip(mine.levels.standings(), theirs.levels.standings(), strict=True):
                assert one.left == pytest.approx(other.left, abs=0.5)


async def _ends(chance: Random, run: tuple[Demand, Granted, Granted], there: SharedLimits) -> None:
    asked, mine, theirs = run
    part = chance.choice([-1.0, 0.0, 0.3])
    correction = corrected(asked, mine, audio_s=part * asked.audio_s, usd=part * asked.usd)
    mine.correct(correction)
    theirs.correct(correction)
    while there._waiting or there._leaving:  # noqa: ASYNC110 - sent beside the requests
        await asyncio.sleep(0.001)


async def test_two_processes_count_together() -> None:
    async with redis_server() as server, limits_at(server.url) as one, limits_at(server.url) as other:
        asked = demand(rules(requests_per_minute=3))
        await taken(one, asked)
        await taken(other, asked)
        assert (await taken(one, asked)).levels.standings()[0].left == pytest.approx(0, abs=0.1)
        assert (await denied(other, asked)).rule.kind is Kind.REQUESTS


async def test_what_one_rule_refuses_is_taken_from_none() -> None:
    async with redis_server() as server, limits_at(server.url) as limits:
        of = rules(**EVERYTHING)
        await taken(limits, demand(of, audio_s=10, usd=1.9))
        async with server.client() as client:
            before = {key: await client.dump(key) for key in await client.keys("asr:limits:key*")}
            await denied(limits, demand(of, audio_s=10, usd=0.2, lease="b"))
            assert {key: await client.dump(key) for key in await client.keys("asr:limits:key*")} == before
            assert len(before) == 6


async def test_what_is_at_rest_is_not_kept() -> None:
    async with redis_server() as server, limits_at(server.url) as limits, server.client() as client:
        await taken(limits, demand(rules(**EVERYTHING), audio_s=10, usd=0.1))
        keys = [str(key, "ascii") for key in await client.keys("asr:limits:key*") if isinstance(key, bytes)]
        kept_s = {key.removeprefix("asr:limits:key:newsroom:"): await client.ttl(key) for key in keys}
        assert 1 <= kept_s["requests:minute"] <= 2
        assert 85 <= kept_s["audio-seconds:day"] <= 97
        assert kept_s["concurrent"] <= 30
        assert kept_s["usd:day"] == pytest.approx(window_of(wall(), Period.DAY).end - wall(), abs=3)
        assert kept_s["usd:month"] == pytest.approx(window_of(wall(), Period.MONTH).end - wall(), abs=3)


async def test_months_are_those_of_the_calendar() -> None:
    script = files("gateway.stores").joinpath("limits_take.lua").read_text()
    calendar = re.search(r"-- begin calendar\n(.*)-- end calendar", script, re.DOTALL)
    assert calendar
    ask = calendar[1] + "return {month_of(tonumber(ARGV[1]))}"
    async with redis_server() as server, server.client() as client:
        for day in range(0, 60_000, 13):
            first, following = await client.eval(ask, 0, str(day))
            window = window_of(day * 86_400.0, Period.MONTH)
            assert (first * 86_400, following * 86_400) == (window.start, window.end)


async def test_a_place_given_back_is_free_at_once() -> None:
    """Before the server has heard of it: who was just answered may ask again."""
    async with redis_server() as server, limits_at(server.url) as limits:
        of = rules(concurrent=1)
        for n in range(200):
            granted = await taken(limits, demand(of, lease=str(n)))
            granted.correct(Correction(places=of.places, lease=str(n)))


async def test_a_place_is_held_for_as_long_as_its_process_renews_it() -> None:
    of = rules(concurrent=1)
    async with redis_server() as server, limits_at(server.url) as limits, server.client() as client:
        await taken(limits, demand(of))
        (key,) = await client.keys("asr:limits:key*")
        await client.zadd(key, {"a": 1.0})  # its time is up
        await limits._send(list(limits._holding()))
        assert (await client.zscore(key, "a") or 0) > wall() + 20
        await denied(limits, demand(of, lease="b"))
        await client.flushall()  # as after a restart
        await limits._send(list(limits._holding()))
        await denied(limits, demand(of, lease="b"))


async def test_who_leaves_while_it_asks_has_no_place() -> None:
    of = rules(concurrent=1)
    async with redis_server() as server, limits_at(server.url) as limits:
        server.freeze()
        asking = asyncio.get_running_loop().create_task(limits.take(demand(of)))
        await asyncio.sleep(0.05)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        server.thaw()
        await taken(limits, demand(of, lease="b"))


@pytest.mark.parametrize("heard", ["in time", "never"])
async def test_who_leaves_while_it_asks_has_taken_nothing(heard: str) -> None:
    """Where the answer comes it is known what to give back; where none does, the places at least come back."""
    of = rules(**EVERYTHING)
    async with redis_server() as server, limits_at(server.url, timeout_s=5.0 if heard == "in time" else 0.2) as limits:
        server.freeze()
        asking = asyncio.get_running_loop().create_task(limits.take_and_look(demand(of, audio_s=100, usd=1), look()))
        await asyncio.sleep(0.05)
        asking.cancel()
        if heard == "in time":
            await asyncio.sleep(0.05)
            server.thaw()
        with pytest.raises(asyncio.CancelledError):
            await asking
        server.thaw()
        while limits._waiting or limits._leaving:  # noqa: ASYNC110 - sent beside the requests
            await asyncio.sleep(0.001)
        granted = await taken(limits, demand(of, lease="b"))
        if heard == "in time":
            assert [each.left for each in granted.levels.standings()] == pytest.approx([29, 4000, 9000, 2, 3], abs=0.1)
        async with server.client() as client:
            assert await client.zrange(f"asr:limits:{of.places[0].name}", 0, -1) == [b"b"]


def look(key: str = "k", token: str = "t") -> Look:
    store = SharedStore(Redis(url=SecretStr("redis://127.0.0.1:1/0")), lambda _: None)
    cache = RedisCache(store, MemoryCache(1000, lambda: 0.0))
    return cache.looking(key, fresh_s=60.0, token=token, lease_s=5.0)


async def test_what_is_granted_has_been_looked_for_and_what_is_refused_has_not() -> None:
    asked = demand(rules(requests_per_minute=3))
    async with redis_server() as server, limits_at(server.url) as limits, server.client() as client:
        _, first = await limits.take_and_look(asked, look())
        _, second = await limits.take_and_look(asked, look(token="u"))
        assert first is not None
        assert second is not None
        assert (first.where, second.where, second.value) == (Where.LEAD, Where.FOLLOW, b"t")
        name = look().keys[0]
        await client.hset(name, mapping={"at": str(round(wall() * 1000)), "value": b"\x00\xff"})
        _, third = await limits.take_and_look(asked, look())
        assert third is not None
        assert (third.where, third.value) == (Where.KEPT, b"\x00\xff")
        refused, none = await limits.take_and_look(asked, look(key="another"))
        assert isinstance(refused, Denied)
        assert none is None
        assert not await client.keys("asr:cache:{another}*")


async def test_lost_it_has_seen_nothing_and_counts_alone() -> None:
    asked = demand(rules(requests_per_minute=1))
    async with redis_server() as server, limits_at(server.url) as limits:
        await lost(limits, server)
        granted, seen = await limits.take_and_look(asked, look())
        assert isinstance(granted, Granted)
        assert seen is not None
        assert seen.where is Where.UNKNOWN
        assert isinstance(await limits.take(asked), Denied)


async def test_the_places_of_a_process_that_died_come_back() -> None:
    of = rules(concurrent=1)
    async with redis_server() as server, limits_at(server.url) as limits, server.client() as client:
        async with limits_at(server.url) as dead:
            await taken(dead, demand(of))
        await denied(limits, demand(of, lease="b"))
        (key,) = await client.keys("asr:limits:key*")
        await client.zadd(key, {"a": wall() - 1})
        await taken(limits, demand(of, lease="b"))


async def test_a_server_without_the_script_is_given_it() -> None:
    async with redis_server() as server, limits_at(server.url) as limits, server.client() as client:
        await taken(limits, demand(rules(requests_per_minute=3)))
        await client.script_flush()
        await taken(limits, demand(rules(requests_per_minute=3)))


@pytest.mark.parametrize("rubbish", ["text", "inf", "nan", "list", "hash"])
async def test_what_others_left_under_our_keys_is_not_there(rubbish: str) -> None:
    async with redis_server() as server, limits_at(server.url) as limits, server.client() as client:
        of = rules(**EVERYTHING)
        for rule in (*of.rates, *of.budgets, *of.places):
            name = f"asr:limits:{rule.name}"  # type: ignore[attr-defined] # each has one
            if rubbish == "list":
                await client.rpush(name, "a")
            elif rubbish == "hash":
                await client.hset(name, mapping={"since": "nan", "usd": "x"})
            else:
                await client.set(name, rubbish)
        granted = await taken(limits, demand(of, audio_s=10, usd=0.5))
        granted.correct(Correction(rules=of, audio_s=-10, places=of.places, lease="a"))
        assert granted.levels.standings()[1].left == pytest.approx(3990, abs=1)


async def lost(limits: SharedLimits, server: RedisServer) -> None:
    await server.kill()
    while not limits.is_near:
        await limits.take(demand(rules("nobody", requests_per_minute=1)))


async def test_alone_each_process_allows_its_part() -> None:
    async with redis_server() as server, limits_at(server.url) as one, limits_at(server.url) as other:
        await one._send()  # counts the other too
        for limits in (one, other):
            await lost(limits, server)
        asked = demand(rules(requests_per_minute=10, concurrent=20))
        granted = [await each.take(asked) for each in (one, other) for _ in range(10)]
        assert len([each for each in granted if isinstance(each, Granted)]) == 10


async def test_what_was_taken_together_is_not_there_again_alone() -> None:
    of = rules(requests_per_minute=10, audio_seconds_per_day=100, concurrent=3)
    async with redis_server() as server, limits_at(server.url) as limits:
        granted = [await taken(limits, demand(of, audio_s=40, lease=str(n))) for n in range(3)]
        granted[0].correct(Correction(rules=of, audio_s=-40, places=of.places, lease="0"))
        await lost(limits, server)
        last = await taken(limits, demand(of, audio_s=40, lease="3"))
        assert [each.left for each in last.levels.standings()] == pytest.approx([6, 0], abs=0.5)
        assert (await denied(limits, demand(of, lease="4"))).rule.kind in {Kind.AUDIO, Kind.CONCURRENT}


async def test_alone_what_was_taken_is_corrected_alone() -> None:
    async with redis_server() as server, limits_at(server.url) as limits:
        await lost(limits, server)
        of = rules(audio_seconds_per_minute=10, concurrent=1)
        granted = await taken(limits, demand(of, audio_s=10))
        await denied(limits, demand(of, audio_s=1, lease="b"))
        granted.correct(Correction(rules=of, audio_s=-10, places=of.places, lease="a"))
        await taken(limits, demand(of, audio_s=1, lease="b"))


async def test_alone_budgets_are_closed_unless_they_are_to_stay_open() -> None:
    asked = demand(rules(requests_per_minute=10, usd_per_day=1), usd=0.3)
    async with redis_server() as server, limits_at(server.url) as closed, limits_at(server.url, WhenLost.OPEN) as open_:
        for limits in (closed, open_):
            await lost(limits, server)
        refused = await denied(closed, asked)
        assert (refused.rule.kind, refused.retry_after_s, refused.is_unknown) == (Kind.USD, 5.0, True)
        await taken(open_, asked)
        assert not (await denied(open_, asked)).is_unknown, "within what it knows it keeps the budget"


async def test_corrections_wait_for_the_server_to_come_back() -> None:
    of = rules(audio_seconds_per_day=100)
    async with redis_server() as server, limits_at(server.url, timeout_s=0.05) as limits:
        granted = await taken(limits, demand(of, audio_s=100))
        await denied(limits, demand(of))
        server.freeze()
        while not limits.is_near:
            await limits.take(demand(rules("nobody", requests_per_minute=1)))
        granted.correct(Correction(rules=of, audio_s=-100))
        server.thaw()
        while limits.is_near:  # noqa: ASYNC110 - found out beside the requests
            await asyncio.sleep(0.02)
        await until_taken(limits, demand(of))
        assert limits.unsettled == 0


async def test_what_waits_is_bounded() -> None:
    async with redis_server() as server, limits_at(server.url) as limits:
        await lost(limits, server)
        of = rules(concurrent=1)
        for n in range(10_050):
            limits.correct(Correction(places=of.places, lease=str(n)))
        assert len(limits._waiting) == 10_000
        assert limits.unsettled == 50
        assert len(limits._leaving[f"asr:limits:{of.places[0].name}"]) == 10_000
