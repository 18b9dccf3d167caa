"""Loading that outlives who asked for it: a model takes longer to load than many a caller waits."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_T = TypeVar("_T")


class Loads(Generic[_T]):
    """One load at a time of each name, whoever asks for it meanwhile."""

    def __init__(self, load: Callable[[str], Awaitable[_T]]) -> None:
        self._load = load
        self._running: dict[str, asyncio.Task[_T]] = {}
        self._awaited: Counter[asyncio.Task[_T]] = Counter()  # by how many, until each goes on with what it was given

    async def __call__(self, name: str) -> _T:
        """Return what is loaded. Raises as load does. Who is cancelled leaves; the load goes on."""
        task = self._running.get(name)
        if task is None:
            task = asyncio.create_task(self._loaded(name))  # noqa: TID251 - owned here, until it is done
            self._running[name] = task
        self._awaited[task] += 1
        try:
            await asyncio.wait((task,))
            return task.result()
        finally:
            self._awaited[task] -= 1
            self._awaited += Counter()  # which drops who is at zero

    def is_due(self, loaded: _T) -> bool:
        """Tell whether somebody who waited for it has not had it yet."""
        done = (task for task in self._awaited if task.done())
        return any(not task.exception() and task.result() is loaded for task in done)

    async def _loaded(self, name: str) -> _T:
        try:
            return await self._load(name)
        finally:
            del self._running[name]
