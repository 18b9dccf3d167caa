"""The listening process: sockets, signals, draining."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from aiohttp import web

from gateway.api.request import Request
from gateway.app import Gateway
from gateway.heap import give_back
from gateway.logs import HTTP, event
from gateway.notify import STOPPING, notify
from gateway.reload import OnHangup

if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import socket

    from config.settings import Server as ServerSettings
    from config.settings import Settings
    from gateway.api.edge import Edge

_LINGER_S = 3.0  # reading on after an early answer: a connection reset at once would take the answer along
_CUT_GRACE_S = 2.0  # for the answers of requests that were cut off
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_BACKLOG = 1024  # connections that wait to be accepted


class HeaderGuard(asyncio.Protocol):
    """A connection that must finish its headers in time; aiohttp has no such limit of its own."""

    def __init__(self, inner: Any, limit_s: float, connections: set[HeaderGuard]) -> None:  # noqa: ANN401 - aiohttp's RequestHandler
        self._inner = inner
        self._limit_s = limit_s
        self._connections = connections  # while it is open, this is among them
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment] # a TCP server's transport
        self._connections.add(self)
        self._inner.connection_made(transport)
        self._start()

    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data)
        if self._is_reading_a_request():
            self._stop()
        elif self._timer is None:
            self._start()

    def eof_received(self) -> bool | None:
        answer: bool | None = self._inner.eof_received()
        return answer

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        self._connections.discard(self)
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def close_if_idle(self) -> None:
        """Close a connection that is kept alive between two requests."""
        if self._transport is not None and self._timer is None and not self._is_reading_a_request():
            self._transport.close()

    def _is_reading_a_request(self) -> bool:
        """Tell whether headers have been read to their end, and the answer is still to come.

        aiohttp says so nowhere in public: it keeps a future while it waits for headers.
        """
        waiter = self._inner._waiter  # noqa: SLF001 - see above
        return self._inner._request_count > 0 and (waiter is None or waiter.done())  # noqa: SLF001 - see above

    def _start(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._limit_s, self._too_late)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_late(self) -> None:
        self._timer = None
        if self._transport is not None and not self._is_reading_a_request():
            self._transport.write(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            self._transport.close()


class Listener:
    """What answers requests, behind one listening socket."""

    def __init__(self, answers: Edge | web.Application, server: ServerSettings) -> None:
        self._header_timeout_s = server.header_timeout
        self._runner = _runner(answers, server.keep_alive)
        self._listener: asyncio.Server | None = None
        self._connections: set[HeaderGuard] = set()

    async def open(self, host: str, port: int, sock: socket | None) -> int:
        """Listen; return the port. Raises CannotListen. sock: one that listens already, instead of the address."""
        guarded = await self._set_up()
        address = {"host": host, "port": port} if sock is None else {"sock": sock}
        try:
            self._listener = await asyncio.get_running_loop().create_server(guarded, **address, backlog=_BACKLOG)
        except OSError as error:
            raise cannot_listen(host, port, error) from error
        its_port: int = self._listener.sockets[0].getsockname()[1]
        return its_port

    async def take_over(self, sock: socket) -> None:
        """Listen on a socket that listens already, of whichever family."""
        guarded, loop = await self._set_up(), asyncio.get_running_loop()
        create = loop.create_unix_server if sock.family.name == "AF_UNIX" else loop.create_server
        self._listener = await create(guarded, sock=sock, backlog=_BACKLOG)

    def close(self) -> None:
        """Take no more connections, and end those between two requests; the others end with their answer."""
        if self._listener is not None:
            self._listener.close()
        for connection in tuple(self._connections):
            connection.close_if_idle()

    async def end(self) -> None:
        await self._runner.cleanup()

    async def _set_up(self) -> Callable[[], HeaderGuard]:
        """Return what makes the protocol of each connection."""
        await self._runner.setup()
        inner = self._runner.server
        if inner is None:
            raise RuntimeError("the runner was set up and has no server")
        return lambda: HeaderGuard(inner(), self._header_timeout_s, self._connections)


def _runner(answers: Edge | web.Application, keep_alive_s: float) -> web.BaseRunner:
    options: dict[str, Any] = {
        "access_log": None,
        "handler_cancellation": True,
        "auto_decompress": False,
        "logger": HTTP,
        "lingering_time": _LINGER_S,
        "keepalive_timeout": keep_alive_s,
    }
    if isinstance(answers, web.Application):
        return web.AppRunner(answers, shutdown_timeout=_CUT_GRACE_S, **options)
    made = partial(Request, loop=asyncio.get_running_loop())
    server = web.Server(answers.run, request_factory=made, **options)  # type: ignore[arg-type] # of what it makes
    return web.ServerRunner(server, shutdown_timeout=_CUT_GRACE_S)


class Server:
    """A gateway behind its sockets: one for everybody, and one for operators where it is configured."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        server = gateway.settings.server
        self._callers = Listener(gateway.edge(), server)
        self._operators = None if server.admin_port is None else Listener(gateway.admin_edge(), server)

    async def start(self, sock: socket | None = None, admin_sock: socket | None = None) -> Ports:
        """Listen. Raises CannotListen.

        sock, admin_sock: those that listen already, instead of the configured addresses.
        """
        server = self.gateway.settings.server
        admin_port = None
        if self._operators is not None and server.admin_port is not None:
            admin_port = await self._operators.open(server.admin_host, server.admin_port, admin_sock)
        return Ports(callers=await self._callers.open(server.host, server.port, sock), admin=admin_port)

    async def stop(self, drain_s: float, grace_s: float = 0.0) -> None:
        """Stop listening, let what is in flight finish, cut what does not, and close.

        grace_s: how long to listen on, not ready any more: balancers need time to notice.
        """
        drain = self.gateway.drain
        drain.is_draining = True
        await asyncio.sleep(grace_s)
        both = (self._callers,) if self._operators is None else (self._callers, self._operators)
        for each in both:
            each.close()
        await drain.wait(drain_s)
        drain.cut_all()
        for each in both:
            await each.end()
        await self.gateway.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where it listens."""

    callers: int
    admin: int | None


class CannotListen(RuntimeError):
    """The address is taken, not ours, or none; the message has it, and the system's word for it."""


def cannot_listen(host: str, port: int, error: OSError) -> CannotListen:
    """Name the address that cannot be had."""
    number = error.errno or 0
    return CannotListen(f"{host}:{port}: {os.strerror(number) if number > 0 else error}")


async def serve(
    settings: Settings, announce: Callable[[list[str], Ports], None], read: Callable[[], Settings] | None = None
) -> None:
    """Serve until SIGTERM or SIGINT; a second one ends at once; SIGHUP reads the settings again. Raises CannotListen.

    announce: called when models are loaded, with what is missing where none could be, and the ports. read: see Gateway.
    """
    gateway = Gateway(settings, read)
    server = Server(gateway)
    loop, asked_to_stop = asyncio.get_running_loop(), _Asked()
    for number in _SIGNALS:
        loop.add_signal_handler(number, asked_to_stop.by, number)
    await gateway.state.keyring.refresh()  # or the first to come would be told that nobody knows
    try:
        ports = await server.start()
    except CannotListen:
        await server.stop(0)
        raise
    async with asyncio.TaskGroup() as group:
        hangups = OnHangup(group, gateway.reloader.reload)
        loading = group.create_task(load_models(gateway, lambda missing: announce(missing, ports)))
        group.create_task(gateway.background())
        await asked_to_stop.event.wait()
        notify(STOPPING, os.environ)
        hangups.stop()
        loading.cancel()  # a model that is still being downloaded is waited for by nobody now
        event("draining", in_flight=gateway.drain.in_flight)
        now = gateway.settings.server
        # Who types Ctrl-C has no balancer to wait for.
        await server.stop(now.drain, now.grace if asked_to_stop.signal == signal.SIGTERM else 0.0)


async def load_models(gateway: Gateway, announce: Callable[[list[str]], None]) -> None:
    """Load what the gateway needs loaded, then announce what is missing, where no local model could be."""
    await gateway.fleet.load()
    for sentence in gateway.fleet.missing:
        event("model_missing", logging.ERROR, reason=sentence)
    # What is loaded now stays: the collector need not walk it again and again while requests are answered.
    gc.collect()
    gc.freeze()
    give_back()
    any_ready = any(model.ready for model in gateway.fleet.local.values())
    announce([] if any_ready else gateway.fleet.missing)


class _Asked:
    """Whether the process was asked to stop, and how."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.signal: int | None = None

    def by(self, number: int) -> None:
        self.signal = number
        self.event.set()
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_DFL)  # the next one ends the process, whatever its threads are at
