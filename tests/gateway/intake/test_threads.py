"""Work in a thread is waited for, whatever happens to who waits."""

from __future__ import annotations

import asyncio
import threading

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
