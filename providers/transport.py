"""HTTP to providers: the only outgoing sockets in this package, with the defaults that bite turned off.

No redirects (they would carry the credential elsewhere), no proxy settings from the environment, no cookies, a cap
on replies, a deadline on everything, and credentials only for hosts the adapter declares.
"""

from __future__ import annotations

import asyncio
import functools
import zlib
from email.utils import formatdate
from typing import TYPE_CHECKING, Protocol

import aiohttp
import msgspec
import pybase64
from aiohttp.payload import Payload
from msgspec.structs import replace
from yarl import URL

from providers.audio.content import Content, MemoryContent
from providers.credentials import Tokens
from providers.errands import Errands
from providers.errors import AttemptTimedOut, FateUnknown, Interrupted, MalformedReply, ProviderUnavailable, ReplyCutOff
from providers.exchange import Base64, Body, HttpReply, HttpRequest, Piece, run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from aiohttp.abc import AbstractStreamWriter

    from providers.exchange import Progress
    from providers.provider import Provider
    from providers.types import Account, Deployment, Moment, Transcript, TranscriptionJob

MAX_REPLY_BYTES = 64 * 1024 * 1024  # four hours of words with their times are about 10 MB of JSON
_CONNECT_S = 10.0
_TOKEN_S = 10.0  # for one request of those that a token takes
_MAX_TOKEN_BYTES = 1024 * 1024


class Watch(Protocol):
    """Who wants to know of every request, and may add to it."""

    def headers(self, account: Account) -> Mapping[str, str]:
        """Return what a request to one of the account's own addresses carries besides."""
        ...

    def replied(self, status: int, headers: Mapping[str, str]) -> None: ...


class Unwatched:
    """Nobody."""

    def headers(self, account: Account) -> Mapping[str, str]:
        del account
        return {}

    def replied(self, status: int, headers: Mapping[str, str]) -> None:
        pass


UNWATCHED = Unwatched()


class HttpProvider:
    """A provider behind one session: what dispatch calls."""

    def __init__(
        self,
        provider: Provider,
        session: aiohttp.ClientSession,
        *,
        max_reply_bytes: int = MAX_REPLY_BYTES,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        watch: Watch = UNWATCHED,
    ) -> None:
        """Keep the session open until this is closed."""
        self.provider = provider
        self._session = session
        self._max_reply_bytes = max_reply_bytes
        self._sleep = sleep
        self._watch = watch
        self._errands = Errands()
        self._tokens: Tokens | None = None

    async def close(self) -> None:
        """Return when jobs nobody waits for are cancelled and uploads deleted, as far as the provider lets us."""
        await self._errands.close()

    async def transcribe(
        self, job: TranscriptionJob, to: Deployment, deadline: Moment, progress: Progress | None = None
    ) -> Transcript:
        """Return the transcript. Raises ProviderError only. progress: is kept up to date meanwhile."""
        return await run(
            self.provider.transcribe(job, to),
            functools.partial(self._send, to.account),
            provider=self.provider.name,
            deadline=deadline,
            clock=asyncio.get_running_loop().time,
            errands=self._errands,
            sleep=self._sleep,
            progress=progress,
        )

    async def _send(self, account: Account, request: HttpRequest, until: Moment) -> HttpReply:
        tokens = self._tokens_for(account, request)
        let_in = await tokens.let_in(account, until) if tokens else account
        reply = await send(
            self._session,
            self.provider,
            let_in,
            request,
            until,
            max_reply_bytes=self._max_reply_bytes,
            watch=self._watch,
        )
        if tokens and self.provider.refuses_token(reply):
            tokens.refused(account, let_in)
        return reply

    def _tokens_for(self, account: Account, request: HttpRequest) -> Tokens | None:
        """Return what the account is let in with, where it has no key of its own that does."""
        has_key = account.api_key is not None and not self.provider.exchanges_key
        if self.provider.fetch_token is None or has_key or request.anonymous:
            return None
        if self._tokens is None:
            self._tokens = Tokens(
                provider=self.provider.name,
                fetch=self.provider.fetch_token,
                ask=functools.partial(ask, self._session, self.provider.name),
                errands=self._errands,
                clock=asyncio.get_running_loop().time,
            )
        return self._tokens


def new_session() -> aiohttp.ClientSession:
    """Open the one session of a process. Close it after draining."""
    return aiohttp.ClientSession(
        # No limit of connections: who may wait is decided before, and seen; a queue in here would be neither.
        connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=60),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S),
        trust_env=False,
        auto_decompress=False,  # aiohttp would inflate before anybody counts
        headers={"user-agent": "asr-gateway", "accept-encoding": "identity"},
    )


async def send(
    session: aiohttp.ClientSession,
    provider: Provider,
    account: Account,
    request: HttpRequest,
    deadline: Moment,
    *,
    max_reply_bytes: int = MAX_REPLY_BYTES,
    watch: Watch = UNWATCHED,
) -> HttpReply:
    """Send one request. Raises ProviderUnavailable, AttemptTimedOut, MalformedReply.

    A request that starts a job raises FateUnknown where all of it was sent and nothing came back; one that nobody bills
    raises Interrupted where it is cut off.
    """
    place, ready = _with_credential(provider, account, request)
    besides = watch.headers(account) if place.is_own else {}
    if besides:
        ready = replace(ready, headers={**besides, **ready.headers})
    return await _exchanged(session, provider.name, place.url, ready, deadline, max_reply_bytes, watch)


async def ask(session: aiohttp.ClientSession, provider: str, request: HttpRequest) -> HttpReply:
    """Send a request for a token to wherever the operator's credentials say, with nothing added to it.

    Raises what `send` raises.
    """
    try:
        url = URL(request.url, encoded=True)
        url.origin()
    except ValueError as error:
        raise MalformedReply(provider, "tokens are fetched from a URL that is none") from error
    soon = asyncio.get_running_loop().time() + _TOKEN_S
    return await _exchanged(session, provider, url, request, soon, _MAX_TOKEN_BYTES, UNWATCHED)


async def _exchanged(
    session: aiohttp.ClientSession,
    provider: str,
    url: URL,
    request: HttpRequest,
    deadline: float,
    max_reply_bytes: int,
    watch: Watch,
) -> HttpReply:
    body = _Pieces(request.body, request.headers.get("content-type"), request.on_sent) if request.body else None
    try:
        async with (
            asyncio.timeout_at(deadline) as limit,
            session.request(request.method, url, headers=request.headers, data=body, allow_redirects=False) as response,
        ):
            watch.replied(response.status, response.headers)
            return HttpReply(
                status=response.status,
                headers=_dated(_lowered(response.headers)),
                body=await read_capped(response, provider, max_reply_bytes),
            )
    except TimeoutError as error:
        if not limit.expired():  # the socket's own limit: nobody listens there
            raise ProviderUnavailable(provider, "no connection in time") from error
        raise AttemptTimedOut(provider, "no answer in time") from error
    except aiohttp.ClientPayloadError as error:
        cut_off = Interrupted if request.free else ReplyCutOff
        raise cut_off(provider, "the reply broke off") from error
    except aiohttp.ClientConnectorError as error:
        raise ProviderUnavailable(provider, "no connection") from error
    except (aiohttp.ClientConnectionError, OSError) as error:
        if request.once and (body is None or body.is_sent):
            raise FateUnknown(provider, "cut off before it said whether it began") from error
        cut = Interrupted if request.free else ProviderUnavailable
        raise cut(provider, "the connection was cut") from error
    except (aiohttp.ClientError, ValueError) as error:
        raise MalformedReply(provider, "the reply was not readable HTTP") from error


def _with_credential(provider: Provider, account: Account, request: HttpRequest) -> tuple[_Place, HttpRequest]:
    """Add the credential where the host is one the adapter declares; refuse to go anywhere else."""
    try:
        place = _place(request.url, tuple(account.base_urls.values()))
    except ValueError as error:
        raise MalformedReply(provider.name, "the reply names a URL that is none") from error
    if not place.is_own and not (place.may_be_declared and _is_declared(provider, place, anonymous=request.anonymous)):
        raise MalformedReply(provider.name, "the reply names a host this provider does not serve from")
    return place, request if request.anonymous else provider.authorize(request, account)


def _is_declared(provider: Provider, place: _Place, *, anonymous: bool) -> bool:
    host = place.url.host or ""
    if anonymous:
        return host in provider.public_hosts
    return host in provider.credential_hosts or host.partition(".")[2] in provider.credential_domains


class _Place(msgspec.Struct, frozen=True):
    """Where a request goes, as an account sees it."""

    url: URL
    is_own: bool  # the origin is one of the account's own
    may_be_declared: bool  # a host that is declared by name alone must not be a way down from https


@functools.lru_cache(maxsize=256)
def _place(text: str, base_urls: tuple[str, ...]) -> _Place:
    """Read a URL: most calls go to the same one. Raises ValueError where it is none.

    It is read by the parser that will connect to it: two parsers may see two hosts in one text.
    """
    url, own = URL(text, encoded=True), frozenset(URL(each, encoded=True).origin() for each in base_urls)
    may_be_declared = url.user is None and url.password is None and url.scheme in {each.scheme for each in own}
    return _Place(url, is_own=may_be_declared and url.origin() in own, may_be_declared=may_be_declared)


def _lowered(headers: Mapping[str, str]) -> dict[str, str]:
    return dict(zip(map(str.lower, headers), headers.values(), strict=True))


def _dated(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Add when the reply came, where it does not say when it was written: dates in it count from then.

    Source: RFC 9110, 6.6.1.
    """
    return headers if "date" in headers else {**headers, "date": formatdate(usegmt=True)}


async def read_capped(response: aiohttp.ClientResponse, provider: str, max_bytes: int) -> bytes:
    """Return the body, inflated. Raises MalformedReply where it is longer."""
    if (response.content_length or 0) > max_bytes:
        raise MalformedReply(provider, f"the reply is larger than {max_bytes} bytes")
    whole = bytearray()
    while not response.content.at_eof():
        whole += await response.content.readany()
        if len(whole) > max_bytes:
            raise MalformedReply(provider, f"the reply is larger than {max_bytes} bytes")
    encoding = response.headers.get("content-encoding", "identity").lower()
    return bytes(whole) if encoding == "identity" or not whole else _inflated(whole, encoding, provider, max_bytes)


def _inflated(body: bytearray, encoding: str, provider: str, max_bytes: int) -> bytes:
    """Undo gzip: files that a provider stores compressed come so, although nobody asked for it."""
    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # gzip or zlib, told from the first bytes
    try:
        whole = inflater.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise MalformedReply(provider, f"the reply is no readable {encoding}") from error
    if len(whole) > max_bytes:
        raise MalformedReply(provider, f"the reply is larger than {max_bytes} bytes")
    if not inflater.eof:
        raise ReplyCutOff(provider, "the reply broke off")
    return whole


class _Pieces(Payload):
    """A Body as aiohttp writes it: with a known length, slice by slice."""

    def __init__(self, pieces: Body, content_type: str | None, on_sent: Callable[[], None] | None) -> None:
        super().__init__(pieces, content_type=content_type)
        self._size = sum(piece_size(piece) for piece in pieces)
        self.is_sent = False
        self._on_sent = on_sent

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:  # noqa: ARG002 - aiohttp's signature
        raise TypeError("a body in pieces is never joined")

    async def write(self, writer: AbstractStreamWriter) -> None:
        for piece in self._value:
            await _write_piece(piece, writer)
        self.is_sent = True
        if self._on_sent is not None:
            self._on_sent()


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
