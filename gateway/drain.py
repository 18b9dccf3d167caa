"""Ending without losing what is in flight: finish what can be finished, cut the rest with a clear answer."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator


class Drain:
    """The requests in flight, and whether the process is going away."""

    def __init__(self) -> None:
        self._timeouts: set[asyncio.Timeout] = set()
        self._beside: dict[object, Callable[[], object]] = {}  # what ends each
        self._idle = asyncio.Event()
        self._idle.set()
        self._aside = 0
        self.is_draining = False
        self.is_cutting = False

    @property
    def in_flight(self) -> int:
        """Return how much is being done: requests, without those that only ask how it is, and calls beside them."""
        return len(self._timeouts) + len(self._beside) - self._aside

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Leave a request out of the count while it is answered; it is waited for like any other."""
        self._aside += 1
        try:
            yield
        finally:
            self._aside -= 1

    @asynccontextmanager
    async def cut(self) -> AsyncIterator[None]:
        """Run a request so that it can be ended: TimeoutError is raised in it then."""
        async with asyncio.timeout(0 if self.is_cutting else None) as timeout:
            self._timeouts.add(timeout)
            self._idle.clear()
            try:
                yield
            finally:
                self._timeouts.discard(timeout)
                self._perhaps_idle()

    @contextmanager
    def beside(self, end: Callable[[], object]) -> Iterator[None]:
        """Count work that goes on although its request is over. end: called where it would outlast the drain."""
        mark = object()
        self._beside[mark] = end
        self._idle.clear()
        try:
            yield
        finally:
            del self._beside[mark]
            self._perhaps_idle()

    async def wait(self, limit_s: float) -> None:
        """Return when nothing is in flight, or after limit_s."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._idle.wait()

    def cut_all(self) -> None:
        """End what is still in flight now."""
        self.is_cutting = True
        now = asyncio.get_running_loop().time()
        for timeout in self._timeouts:
            timeout.reschedule(now)
        for end in tuple(self._beside.values()):
            end()

    def _perhaps_idle(self) -> None:
        if not self.in_flight:
            self._idle.set()
