"""Blocking work that is never abandoned half way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


async def to_the_end(work: Callable[[], T]) -> T:
    """Run work in a thread and return what it does.

    Where the waiting task is cancelled, that comes through only when the thread is done: `asyncio.to_thread` would
    leave it running on a file that the cancelled task is about to close. Keep the work short.
    """
    future = asyncio.get_running_loop().run_in_executor(None, work)
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait((future,))
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        future.exception()  # nobody is left to be told
        raise cancelled
    return future.result()
