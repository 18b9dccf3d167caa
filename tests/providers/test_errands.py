"""Work that outlives the call that asked for it, and not its owner."""

from __future__ import annotations

import asyncio

from providers.errands import Errands


async def test_work_begins_without_anybody_waiting_and_close_waits_for_all() -> None:
    errands, begun, go_on = Errands(), asyncio.Event(), asyncio.Event()
    done = []

    async def work(name: str) -> None:
        begun.set()
        await go_on.wait()
        done.append(name)

    errands.add(work("one"))
    errands.add(work("two"))
    await begun.wait()
    assert done == []
    async with asyncio.TaskGroup() as group:
        closing = group.create_task(errands.close())
        await asyncio.sleep(0)
        assert not closing.done()
        go_on.set()
    assert done == ["one", "two"]


async def test_what_is_added_while_it_closes_is_done_too() -> None:
    errands, done = Errands(), []

    async def last() -> None:
        await asyncio.sleep(0)
        done.append("last")

    async def first() -> None:
        await asyncio.sleep(0)
        errands.add(last())

    errands.add(first())
    await errands.close()

    assert done == ["last"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_nothing_to_do_is_closed_at_once() -> None:
    await Errands().close()


async def test_a_pause_ends_by_itself_or_with_everything() -> None:
    errands, paused = Errands(), asyncio.Event()
    told = []

    async def work() -> None:
        await errands.pause(0)
        told.append(errands.is_closing)
        paused.set()
        await errands.pause(3600)
        told.append(errands.is_closing)

    errands.add(work())
    await paused.wait()
    await errands.close()

    assert told == [False, True]
