"""Configurations in quick succession: no model goes that is served, or that somebody inside may ask for."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from config.settings import Settings
from gateway.standalone.child import Engine
from gateway.standalone.serving import Serving, with_local_models
from providers.local.models import locate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TINY = locate("tiny.en")  # the same weights by another name: a folder's
OTHER = f"{TINY}/."


def serving(*models: str) -> Serving:
    return Serving(settings=with_local_models(Settings(), models), key=None)


@asynccontextmanager
async def engine(*models: str) -> AsyncIterator[Engine]:
    """Give an engine that has loaded its first models."""
    begun = Engine(serving(*models))
    assert await begun.host.begin(begun.settings) == []
    try:
        yield begun
    finally:
        await begun.host.close()


def states(of: Engine) -> dict[str, bool]:
    return {name: model.ready for name, model in of.host.models.items()}


async def test_a_model_that_comes_back_while_it_is_let_go_of_stays() -> None:
    """The third configuration loads another besides when the models of the first are let go of."""
    async with engine("tiny.en") as served:
        await served.adopt(serving(TINY))
        async with asyncio.TaskGroup() as group:
            adopting = group.create_task(served.adopt(serving("tiny.en", OTHER)))
            await asyncio.sleep(0)  # it loads now
            await served.let_go()
            assert adopting.result() == []
        assert states(served) == {"tiny.en": True, TINY: True, OTHER: True}
        await served.let_go()
        assert states(served) == {"tiny.en": True, OTHER: True}


async def test_who_came_by_a_configuration_in_between_still_finds_its_models() -> None:
    async with engine("tiny.en") as served:
        inside = object()
        served._door._inside.add(inside)
        await served.adopt(serving(TINY))
        letting_go = asyncio.create_task(served.let_go())  # noqa: TID251 - awaited below
        await asyncio.sleep(0)
        await served.adopt(serving(OTHER))
        served._door._inside.discard(inside)
        await letting_go
        assert states(served) == {"tiny.en": True, TINY: True, OTHER: True}
