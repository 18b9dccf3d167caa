"""Hosts with audio on them, for tests of fetching: https on loopback, under certificates and names of their own."""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trustme
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from gateway.intake.fetch import new_session

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from ipaddress import IPv4Address, IPv6Address

    from aiohttp import ClientSession

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

HOST, OTHER, WRONG = "media.example.org", "other.example.org", "wrong.example.org"
LOOPBACK = "127.0.0.1"


class Names(AbstractResolver):
    """A resolver that knows what it is told: for each name one answer after the other, the last for ever."""

    def __init__(self, **answers: Sequence[Sequence[str]]) -> None:
        """answers: by the name's first label."""
        self._answers = {name: list(each) for name, each in answers.items()}

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_INET,  # noqa: ARG002 - aiohttp's signature
    ) -> list[ResolveResult]:
        answers = self._answers.get(host.partition(".")[0])
        if answers is None:
            raise OSError("no such name")
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [_found(host, each, port) for each in addresses]

    async def close(self) -> None:
        pass


def _found(host: str, address: str, port: int) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    flags = socket.AI_NUMERICHOST
    return ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=flags)


class Authority:
    """A certificate authority that only these tests trust."""

    def __init__(self) -> None:
        self._ca = trustme.CA()

    def server(self, *names: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert(*names).configure_cert(context)
        return context

    def client(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self._ca.configure_trust(context)
        return context


@dataclass(slots=True)
class Media:
    """A server on all of loopback, and what it was asked."""

    authority: Authority
    port: int = 0
    asked: list[web.Request] = field(default_factory=list)
    reached: list[str] = field(default_factory=list)  # the address of this machine that each request came in on
    left: asyncio.Event = field(default_factory=asyncio.Event)  # somebody went away before an answer was over
    _handlers: dict[str, Handler] = field(default_factory=dict)
    _runners: list[web.AppRunner] = field(default_factory=list)

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1.0, access_log=None)
        self._runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "0.0.0.0", 0, ssl_context=self.authority.server(HOST, OTHER)).start()
        self.port = runner.addresses[0][1]

    async def stop(self) -> None:
        for runner in self._runners:
            await runner.cleanup()

    def at(self, path: str, host: str = HOST) -> str:
        return f"https://{host}:{self.port}{path}"

    def answers(self, path: str, handler: Handler) -> str:
        """Answer at a path; return its address."""
        self._handlers[path] = handler
        return self.at(path)

    def holds(self, path: str, body: bytes = b"", status: int = 200, **headers: str) -> str:
        """Answer the same at a path every time; return its address."""

        async def answer(request: web.Request) -> web.Response:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return web.Response(body=body, status=status, headers=named)

        return self.answers(path, answer)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        assert request.transport is not None
        self.reached.append(request.transport.get_extra_info("sockname")[0])
        try:
            return await self._handlers[request.path](request)
        except (asyncio.CancelledError, ConnectionError):
            self.left.set()
            raise

    def session(
        self, names: Names | None = None, rule: Callable[[IPv4Address | IPv6Address], bool] | None = None
    ) -> ClientSession:
        """Open a session as the gateway does, for which loopback is the Internet."""
        everywhere = Names(media=[[LOOPBACK]], other=[[LOOPBACK]], wrong=[[LOOPBACK]])
        return new_session(
            is_allowed=rule or (lambda address: address.is_loopback),
            resolver=names or everywhere,
            trusted=self.authority.client(),
        )
