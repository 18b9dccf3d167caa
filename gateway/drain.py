"""Ending without losing what is in flight: finish what can be finished, cut the rest with a clear answer."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from gateway.cut import Cut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType


class Drain:
    """The requests in flight, and whether the process is going away."""

    def __init__(self) -> None:
        self._requests: set[Cut] = set()
        self._beside: dict[object, Callable[[], object]] = {}  # what ends each
        self._idle = asyncio.Event()
        self._idle.set()
        self._aside = 0
        self.is_draining = False
        self.is_cutting = False

    @property
    def in_flight(self) -> int:
        """Return how much is being done: requests, without those that only ask how it is, and calls beside them."""
        return len(self._requests) + len(self._beside) - self._aside

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
        return _Request(self)

    def begun(self, request: Cut) -> None:
        """Note a request, by what ends it."""
        self._requests.add(request)
        self._idle.clear()
        if self.is_cutting:
            request.now()

    def over(self, request: Cut) -> None:
        """Note that a request is over."""
        self._requests.discard(request)
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
        for request in self._requests:
            request.now()
        for end in tuple(self._beside.values()):
            end()

    def _perhaps_idle(self) -> None:
        if not self.in_flight:
            self._idle.set()


class _Request(Cut):
    """A request that can be ended, while it runs."""

    __slots__ = ("_drain",)

    def __init__(self, drain: Drain) -> None:
        self._drain = drain

    def __enter__(self) -> None:
        Cut.__enter__(self)
        self._drain.begun(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._drain.over(self)
        Cut.__exit__(self, kind, error, traceback)
