"""Answers that replicas share, and the leases by which one of them asks for all.

Where the server is lost, each keeps its own in memory. What others wrote under our keys, or half of it, is not there.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Self

from gateway.stores.kept import Extent, Kept
from gateway.stores.script import Script
from gateway.stores.shared import StoreLost

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Sequence

    from gateway.stores.memory_cache import MemoryCache
    from gateway.stores.redis import Client, SharedStore

_SCRIPTS: Final = ("look", "settle", "renew")
_FAILURE_S: Final = 5.0  # for those who wait to hear of it; who asks later never does
_FOREVER_S: Final = 1e9
_SCAN: Final = 500  # keys at a time


class Where(StrEnum):
    """What came of a look."""

    KEPT = "kept"  # here it is
    FAILED = "failed"  # the call that was waited for
    NOTHING = "nothing"
    LEAD = "lead"  # there is none, and the lease is ours
    FOLLOW = "follow"  # there is none, and another has the lease
    UNKNOWN = "unknown"  # the server is lost


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What look.lua is asked, by itself or as a part of another script."""

    keys: tuple[str, ...]
    arguments: tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a look found: the answer, the failure, or the token of whoever has the lease."""

    where: Where
    value: bytes = b""
    age_s: float = 0.0

    @classmethod
    def read(cls, told: Sequence[bytes]) -> Self:
        """Read what look.lua returns."""
        where, age_ms, value = told
        return cls(where=Where(where.decode()), value=value, age_s=int(age_ms) / 1000)


UNKNOWN: Final = Seen(where=Where.UNKNOWN)


class RedisCache:
    """One process's view. `get`, `put` and the rest of a store never fail; `look` says when the server is lost."""

    evictions = 0  # Redis counts its own

    def __init__(self, shared: SharedStore, alone: MemoryCache) -> None:
        """alone: what is used while the server is lost."""
        self._shared = shared
        self._alone = alone
        self._prefix = f"{shared.prefix}cache:"
        self._scripts = {name: Script(name) for name in _SCRIPTS}

    @property
    def name(self) -> str:
        return self._alone.name if self._shared.is_lost else "redis"

    @property
    def size_bytes(self) -> int | None:
        return self._alone.size_bytes if self._shared.is_lost else None

    async def get(self, key: str) -> Kept | None:
        try:
            seen = await self.look(self.looking(key, fresh_s=_FOREVER_S))
        except StoreLost:
            return await self.get_alone(key)
        return Kept(value=seen.value, age_s=seen.age_s) if seen.where is Where.KEPT else None

    async def get_alone(self, key: str) -> Kept | None:
        """Return what this process kept while the server was lost."""
        return await self._alone.get(key)

    async def put(self, key: str, value: bytes, keep_s: float, token: str = "") -> None:
        """Keep a value. token: of the lease that is given back with it."""
        try:
            await self._settle(key, token, Where.KEPT, value, keep_s)
        except StoreLost:
            await self._alone.put(key, value, keep_s)

    def looking(self, key: str, *, fresh_s: float, token: str = "", lease_s: float = 0.0, followed: str = "") -> Look:
        """Return a look which takes the lease where there is nothing.

        fresh_s: the age up to which an answer will do. token: this asker's own, for a lease of lease_s; 0: only look.
        followed: the token of the call that is waited for: how it failed is told then.
        """
        return Look(keys=self._keys(key), arguments=(token, _ms(lease_s), _ms(fresh_s), followed))

    async def look(self, look: Look) -> Seen:
        """Look. Raises StoreLost."""
        return Seen.read(await self._run("look", look.keys, *look.arguments))

    async def renew(self, key: str, token: str, lease_s: float) -> None:
        """Hold a lease for longer. Raises StoreLost."""
        await self._run("renew", self._keys(key)[1:2], token, _ms(lease_s))

    async def fail(self, key: str, token: str, problem: bytes) -> None:
        """Give a lease back, and tell those who wait for it why there is nothing. Raises StoreLost."""
        await self._settle(key, token, Where.FAILED, problem, _FAILURE_S)

    async def leave(self, key: str, token: str) -> None:
        """Give a lease back: somebody else may ask. Raises StoreLost."""
        await self._settle(key, token, "left", b"", 0.0)

    async def purge(self) -> int:
        entries = await self._alone.purge()
        try:
            async for keys in self._scanned():
                entries += int(await self._shared.run(lambda client, keys=keys: client.unlink(*keys)))  # type: ignore[misc] # bound now
        except StoreLost:
            return entries
        return entries

    async def extent(self) -> Extent:
        """Return what there is; while the server is lost, what there is here."""
        entries = size = 0
        try:
            async for keys in self._scanned():
                sizes = await self._shared.run(lambda client, keys=keys: _sizes(client, keys))  # type: ignore[misc] # bound now
                entries, size = entries + len(keys), size + sum(sizes)
        except StoreLost:
            return await self._alone.extent()
        return Extent(entries=entries, size_bytes=size)

    async def close(self) -> None:
        """Leave the server's connections to their owner."""

    async def _settle(self, key: str, token: str, how: str, value: bytes, keep_s: float) -> None:
        await self._run("settle", self._keys(key), token, how, value, _ms(keep_s))

    def _keys(self, key: str) -> tuple[str, str, str]:
        stem = f"{self._prefix}{{{key}}}"  # in braces: a cluster keeps them together
        return f"{stem}:kept", f"{stem}:lease", f"{stem}:failed"

    async def _run(self, script: str, keys: tuple[str, ...], *arguments: str | bytes | int) -> Any:  # noqa: ANN401 - as the script returns
        def evaluated(client: Client) -> Awaitable[Any]:
            return self._scripts[script].run(client, keys, arguments)

        return await self._shared.run(evaluated)

    async def _scanned(self) -> AsyncIterator[list[bytes]]:
        """Yield the keys of all answers, some at a time. Raises StoreLost."""
        cursor, pattern = 0, f"{self._prefix}*:kept"
        while True:
            cursor, keys = await self._shared.run(
                lambda client, cursor=cursor: client.scan(cursor, match=pattern, count=_SCAN)  # type: ignore[misc] # bound now
            )
            if keys:
                yield keys
            if not cursor:
                return


async def _sizes(client: Client, keys: list[bytes]) -> list[int]:
    pipeline = client.pipeline(transaction=False)
    for key in keys:
        pipeline.memory_usage(key)
    return [size or 0 for size in await pipeline.execute()]


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
