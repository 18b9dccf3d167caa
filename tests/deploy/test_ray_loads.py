"""Loading that outlives who asked for it."""

from __future__ import annotations

import asyncio

import pytest

from deploy.ray.loads import Loads


class Slow:
    """Loads when it is told to."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.asked: list[str] = []
        self.loaded: list[str] = []

    async def __call__(self, name: str) -> str:
        self.asked.append(name)
        await self.go_on.wait()
        self.loaded.append(name)
        return name.upper()


async def hurried(loads: Loads[str], name: str) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await loads(name)


async def test_whoever_leaves_before_it_is_loaded_leaves_one_load_behind() -> None:
    slow = Slow()
    loads = Loads(slow)
    for _ in range(3):
        await hurried(loads, "a")
    await hurried(loads, "b")
    assert slow.asked == ["a", "b"]
    slow.go_on.set()
    assert await loads("a") == "A"
    assert (slow.asked, slow.loaded) == (["a", "b"], ["a", "b"])


async def test_it_is_loaded_though_nobody_waits_for_it() -> None:
    slow = Slow()
    loads = Loads(slow)
    await hurried(loads, "a")
    slow.go_on.set()
    async with asyncio.timeout(5):
        while not slow.loaded:  # noqa: ASYNC110 - nobody is told
            await asyncio.sleep(0)
    assert await loads("a") == "A"
    assert slow.asked == ["a", "a"], "what is kept is for whom it calls to know"


async def test_whoever_asks_after_a_fault_has_it_tried_again() -> None:
    tried: list[str] = []

    async def broken(name: str) -> str:
        tried.append(name)
        raise OSError(name)

    loads: Loads[str] = Loads(broken)
    for _ in range(2):
        with pytest.raises(OSError, match="a"):
            await loads("a")
    assert tried == ["a", "a"]


async def test_what_is_loaded_is_due_until_whoever_waited_for_it_goes_on() -> None:
    """Another may make it leave as soon as it is there."""
    loaded, go_on = object(), asyncio.Event()

    async def load(_: str) -> object:
        await go_on.wait()
        return loaded

    loads = Loads(load)
    async with asyncio.TaskGroup() as group:
        waits = group.create_task(loads("a"))
        await asyncio.sleep(0)
        assert not loads.is_due(loaded), "who makes room for it would wait for itself"
        go_on.set()
        while not loads.is_due(loaded):  # noqa: ASYNC110 - nobody is told
            await asyncio.sleep(0)
        assert not loads.is_due(object())
    assert waits.result() is loaded
    assert not loads.is_due(loaded)
