"""A fault-injecting speech service over real sockets, in the shape of hf-inference: its text is the audio's digest."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from tests.heard import heard_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

_SLICE = 1 << 16


@dataclass(slots=True)
class Call:
    """One request, as it was seen here. Moments are on the event loop's clock."""

    number: int
    at: float
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    headers: Mapping[str, str]  # names in lower case
    digest: str = ""
    ended_at: float | None = None
    was_left: bool = False  # the caller hung up before it was answered

    @property
    def length(self) -> int:
        """Bytes of the body, as announced."""
        return int(self.headers.get("content-length", 0))

    async def hear(self, *, bytes_per_s: float | None = None, part: float = 1.0) -> None:
        """Read the body, or a part of it, at a rate; know the audio by its digest, also where it comes in a form."""
        wanted, known = int(self.length * part), heard_of(self.headers)
        while wanted:
            piece = await self.reader.read(min(wanted, _SLICE if bytes_per_s is None else int(bytes_per_s / 10)))
            if not piece:
                raise ConnectionResetError
            known.update(piece)
            wanted -= len(piece)
            if bytes_per_s is not None:
                await asyncio.sleep(0.1)
        if part == 1:
            self.digest = known.hexdigest()

    def reply(self, status: int = 200, body: object = None, headers: Mapping[str, str] | None = None) -> bytes:
        """Return a whole reply; a transcript with the digest unless told otherwise."""
        text = {"text": f"blake3 {self.digest}"} if body is None else body
        encoded = text if isinstance(text, bytes) else json.dumps(text).encode()
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(encoded)}", "Content-Type: application/json"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        return "\r\n".join([*lines, "", ""]).encode() + encoded

    def reset(self) -> None:
        """End the connection with RST instead of FIN."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Act: TypeAlias = Callable[[Call], Awaitable[None]]


@dataclass(slots=True)
class Upstream:
    """One service, and everything that was seen there."""

    act: Act
    url: str = ""
    calls: list[Call] = field(default_factory=list)
    open: set[int] = field(default_factory=set)  # numbers of the calls in progress
    most_at_once: int = 0
    connections: set[asyncio.StreamWriter] = field(default_factory=set)

    def hang_up(self) -> None:
        """End every connection, also those that are kept alive."""
        for writer in tuple(self.connections):
            writer.transport.abort()

    def since(self, moment: float) -> list[Call]:
        return [call for call in self.calls if call.at >= moment]


def answers(
    status: int = 200, body: object = None, *, after_s: float = 0.0, headers: Mapping[str, str] | None = None
) -> Act:
    """Hear everything, then reply so."""

    async def act(call: Call) -> None:
        await call.hear()
        await asyncio.sleep(after_s)
        call.writer.write(call.reply(status, body, headers))

    return act


def answers_early(status: int, body: object, headers: Mapping[str, str] | None = None) -> Act:
    """Reply before the body is read, and read it to its end nevertheless, as a service that refuses early may."""

    async def act(call: Call) -> None:
        call.writer.write(call.reply(status, body, headers))
        await call.hear()

    return act


async def hangs(call: Call) -> None:
    """Hear everything and never say a word; notice when the caller leaves."""
    await call.hear()
    await call.reader.read()
    call.was_left = True


async def never_listens(call: Call) -> None:
    """Accept, and read nothing."""
    await asyncio.sleep(3600)


async def resets_before_the_reply(call: Call) -> None:
    await call.hear()
    call.reset()


async def resets_within_the_body(call: Call) -> None:
    """Cut off at half of the upload."""
    await call.hear(part=0.5)
    call.reset()


async def resets_within_the_reply(call: Call) -> None:
    await call.hear()
    reply = call.reply()
    call.writer.write(reply[: len(reply) - 30])
    await call.writer.drain()
    await asyncio.sleep(0.02)
    call.reset()


def slow_ears(bytes_per_s: float) -> Act:
    """Read the upload at a trickle."""

    async def act(call: Call) -> None:
        await call.hear(bytes_per_s=bytes_per_s)
        call.writer.write(call.reply())

    return act


def byte_by_byte(every_s: float) -> Act:
    """Send the reply one byte at a time."""

    async def act(call: Call) -> None:
        await call.hear()
        for byte in call.reply():
            call.writer.write(bytes((byte,)))
            await call.writer.drain()
            await asyncio.sleep(every_s)

    return act


@asynccontextmanager
async def upstream(act: Act) -> AsyncIterator[Upstream]:
    """Serve on a free loopback port; `act` may be replaced while it runs."""
    served = Upstream(act)
    clock = asyncio.get_running_loop().time

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.connections.add(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while head := await _head(reader):
                call = Call(len(served.calls), clock(), reader, writer, head)
                await _serve(served, call, clock)
        served.connections.discard(writer)
        writer.close()

    # A small window: a service that does not read must hold its caller up.
    server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=1 << 18, backlog=2048)
    served.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield served
    finally:
        server.close()
        served.hang_up()


async def _serve(served: Upstream, call: Call, clock: Callable[[], float]) -> None:
    served.calls.append(call)
    served.open.add(call.number)
    served.most_at_once = max(served.most_at_once, len(served.open))
    try:
        await served.act(call)
        await call.writer.drain()
    except ConnectionError:
        call.was_left = True
        raise
    finally:
        call.ended_at = clock()
        served.open.discard(call.number)


async def _head(reader: asyncio.StreamReader) -> dict[str, str]:
    """Return the headers; none where the caller has hung up."""
    try:
        _, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
    except asyncio.IncompleteReadError:
        return {}
    named = (line.partition(":") for line in lines)
    return {name.lower(): value.strip() for name, _, value in named}


async def refused() -> str:
    """Return a URL where nobody listens."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return f"http://127.0.0.1:{port}"
