"""A real Redis for tests, of their own: on a free port, without a file, and ready to be killed, frozen or filled."""

from __future__ import annotations

import asyncio
import signal
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from redis.asyncio import Redis

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass(slots=True)
class RedisServer:
    """One server; `start` begins it again after `kill`, empty."""

    port: int
    process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> Redis:
        """Return a client for looking behind the gateway's back; it closes as a context manager."""
        return Redis.from_url(self.url)

    async def start(self, *options: str) -> None:
        """Return when it answers. options: as in redis.conf, each with two dashes."""
        self.process = await asyncio.create_subprocess_exec(
            *("redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"),
            *options,
            stdout=asyncio.subprocess.DEVNULL,
        )
        async with self.client() as client:
            while not await _answers(client):
                assert self.process.returncode is None, "redis-server did not start"
                await asyncio.sleep(0.02)

    async def kill(self) -> None:
        if self.process and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    def freeze(self) -> None:
        """Stop it in the middle of whatever it does: connections stay, and nothing comes back."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGCONT)


@asynccontextmanager
async def redis_server(*options: str) -> AsyncIterator[RedisServer]:
    """Run one on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server = RedisServer(free.getsockname()[1])
    await server.start(*options)
    try:
        yield server
    finally:
        await server.kill()


async def _answers(client: Redis) -> bool:
    try:
        return bool(await client.ping())
    except OSError:
        return False
    except Exception as error:  # the library's own class, which says the same
        if type(error).__name__ not in {"ConnectionError", "BusyLoadingError", "TimeoutError"}:
            raise
        return False
