"""Audio by address: fetched by https from the hosts the operator lists, into the spool, within an upload's limits.

The address that is checked is the one connected to: the rule stands where the socket is made, after the last look-up,
so that a name cannot be one host when it is checked and another when it is called. Nothing of the caller's goes along:
no header, no credential, no cookie; no proxy of the environment stands between.
"""

from __future__ import annotations

import asyncio
import math
import socket
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin

import aiohttp
from aiohttp import hdrs
from yarl import URL

from gateway.policies.addresses import Refused, check_listed, is_public, read_address, read_ip
from gateway.problems import fetch_failed, fetch_timeout, too_large, url_not_allowed

if TYPE_CHECKING:
    from collections.abc import Callable
    from ipaddress import IPv4Address, IPv6Address
    from ssl import SSLContext

    from aiohttp.abc import AbstractResolver
    from aiohttp.connector import AddrInfoType

    from config.fetch import Fetch
    from gateway.intake.receive import BodyLimits
    from gateway.intake.spool import Spool
    from gateway.problems import Problem

    Rule = Callable[[IPv4Address | IPv6Address], bool]

_CONNECT_S: Final = 10.0
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})  # RFC 9110, 15.4

_FAILURES: Final = (  # the first that fits
    (aiohttp.ClientSSLError, "no trusted connection to the host"),
    (aiohttp.ClientConnectorError, "no connection to the host"),
    (aiohttp.ClientPayloadError, "the answer broke off"),
    (aiohttp.ClientConnectionError, "the connection was cut"),
    (aiohttp.ClientError, "the answer was not readable HTTP"),
)


@dataclass(frozen=True, slots=True)
class Address:
    """What a caller sent instead of audio. Its query may be a credential: it goes into no message and no log."""

    param: str  # where it stood
    text: str = field(repr=False)


def new_session(
    *, is_allowed: Rule = is_public, resolver: AbstractResolver | None = None, trusted: SSLContext | None = None
) -> aiohttp.ClientSession:
    """Open a process's one session for fetching; close it after draining.

    is_allowed: the rule for what a name resolves to. resolver, trusted: the system's, unless told.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            resolver=resolver,
            ssl=trusted or True,
            socket_factory=partial(_socket_to, is_allowed),
            use_dns_cache=False,
            # What a host sends after the end of one answer cannot become the beginning of another caller's.
            force_close=True,
            limit=0,  # each belongs to a request, and those are limited
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        headers={"user-agent": "asr-gateway", "accept-encoding": "identity"},
    )


class _NotAllowed(OSError):
    """In place of a socket. The words are the same for any address, or aiohttp would join them to others."""

    def __init__(self, address: object) -> None:
        super().__init__("not an address that may be connected to")
        self.address = address


def _socket_to(is_allowed: Rule, target: AddrInfoType) -> socket.socket:
    """Make the socket that will connect to just this address. Raises _NotAllowed."""
    family, kind, protocol, _, sockaddr = target
    try:
        allowed = is_allowed(read_ip(str(sockaddr[0])))
    except ValueError:
        allowed = False
    if not allowed:
        raise _NotAllowed(sockaddr[0])
    return socket.socket(family, kind, protocol)


class Fetcher:
    """Fetches within one configuration's limits."""

    def __init__(self, terms: Fetch, limits: BodyLimits, session: aiohttp.ClientSession) -> None:
        self._terms = terms
        self._limits = limits
        self._session = session
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=limits.idle_s)

    async def fetch(self, address: Address, spool: Spool, allowed_s: float | None) -> None:
        """Write what is at the address into the spool. Raises Problem: 400, 413, 422, 504 or 507.

        allowed_s: what the caller allows, where it does.
        """
        try:
            async with asyncio.timeout(min(self._terms.timeout, math.inf if allowed_s is None else allowed_s)):
                await self._follow(address, spool)
        except Refused as refused:
            raise url_not_allowed(address.param, cause=str(refused)) from refused
        except TimeoutError as error:
            raise fetch_timeout(address.param) from error
        except aiohttp.ClientError as error:
            raise _problem_of(error, address.param) from error

    async def _follow(self, address: Address, spool: Spool) -> None:
        """Ask until somebody answers with more than another address. Each of these is checked like the first."""
        text = address.text
        for _ in range(self._terms.max_redirects + 1):
            check_listed(read_address(text), self._terms.hosts)
            async with self._session.get(
                URL(text, encoded=True), allow_redirects=False, timeout=self._timeout
            ) as reply:
                if reply.status not in _REDIRECTS:
                    return await self._take(reply, address.param, spool)
                text = _redirected(text, reply, address.param)
        raise fetch_failed(address.param, f"more than {self._terms.max_redirects} redirects")

    async def _take(self, reply: aiohttp.ClientResponse, param: str, spool: Spool) -> None:
        """Write the reply's body into the spool, refusing while it arrives what an upload would be refused for."""
        if reply.status != HTTPStatus.OK:
            raise fetch_failed(param, f"the host answered {reply.status}")
        if reply.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() not in {"", "identity"}:
            raise fetch_failed(param, "the host answered with Content-Encoding, which could unpack to anything")
        max_bytes, clock = self._limits.max_upload_bytes, asyncio.get_running_loop().time
        too_much = too_large(f"{param}: the audio", f"the limit of {max_bytes} bytes")
        if (reply.content_length or 0) > max_bytes:
            raise too_much
        started = clock()
        async for chunk in reply.content.iter_any():
            if spool.size_bytes + len(chunk) > max_bytes:
                raise too_much
            await spool.write(chunk)
            if self._limits.is_trickle(spool.size_bytes, clock() - started):
                raise fetch_timeout(param)


def _redirected(text: str, reply: aiohttp.ClientResponse, param: str) -> str:
    """Return where a redirect leads. Raises Problem, or Refused where that is no address at all."""
    location = reply.headers.get(hdrs.LOCATION)
    if location is None:
        raise fetch_failed(param, f"the host answered {reply.status} without saying where to")
    try:
        return urljoin(text, location)
    except ValueError as error:
        raise Refused("redirected to what is no address") from error


def _problem_of(error: aiohttp.ClientError, param: str) -> Problem:
    """Name a failure. A name that does not resolve and one that resolves to a private address look the same.

    Otherwise a caller could find out which names a private network has. The errors' own words may quote the address:
    the log gets the kind, the host and what it resolved to.
    """
    match error:
        case aiohttp.ClientConnectorDNSError():
            return url_not_allowed(param, cause=f"{error.host}: the name does not resolve")
        case aiohttp.ClientConnectorError(os_error=_NotAllowed() as refusal):
            return url_not_allowed(param, cause=f"{error.host} resolves to {refusal.address}, which is not public")
    why = next(words for kind, words in _FAILURES if isinstance(error, kind))
    host = f"{error.host}: " if isinstance(error, aiohttp.ClientConnectorError) else ""
    return fetch_failed(param, why, cause=f"{host}{type(error).__name__}")
