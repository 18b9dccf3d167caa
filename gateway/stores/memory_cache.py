"""Answers in this process's memory: the least lately used go first, and all go with the process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from cachetools import TLRUCache

from gateway.stores.kept import Extent, Kept

if TYPE_CHECKING:
    from collections.abc import Callable

_OVERHEAD_BYTES: Final = 600  # what Python keeps for an entry besides its value: measured, 568


class _Entry(msgspec.Struct, frozen=True):
    value: bytes
    since: float
    until: float


class MemoryCache:
    """Never more than max_bytes, keys and Python's own objects included."""

    name = "memory"

    def __init__(self, max_bytes: int, clock: Callable[[], float]) -> None:
        """clock: a monotonic one, in seconds: an answer does not age by setting the time."""
        self._clock = clock
        self._kept = _Counted(max_bytes, clock, self._evicted)
        self.evictions = 0

    @property
    def size_bytes(self) -> int:
        return int(self._kept.currsize)

    async def get(self, key: str) -> Kept | None:
        entry = self._kept.get(key)
        return None if entry is None else Kept(value=entry.value, age_s=self._clock() - entry.since)

    async def put(self, key: str, value: bytes, keep_s: float) -> None:
        now = self._clock()
        entry = _Entry(value, now, now + keep_s)
        if _size(entry) <= self._kept.maxsize:
            self._kept[key] = entry

    async def purge(self) -> int:
        purged = self._kept
        self._kept = _Counted(int(purged.maxsize), self._clock, self._evicted)
        return len(purged)

    async def extent(self) -> Extent:
        return Extent(size_bytes=self.size_bytes, entries=len(self._kept))

    async def close(self) -> None:
        """Hold nothing that needs closing."""

    def _evicted(self) -> None:
        self.evictions += 1


def _size(entry: _Entry) -> int:
    return len(entry.value) + _OVERHEAD_BYTES


class _Counted(TLRUCache[str, _Entry]):
    """Tells what it drops to make room."""

    def __init__(self, max_bytes: int, clock: Callable[[], float], on_evicted: Callable[[], None]) -> None:
        super().__init__(max_bytes, ttu=lambda _key, entry, _now: entry.until, timer=clock, getsizeof=_size)
        self._on_evicted = on_evicted

    def popitem(self) -> tuple[str, _Entry]:
        self._on_evicted()
        return super().popitem()
