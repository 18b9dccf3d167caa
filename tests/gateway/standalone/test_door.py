"""Who may ask an engine by itself, and what it says of itself."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from pydantic import SecretStr

from gateway.drain import Drain
from gateway.hosting import Host
from gateway.standalone.door import Door
from providers.local.models import ModelMissing
from tests.conftest import serve
from tests.gateway.workers.test_engine import Model, budget

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEY = {"Authorization": "Bearer open-sesame"}
MISSING = ModelMissing("no such folder")


def door_to(models: dict[str, Model], drain: Drain, key: str | None = "open-sesame") -> Door:
    host = Host(budget())
    host.models = models
    return Door(host, drain, None if key is None else SecretStr(key))


@asynccontextmanager
async def served(
    models: dict[str, Model], drain: Drain, key: str | None = "open-sesame"
) -> AsyncIterator[aiohttp.ClientSession]:
    async with behind(door_to(models, drain, key)) as session:
        yield session


@asynccontextmanager
async def behind(door: Door) -> AsyncIterator[aiohttp.ClientSession]:
    runners = list[web.AppRunner]()
    url = await serve(door.web_app(), runners)
    async with aiohttp.ClientSession(url) as session:
        yield session
    await runners[0].cleanup()


def model(*, ready: bool = True, missing: ModelMissing | None = None, waiting: int = 0) -> Model:
    made = Model()
    made.ready, made.missing, made.waiting = ready, missing, waiting
    return made


async def asked(session: aiohttp.ClientSession, path: str, **headers: str) -> tuple[int, Any]:
    async with session.get(path, headers=headers) as reply:
        return reply.status, await reply.json() if reply.content_type == "application/json" else await reply.text()


@pytest.mark.parametrize("told", ["", "Bearer", "Bearer other", "open-sesame", "Bearer \u00e9"])
async def test_whoever_has_not_the_key_is_told_a_word_and_no_more(told: str) -> None:
    async with served({"x": model()}, Drain()) as session:
        for path in ("/model?model=x", "/metrics", "/nowhere"):
            assert (await asked(session, path, Authorization=told))[0] == 401
        async with session.post("/transcribe?model=x", headers={"Authorization": told}, data=b"?") as reply:
            assert reply.status == 401
        assert await asked(session, "/health", Authorization=told) == (200, {"status": "ready"})


async def test_whoever_has_it_is_told_everything() -> None:
    async with served({"x": model(waiting=3)}, Drain()) as session:
        status, told = await asked(session, "/model?model=x", **KEY)
        assert (status, told["capabilities"]["languages"]) == (200, ["en"])
        assert await asked(session, "/health", **KEY) == (
            200,
            {"status": "ready", "models": {"x": {"state": "ready", "why": None, "running": 3, "queued": 0}}},
        )
        assert 'asr_local_queue_depth{model="model"} 0.0' in (await asked(session, "/metrics", **KEY))[1]
        assert (await asked(session, "/model?model=y", **KEY))[0] == 404


async def test_without_a_key_nobody_needs_one() -> None:
    async with served({"x": model()}, Drain(), key=None) as session:
        assert (await asked(session, "/model?model=x"))[0] == 200
        assert "models" in (await asked(session, "/health"))[1]


@pytest.mark.parametrize(
    ("models", "status"),
    [
        ({}, (503, "loading")),
        ({"x": model(), "y": model(ready=False)}, (503, "loading")),
        ({"x": model(), "y": model(ready=False, missing=MISSING)}, (200, "degraded")),
        ({"y": model(ready=False, missing=MISSING)}, (503, "missing")),
    ],
)
async def test_a_word_says_whether_it_wants_requests(models: dict[str, Model], status: tuple[int, str]) -> None:
    async with served(models, Drain()) as session:
        code, told = await asked(session, "/health")
        assert (code, told["status"]) == status


async def test_what_outlasts_a_drain_is_cut_off_with_an_answer() -> None:
    drain, slow = Drain(), model()
    slow.loaded.clear()
    async with served({"x": slow}, drain) as session, asyncio.TaskGroup() as group:
        asking = group.create_task(asked(session, "/model?model=x", **KEY))
        while not drain.in_flight:  # noqa: ASYNC110 - seen from outside
            await asyncio.sleep(0.01)
        drain.is_draining = True
        assert (await asked(session, "/health")) == (503, {"status": "draining"})
        drain.cut_all()
        assert (await asking)[0] == 503


async def test_who_came_before_is_waited_for_and_who_comes_after_is_not() -> None:
    """A model that no file names any more is kept for those who may be about to ask for it."""
    drain, slow, slower = Drain(), model(), model()
    slow.loaded.clear()
    slower.loaded.clear()
    door = door_to({"x": slow, "y": slower}, drain)
    async with behind(door) as session, asyncio.TaskGroup() as group:
        first = group.create_task(asked(session, "/model?model=x", **KEY))
        while drain.in_flight < 1:  # noqa: ASYNC110 - seen from outside
            await asyncio.sleep(0.01)
        left = group.create_task(door.left())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(left), 0.3)
        second = group.create_task(asked(session, "/model?model=y", **KEY))
        while drain.in_flight < 2:  # noqa: ASYNC110 - seen from outside
            await asyncio.sleep(0.01)
        slow.loaded.set()
        await left
        assert (first.done(), second.done()) == (True, False)
        slower.loaded.set()
