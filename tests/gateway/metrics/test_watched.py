"""What alerts and dashboards need besides: which deployments a model has, how much room there is, where answers go."""

from __future__ import annotations

import asyncio
from pathlib import Path

from config.cache import Cache
from config.settings import Route, Settings, Target
from config.stores import Redis
from tests.asking import MODEL, serving, settings
from tests.faulty import answers, faulty, slow
from tests.redis_server import redis_server
from tests.watching import samples

HEARD = answers(200, {"text": "hello"})


def with_wildcard(chosen: Settings) -> Settings:
    """Let any other name go to two ids of the first account."""
    account = next(iter(chosen.providers))
    wild = Route(targets=tuple(Target(target=f"{account}/{each}", substitute=True) for each in ("{model}", "x")))
    return chosen.model_copy(update={"models": {**chosen.models, "*": wild}})


async def test_each_model_is_shown_with_its_deployments_and_each_once() -> None:
    async with faulty(HEARD) as up, serving(with_wildcard(settings({"a": up.url, "b": up.url}))) as served:
        shown = {name: value for name, value in samples(served.gateway).items() if name.startswith("asr_model_deploym")}
        assert shown == {
            f"asr_model_deployment{{deployment=a/whisper,model={MODEL}}}": 1,
            f"asr_model_deployment{{deployment=b/whisper,model={MODEL}}}": 1,
            "asr_model_deployment{deployment=a/other,model=*}": 1,
        }
        text = (await served.gateway.own_metrics()).body.decode()
        assert text.count('asr_model_deployment{deployment="a/other"') == 1


async def test_deployments_are_called_as_their_health_calls_them() -> None:
    """Else nothing of one could be joined with the other."""
    async with faulty(HEARD) as up, serving(with_wildcard(settings({"a": up.url, "b": up.url}))) as served:
        shown = samples(served.gateway)
        of_models = {
            name.partition("deployment=")[2].partition(",")[0] for name in shown if "model_deployment{" in name
        }
        of_health = {name.partition("deployment=")[2].partition(",")[0] for name in shown if "_away{" in name}
        assert of_models == of_health == {"a/whisper", "b/whisper", "a/other"}


async def test_the_room_for_uploads_is_shown_and_follows_the_configuration() -> None:
    async with faulty(HEARD) as up:
        small = {"memory_total": "2MiB", "disk_total": "3MiB"}
        async with serving(settings({"a": up.url}, spool=small)) as served:
            assert samples(served.gateway)["asr_spool_limit_bytes{where=memory}"] == 2 << 20
            assert samples(served.gateway)["asr_spool_limit_bytes{where=disk}"] == 3 << 20
            await served.gateway.adopt(settings({"a": up.url}, spool={**small, "disk_total": "4MiB"}))
            assert samples(served.gateway)["asr_spool_limit_bytes{where=disk}"] == 4 << 20


async def test_tasks_are_counted_and_come_back() -> None:
    async with faulty(slow) as up, serving(settings({"a": up.url})) as served:
        await served.post(body=b"x")  # whatever goes on beside the requests has begun
        before = samples(served.gateway)["asr_tasks{}"]
        async with asyncio.TaskGroup() as group:
            for _ in range(5):
                group.create_task(served.post())
            while samples(served.gateway)["asr_requests_in_flight{}"] < 5:  # noqa: ASYNC110 - gauges have no events
                await asyncio.sleep(0.01)
            assert samples(served.gateway)["asr_tasks{}"] >= before + 10  # each asks in this loop, and is served in it
            up.go_on.set()
        await served.session.close()
        while samples(served.gateway)["asr_tasks{}"] > before:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)


async def test_a_cache_in_memory_is_where_it_should_be() -> None:
    async with faulty(HEARD) as up:
        chosen = settings({"a": up.url}).model_copy(update={"cache": Cache()})
        async with serving(chosen) as served:
            assert samples(served.gateway)["asr_cache_store_up{store=memory}"] == 1


async def test_a_cache_file_that_cannot_be_used_is_shown(tmp_path: Path) -> None:
    async with faulty(HEARD) as up:
        cache = Cache.model_validate({"store": "sqlite", "path": tmp_path})  # a folder is no file
        async with serving(settings({"a": up.url}).model_copy(update={"cache": cache})) as served:
            assert (await served.post()).status == 200
            assert samples(served.gateway)["asr_cache_store_up{store=sqlite}"] == 0


async def test_a_cache_whose_redis_is_lost_is_shown_until_it_is_back() -> None:
    async with redis_server() as redis, faulty(HEARD) as up:
        shared = Redis.model_validate({"url": redis.url})
        cache = Cache.model_validate({"store": "redis"})
        async with serving(settings({"a": up.url}).model_copy(update={"cache": cache, "redis": shared})) as served:
            name = "asr_cache_store_up{store=redis}"
            assert (await served.post()).status == 200
            assert samples(served.gateway)[name] == 1
            await redis.kill()
            while samples(served.gateway)[name]:  # requests find out
                assert (await served.post()).status == 200
            await redis.start()
            while not samples(served.gateway)[name]:  # noqa: ASYNC110 - gauges have no event to wait for
                await asyncio.sleep(0.05)
