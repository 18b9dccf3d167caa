"""Ending without losing what is in flight: finish what can be finished, cut the rest with a clear answer."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType


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

    def cut(self) -> Cut:
        """Run a request so that it can be ended: TimeoutError is raised in it then."""
        return Cut(self, asyncio.timeout(0 if self.is_cutting else None))

    def begun(self, request: asyncio.Timeout) -> None:
        """Note a request, by what ends it."""
        self._timeouts.add(request)
        self._idle.clear()

    def over(self, request: asyncio.Timeout) -> None:
        """Note that a request is over."""
        self._timeouts.discard(request)
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


class Cut:
    """A request that can be ended, while it runs. A class, and no generator: it is half the cost."""

    __slots__ = ("_drain", "_timeout")

    def __init__(self, drain: Drain, timeout: asyncio.Timeout) -> None:
        self._drain, self._timeout = drain, timeout

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()
        self._drain.begun(self._timeout)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._drain.over(self._timeout)
        await self._timeout.__aexit__(kind, error, traceback)
