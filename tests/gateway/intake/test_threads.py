"""Work in a thread is waited for, whatever happens to who waits."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.intake.threads import to_the_end


async def test_gives_what_the_work_gives() -> None:
    assert await to_the_end(threading.get_ident) != threading.get_ident()


async def test_raises_what_the_work_raises() -> None:
    with pytest.raises(ZeroDivisionError):
        await to_the_end(lambda: 1 // 0)


@pytest.mark.parametrize("fails", [False, True])
async def test_cancellation_comes_through_when_the_work_is_done(fails: bool) -> None:  # noqa: FBT001 - a parameter
    """However often it is asked for, and also where the work fails then."""
    begun, go_on, ended = threading.Event(), threading.Event(), []

    def work() -> None:
        begun.set()
        go_on.wait(30)
        ended.append(True)
        if fails:
            raise ValueError

    task = asyncio.get_running_loop().create_task(to_the_end(work))
    await asyncio.to_thread(begun.wait, 30)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [True]


async def test_what_has_not_begun_is_waited_for_by_nobody() -> None:
    """Behind long work in the same threads, whoever leaves, or is at its deadline, would wait for all of it."""
    go_on, ran, told = threading.Event(), [], []
    with ThreadPoolExecutor(1) as executor:
        long = asyncio.get_running_loop().create_task(to_the_end(lambda: go_on.wait(30), executor=executor))
        await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await to_the_end(lambda: ran.append(1), on_cancel=lambda: told.append(1), executor=executor)
        assert not long.done()
        go_on.set()
        assert await long
    assert (ran, told) == ([], [])
