"""Audio by address arrives like an upload, or not at all: over real TLS, from hosts on loopback under other names."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from blake3 import blake3

from config.fetch import Fetch
from gateway.intake.fetch import Address, Fetcher, new_session
from gateway.intake.receive import BodyLimits
from gateway.intake.spool import Spool, SpoolBudget
from gateway.problems import Problem
from providers.audio.content import FileContent
from tests.conftest import sample
from tests.gateway.intake.conftest import is_free
from tests.media import HOST, LOOPBACK, OTHER, WRONG, Authority, Media, Names

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from ipaddress import IPv4Address, IPv6Address
    from pathlib import Path

    from aiohttp import ClientSession

CLIP = sample("slushy.wav")
MAX_UPLOAD = 3_000_000
IDLE_S = 0.3
LIMITS = BodyLimits(max_upload_bytes=MAX_UPLOAD, idle_s=IDLE_S, min_rate=100_000)


@pytest.fixture
async def media() -> AsyncIterator[Media]:
    made = Media(Authority())
    await made.start()
    yield made
    await made.stop()


async def fetched(
    media: Media, address: str, session: ClientSession | None = None, allowed_s: float | None = None, **terms: Any
) -> tuple[bytes, str, bool]:
    """Return the bytes, their digest, and whether they lie in a file. Raises Problem; nothing is kept then."""
    budget = SpoolBudget(memory_per_upload=100_000, memory_total=1 << 20, disk_total=64 << 20)
    hosts = tuple(f"{name}:{media.port}" for name in (HOST, OTHER, WRONG))
    spool = Spool(budget)
    try:
        async with session or media.session() as opened:
            fetcher = Fetcher(Fetch.model_validate({"hosts": hosts, **terms}), LIMITS, opened)
            await fetcher.fetch(Address("inputs", address), spool, allowed_s)
        content, digest = await spool.finish()
        return b"".join(content.slices()), digest, isinstance(content, FileContent)
    finally:
        spool.close()
        assert is_free(budget)


async def refusal(
    media: Media, address: str, session: ClientSession | None = None, allowed_s: float | None = None, **terms: Any
) -> Problem:
    with pytest.raises(Problem) as told:
        await fetched(media, address, session, allowed_s, **terms)
    return told.value


@pytest.mark.parametrize("size", [0, 1, 99_999, 1_000_000, MAX_UPLOAD])
@pytest.mark.parametrize("announced", [True, False])
async def test_it_arrives_like_an_upload(media: Media, size: int, *, announced: bool) -> None:
    """Hashed as it comes, in memory while small, in a file beyond that; with a length or without one."""
    clip = blake3(b"clip").digest(length=size) if size else b""

    async def answer(request: web.Request) -> web.StreamResponse:
        if announced:
            return web.Response(body=clip)
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(clip)
        return response

    assert await fetched(media, media.answers("/a.wav", answer)) == (clip, blake3(clip).hexdigest(), size > 100_000)


async def test_the_address_is_asked_for_as_it_is_written(media: Media) -> None:
    """Another spelling of the same would break a signature."""
    media.holds("/a b/ä.wav", CLIP)
    query = "?X-Signature=a%2Fb%3D+%7e~&b=%C3%A4&c=[1]&empty="
    await fetched(media, media.at("/a%20b/%c3%a4.wav" + query))
    assert media.asked[0].raw_path == "/a%20b/%c3%a4.wav" + query


async def test_nothing_but_the_request_is_sent(media: Media, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No cookie that a host has set, no credential of this machine's, no proxy that the environment names."""
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {HOST} login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    media.holds("/first", status=302, Location="/second", Set_Cookie="a=b; Path=/")
    media.holds("/second", CLIP, Set_Cookie="c=d; Path=/")
    await fetched(media, media.at("/first"))
    for request in media.asked:
        assert dict(request.headers) == {
            "Host": f"{HOST}:{media.port}",
            "User-Agent": "asr-gateway",
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            **({"Connection": "close"} if "Connection" in request.headers else {}),
        }


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_to_a_listed_host_is_followed(media: Media, status: int) -> None:
    media.holds("/a", status=status, Location="b?x=1")
    media.holds("/b", status=status, Location=f"//{OTHER}:{media.port}/c")
    media.holds("/c", status=status, Location=media.at("/d"))
    media.holds("/d", CLIP)
    assert (await fetched(media, media.at("/a")))[0] == CLIP
    assert [request.host.partition(":")[0] for request in media.asked] == [HOST, HOST, OTHER, HOST]


@pytest.mark.parametrize(
    "location",
    [
        "https://unlisted.example.org/a.wav",
        "https://media.example.org/a.wav",  # on another port
        "http://media.example.org:{port}/a.wav",
        "//127.0.0.1:{port}/a.wav",
        "https://127.0.0.1:{port}/a.wav",
        "https://2130706433:{port}/a.wav",
        "https://0x7f.1:{port}/a.wav",
        "https://[::1]:{port}/a.wav",
        "https://[::ffff:127.0.0.1]:{port}/a.wav",
        "https://[::1",
        "https://user@media.example.org:{port}/a.wav",
        "https://media.example.org:{port}@127.0.0.1/a.wav",
        "https://127.0.0.1\\@media.example.org:{port}/a.wav",
        "/a.wav#fragment",
        "/a b.wav",
        "file:///etc/passwd",
        "data:audio/wav;base64,UklGRg==",
        "javascript:1",
    ],
)
async def test_no_redirect_leads_off_the_list(media: Media, location: str) -> None:
    media.holds("/a.wav", CLIP)
    media.holds("/first", status=302, Location=location.format(port=media.port))
    problem = await refusal(media, media.at("/first"))
    assert (problem.status, problem.type, problem.param) == (422, "url-not-allowed", "inputs")
    assert len(media.asked) == 1


@pytest.mark.parametrize(("limit", "asked"), [(0, 1), (3, 4), (10, 11)])
async def test_redirects_end(media: Media, limit: int, asked: int) -> None:
    media.holds("/a", status=307, Location="/a")
    problem = await refusal(media, media.at("/a"), max_redirects=limit)
    assert (problem.status, problem.type) == (400, "fetch-failed")
    assert f"more than {limit} redirects" in problem.message
    assert len(media.asked) == asked


async def test_a_redirect_that_leads_nowhere(media: Media) -> None:
    problem = await refusal(media, media.holds("/a", status=302))
    assert (problem.status, problem.type) == (400, "fetch-failed")
    assert "302" in problem.message


PRIVATE = [
    "127.0.0.1",
    "10.0.0.1",
    "169.254.169.254",
    "100.100.100.200",
    "::1",
    "::ffff:127.0.0.1",
    "fe80::1%1",
    "fd00::1",
]


@pytest.mark.parametrize("address", PRIVATE)
async def test_a_name_that_resolves_to_a_private_address_is_not_connected_to(media: Media, address: str) -> None:
    """By the rule that the gateway has unless it is told another; the cause is for the log."""
    names = Names(media=[[address]])
    session = new_session(resolver=names, trusted=media.authority.client())
    problem = await refusal(media, media.holds("/a.wav", CLIP), session)
    assert (problem.status, problem.type) == (422, "url-not-allowed")
    assert problem.cause == f"{HOST} resolves to {address}, which is not public"
    assert address not in problem.message
    assert media.asked == []


async def test_of_many_addresses_only_those_allowed_are_connected_to(media: Media) -> None:
    names = Names(media=[["127.0.0.3", "::1", "127.0.0.2", "127.0.0.4"]])
    session = media.session(names, lambda address: str(address) == "127.0.0.2")
    assert (await fetched(media, media.holds("/a.wav", CLIP), session))[0] == CLIP
    assert media.reached == ["127.0.0.2"]


async def test_a_host_with_private_addresses_alone_is_refused_like_one(media: Media) -> None:
    session = new_session(resolver=Names(media=[PRIVATE]), trusted=media.authority.client())
    assert (await refusal(media, media.holds("/a.wav", CLIP), session)).type == "url-not-allowed"


async def test_a_name_that_is_bound_again_meanwhile_gains_nothing(media: Media) -> None:
    """What is checked is what is connected to, in each connection anew: there is no look-up between the two."""
    names = Names(media=[["127.0.0.2"], ["127.0.0.3"], ["127.0.0.2"]])
    checked: list[str] = []

    def rule(address: IPv4Address | IPv6Address) -> bool:
        checked.append(str(address))
        return str(address) == "127.0.0.2"

    media.holds("/a.wav", CLIP)
    media.holds("/first", status=302, Location="/a.wav")
    problem = await refusal(media, media.at("/first"), media.session(names, rule))
    assert problem.type == "url-not-allowed"
    assert checked == ["127.0.0.2", "127.0.0.3"]
    assert media.reached == ["127.0.0.2"]


async def test_a_name_that_does_not_resolve_looks_like_one_that_is_private(media: Media) -> None:
    """Else a caller could read a private network's names off the answers."""
    address = media.holds("/a.wav", CLIP)
    unknown = await refusal(media, address, media.session(Names()))
    private = await refusal(media, address, media.session(Names(media=[["10.0.0.1"]])))
    assert (unknown.status, unknown.type, unknown.message) == (private.status, private.type, private.message)
    assert unknown.cause != private.cause


async def test_a_host_that_nobody_listens_at(media: Media) -> None:
    """127.0.0.1 alone is listened on, and another port."""
    problem = await refusal(media, f"https://{HOST}:1/a.wav", hosts=[f"{HOST}:1"])
    assert (problem.status, problem.type) == (400, "fetch-failed")
    assert "no connection" in problem.message


@pytest.mark.parametrize("trusts", ["another authority", "another name"])
async def test_a_certificate_must_be_the_hosts(media: Media, trusts: str) -> None:
    media.holds("/a.wav", CLIP)
    session = None
    if trusts == "another authority":
        session = new_session(
            is_allowed=lambda _: True, resolver=Names(media=[[LOOPBACK]]), trusted=Authority().client()
        )
    host = WRONG if trusts == "another name" else HOST
    problem = await refusal(media, media.at("/a.wav", host), session)
    assert (problem.status, problem.type) == (400, "fetch-failed")
    assert "no trusted connection" in problem.message
    assert media.asked == []


@pytest.mark.parametrize("status", [201, 204, 206, 300, 304, 400, 401, 403, 404, 410, 429, 500, 503])
async def test_a_host_that_has_no_audio_is_told_by_its_status(media: Media, status: int) -> None:
    problem = await refusal(media, media.holds("/a.wav", status=status))
    assert (problem.status, problem.type, problem.param) == (400, "fetch-failed", "inputs")
    assert f"the host answered {status}" in problem.message


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip", "nonsense"])
async def test_what_could_unpack_to_anything_is_refused(media: Media, encoding: str) -> None:
    problem = await refusal(media, media.holds("/a.wav", b"\x1f\x8b", Content_Encoding=encoding))
    assert (problem.status, problem.type) == (400, "fetch-failed")
    assert "Content-Encoding" in problem.message


@pytest.mark.parametrize("announced", [True, False])
async def test_ten_gigabytes_end_at_the_limit(media: Media, *, announced: bool) -> None:
    sent = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse(headers={"Content-Length": str(10 << 30)} if announced else {})
        await response.prepare(request)
        while sent < 10 << 30:
            await response.write(bytes(65_536))
            sent += 65_536
        return response

    problem = await refusal(media, media.answers("/a.wav", answer))
    assert (problem.status, problem.type) == (413, "too-large")
    await media.left.wait()
    assert sent < MAX_UPLOAD + (16 << 20)  # what lies in the sockets' buffers


async def test_one_byte_too_many(media: Media) -> None:
    assert (await refusal(media, media.holds("/a.wav", bytes(MAX_UPLOAD + 1)))).type == "too-large"


async def silent(request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    return web.Response()


async def stalled(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(CLIP[:1000])
    await asyncio.Event().wait()
    return response


async def trickling(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"x")
        await asyncio.sleep(IDLE_S / 10)


@pytest.mark.parametrize("slow", [silent, stalled, trickling])
async def test_a_slow_host_is_left(media: Media, slow: Callable[[web.Request], Any]) -> None:
    """No answer, no more bytes, or too few of them: as long as a caller may take to send them."""
    problem = await refusal(media, media.answers("/a.wav", slow))
    assert (problem.status, problem.type) == (504, "fetch-timeout")
    assert problem.headers["x-should-retry"] == "false"
    await media.left.wait()


@pytest.mark.parametrize(("allowed_s", "terms"), [(None, {"timeout": 0.1}), (0.1, {})])
async def test_the_whole_fetch_has_its_time(media: Media, allowed_s: float | None, terms: dict[str, Any]) -> None:
    """The configuration's, or the caller's where that is less: however briskly bytes and redirects come."""

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(bytes(1000))
            await asyncio.sleep(0.005)

    problem = await refusal(media, media.answers("/a.wav", endless), None, allowed_s, **terms)
    assert (problem.status, problem.type) == (504, "fetch-timeout")
    await media.left.wait()


async def test_an_answer_that_breaks_off_is_no_audio(media: Media) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(CLIP[:100])
        assert request.transport is not None
        request.transport.abort()
        return response

    problem = await refusal(media, media.answers("/a.wav", cut))
    assert (problem.status, problem.type) == (400, "fetch-failed")


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"fLaC and no HTTP at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: https://media.example.org/\x80\xff\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_told_so(media: Media, reply: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        writer.close()

    server = await asyncio.start_server(answer, LOOPBACK, 0, ssl=media.authority.server(HOST))
    port = server.sockets[0].getsockname()[1]
    problem = await refusal(media, f"https://{HOST}:{port}/a.wav", hosts=[f"{HOST}:{port}"])
    assert problem.type in {"fetch-failed", "url-not-allowed"}
    server.close()


async def test_an_address_says_nothing_of_itself() -> None:
    """It may be signed: whoever has it has the audio."""
    assert "secret" not in repr(Address("inputs", "https://media.example.org/a.wav?sig=secret"))
