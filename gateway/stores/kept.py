"""What every store of answers can do. Keys are hexadecimal, values bytes that only their owner reads."""

from __future__ import annotations

from typing import Protocol

import msgspec


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A value, and for how long it has been there."""

    value: bytes
    age_s: float


class Extent(msgspec.Struct, frozen=True, kw_only=True):
    """How much there is."""

    entries: int
    size_bytes: int


class AnswerStore(Protocol):
    """Keeps values for a time, as far as there is room. It never fails: what it cannot say, it does not have."""

    @property
    def name(self) -> str: ...

    @property
    def evictions(self) -> int:
        """Return how many values went before their time, to make room."""
        ...

    @property
    def size_bytes(self) -> int | None:
        """Return what it holds; None where that is not its own to say."""
        ...

    async def get(self, key: str) -> Kept | None: ...
    async def put(self, key: str, value: bytes, keep_s: float) -> None: ...

    async def purge(self) -> int:
        """Forget everything; return how many values there were."""
        ...

    async def extent(self) -> Extent: ...
    async def close(self) -> None: ...
