"""Audio by address through the whole gateway: every dialect, every way to make it fetch what it should not."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from blake3 import blake3

from config.fetch import Fetch
from gateway.intake.fetch import new_session
from tests.asking import KEYS, MODEL, WAV, Served, Told, settings
from tests.media import HOST, LOOPBACK, Authority, Media, Names
from tests.serving import running
from tests.watching import log_lines

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from aiohttp import ClientSession

    from config.auth import Auth

    Emulate = Callable[..., Awaitable[str]]
    Post = Callable[[Served, str], Awaitable[Told]]

SECRET = "signed-and-therefore-secret"
QUERY = f"?X-Amz-Signature={SECRET}"


@pytest.fixture
async def media() -> AsyncIterator[Media]:
    made = Media(Authority())
    await made.start()
    made.holds("/a.wav", WAV)
    yield made
    await made.stop()


@pytest.fixture
async def served(emulate: Emulate, media: Media) -> AsyncIterator[Served]:
    """Serve with one host listed, for which loopback is the Internet."""
    async with fetching(await emulate("hf-inference"), media.session, hosts=[f"{HOST}:{media.port}"]) as made:
        yield made


@asynccontextmanager
async def fetching(
    upstream: str, make_fetching: Callable[[], ClientSession], *, auth: Auth | None = None, **terms: Any
) -> AsyncIterator[Served]:
    chosen = settings({"up": upstream}, auth=auth).model_copy(update={"fetch": Fetch.model_validate(terms)})
    async with running(chosen, make_fetching=make_fetching) as (url, gateway), aiohttp.ClientSession() as session:
        with log_lines() as lines:
            made = Served(url, gateway, session, lines)
            yield made
            await made.at_rest()


def document(path: str, given: Callable[[str], object]) -> Post:
    return lambda served, address: served.hf(given(address), path)


def form(path: str) -> Post:
    async def post(served: Served, address: str) -> Told:
        fields = aiohttp.FormData({"model": MODEL}, default_to_multipart=True)
        fields.add_field("file", address)
        return await served.post(path, fields)

    return post


WAYS: dict[str, tuple[Post, str]] = {
    "hf": (document(f"/models/{MODEL}", lambda address: {"inputs": address, "parameters": {}}), "inputs"),
    "hf, as PHP writes it": (
        lambda served, address: served.post(body=json.dumps({"inputs": address}).replace("/", "\\/")),
        "inputs",
    ),
    "hf, as text": (lambda served, address: served.post(body=address + "\n"), "the body"),
    "hf, in a form": (form(f"/models/{MODEL}"), "file"),
    "fal": (document(f"/fal-ai/{MODEL}", lambda address: {"audio_url": address}), "audio_url"),
    "replicate": (
        document("/replicate/v1/predictions", lambda address: {"version": MODEL, "input": {"audio": address}}),
        "input.audio",
    ),
    "together": (form("/together/v1/audio/transcriptions"), "file"),
    "deepinfra": (form("/deepinfra/v1/openai/audio/transcriptions"), "file"),
    "openai": (form("/v1/audio/transcriptions"), "file"),
}


def text_of(told: Told) -> str:
    return str(told.body["output"]["transcription"] if "output" in told.body else told.body["text"])


@pytest.mark.parametrize("way", WAYS)
async def test_what_is_at_an_address_is_heard_as_if_it_had_been_sent(served: Served, media: Media, way: str) -> None:
    post, _ = WAYS[way]
    told = await post(served, media.at("/a.wav" + QUERY))
    assert (told.status, text_of(told)) == (201 if way == "replicate" else 200, f"blake3 {blake3(WAV).hexdigest()}")
    assert served.line_of(told)["upload_bytes"] == len(WAV)
    assert media.asked[0].raw_path == "/a.wav" + QUERY


@pytest.mark.parametrize("way", WAYS)
async def test_what_may_not_be_fetched_is_told_by_its_place(served: Served, media: Media, way: str) -> None:
    post, param = WAYS[way]
    told = await post(served, f"https://unlisted.example.org/a.wav{QUERY}")
    assert (told.status, told.type) == (422, "url-not-allowed")
    assert told.param == param
    assert served.line_of(told)["cause"] == "unlisted.example.org:443 is not listed in fetch.hosts"
    assert media.asked == []


HOSTILE = [
    "http://media.example.org:{port}/a.wav",
    "https://media.example.org/a.wav",  # on a port that is not listed
    "https://127.0.0.1:{port}/a.wav",
    "https://127.1:{port}/a.wav",
    "https://2130706433:{port}/a.wav",
    "https://017700000001:{port}/a.wav",
    "https://0x7f000001:{port}/a.wav",
    "https://[::1]:{port}/a.wav",
    "https://[::ffff:7f00:1]:{port}/a.wav",
    "https://[fe80::1%25lo]:{port}/a.wav",
    "https://169.254.169.254/latest/meta-data/",
    "https://10.0.0.1/",
    "https://me:secret@media.example.org:{port}/a.wav",
    "https://media.example.org:{port}@127.0.0.1/a.wav",
    "https://media.example.org\\@127.0.0.1:{port}/a.wav",
    "https://media.example.org:{port}/a.wav#fragment",
    "https://media.example.org#@127.0.0.1:{port}/",
    "https://media.example.org.:{port}/a.wav",
    "https://sub.media.example.org:{port}/a.wav",
    "https://media.example.org:{port}/a wav",
    "https://media.example.org:{port}/\u00e4.wav",
    "https://" + "a" * 9000,
]


async def test_every_refusal_reads_the_same(served: Served, media: Media) -> None:
    """Nobody learns from one what is around the gateway."""
    told = [await served.hf({"inputs": each.format(port=media.port)}) for each in HOSTILE]
    assert {each.status for each in told} == {422}
    assert {(each.type, each.message, each.param) for each in told} == {(told[0].type, told[0].message, "inputs")}
    assert all(served.line_of(each)["cause"] for each in told)
    assert media.asked == []


@pytest.mark.parametrize("other", ["ftp://a.example/a.wav", "file:///etc/passwd", "gopher://a/", "//127.0.0.1/a.wav"])
async def test_other_schemes_are_no_addresses_here(served: Served, other: str) -> None:
    told = await served.hf({"inputs": other})
    assert (told.status, told.type) == (400, "bad-request")


@pytest.mark.parametrize("name", ["localhost", "private.example.org", "nowhere.example.org"])
async def test_a_listed_name_gets_nobody_into_the_private_network(emulate: Emulate, media: Media, name: str) -> None:
    """With the rule that the gateway has by itself; localhost with the system's resolver too."""

    def make() -> ClientSession:
        own = None if name == "localhost" else Names(private=[[LOOPBACK, "::1", "10.0.0.1"]])
        return new_session(resolver=own, trusted=media.authority.client())

    async with fetching(await emulate("hf-inference"), make, hosts=[f"{name}:{media.port}"]) as served:
        told = await served.hf({"inputs": media.at("/a.wav", name)})
        unlisted = await served.hf({"inputs": media.at("/a.wav", "unlisted.example.org")})
        assert (told.status, told.type, told.message) == (422, "url-not-allowed", unlisted.message)
        assert str(served.line_of(told)["cause"]).startswith(name)
    assert media.asked == []


async def test_a_redirect_gets_nobody_there_either(emulate: Emulate, media: Media) -> None:
    """To a name that is listed, and private; by the first answer of a name that then is bound again."""
    names = Names(media=[["127.0.0.2"], [LOOPBACK]])
    media.holds("/first", status=302, Location="/a.wav")

    def make() -> ClientSession:
        return media.session(names, lambda address: str(address) == "127.0.0.2")

    async with fetching(await emulate("hf-inference"), make, hosts=[f"{HOST}:{media.port}"]) as served:
        told = await served.hf({"inputs": media.at("/first")})
        assert (told.status, told.type) == (422, "url-not-allowed")
    assert [request.path for request in media.asked] == ["/first"]


async def test_a_signed_address_is_in_no_log_and_no_answer(
    served: Served, media: Media, caplog: pytest.LogCaptureFixture
) -> None:
    """However it ends, and whoever logs: aiohttp and asyncio too, at their most talkative."""
    caplog.set_level(logging.DEBUG)
    media.holds("/gone", status=404)
    media.holds("/here", status=302, Location=f"/a.wav{QUERY}")
    media.holds("/there", status=302, Location=f"https://unlisted.example.org/{QUERY}")
    media.holds("/no-audio", b"<html>")
    media.holds("/compressed", b"", Content_Encoding="gzip")
    paths = ("/a.wav", "/gone", "/here", "/there", "/no-audio", "/compressed", "/a.wav b", "/a.wav#")
    told = [await served.hf({"inputs": media.at(path + QUERY)}) for path in paths]
    told.append(await served.hf({"inputs": f"https://me:{SECRET}@{HOST}:{media.port}/a.wav"}))
    told.append(await served.hf({"inputs": media.at("/a.wav" + QUERY), "parameters": {"top_k": -1}}))
    assert [each.status for each in told] == [200, 400, 200, 422, 415, 400, 422, 422, 422, 422]
    assert SECRET not in str([(each.body, dict(each.headers)) for each in told])
    assert SECRET not in str(served.lines)
    assert SECRET not in caplog.text


async def test_the_callers_key_stays_here(emulate: Emulate, media: Media) -> None:
    async with fetching(
        await emulate("hf-inference"), media.session, auth=KEYS, hosts=[f"{HOST}:{media.port}"]
    ) as served:
        headers = {"Authorization": "Bearer hf_gw_newsroom", "Cookie": "a=b", "X-Own": "x", "Referer": "https://a/"}
        told = await served.post(body=json.dumps({"inputs": media.at("/a.wav")}), **headers)
        assert told.status == 200
        sent = {name.lower() for name in media.asked[0].headers}
        assert sent <= {"host", "user-agent", "accept", "accept-encoding", "connection"}


async def test_who_may_not_ask_makes_nobody_fetch(emulate: Emulate, media: Media) -> None:
    """Without a key, and with one that has not this model."""
    async with fetching(
        await emulate("hf-inference"), media.session, auth=KEYS, hosts=[f"{HOST}:{media.port}"]
    ) as served:
        body = json.dumps({"inputs": media.at("/a.wav")})
        assert (await served.post(body=body)).status == 401
        assert (await served.post(body=body, Authorization="Bearer hf_gw_other")).status == 403
    assert media.asked == []


async def test_it_is_measured_like_an_upload(served: Served, media: Media) -> None:
    too_much = served.gateway.settings.server.max_upload + 1
    for path, body, status, kind in (
        ("/empty", b"", 400, "no-audio"),
        ("/pdf", b"%PDF-1.7", 415, "unsupported-media-type"),
        ("/noise", bytes(1000), 400, "unreadable-audio"),
        ("/large", bytes(too_much), 413, "too-large"),
    ):
        told = await served.hf({"inputs": media.holds(path, body)})
        assert (told.status, told.type) == (status, kind)


async def test_the_time_a_caller_allows_covers_the_fetch(served: Served, media: Media) -> None:
    async def silent(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        return web.Response()

    body = json.dumps({"inputs": media.answers("/slow", silent)})
    told = await served.post(body=body, **{"X-Gateway-Timeout": "200ms"})
    assert (told.status, told.type) == (504, "fetch-timeout")
    assert told.headers["x-should-retry"] == "false"


async def test_a_caller_who_leaves_ends_the_fetch(served: Served, media: Media) -> None:
    begun = asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(bytes(1000))
            begun.set()
            await asyncio.sleep(0.01)

    asking = asyncio.get_running_loop().create_task(served.hf({"inputs": media.answers("/a", endless)}))
    await begun.wait()
    asking.cancel()
    await media.left.wait()
    await served.at_rest()


async def test_a_reload_turns_it_on_and_off(served: Served, media: Media) -> None:
    gateway, listed = served.gateway, served.gateway.settings
    await gateway.adopt(listed.model_copy(update={"fetch": Fetch()}))
    assert (await served.hf({"inputs": media.at("/a.wav")})).type == "url-input-disabled"
    await gateway.adopt(listed)
    assert (await served.hf({"inputs": media.at("/a.wav")})).status == 200
