"""Loading that outlives who asked for it: a model takes longer to load than many a caller waits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_T = TypeVar("_T")


class Loads(Generic[_T]):
    """One load at a time of each name, whoever asks for it meanwhile."""

    def __init__(self, load: Callable[[str], Awaitable[_T]]) -> None:
        self._load = load
        self._running: dict[str, asyncio.Task[_T]] = {}

    async def __call__(self, name: str) -> _T:
        """Return what is loaded. Raises as load does. Who is cancelled leaves; the load goes on."""
        task = self._running.get(name)
        if task is None:
            task = asyncio.create_task(self._loaded(name))  # noqa: TID251 - owned here, until it is done
            self._running[name] = task
        await asyncio.wait((task,))
        return task.result()

    async def _loaded(self, name: str) -> _T:
        try:
            return await self._load(name)
        finally:
            del self._running[name]
