"""Two attempts at once, of which the first good one counts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")


async def first_answer(
    first: Coroutine[None, None, T | None],
    second: Callable[[], Coroutine[None, None, T | None] | None],
    after_s: float,
) -> T | None:
    """Return what comes first of two that each return an answer or None; None where neither has one.

    second: begun where the first is still at it after after_s; it may decline by returning None itself.
    The one that is not needed any more is cancelled, and awaited.
    """
    async with asyncio.TaskGroup() as group:
        running = {group.create_task(first)}
        done, running = await asyncio.wait(running, timeout=after_s)
        if running and (other := second()) is not None:
            running.add(group.create_task(other))
        while True:
            for answer in [task.result() for task in done]:
                if answer is not None:
                    _cancel(running)
                    return answer
            if not running:
                return None
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)


def _cancel(tasks: set[asyncio.Task[T | None]]) -> None:
    for task in tasks:
        task.cancel()
