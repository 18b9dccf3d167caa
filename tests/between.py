"""What stands between a gateway and a server on loopback: counting what is asked, far away, or silent after a while."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass(slots=True, kw_only=True)
class Between:
    """One listener before one server."""

    to_port: int
    each_way_s: float = 0.0
    port: int = 0
    asked: int = 0  # pieces that came from clients: a command, or several sent as one
    answers_left: int | None = None  # what still comes back; None: all
    quiet: bool = False  # whether something was held back

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one conversation, both ways, until either ends it."""
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.to_port)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._there(reader, there_writer))
            group.create_task(self._back(there_reader, writer))
        await asyncio.gather(writer.wait_closed(), there_writer.wait_closed(), return_exceptions=True)

    async def _there(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while piece := await reader.read(1 << 16):
                self.asked += 1
                await asyncio.sleep(self.each_way_s)
                writer.write(piece)
        writer.close()

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while piece := await reader.read(1 << 16):
                if self.answers_left == 0:
                    self.quiet = True
                    continue
                if self.answers_left is not None:
                    self.answers_left -= 1
                await asyncio.sleep(self.each_way_s)
                writer.write(piece)
        writer.close()


@asynccontextmanager
async def between(to_port: int, *, each_way_s: float = 0.0) -> AsyncIterator[Between]:
    """Stand before a server, as far away as said."""
    stands = Between(to_port=to_port, each_way_s=each_way_s)
    conversations: set[asyncio.Task[None]] = set()

    def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversations.add(asyncio.get_running_loop().create_task(stands.meet(reader, writer)))

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    stands.port = server.sockets[0].getsockname()[1]
    try:
        yield stands
    finally:
        server.close()
        await asyncio.gather(*conversations)
