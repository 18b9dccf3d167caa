"""What is still to be done when nobody waits for it any more."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Coroutine


class Errands:
    """Owns work that outlives the call that asked for it: each piece has a limit of its own, and `close` waits for all.

    An answer does not wait for the deletion of an upload, nor a caller who leaves for a cancelled job.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()

    @property
    def is_closing(self) -> bool:
        """Whether nothing may be put off any longer."""
        return self._closing.is_set()

    def add(self, work: Coroutine[object, object, None]) -> None:
        """Begin work that ends by itself."""
        task = asyncio.create_task(work)  # noqa: TID251 - owned here, until `close`
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def pause(self, seconds: float) -> None:
        """Wait for so long, or until this is being closed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closing.wait()

    async def close(self) -> None:
        """Return when all is done, whatever is added meanwhile; who pauses is woken."""
        self._closing.set()
        while self._tasks:
            await asyncio.wait(self._tasks)
