"""One job's calls that are out now, and which of them go on when nobody waits for the job any more."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from gateway.dispatch.routes import is_paid
from providers.exchange import Progress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from providers.types import Deployment


class CalledOff(Exception):
    """Nobody waits for the call, and it was not too late to save what it costs."""


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    limit: asyncio.Timeout
    progress: Progress
    is_paid: bool

    @property
    def is_sunk(self) -> bool:
        return self.is_paid and self.progress.is_sunk

    def off(self) -> None:
        self.limit.reschedule(asyncio.get_running_loop().time())


class Underway:
    """One job's."""

    def __init__(self) -> None:
        self.is_abandoned = False  # nobody waits: no call is begun, and none goes on that could be called off
        self._calls: set[_Call] = set()

    @asynccontextmanager
    async def call(self, to: Deployment, *, own_key: bool) -> AsyncIterator[Progress]:
        """Make a call within this. Raises CalledOff.

        own_key: the caller pays it, and knows what it does.
        """
        if self.is_abandoned:
            raise CalledOff
        progress = Progress()
        try:
            async with asyncio.timeout(None) as limit:
                call = _Call(limit, progress, is_paid(to) and not own_key)
                progress.on_revocable = partial(self._revocable, call)
                self._calls.add(call)
                try:
                    yield progress
                finally:
                    self._calls.discard(call)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise CalledOff from error

    def abandon(self) -> bool:
        """Tell whether anything is paid for already and goes on; call off what is not, and begin nothing more."""
        if not any(each.is_sunk for each in self._calls):
            return False
        self.is_abandoned = True
        for each in self._calls:
            if not each.is_sunk:
                each.off()
        return True

    def take_up(self) -> None:
        """Note that somebody waits again."""
        self.is_abandoned = False

    def _revocable(self, call: _Call) -> None:
        if self.is_abandoned:
            call.off()
