"""HTTP to providers: the only outgoing sockets in this package, with the defaults that bite turned off.

No redirects (they would carry the credential elsewhere), no proxy settings from the environment, no cookies, a cap
on replies, a deadline on everything, and credentials only for hosts the adapter declares.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp
import pybase64
from aiohttp.payload import Payload
from yarl import URL

from providers.audio.content import Content, MemoryContent
from providers.errors import AttemptTimedOut, MalformedReply, ProviderUnavailable
from providers.exchange import Base64, Body, HttpReply, HttpRequest, Piece, run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp.abc import AbstractStreamWriter

    from providers.provider import Provider
    from providers.types import Account, Deployment, Moment, Transcript, TranscriptionJob

MAX_REPLY_BYTES = 64 * 1024 * 1024  # four hours of words with their times are about 10 MB of JSON
_CONNECT_S = 10.0
_READ_BYTES = 256 * 1024


class HttpProvider:
    """A provider behind one session: what dispatch calls."""

    def __init__(self, provider: Provider, session: aiohttp.ClientSession) -> None:
        self.provider = provider
        self._session = session

    async def transcribe(self, job: TranscriptionJob, to: Deployment, deadline: Moment) -> Transcript:
        """Return the transcript. Raises ProviderError only."""
        loop = asyncio.get_running_loop()

        async def send_as_account(request: HttpRequest, until: Moment) -> HttpReply:
            return await send(self._session, self.provider, to.account, request, until)

        return await run(
            self.provider.transcribe(job, to, deadline),
            send_as_account,
            provider=self.provider.name,
            deadline=deadline,
            clock=loop.time,
        )


def new_session(*, connections: int = 512) -> aiohttp.ClientSession:
    """Open the one session of a process. Close it after draining."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections, limit_per_host=0, ttl_dns_cache=60),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S),
        trust_env=False,
        headers={"user-agent": "asr-gateway", "accept-encoding": "identity"},
    )


async def send(
    session: aiohttp.ClientSession,
    provider: Provider,
    account: Account,
    request: HttpRequest,
    deadline: Moment,
) -> HttpReply:
    """Send one request. Raises ProviderUnavailable, AttemptTimedOut, MalformedReply."""
    ready = _with_credential(provider, account, request)
    try:
        async with (
            asyncio.timeout_at(deadline),
            session.request(
                ready.method,
                URL(ready.url, encoded=True),
                headers=dict(ready.headers),
                data=_Pieces(ready.body, ready.headers.get("content-type")) if ready.body else None,
                allow_redirects=False,
            ) as response,
        ):
            return HttpReply(
                status=response.status,
                headers={name.lower(): value for name, value in response.headers.items()},
                body=await _read_capped(response, provider.name),
            )
    except TimeoutError as error:
        if asyncio.get_running_loop().time() < deadline:  # the socket's own limit: nobody listens there
            raise ProviderUnavailable(provider.name, "no connection in time") from error
        raise AttemptTimedOut(provider.name, "no answer in time") from error
    except aiohttp.ClientPayloadError as error:
        raise MalformedReply(provider.name, "the reply broke off") from error
    except (aiohttp.ClientConnectionError, OSError) as error:
        raise ProviderUnavailable(provider.name, "the connection failed or was cut") from error
    except (aiohttp.ClientError, ValueError) as error:
        raise MalformedReply(provider.name, "the reply was not readable HTTP") from error


def _with_credential(provider: Provider, account: Account, request: HttpRequest) -> HttpRequest:
    """Add the credential where the host is one the adapter declares; refuse to go anywhere else with it."""
    host = _origin(request.url)
    if request.anonymous:
        if host not in _own_origins(account) and urlsplit(request.url).hostname not in provider.public_hosts:
            raise MalformedReply(provider.name, "the reply names a host this provider does not serve from")
        return request
    if host in _own_origins(account) or urlsplit(request.url).hostname in provider.credential_hosts:
        return provider.authorize(request, account)
    raise MalformedReply(provider.name, "the reply names a host this provider does not serve from")


def _own_origins(account: Account) -> set[tuple[str, str]]:
    return {_origin(url) for url in account.base_urls.values()}


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


async def _read_capped(response: aiohttp.ClientResponse, provider: str) -> bytes:
    whole = bytearray()
    async for chunk in response.content.iter_chunked(_READ_BYTES):
        whole += chunk
        if len(whole) > MAX_REPLY_BYTES:
            raise MalformedReply(provider, f"the reply is larger than {MAX_REPLY_BYTES} bytes")
    return bytes(whole)


class _Pieces(Payload):
    """A Body as aiohttp writes it: with a known length, slice by slice."""

    def __init__(self, pieces: Body, content_type: str | None) -> None:
        super().__init__(pieces, content_type=content_type)
        self._size = sum(piece_size(piece) for piece in pieces)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        raise TypeError("a body in pieces is never joined")

    async def write(self, writer: AbstractStreamWriter) -> None:
        for piece in self._value:
            await _write_piece(piece, writer)


def piece_size(piece: Piece) -> int:
    """Return the bytes the piece will be on the wire."""
    return len(piece) if isinstance(piece, bytes) else piece.size_bytes


async def _write_piece(piece: Piece, writer: AbstractStreamWriter) -> None:
    match piece:
        case bytes():
            await writer.write(piece)
        case MemoryContent():
            for buffer in piece.buffers():
                await writer.write(buffer)
        case Base64(content):
            async for part in _slices(content):
                await writer.write(pybase64.b64encode(part))
        case _:
            async for part in _slices(piece):
                await writer.write(part)


async def _slices(content: Content) -> AsyncIterator[bytes]:
    """Yield the content, reading files in a thread."""
    slices = content.slices()
    while True:
        part = next(slices, None) if content.in_memory else await asyncio.to_thread(next, slices, None)
        if part is None:
            return
        yield part
