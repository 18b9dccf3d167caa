"""Places at a deployment: as many calls at once as it takes, and a short queue that is served in order."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class Slots:
    """One deployment's places. A place that is given back goes to whoever has waited longest."""

    def __init__(self, limit: int | None, max_waiting: int | None = None) -> None:
        self._queue: deque[asyncio.Future[Slots]] = deque()
        self.taken = 0
        self.resize(limit, max_waiting)

    def resize(self, limit: int | None, max_waiting: int | None = None) -> None:
        """Have more places, which go to whoever waits, or fewer, once those that are taken too many are given back.

        limit: None for no end. max_waiting: None for half of the limit, so that a wait is short of a call's time.
        """
        self._limit = limit
        self._max_waiting = ((limit or 0) + 1) // 2 if max_waiting is None else max_waiting
        while self.waiting and self.try_take():
            self.give_back()

    @property
    def waiting(self) -> int:
        return sum(not each.done() for each in self._queue)

    @property
    def has_room_to_wait(self) -> bool:
        return self.waiting < self._max_waiting

    @property
    def is_full(self) -> bool:
        return self._limit is not None and self.taken >= self._limit

    def try_take(self) -> bool:
        """Take a place if one is free."""
        if self.is_full:
            return False
        self.taken += 1
        return True

    def give_back(self) -> None:
        """Give a place back, or rather on."""
        is_one_too_many = self._limit is not None and self.taken > self._limit
        while self._queue and not is_one_too_many:
            waiter = self._queue.popleft()
            if not waiter.done():
                waiter.set_result(self)  # `taken` stays as it is: nobody can come in between
                return
        self.taken -= 1

    def join(self, waiter: asyncio.Future[Slots]) -> None:
        self._queue.append(waiter)

    def leave(self, waiter: asyncio.Future[Slots]) -> None:
        if waiter in self._queue:
            self._queue.remove(waiter)


async def take_one(of: Sequence[Slots], max_wait_s: float) -> Slots | None:
    """Wait for a place in any of them, all of which are full; None where that takes too long.

    The place is the caller's to give back. Where the caller leaves just as it is given one, it goes on to the next.
    """
    waiter: asyncio.Future[Slots] = asyncio.get_running_loop().create_future()
    for slots in of:
        slots.join(waiter)
    try:
        done, _ = await asyncio.wait((waiter,), timeout=max_wait_s)
        return waiter.result() if done else None
    except asyncio.CancelledError:
        if waiter.done():
            waiter.result().give_back()
        raise
    finally:
        waiter.cancel()
        for slots in of:
            slots.leave(waiter)
