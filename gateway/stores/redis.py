"""The Redis that replicas share: bounded in time, and left alone while it is gone.

A request that asks waits for the timeout at most, and for nothing once the server is known to be lost; whether it is
back is found out beside the requests, never by one of them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from redis.asyncio import BlockingConnectionPool
from redis.asyncio import Redis as RedisClient
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    ClusterDownError,
    ConnectionError,  # noqa: A004 - the library's, of which it says more than Python's own
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from gateway.stores.shared import StoreLost

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from config.stores import Redis as RedisSettings

Client: TypeAlias = RedisClient
T = TypeVar("T")

_LOST_AFTER: Final = 3  # failures in a row
_ASK_EVERY_S: Final = 1.0  # whether it is back
# Replies, and still no key's fault: another server's turn, a full one, one that may not be written to.
_OF_THE_SERVER: Final = (
    ConnectionError,
    ClusterDownError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
)


class SharedStore:
    """One process's connections."""

    def __init__(self, settings: RedisSettings, on_change: Callable[[bool], None]) -> None:
        """on_change: told once each time the server is lost (True) or back (False)."""
        self.prefix = settings.prefix
        self._timeout_s = settings.timeout
        self._on_change = on_change
        self._failures = 0
        self._lost = asyncio.Event()
        pool = BlockingConnectionPool.from_url(
            settings.url.get_secret_value(),
            max_connections=settings.max_connections,
            timeout=settings.timeout,
            socket_timeout=settings.timeout,
            socket_connect_timeout=settings.timeout,
            retry=Retry(NoBackoff(), 0),  # one owner of retries, and here there is none
        )
        self._client = RedisClient(connection_pool=pool)

    @property
    def is_lost(self) -> bool:
        return self._lost.is_set()

    async def run(self, work: Callable[[Client], Awaitable[T]]) -> T:
        """Return what work returns. Raises StoreLost: at once while the server is lost, else in time.

        work: one round trip, a command or a pipeline; it has the timeout for itself, waiting for a connection included.
        """
        if self.is_lost:
            raise StoreLost("lost")
        return await self._tried(work)

    async def watch(self) -> None:
        """Find out at the start whether the server is there, and when a lost one is back. Never returns."""
        while True:
            try:
                await self._tried(self._write)
            except StoreLost:
                self._declare(lost=True)
            else:
                self._declare(lost=False)
                await self._lost.wait()
            await asyncio.sleep(_ASK_EVERY_S)

    def _write(self, client: Client) -> Awaitable[object]:
        return client.set(f"{self.prefix}alive", "", ex=60)  # one that is full or a replica still answers to PING

    async def close(self) -> None:
        await self._client.aclose(close_connection_pool=True)

    async def _tried(self, work: Callable[[Client], Awaitable[T]]) -> T:
        cancelled = _cancellations()
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await work(self._client)
        except (TimeoutError, OSError, RedisError) as error:
            self._failed(error)
            raise StoreLost(type(error).__name__) from error
        finally:
            # The client's own asyncio.wait_for loses a cancellation that meets an answer, before Python 3.12.
            if _cancellations() > cancelled:
                raise asyncio.CancelledError
        self._failures = 0
        return answer

    def _failed(self, error: Exception) -> None:
        """Count what is not a reply, and replies that any key would get."""
        if isinstance(error, ResponseError) and not isinstance(error, _OF_THE_SERVER):
            return
        self._failures += 1
        if self._failures >= _LOST_AFTER:
            self._declare(lost=True)

    def _declare(self, *, lost: bool) -> None:
        if lost == self.is_lost:
            return
        self._failures = 0
        if lost:
            self._lost.set()
        else:
            self._lost.clear()
        self._on_change(lost)


def _cancellations() -> int:
    task = asyncio.current_task()
    return task.cancelling() if task else 0
