"""HTTP to providers, against real servers on loopback: the defaults that bite are off, and nothing hangs."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import os
import socket
import struct
import tempfile
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import aiohttp
import pybase64
import pytest
from aiohttp import web
from msgspec.structs import replace
from pydantic import SecretStr

from providers.audio.content import SLICE_BYTES, FileContent, MemoryContent
from providers.authorize import bearer, key_header
from providers.errors import (
    AttemptTimedOut,
    CredentialsRejected,
    FateUnknown,
    MalformedReply,
    ProviderUnavailable,
    ReplyCutOff,
    by_status,
)
from providers.exchange import Afterwards, Base64, Exchange, HttpReply, HttpRequest, IfAbandoned
from providers.provider import Provider, succeeded
from providers.transport import HttpProvider, new_session, piece_size, send
from providers.types import Account, Capabilities, Deployment, Moment, Transcript, TranscriptionJob
from tests.conftest import sample_audio, serve
from tests.media import LOOPBACK, Names

if TYPE_CHECKING:
    from providers.exchange import Body

KEY = "sk-secret"
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Raw = Callable[[Talk], Awaitable[str]]
Start = Callable[[Callable[[web.Request], Awaitable[web.StreamResponse]]], Awaitable[str]]


def provider(**fields: object) -> Provider:
    values: dict[str, object] = {
        "name": "p",
        "base_urls": {},
        "key_variable": None,
        "authorize": bearer,
        "capabilities": lambda _: Capabilities(),
        "transcribe": lambda *_: nothing(),
    }
    return Provider(**{**values, **fields})  # type: ignore[arg-type] # each test names the fields it is about


def nothing() -> Exchange[Transcript]:
    raise NotImplementedError
    yield


def account(*urls: str) -> Account:
    return Account(
        name="a",
        adapter="p",
        base_urls={f"url{number}": url for number, url in enumerate(urls)},
        api_key=SecretStr(KEY),
    )


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with new_session() as opened:
        yield opened


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Return a function that serves one handler on every path, and gives the URL."""
    runners: list[web.AppRunner] = []

    async def serve_one(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> str:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", handler)
        return await serve(app, runners)

    yield serve_one
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
async def raw() -> AsyncIterator[Raw]:
    """Return a function that serves bytes by hand, and gives the URL."""
    servers: list[asyncio.Server] = []

    async def serve_raw(talk: Talk) -> str:
        async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await talk(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.transport.abort()

        server = await asyncio.start_server(guarded, "127.0.0.1", 0, limit=2**24)
        servers.append(server)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    yield serve_raw
    for server in servers:
        server.close()
        await server.wait_closed()


def soon(seconds: float = 30) -> Moment:
    return Moment(asyncio.get_running_loop().time() + seconds)


async def fetch(session: aiohttp.ClientSession, url: str, **request: object) -> HttpReply:
    ready = HttpRequest(**{"method": "GET", "url": f"{url}/x", **request})  # type: ignore[arg-type] # as above
    return await send(session, provider(), account(url), ready, soon())


# What is off ----------------------------------------------------------------------------------------------------------


async def test_a_reply_is_read_to_its_end(session: aiohttp.ClientSession, start: Start) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=418, text=request.method, headers={"X-Request-Id": "42"})

    reply = await fetch(session, await start(handler), method="DELETE")

    assert (reply.status, reply.body, reply.headers["x-request-id"]) == (418, b"DELETE", "42")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_a_reply_and_not_followed(
    status: int, session: aiohttp.ClientSession, start: Start
) -> None:
    """It would carry the key to whoever the redirect names."""
    seen = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.Response(status=status, headers={"location": "/elsewhere"})

    reply = await fetch(session, await start(handler), method="POST", body=(b"audio",))

    assert reply.status == status
    assert seen == ["/x"]
    assert type(by_status("p", reply.status, "")) is MalformedReply


async def test_cookies_are_not_kept(session: aiohttp.ClientSession, start: Start) -> None:
    """One account's session must not ride along with another's call."""
    seen = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request.headers.get("cookie"))
        return web.Response(headers={"set-cookie": "session=1"})

    url = await start(handler)
    await fetch(session, url)
    await fetch(session, url)

    assert seen == [None, None]


async def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch, start: Start) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(text="direct")

    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    async with new_session() as session:
        assert (await fetch(session, await start(handler))).body == b"direct"


async def test_says_who_it_is_and_wants_nothing_compressed(session: aiohttp.ClientSession, start: Start) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.json_response({name.lower(): value for name, value in request.headers.items()})

    headers = (await fetch(session, await start(handler))).body.decode()

    assert '"user-agent": "asr-gateway"' in headers
    assert '"accept-encoding": "identity"' in headers


# Credentials ----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def two(start: Start) -> tuple[str, str, list[tuple[str, str | None]]]:
    """Serve on two origins that differ by port; note which one was asked, and with what credential."""
    seen: list[tuple[str, str | None]] = []

    def noting(name: str) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handler(request: web.Request) -> web.Response:
            seen.append((name, request.headers.get("authorization")))
            return web.Response()

        return handler

    return await start(noting("own")), await start(noting("other")), seen


async def test_the_key_goes_to_the_accounts_own_origins(
    session: aiohttp.ClientSession, two: tuple[str, str, list[tuple[str, str | None]]]
) -> None:
    own, other, seen = two
    for url in (own, other):
        await send(session, provider(), account(own, other), HttpRequest(method="GET", url=f"{url}/a"), soon())

    assert seen == [("own", f"Bearer {KEY}"), ("other", f"Bearer {KEY}")]


class Noting:
    """Adds a header, and notes what is replied."""

    def __init__(self) -> None:
        self.replies: list[tuple[int, str]] = []

    def headers(self, account: Account) -> Mapping[str, str]:
        return {"traceparent": account.name, "authorization": "never this one"}

    def replied(self, status: int, headers: Mapping[str, str]) -> None:
        self.replies.append((status, headers["x-left"]))


async def test_who_watches_adds_to_requests_to_the_accounts_own_origins_alone(
    session: aiohttp.ClientSession, start: Start
) -> None:
    """Where an upload is put, or a result fetched, is another's; and nothing replaces what the adapter says."""
    seen: list[tuple[str | None, str | None]] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append((request.headers.get("traceparent"), request.headers.get("authorization")))
        return web.Response(status=201, headers={"x-left": "9"})

    watch, own = Noting(), await start(handler)
    elsewhere = own.replace("127.0.0.1", "localhost")
    public = provider(public_hosts=frozenset({"localhost"}))
    for url, anonymous in ((own, False), (elsewhere, True)):
        ready = HttpRequest(method="GET", url=f"{url}/a", anonymous=anonymous)
        await send(session, public, account(own), ready, soon(), watch=watch)

    assert seen == [(account(own).name, f"Bearer {KEY}"), (None, None)]
    assert watch.replies == [(201, "9"), (201, "9")]


async def test_another_origin_is_sent_nothing_at_all(
    session: aiohttp.ClientSession, two: tuple[str, str, list[tuple[str, str | None]]]
) -> None:
    """A provider's reply may name any URL: neither the key nor the audio goes there."""
    own, other, seen = two
    port = other.rpartition(":")[2]
    for url in (
        f"{other}/a",
        f"http://user@127.0.0.1:{port}/",
        own.replace("http://", "http://user:password@") + "/a",
        f"{own}@127.0.0.1:{port}/a",
        f"{own}\\@127.0.0.1:{port}/a",
        f"http://localhost:{port}/a",
        own.replace("http:", "https:") + "/a",
        own.replace("http:", "ftp:") + "/a",
        "//127.0.0.1/a",
        "/a",
        "",
        "http://[::1/a",
        "http://127.0.0.1:99999/a",
        f"file:///etc/passwd#{own}",
    ):
        for anonymous in (False, True):
            request = HttpRequest(method="POST", url=url, body=(b"audio",), anonymous=anonymous)
            with pytest.raises(MalformedReply):
                await send(session, provider(), account(own), request, soon())

    assert seen == []


async def test_a_declared_host_gets_the_key_or_not_as_declared(
    session: aiohttp.ClientSession, two: tuple[str, str, list[tuple[str, str | None]]]
) -> None:
    own, other, seen = two
    request = HttpRequest(method="GET", url=f"{other}/file")
    anonymous = HttpRequest(method="GET", url=f"{other}/file", anonymous=True)
    queue = provider(credential_hosts=frozenset({"127.0.0.1"}))
    storage = provider(public_hosts=frozenset({"127.0.0.1"}))

    await send(session, queue, account(own), request, soon())
    await send(session, storage, account(own), anonymous, soon())
    assert seen == [("other", f"Bearer {KEY}"), ("other", None)]
    for wrong, asked in ((queue, anonymous), (storage, request)):
        with pytest.raises(MalformedReply, match="does not serve from"):
            await send(session, wrong, account(own), asked, soon())
    assert len(seen) == 2


async def test_a_declared_domain_is_that_of_the_hosts_right_below_it(start: Start) -> None:
    seen: list[str | None] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request.headers.get("authorization"))
        return web.Response()

    port = (await start(handler)).rpartition(":")[2]
    below = provider(credential_domains=frozenset({"provider.example"}))
    everywhere = Names(mine=[[LOOPBACK]], provider=[[LOOPBACK]], evil=[[LOOPBACK]])
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=everywhere)) as session:
        asked = account("http://{model}.provider.example")
        for host in (
            "provider.example",
            "mine.other.provider.example",
            "evilprovider.example",
            "provider.example.evil",
        ):
            wrong = HttpRequest(method="POST", url=f"http://{host}:{port}/", body=(b"audio",))
            with pytest.raises(MalformedReply, match="does not serve from"):
                await send(session, below, asked, wrong, soon())
        request = HttpRequest(method="GET", url=f"http://mine.provider.example:{port}/")
        with pytest.raises(MalformedReply, match="does not serve from"):
            await send(session, below, asked, replace(request, anonymous=True), soon())
        await send(session, below, asked, request, soon())

    assert seen == [f"Bearer {KEY}"]


async def test_anonymous_is_anonymous_at_home_too(
    session: aiohttp.ClientSession, two: tuple[str, str, list[tuple[str, str | None]]]
) -> None:
    own, _, seen = two
    await send(session, provider(), account(own), HttpRequest(method="GET", url=f"{own}/a", anonymous=True), soon())

    assert seen == [("own", None)]


async def test_a_declared_host_is_no_way_down_from_https(
    session: aiohttp.ClientSession, two: tuple[str, str, list[tuple[str, str | None]]]
) -> None:
    _, other, seen = two
    trusting = provider(credential_hosts=frozenset({"127.0.0.1"}), public_hosts=frozenset({"127.0.0.1"}))
    for anonymous in (False, True):
        request = HttpRequest(method="GET", url=f"{other}/a", anonymous=anonymous)
        with pytest.raises(MalformedReply):
            await send(session, trusting, account("https://api.provider.example"), request, soon())

    assert seen == []


async def test_a_key_header_has_the_providers_own_name(session: aiohttp.ClientSession, start: Start) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(text=request.headers["x-api-key"])

    url = await start(handler)
    named = provider(authorize=key_header("x-api-key", prefix="Token "))
    reply = await send(session, named, account(url), HttpRequest(method="GET", url=url), soon())

    assert reply.body == f"Token {KEY}".encode()


async def test_a_line_break_in_a_url_or_header_smuggles_nothing(session: aiohttp.ClientSession, raw: Raw) -> None:
    heads = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()

    url = await raw(talk)
    evil = "/a HTTP/1.1\r\nx-evil: 1\r\n\r\nGET /b"
    with pytest.raises(MalformedReply):
        await fetch(session, url, headers={"x-model": "a\r\nx-evil: 1"})
    assert heads == []
    await send(session, provider(), account(url), HttpRequest(method="GET", url=url + evil), soon())
    assert len(heads) == 1
    assert b"\r\nx-evil" not in heads[0]


# Replies that are none ------------------------------------------------------------------------------------------------


def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.mark.parametrize("once", [False, True])
async def test_nobody_listening_is_unavailable(session: aiohttp.ClientSession, *, once: bool) -> None:
    """What was never sent may be sent again, whatever it is."""
    with pytest.raises(ProviderUnavailable) as caught:
        await fetch(session, f"http://127.0.0.1:{closed_port()}", method="POST", body=(b"job",), once=once)

    assert caught.value.retryable


@pytest.mark.parametrize("once", [False, True])
async def test_a_name_that_does_not_exist_is_unavailable(session: aiohttp.ClientSession, *, once: bool) -> None:
    with pytest.raises(ProviderUnavailable) as caught:
        await fetch(session, "http://no-such-host.invalid", once=once)

    assert caught.value.retryable


async def test_a_host_that_speaks_no_tls_was_sent_nothing(session: aiohttp.ClientSession, raw: Raw) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)

    url = (await raw(talk)).replace("http:", "https:")
    with pytest.raises(ProviderUnavailable) as caught:
        await fetch(session, url, once=True)

    assert caught.value.retryable


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def test_silence_until_the_deadline_is_a_timeout(session: aiohttp.ClientSession, raw: Raw) -> None:
    url = await raw(silent)
    with pytest.raises(AttemptTimedOut):
        await send(session, provider(), account(url), HttpRequest(method="GET", url=url), soon(0.1))


async def test_a_reply_that_trickles_past_the_deadline_is_a_timeout(session: aiohttp.ClientSession, raw: Raw) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        await reader.read()

    url = await raw(talk)
    with pytest.raises(AttemptTimedOut):
        await send(session, provider(), account(url), HttpRequest(method="GET", url=url), soon(0.1))


async def test_a_deadline_that_has_passed_is_a_timeout(session: aiohttp.ClientSession, raw: Raw) -> None:
    url = await raw(silent)
    with pytest.raises(AttemptTimedOut):
        await send(session, provider(), account(url), HttpRequest(method="GET", url=url), soon(-1))


async def test_a_host_that_does_not_answer_the_call_is_unavailable_not_slow() -> None:
    """The attempt's time is not over, and another may try: nobody has accepted, so nothing was billed."""
    with contextlib.ExitStack() as sockets:
        full = sockets.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):  # more than its queue holds
            waiting = sockets.enter_context(socket.socket())
            waiting.setblocking(False)  # noqa: FBT003 - the socket's own signature
            waiting.connect_ex(full.getsockname())
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=0.1)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            with pytest.raises(ProviderUnavailable, match="no connection in time"):
                await fetch(session, f"http://127.0.0.1:{full.getsockname()[1]}")


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@pytest.mark.parametrize("end", [reset, asyncio.StreamWriter.close])
async def test_a_connection_cut_before_the_reply_is_unavailable(
    end: Callable[[asyncio.StreamWriter], None], session: aiohttp.ClientSession, raw: Raw
) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        end(writer)

    with pytest.raises(ProviderUnavailable) as caught:
        await fetch(session, await raw(talk), method="POST", body=(b"audio",))

    assert caught.value.retryable


@pytest.mark.parametrize("end", [reset, asyncio.StreamWriter.close])
@pytest.mark.parametrize("body", [(), (b"job",), (MemoryContent(b"job"),)])
async def test_a_job_that_was_sent_and_not_answered_may_have_begun(
    end: Callable[[asyncio.StreamWriter], None], body: Body, session: aiohttp.ClientSession, raw: Raw
) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if body:
            assert b"Content-Length: 3" in head
            await reader.readexactly(3)
        end(writer)

    with pytest.raises(FateUnknown) as caught:
        await fetch(session, await raw(talk), method="POST", body=body, once=True)

    assert (caught.value.retryable, caught.value.failover) == (False, True)


async def test_a_body_is_sent_when_all_of_it_is(session: aiohttp.ClientSession, raw: Raw) -> None:
    sent, seen = list[bool](), list[bool]()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(100_000)
        seen.append(bool(sent))
        await reader.readexactly(40_000_000 - 100_000)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    body = (MemoryContent(bytes(40_000_000)),)
    await fetch(session, await raw(talk), method="POST", body=body, on_sent=lambda: sent.append(True))

    assert (seen, sent) == ([False], [True])


async def test_a_job_of_which_a_part_was_sent_cannot_have_begun(session: aiohttp.ClientSession, raw: Raw) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(100_000)
        reset(writer)

    with pytest.raises(ProviderUnavailable) as caught:
        await fetch(session, await raw(talk), method="POST", body=(MemoryContent(bytes(40_000_000)),), once=True)

    assert caught.value.retryable


@pytest.mark.parametrize("end", [reset, asyncio.StreamWriter.close])
@pytest.mark.parametrize(
    "begun",
    [
        b"Content-Length: 100\r\n\r\n" + b'{"text": "half',
        b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"tex\r\n',
        b'Transfer-Encoding: chunked\r\n\r\n50\r\n{"tex',
    ],
)
async def test_a_reply_cut_off_is_malformed(
    begun: bytes, end: Callable[[asyncio.StreamWriter], None], session: aiohttp.ClientSession, raw: Raw
) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n" + begun)
        await writer.drain()
        end(writer)

    with pytest.raises(ReplyCutOff):
        await fetch(session, await raw(talk))


@pytest.mark.parametrize(
    "said",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_what_is_no_http_is_malformed(said: bytes, session: aiohttp.ClientSession, raw: Raw) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        await writer.drain()
        await reader.read()

    with pytest.raises(MalformedReply):
        await fetch(session, await raw(talk))


async def test_a_reply_without_end_is_cut_at_the_cap(session: aiohttp.ClientSession, raw: Raw) -> None:
    written = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()
            written += 65_536

    url = await raw(talk)
    with pytest.raises(MalformedReply, match="larger than 1000000 bytes"):
        await send(
            session, provider(), account(url), HttpRequest(method="GET", url=url), soon(), max_reply_bytes=1_000_000
        )
    assert written < 20_000_000


async def test_a_reply_that_announces_too_much_is_not_read_at_all(session: aiohttp.ClientSession, raw: Raw) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
        await reader.read()

    with pytest.raises(MalformedReply, match="larger than"):
        await fetch(session, await raw(talk))


@pytest.mark.parametrize("written", ["Mon, 23 Nov 2026 10:00:00 GMT", None])
async def test_a_reply_is_dated(written: str | None, session: aiohttp.ClientSession, raw: Raw) -> None:
    """RFC 9110, 6.6.1: by whoever wrote it, or with the time it came."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        dated = f"Date: {written}\r\n" if written else ""
        writer.write(f"HTTP/1.1 429 X\r\nContent-Length: 0\r\n{dated}\r\n".encode())
        await writer.drain()

    date = (await fetch(session, await raw(talk))).headers["date"]

    assert parsedate_to_datetime(date).tzinfo
    assert written in {None, date}


async def compressed(
    session: aiohttp.ClientSession, start: Start, body: bytes, encoding: str, cap: int = 1_000_000
) -> HttpReply:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=body, headers={"content-encoding": encoding})

    url = await start(handler)
    request = HttpRequest(method="GET", url=url)
    return await send(session, provider(), account(url), request, soon(), max_reply_bytes=cap)


@pytest.mark.parametrize(("squeeze", "encoding"), [(gzip.compress, "gzip"), (zlib.compress, "deflate")])
async def test_a_reply_compressed_although_nobody_asked_is_read(
    squeeze: Callable[[bytes], bytes], encoding: str, session: aiohttp.ClientSession, start: Start
) -> None:
    """Stored files come as they were stored."""
    assert (await compressed(session, start, squeeze(b'{"text": "hi"}'), encoding)).body == b'{"text": "hi"}'


async def test_a_bomb_does_not_pass_the_cap(session: aiohttp.ClientSession, start: Start) -> None:
    bomb = gzip.compress(bytes(30_000_000))
    assert len(bomb) < 100_000
    with pytest.raises(MalformedReply, match="larger than"):
        await compressed(session, start, bomb, "gzip")


@pytest.mark.parametrize(
    ("body", "encoding"),
    [(gzip.compress(b"x" * 1000, mtime=0)[:-9], "gzip"), (b"not compressed", "gzip"), (b"whatever", "br")],
)
async def test_what_cannot_be_decompressed_is_malformed(
    body: bytes, encoding: str, session: aiohttp.ClientSession, start: Start
) -> None:
    with pytest.raises(MalformedReply):
        await compressed(session, start, body, encoding)


async def test_no_body_is_not_decompressed(session: aiohttp.ClientSession, start: Start) -> None:
    assert (await compressed(session, start, b"", "gzip")).body == b""


# Bodies in pieces -----------------------------------------------------------------------------------------------------


def in_file(body: bytes) -> FileContent:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the content
    file.write(body)
    file.flush()
    return FileContent(file, len(body))


def in_buffers(body: bytes) -> MemoryContent:
    return MemoryContent(*(body[at : at + 65_521] for at in range(0, len(body), 65_521)))


async def echo_digest(request: web.Request) -> web.Response:
    """Say what arrived: framing, size, digest."""
    digest, size = hashlib.sha256(), 0
    async for chunk in request.content.iter_any():
        digest.update(chunk)
        size += len(chunk)
    framing = request.headers.get("content-length", request.headers.get("transfer-encoding"))
    return web.Response(text=f"{framing} {size} {digest.hexdigest()} {request.content_type}")


@pytest.mark.parametrize("size", [0, 1, 2, 3, 100_000, SLICE_BYTES, 2 * SLICE_BYTES + 1, 2 * SLICE_BYTES + 2])
@pytest.mark.parametrize("make", [in_file, in_buffers])
@pytest.mark.parametrize("as_text", [False, True])
async def test_a_body_arrives_whole_and_again(
    size: int,
    make: Callable[[bytes], FileContent | MemoryContent],
    as_text: bool,  # noqa: FBT001 - a case
    session: aiohttp.ClientSession,
    start: Start,
) -> None:
    """Exact Content-Length, never chunked: some services refuse that; the second attempt sends the same."""
    audio = os.urandom(size)
    content = make(audio)
    body: Body = (b'{"audio": "', Base64(content) if as_text else content, b'"}')
    expected = b'{"audio": "' + (pybase64.b64encode(audio) if as_text else audio) + b'"}'
    url = await start(echo_digest)
    for _ in range(2):
        reply = await fetch(session, url, method="POST", body=body, headers={"content-type": "audio/flac"})
        assert reply.body.decode() == (
            f"{len(expected)} {len(expected)} {hashlib.sha256(expected).hexdigest()} audio/flac"
        )
    assert sum(map(piece_size, body)) == len(expected)
    content.close()


async def test_two_attempts_send_one_file_at_once(session: aiohttp.ClientSession, start: Start) -> None:
    audio = os.urandom(3_000_000)
    content = in_file(audio)
    url = await start(echo_digest)
    async with asyncio.TaskGroup() as group:
        both = [group.create_task(fetch(session, url, method="POST", body=(content,))) for _ in range(2)]
    assert {hashlib.sha256(audio).hexdigest()} == {task.result().body.decode().split()[2] for task in both}
    content.close()


async def test_a_refusal_while_we_upload_is_seen_although_nobody_reads_on(
    session: aiohttp.ClientSession, raw: Raw
) -> None:
    """Waiting for the upload to end would wait for ever."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Payload Too Large\r\nContent-Length: 5\r\n\r\nlarge")
        await writer.drain()
        reader._transport.pause_reading()  # type: ignore[attr-defined] # asyncio types it as any transport
        await asyncio.sleep(30)

    url = await raw(talk)
    reply = await fetch(session, url, method="POST", body=(MemoryContent(bytes(40_000_000)),))

    assert (reply.status, reply.body) == (413, b"large")


async def test_a_refusal_and_a_closed_connection_while_we_upload_is_one_or_the_other(
    session: aiohttp.ClientSession, raw: Raw
) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Payload Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nlarge")
        await writer.drain()
        writer.close()

    url = await raw(talk)
    for make in (in_file, in_buffers):
        content = make(bytes(20_000_000))
        try:
            reply = await fetch(session, url, method="POST", body=(content,))
        except ProviderUnavailable:
            reply = HttpReply(status=413)
        assert reply.status == 413
        content.close()


async def test_an_upload_cut_short_by_a_reply_does_not_soil_the_next_request(
    session: aiohttp.ClientSession, start: Start
) -> None:
    """The rest of the body must not be read as the head of the next request."""
    refuse = True

    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=413) if refuse else await echo_digest(request)

    url = await start(handler)
    assert (await fetch(session, url, method="POST", body=(MemoryContent(bytes(8_000_000)),))).status == 413
    refuse = False
    for _ in range(3):
        reply = await fetch(session, url, method="POST", body=(b"abc",))
        assert reply.body.decode().split()[:2] == ["3", "3"]


async def test_an_upload_without_a_reader_ends_at_the_deadline(session: aiohttp.ClientSession, raw: Raw) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reader._transport.pause_reading()  # type: ignore[attr-defined] # asyncio types it as any transport
        await asyncio.sleep(30)

    url = await raw(talk)
    content = in_file(bytes(20_000_000))
    request = HttpRequest(method="POST", url=url, body=(content,))
    with pytest.raises(AttemptTimedOut):
        await send(session, provider(), account(url), request, soon(0.2))
    content.close()


async def test_a_caller_who_leaves_cancels_the_call(session: aiohttp.ClientSession, raw: Raw) -> None:
    asked, hung_up = asyncio.Event(), asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()
        hung_up.set()

    url = await raw(talk)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(fetch(session, url))
        await asked.wait()
        task.cancel()
    assert task.cancelled()
    await asyncio.wait_for(hung_up.wait(), 5)


# HttpProvider ---------------------------------------------------------------------------------------------------------


def conversation(job: TranscriptionJob, to: Deployment) -> Exchange[Transcript]:
    base = to.account.base_urls["url0"]
    yield Afterwards(HttpRequest(method="DELETE", url=f"{base}/upload"))
    yield IfAbandoned(HttpRequest(method="POST", url=f"{base}/cancel"))
    sent = yield HttpRequest(method="POST", url=f"{base}/upload", body=(job.audio.content,))
    reply = succeeded(sent, lambda refused: by_status("p", refused.status, ""))
    return Transcript(text=reply.body.decode())


@pytest.mark.parametrize("status", [200, 401])
async def test_a_provider_is_its_translation_behind_one_session(
    status: int, session: aiohttp.ClientSession, start: Start
) -> None:
    seen = []

    async def handler(request: web.Request) -> web.Response:
        seen.append((request.method, request.path, request.headers["authorization"], len(await request.read())))
        return web.Response(status=status, text="heard")

    url = await start(handler)
    audio = sample_audio("slushy.mp3")
    client = HttpProvider(provider(transcribe=conversation), session)
    job = TranscriptionJob(model="m", audio=audio)
    to = Deployment(account=account(url), native_model="m")
    if status == 200:
        assert (await client.transcribe(job, to, soon())).text == "heard"
    else:
        with pytest.raises(CredentialsRejected):
            await client.transcribe(job, to, soon())
    await client.close()

    bearing = f"Bearer {KEY}"
    cancelled = [] if status == 200 else [("POST", "/cancel", bearing, 0)]
    assert seen == [("POST", "/upload", bearing, audio.size_bytes), *cancelled, ("DELETE", "/upload", bearing, 0)]


async def test_a_providers_replies_have_the_cap_it_was_given(session: aiohttp.ClientSession, start: Start) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(text="x" * 1001)

    client = HttpProvider(provider(transcribe=conversation), session, max_reply_bytes=1000)
    to = Deployment(account=account(await start(handler)), native_model="m")
    with pytest.raises(MalformedReply, match="larger than 1000 bytes"):
        await client.transcribe(TranscriptionJob(model="m", audio=sample_audio("slushy.mp3")), to, soon())
    await client.close()
