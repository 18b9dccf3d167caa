"""What is in flight is waited for, then cut with an error that says so."""

from __future__ import annotations

import asyncio

import pytest

from gateway.drain import Drain


async def in_flight(drain: Drain, ends: asyncio.Event) -> None:
    with drain.cut():
        await ends.wait()


async def test_waits_for_what_is_in_flight() -> None:
    drain, ends = Drain(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(3):
            tasks.create_task(in_flight(drain, ends))
        await asyncio.sleep(0)
        assert drain.in_flight == 3
        waiting = tasks.create_task(drain.wait(60))
        await asyncio.sleep(0)
        assert not waiting.done()
        ends.set()
        await waiting
    assert drain.in_flight == 0


@pytest.mark.parametrize("limit_s", [0, 0.01])
async def test_waits_no_longer_than_told(limit_s: float) -> None:
    drain, ends = Drain(), asyncio.Event()
    task = asyncio.get_running_loop().create_task(in_flight(drain, ends))
    await asyncio.sleep(0)
    await drain.wait(limit_s)
    assert drain.in_flight == 1
    ends.set()
    await task


async def test_what_is_aside_is_waited_for_and_not_counted() -> None:
    drain, ends = Drain(), asyncio.Event()

    async def asks() -> None:
        with drain.cut(), drain.aside():
            await ends.wait()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(asks())
        await asyncio.sleep(0)
        assert drain.in_flight == 0
        waiting = tasks.create_task(drain.wait(60))
        await asyncio.sleep(0)
        assert not waiting.done()
        ends.set()
    assert drain.in_flight == 0


async def test_does_not_wait_for_nothing() -> None:
    await Drain().wait(1e9)


async def test_what_is_cut_ends_with_a_timeout() -> None:
    drain = Drain()
    task = asyncio.get_running_loop().create_task(in_flight(drain, asyncio.Event()))
    await asyncio.sleep(0)
    drain.cut_all()
    with pytest.raises(TimeoutError):
        await task
    assert (drain.is_cutting, drain.in_flight) == (True, 0)


async def test_what_goes_on_beside_requests_is_waited_for_and_ended() -> None:
    drain, ended = Drain(), asyncio.Event()
    with drain.beside(ended.set):
        waiting = asyncio.get_running_loop().create_task(drain.wait(1e9))
        await asyncio.sleep(0)
        assert (drain.in_flight, waiting.done(), ended.is_set()) == (1, False, False)
        drain.cut_all()
        assert ended.is_set()
    await waiting
    assert drain.in_flight == 0


async def test_what_comes_after_the_cut_is_cut_as_well() -> None:
    """Its headers were on their way: it is told so too, instead of being reset with the connection."""
    drain = Drain()
    drain.cut_all()
    with pytest.raises(TimeoutError):
        await in_flight(drain, asyncio.Event())
    assert drain.in_flight == 0


async def test_an_inner_timeout_is_not_taken_for_the_end() -> None:
    drain = Drain()
    with drain.cut():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
        assert not drain.is_cutting
    assert drain.in_flight == 0
