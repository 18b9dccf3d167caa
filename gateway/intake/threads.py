"""Blocking work that is never abandoned half way."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

T = TypeVar("T")


async def to_the_end(
    work: Callable[[], T], *, on_cancel: Callable[[], None] | None = None, executor: Executor | None = None
) -> T:
    """Run work in a thread and return what it does. on_cancel: tells longer work that nobody waits any more.

    Where the waiting task is cancelled, that comes through only when the thread is done: `asyncio.to_thread` would
    leave it running on a file that the cancelled task is about to close. Work that is not short looks for itself
    whether it should go on. Work that still waits for a thread is dropped at once.
    """
    begun = threading.Lock()  # taken once: by the thread that begins, or by who drops it before

    def run() -> T | None:
        return work() if begun.acquire(blocking=False) else None

    future = asyncio.get_running_loop().run_in_executor(executor, run)
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait((future,))
        except asyncio.CancelledError as error:
            cancelled = error
            if begun.acquire(blocking=False):
                future.cancel()
                raise
            if on_cancel is not None:
                on_cancel()
    if cancelled is not None:
        future.exception()  # nobody is left to be told
        raise cancelled
    return cast("T", future.result())
