"""A client on raw sockets: closed loop (so many in flight) and open loop (so many a second, whatever comes back)."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import chain, repeat
from multiprocessing import get_context
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from gateway.loop import run
from tests.bench.bodies import Body, Form, body, uniques

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

T = TypeVar("T")
_MOST_CONNECTIONS = 256
_PIECE_BYTES = 1 << 18
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


class Void(RuntimeError):
    """A request failed, or was answered by something else than the upstream: no figure of the run counts."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent where, and what must come back."""

    url: str
    form: Form
    size_bytes: int
    headers: tuple[str, ...] = ()
    cache: str | None = None  # what X-Gateway-Cache must say
    answer: bytes = b"instant"  # is in every answer
    is_same: bool = False  # every request: nothing makes it unique

    @property
    def body(self) -> Body:
        return body(self.form, self.size_bytes)

    def uniques(self, cell: int) -> Iterator[bytes]:
        return repeat(bytes(6)) if self.is_same else uniques(cell)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a client saw."""

    elapsed_s: float
    latencies_s: tuple[float, ...]
    busy: float  # the client's own processor time for each second: near 1 the client is what is measured

    @property
    def count(self) -> int:
        return len(self.latencies_s)

    @property
    def rate(self) -> float:
        return self.count / self.elapsed_s

    def quantile(self, q: float) -> float:
        ordered = sorted(self.latencies_s)
        return ordered[min(int(q * len(ordered)), len(ordered) - 1)]


class Connection:
    """One keep-alive connection."""

    def __init__(self, load: Load) -> None:
        self._load, self._body = load, load.body
        at = urlsplit(load.url)
        self._address = at.hostname or "", at.port or 80
        lines = [f"POST {self._body.path} HTTP/1.1", f"Host: {at.netloc}", f"Content-Type: {self._body.content_type}"]
        lines += [f"Content-Length: {self._body.size_bytes}", *load.headers]
        self._head = ("\r\n".join(lines) + "\r\n\r\n").encode()
        self._loop = asyncio.get_running_loop()
        self._socket = socket.socket()
        self._socket.setblocking(False)  # noqa: FBT003 - the socket's own signature
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def open(self) -> None:
        try:
            await self._loop.sock_connect(self._socket, self._address)
        except OSError as error:
            raise Void(f"{self._load.url}: {error}") from error

    async def post(self, unique: bytes) -> bytes:
        """Send once; return the answer's body. Raises Void."""
        first, *more = self._body.pieces(unique)
        try:
            await self._loop.sock_sendall(self._socket, self._head + first)
            for piece in more:
                await self._loop.sock_sendall(self._socket, piece)
            head, answer = await self._answer()
        except OSError as error:
            raise Void(f"{self._load.url}: {error}") from error
        self._check(head, answer)
        return answer

    async def _answer(self) -> tuple[bytes, bytes]:
        received = b""
        while True:
            end = received.find(b"\r\n\r\n")
            if end > 0 and (answer := _whole(received[: end + 2], received[end + 4 :])) is not None:
                return received[: end + 2], answer
            part = await self._loop.sock_recv(self._socket, _PIECE_BYTES)
            if not part:
                raise Void(f"{self._load.url}: closed after {received[:500]!r}")
            received += part

    def _check(self, head: bytes, answer: bytes) -> None:
        cache = self._load.cache
        if (
            not head.startswith(b"HTTP/1.1 200")
            or self._load.answer not in answer
            or (cache and f"\r\nX-Gateway-Cache: {cache}\r\n".encode() not in head)
        ):
            raise Void(f"{self._load.url} {self._body.form} {self._body.audio_bytes}: {head!r} {answer[:500]!r}")

    def close(self) -> None:
        self._socket.close()


def _whole(head: bytes, rest: bytes) -> bytes | None:
    """Return the body if it is all there: of a known length, or in chunks to an empty one."""
    if match := _LENGTH.search(head):
        return rest if len(rest) >= int(match[1]) else None
    return rest if rest.endswith(b"0\r\n\r\n") else None


async def _closed(load: Load, cell: int, in_flight: int, seconds: float) -> Outcome:
    unique, latencies = load.uniques(cell), list[float]()
    clock, cpu = time.perf_counter, time.process_time()
    begun = clock()

    async def work(connection: Connection) -> None:
        await connection.open()
        while True:  # once at least
            sent = clock()
            await connection.post(next(unique))
            latencies.append(clock() - sent)
            if clock() > begun + seconds:
                return

    with ExitStack() as opened:
        async with asyncio.TaskGroup() as group:
            for _ in range(in_flight):
                group.create_task(work(opened.enter_context(closing(Connection(load)))))
    elapsed = clock() - begun
    return Outcome(elapsed, tuple(latencies), (time.process_time() - cpu) / elapsed)


async def _open(load: Load, cell: int, rate: float, seconds: float) -> Outcome:
    unique, latencies = load.uniques(cell), list[float]()
    free: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()
    places = iter(range(_MOST_CONNECTIONS))
    clock, cpu = time.perf_counter, time.process_time()
    begun = clock()

    async def one(due: float) -> None:
        if free.empty() and next(places, None) is not None:
            connection = opened.enter_context(closing(Connection(load)))
            await connection.open()
        else:
            connection = await free.get()
        await connection.post(next(unique))
        latencies.append(clock() - due)  # from when it was due: who is late is not forgiven
        free.put_nowait(connection)

    with ExitStack() as opened:
        async with asyncio.TaskGroup() as group:
            for number in range(int(rate * seconds)):
                due = begun + number / rate
                await asyncio.sleep(max(due - clock(), 0))
                group.create_task(one(due))
    elapsed = clock() - begun
    return Outcome(elapsed, tuple(latencies), (time.process_time() - cpu) / elapsed)


async def _each_digest(load: Load, cell: int, count: int) -> list[tuple[bytes, bytes]]:
    unique = load.uniques(cell)
    with closing(Connection(load)) as connection:
        await connection.open()
        return [(each, await connection.post(each)) for each in (next(unique) for _ in range(count))]


def closed(load: Load, cell: int, in_flight: int, seconds: float) -> Outcome:
    """Keep so many requests in flight for some seconds, each once at least. Raises Void. cell: see uniques."""
    return _run(_closed(load, cell, in_flight, seconds))


def open_loop(load: Load, cell: int, rate: float, seconds: float) -> Outcome:
    """Send so many a second, at even intervals. Raises Void. cell: see uniques."""
    return _run(_open(load, cell, rate, seconds))


def answers(load: Load, cell: int, count: int) -> list[tuple[bytes, bytes]]:
    """Send one after the other; return what made each unique, and its answer. Raises Void. cell: see uniques."""
    return _run(_each_digest(load, cell, count))


def _run(work: Coroutine[object, object, T]) -> T:
    try:
        return run(work)
    except* Void as several:
        first = several.exceptions[0]
    raise Void(str(first))


class Clients:
    """As many processes as it takes to keep a server busy; one on a small machine, where it would be in the way."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool = ProcessPoolExecutor(count, mp_context=get_context("spawn")) if count > 1 else None

    def closed(self, load: Load, cells: Iterator[int], in_flight: int, seconds: float) -> Outcome:
        """Do what `closed` does, from all processes together where there is enough for each."""
        if self._pool is None or in_flight < 4 * self.count:
            return closed(load, next(cells), in_flight, seconds)
        share = in_flight // self.count
        begun = [self._pool.submit(closed, load, next(cells), share, seconds) for _ in range(self.count)]
        outcomes = [each.result() for each in begun]
        latencies = tuple(chain.from_iterable(each.latencies_s for each in outcomes))
        longest_s = max(each.elapsed_s for each in outcomes)
        return Outcome(longest_s, latencies, max(each.busy for each in outcomes))

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
