"""What is cut off raises TimeoutError; what is cancelled stays cancelled; what was over before stays as it was."""

from __future__ import annotations

import asyncio

import pytest

from gateway.cut import Cut


async def begun(cut: Cut) -> asyncio.Task[None]:
    """Return a task that waits inside, for ever."""
    inside = asyncio.Event()

    async def run() -> None:
        with cut:
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.get_running_loop().create_task(run())
    await inside.wait()
    return task


async def test_it_raises_a_timeout_inside() -> None:
    cut = Cut()
    task = await begun(cut)
    cut.now()
    cut.now()
    with pytest.raises(TimeoutError):
        await task
    assert not task.cancelling(), "whoever awaits it next is not cancelled in its place"


async def test_who_is_cancelled_besides_is_cancelled() -> None:
    """In whichever order the two come."""
    for first_cancelled in (True, False):
        cut = Cut()
        task = await begun(cut)
        for cancel in (task.cancel, cut.now) if first_cancelled else (cut.now, task.cancel):
            cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_what_ends_in_the_same_turn_is_not_cut() -> None:
    cut = Cut()
    with cut:
        cut.now()
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # nothing is raised here, where it would be meant for what is over


async def cuts_itself(cut: Cut) -> None:
    with cut:
        cut.now()
        await asyncio.Event().wait()


async def test_what_runs_inside_may_say_so_itself() -> None:
    with pytest.raises(TimeoutError):
        await cuts_itself(Cut())


async def test_an_error_of_its_own_is_told_all_the_same() -> None:
    async def fails() -> None:
        with cut:
            cut.now()
            try:
                await asyncio.Event().wait()
            finally:
                raise ValueError("mine")

    cut = Cut()
    task = asyncio.get_running_loop().create_task(fails())
    with pytest.raises(ValueError, match="mine"):
        await task
    assert not task.cancelling()


async def test_one_inside_another_is_cut_alone() -> None:
    with Cut():
        with pytest.raises(TimeoutError):
            await cuts_itself(Cut())
        await asyncio.sleep(0)


async def test_only_a_task_can_be_cut() -> None:
    raised: list[Exception] = []

    def enter() -> None:
        try:
            Cut().__enter__()
        except RuntimeError as error:
            raised.append(error)

    asyncio.get_running_loop().call_soon(enter)
    await asyncio.sleep(0)
    assert raised
