"""Callers who mean harm: one request in is one request out, strangers' words stay theirs, nothing grows without end."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from blake3 import blake3

from config.auth import Auth, AuthMode
from tests import faulty as upstreams
from tests.asking import MODEL, WAV, Served, key, serving, settings
from tests.conftest import encoded, serve, tone
from tests.program import configuration, program
from tests.watching import samples

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    Emulate = Callable[..., Awaitable[str]]

ONE_KEY = Auth(mode=AuthMode.KEYS, keys=(key("a", "hf_gw_a"),))
POST = f"POST /models/{MODEL} HTTP/1.1\r\nHost: x\r\n".encode()
HEARD = f"blake3 {blake3(WAV).hexdigest()}"


@pytest.fixture
async def served(emulate: Emulate) -> AsyncIterator[Served]:
    async with serving(settings({"up": await emulate("hf-inference")})) as made:
        yield made


async def raw(url: str, *parts: bytes) -> bytes:
    """Send bytes as they are; return everything that comes until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.02)
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.transport.abort()


def statuses(answers: bytes) -> list[int]:
    return [int(each) for each in re.findall(rb"HTTP/1\.[01] (\d{3}) ", answers)]


# --- one request in, one request out


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


SMUGGLED = POST + b"Content-Length: 4\r\n\r\nfLaC"
LENGTH = b"Content-Length: %d\r\n" % len(WAV)
SMUGGLING = {
    "length and chunks": (LENGTH + b"Transfer-Encoding: chunked\r\n\r\n", b"0\r\n\r\n" + SMUGGLED),
    "chunks and length": (b"Transfer-Encoding: chunked\r\n" + LENGTH + b"\r\n", b"0\r\n\r\n" + SMUGGLED),
    "two lengths": (LENGTH + b"Content-Length: 4\r\n\r\n", WAV + SMUGGLED),
    "two lengths in one": (b"Content-Length: 4, 5\r\n\r\n", WAV),
    "a signed length": (b"Content-Length: +4\r\n\r\n", b"fLaC"),
    "a negative length": (b"Content-Length: -4\r\n\r\n", b"fLaC"),
    "a length in hex": (b"Content-Length: 0x4\r\n\r\n", b"fLaC"),
    "a length with a space inside": (b"Content-Length: 1 2\r\n\r\n", b"fLaC"),
    "an unknown coding": (b"Transfer-Encoding: xchunked\r\n\r\n", chunk(WAV) + b"0\r\n\r\n"),
    "identity": (b"Transfer-Encoding: identity\r\n" + LENGTH + b"\r\n", WAV + SMUGGLED),
    "two codings": (b"Transfer-Encoding: chunked, identity\r\n\r\n", chunk(WAV) + b"0\r\n\r\n"),
    "chunked twice": (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", b"0\r\n\r\n" + SMUGGLED),
    "a space before the colon": (b"Transfer-Encoding : chunked\r\n" + LENGTH + b"\r\n", b"0\r\n\r\n" + SMUGGLED),
    "a folded header": (
        b"X: a\r\n b\r\nTransfer-Encoding:\r\n chunked\r\n" + LENGTH + b"\r\n",
        b"0\r\n\r\n" + SMUGGLED,
    ),
    "bare line feeds": (b"X: y\nTransfer-Encoding: chunked\n" + LENGTH + b"\n", b"0\r\n\r\n" + SMUGGLED),
    "a bare carriage return": (b"X: y\rTransfer-Encoding: chunked\r\n" + LENGTH + b"\r\n", b"0\r\n\r\n" + SMUGGLED),
    "a null byte": (b"X: y\x00z\r\n" + LENGTH + b"\r\n", WAV),
    "a null byte in a name": (b"Transfer-Encoding\x00: chunked\r\n" + LENGTH + b"\r\n", b"0\r\n\r\n" + SMUGGLED),
    "a 64 kB header": (b"X: " + b"y" * 65_536 + b"\r\n" + LENGTH + b"\r\n", WAV),
    "ten thousand headers": (b"X: y\r\n" * 10_000 + LENGTH + b"\r\n", WAV),
    "a chunk with a line feed": (b"Transfer-Encoding: chunked\r\n\r\n", b"4\nfLaC\r\n0\r\n\r\n" + SMUGGLED),
    "a chunk that is longer than it says": (
        b"Transfer-Encoding: chunked\r\n\r\n",
        b"2\r\nfLaC\r\n0\r\n\r\n" + SMUGGLED,
    ),
    "a chunk of a huge size": (b"Transfer-Encoding: chunked\r\n\r\n", b"fffffffffffffffff\r\nfLaC\r\n0\r\n\r\n"),
    "a chunk extension": (b"Transfer-Encoding: chunked\r\n\r\n", b"4;a=\nfLaC\r\n0\r\n\r\n" + SMUGGLED),
    "a trailer that is a header": (
        b"Transfer-Encoding: chunked\r\n\r\n",
        chunk(WAV) + b"0\r\nContent-Length: 4\r\nHost: evil\r\n\r\n",
    ),
}


async def test_two_readings_of_one_message_are_refused() -> None:
    """400 and close, or a body that is waited for in vain; nothing of it ever reaches the upstream."""
    async with (
        upstreams.faulty(upstreams.answers(200, {"text": "heard"})) as upstream,
        serving(settings({"up": upstream.url}, header_timeout=1, body_timeout=0.5)) as served,
    ):
        tricks = {name: raw(served.url, POST + headers, body) for name, (headers, body) in SMUGGLING.items()}
        answers = dict(zip(tricks, await asyncio.gather(*tricks.values()), strict=True))
        told = {name: statuses(answer) for name, answer in answers.items()}
        assert {name: each for name, each in told.items() if each not in ([400], [408], [])} == {}
        assert upstream.calls == 0


HARMLESS = {
    "an absolute target": (b"POST http://evil.example/models/%b HTTP/1.1\r\nHost: x\r\n" % MODEL.encode(), 200),
    "another host": (POST.replace(b"Host: x", b"Host: evil.example"), 200),
    "two hosts": (POST + b"Host: y\r\n", 400),
    "an old version": (POST.replace(b"1.1", b"1.0"), 200),
    "hop-by-hop headers": (
        POST + b"Connection: close, X-Api\r\nTE: trailers\r\nProxy-Authorization: Basic eA==\r\n",
        200,
    ),
    "an upgrade": (POST + b"Connection: upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n", 200),
}


OUR_HEADERS = {
    "host",
    "user-agent",
    "accept",
    "accept-encoding",
    "authorization",
    "content-type",
    "content-length",
}


@pytest.mark.parametrize("trick", HARMLESS)
async def test_what_is_odd_but_clear_is_one_request(trick: str) -> None:
    """The upstream sees our own request and none of the caller's headers."""
    head, status = HARMLESS[trick]
    async with (
        upstreams.faulty(upstreams.answers(200, {"text": "heard"})) as upstream,
        serving(settings({"up": upstream.url}, keep_alive=0.5)) as served,
    ):
        answers = await raw(served.url, head + b"X-Forwarded-For: 1.2.3.4\r\nCookie: a=b\r\n" + LENGTH + b"\r\n" + WAV)
        assert statuses(answers) == [status]
        assert upstream.calls == (status == 200)
        for seen in upstream.heads:
            assert seen.startswith("POST /models/whisper HTTP/1.1\r\n")
            sent = {line.partition(":")[0].lower() for line in seen.split("\r\n")[1:] if line}
            assert sent == {
                "host",
                "user-agent",
                "accept-encoding",
                "accept",
                "content-type",
                "content-length",
                "authorization",
            }
            assert "evil" not in seen
        assert upstream.bodies == [WAV] * upstream.calls


async def test_requests_in_one_write_are_answered_in_order(served: Served) -> None:
    """Pipelining: three clips, three answers, none mixed up."""
    clips = [encoded(tone(0.5, 16_000, hz=hz), 16_000, "wav", "pcm_s16le") for hz in (200, 300, 400)]
    requests = b"".join(POST + b"Content-Length: %d\r\n\r\n" % len(clip) + clip for clip in clips[:2])
    last = POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(clips[2]) + clips[2]
    answers = await raw(served.url, requests + last)
    heard = re.findall(rb'"text":"blake3 (\w+)"', answers)
    assert statuses(answers) == [200, 200, 200]
    assert heard == [blake3(clip).hexdigest().encode() for clip in clips]


async def test_one_connection_serves_many_requests(served: Served) -> None:
    connector = aiohttp.TCPConnector(limit=1)
    async with aiohttp.ClientSession(connector=connector) as session:
        for body, status in ((WAV, 200), (b"\x00\x01\x02\x03", 400), (WAV, 200), (b"", 400), (WAV, 200)):
            async with session.post(f"{served.url}/models/{MODEL}", data=body) as reply:
                assert reply.status == status
                assert reply.headers.get("Connection") != "close"


async def test_bytes_that_are_no_text_in_a_header_are_refused_in_words(emulate: Emulate) -> None:
    async with serving(settings({"up": await emulate("hf-inference")}, auth=ONE_KEY)) as served:
        for value in (b"Bearer \xff\xfe", b"Bearer caf\xc3\xa9", b"Bearer \xed\xa0\x80", b"\xff"):
            answers = await raw(
                served.url,
                b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: " + value + b"\r\n\r\n",
            )
            assert statuses(answers) == [401]


# --- many at once

HALF_A_HEAD = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"
HALF_A_BODY = POST + b"Content-Length: 99999\r\n\r\nfLaC"


async def test_stalled_connections_do_not_stand_in_the_way(emulate: Emulate) -> None:
    """Three hundred that never finish, in headers and in bodies; callers are served meanwhile, and they all end."""
    chosen = settings({"up": await emulate("hf-inference")}, header_timeout=3, body_timeout=3)
    async with serving(chosen) as served:
        stalled = [raw(served.url, HALF_A_HEAD if n % 2 else HALF_A_BODY) for n in range(300)]
        async with asyncio.TaskGroup() as tasks:
            waiting = [tasks.create_task(each) for each in stalled]
            for _ in range(5):
                assert (await served.post()).status == 200
        assert {tuple(statuses(await each)) for each in waiting} == {(408,)}


# --- strangers' words


async def test_junk_makes_no_new_series(emulate: Emulate) -> None:
    """Two thousand names of models, paths, keys and requests, and the metrics are as many as before."""
    chosen = settings({"up": await emulate("hf-inference")}, auth=ONE_KEY)
    wild = chosen.model_copy(update={"models": {**chosen.models, "*": next(iter(chosen.models.values()))}})
    async with serving(wild) as served:

        async def junk(n: int) -> None:
            right = {"Authorization": "Bearer hf_gw_a", "X-Request-Id": f"junk-{n}"}
            match n % 4:
                case 0:
                    await served.post(f"/models/junk/{n}", b"\x00\x01", **right)
                case 1:
                    await served.post(f"/junk-{n}/x", b"", **right)
                case 2:
                    await served.post(f"/models/{MODEL}", b"", Authorization=f"Bearer junk-{n}")
                case 3:
                    await served.post(f"/fal-ai/junk-{n}", b"{}", **right)

        for n in range(8):
            await junk(n)
        before = samples(served.gateway).keys()
        for start in range(8, 2_000, 50):
            async with asyncio.TaskGroup() as tasks:
                for n in range(start, start + 50):
                    tasks.create_task(junk(n))
        assert samples(served.gateway).keys() == before
        assert "junk" not in str(before)
        assert len(before) < 400


PLANTED_KEY, PLANTED_ADMIN = key("a", "planted_key"), key("b", "planted_admin", role="admin")
PLANTED = re.compile(r"planted[_-]?\w*", re.IGNORECASE)


async def test_nothing_that_callers_or_providers_say_is_written(emulate: Emulate, tmp_path: Path) -> None:
    """Secrets planted wherever a stranger can write; then everything the process wrote is searched."""
    document = configuration(
        {},
        model=MODEL,
        auth={
            "mode": "keys",
            "keys": [key("a", "planted_key").model_dump(), key("b", "planted_admin", role="admin").model_dump()],
        },
        logs={"level": "debug"},
    )
    says = upstreams.answers(200, {"text": "planted_transcript"})
    breaks = upstreams.answers(500, {"error": "planted_reply"}, X_Planted="planted_header")
    unreadable = upstreams.answers(200, b"planted_no_json")
    async with upstreams.faulty(says) as one, upstreams.faulty(breaks) as two, upstreams.faulty(unreadable) as three:
        for name, upstream in (("one", one), ("two", two), ("three", three)):
            document["providers"][name] = {
                "adapter": "hf-inference",
                "base_url": upstream.url,
                "api_key": "planted_provider_key",
            }
            document["models"][f"m/{name}"] = {"targets": [{"target": f"{name}/w", "substitute": True}]}
        del document["models"][MODEL]
        async with program(document, tmp_path) as running, aiohttp.ClientSession() as session:
            await _plant(running.url, session)
            async with session.get(
                f"{running.url}/metrics", headers={"Authorization": "Bearer planted_admin"}
            ) as reply:
                metrics = await reply.text()
    requests = [line for line in running.lines if line["event"] == "request"]
    assert len(requests) >= 20
    assert {"200", "502", "401", "400", "422", "404"} <= {line["status"] for line in requests}
    assert any(line["event"] == "not_http" for line in running.lines)
    assert PLANTED.findall("".join(running.written)) == []
    assert PLANTED.findall(metrics) == []


async def _plant(url: str, session: aiohttp.ClientSession) -> None:
    """Say `planted` in every place a request has."""
    right = {"Authorization": "Bearer planted_key", "User-Agent": "planted_agent", "Cookie": "planted=planted"}
    document = {"inputs": "QUJD", "parameters": {"prompt": "planted_prompt", "return_timestamps": "planted_value"}}
    asked: list[tuple[str, Any, dict[str, str]]] = [
        *((f"/models/m/{name}", WAV, right) for name in ("one", "two", "three")),
        *((f"/models/m/{name}?language=planted", WAV, right) for name in ("one", "two")),
        ("/models/m/one", json.dumps(document), right),
        ("/models/m/one", json.dumps({"inputs": "planted_input"}), right),
        ("/models/m/one", json.dumps({"planted_member": "planted_value", "inputs": "QUJD"}), right),
        ("/models/m/one", b'{"planted_broken', {**right, "Content-Type": "application/json"}),
        ("/models/m/one", b"https://planted.example/a.wav", right),
        ("/models/m/one?api_key=planted_key", WAV, right),
        ("/models/planted/name", WAV, right),
        ("/planted/path", WAV, right),
        ("/planted_account/models/m/one", WAV, right),
        ("/models/m/one", WAV, {"Authorization": "Bearer planted_wrong_key"}),
        ("/models/m/one", WAV, {**right, "Origin": "https://planted.example"}),
        ("/models/m/one", WAV, {**right, "Content-Encoding": "planted_coding"}),
        ("/models/m/one", WAV, {**right, "Content-Type": "planted/type; boundary=planted"}),
    ]
    for path, body, headers in asked:
        async with session.post(url + path, data=body, headers=headers) as reply:
            await reply.read()
    form = aiohttp.FormData({"model": "m/one", "prompt": "planted_prompt", "planted_field": "planted_value"})
    form.add_field("file", WAV[:100_000], filename="planted_name.wav", content_type="audio/wav")
    async with session.post(f"{url}/v1/audio/transcriptions", data=form, headers=right) as reply:
        await reply.read()
    for broken in (
        b"GET / HTTP/1.1\r\nAuthorization: Bearer planted_key\x00\r\n\r\n",
        b"planted_method / HTTP/1.1\r\n\r\n",
        b"GET /planted\xff HTTP/1.1\r\n\r\n",
        POST + b"Authorization: Bearer planted_key\r\nTransfer-Encoding: chunked\r\n\r\nplanted_chunk\r\n",
        b"GET / HTTP/1.1\r\nplanted header: planted\r\n\r\n",
    ):
        await raw(url, broken)


async def test_nothing_is_fetched_on_a_callers_word(served: Served) -> None:
    """Addresses wherever one may be written, of a server that would notice."""
    fetched: list[str] = []

    async def notice(request: aiohttp.web.Request) -> aiohttp.web.Response:
        fetched.append(request.path)
        return aiohttp.web.Response(body=WAV)

    app = aiohttp.web.Application()
    app.router.add_route("*", "/{any:.*}", notice)
    runners: list[aiohttp.web.AppRunner] = []
    address = f"{await serve(app, runners)}/a.wav"
    headers = {"X-Forwarded-Host": address, "Referer": address, "X-Wait-For-Model": "true"}
    asked = [await served.post(body=address.encode(), **headers)]
    for path, document in (
        (f"/models/{MODEL}", {"inputs": address}),
        (f"/fal-ai/{MODEL}", {"audio_url": address}),
        ("/replicate/v1/predictions", {"version": MODEL, "input": {"audio": address}}),
    ):
        asked.append(await served.hf(document, path))
    asked.append(await served.openai(address.encode()))
    asked.append(await served.openai(WAV, file_url=address))
    assert {told.status for told in asked[:5]} == {422}
    assert {told.type for told in asked[:5]} == {"url-input-disabled"}
    assert asked[5].status == 400
    assert fetched == []
    await runners[0].cleanup()
