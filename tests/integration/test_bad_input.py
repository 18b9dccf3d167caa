"""The table of errors, row by row, through a real socket: in both fronts' shapes, each told to the operator too."""

from __future__ import annotations

import asyncio
import base64
import json
from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from blake3 import blake3

from config.long_audio import LongAudio
from tests import faulty as upstreams
from tests.asking import KEYS, MAX_UPLOAD, MODEL, WAV, Served, Told, serving, settings
from tests.conftest import encoded, sample, tone
from tests.watching import samples

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    Emulate = Callable[..., Awaitable[str]]


@pytest.fixture
async def served(emulate: Emulate) -> AsyncIterator[Served]:
    """Serve before an upstream that answers with the digest of what it hears."""
    async with serving(settings({"up": await emulate("hf-inference")})) as made:
        yield made


def check(served: Served, told: Told, status: int, kind: str) -> None:
    """Check one answer against the table: its status and word, its shape, its request id there and in the log."""
    assert (told.status, told.type) == (status, kind), told
    assert told.headers["Content-Type"] == "application/json"
    assert told.message
    assert "Traceback" not in told.message
    error = told.body["error"]
    if isinstance(error, dict):
        assert {"message", "type", "param", "code"} <= error.keys()
        request_id = error["request_id"]
    else:
        assert isinstance(error, str)
        request_id = told.body["request_id"]
    assert request_id == told.headers["X-Request-Id"]
    line = served.line_of(told)
    assert (line["event"], line["status"], line["problem"]) == ("request", str(status), kind)
    assert (line["level"] == "ERROR") == (status >= 500)


# --- bodies


HF_BODIES = {
    "no audio": (b"", "audio/wav", 400, "no-audio", None),
    "no JSON audio": (b"", "application/json", 400, "no-audio", None),
    "empty inputs": (b'{"inputs": ""}', "application/json", 400, "no-audio", None),
    "inputs missing": (b'{"parameters": {}}', "application/json", 400, "bad-request", "inputs"),
    "inputs a number": (b'{"inputs": 3}', "application/json", 400, "bad-request", "inputs"),
    "inputs no base64": (b'{"inputs": "!!"}', "application/json", 400, "bad-request", "inputs"),
    "inputs a path": (b'{"inputs": "/etc/hosts.conf"}', "application/json", 400, "bad-request", "inputs"),
    "inputs a file URL": (b'{"inputs": "file:///etc/hosts"}', "application/json", 400, "bad-request", "inputs"),
    "inputs an address": (
        b'{"inputs": "http://127.0.0.1/a.wav"}',
        "application/json",
        422,
        "url-input-disabled",
        "inputs",
    ),
    "an address": (b"https://example.com/a.wav", "text/plain", 422, "url-input-disabled", "the body"),
    "no JSON": (b"{nonsense", "application/json", 400, "bad-request", None),
    "parameters a number": (
        b'{"inputs": "QUJD", "parameters": []}',
        "application/json",
        400,
        "bad-request",
        "parameters",
    ),
    "unknown bytes": (b"\x00\x01\x02\x03", "audio/wav", 400, "unreadable-audio", None),
    "unknown bytes in JSON": (b'{"inputs": "AAECAw=="}', "application/json", 400, "unreadable-audio", None),
    "a corrupt wav": (b"RIFF\x10\x00\x00\x00WAVEnothing", "audio/wav", 400, "unreadable-audio", None),
    "a png": (b"\x89PNG\r\n\x1a\n", "audio/wav", 415, "unsupported-media-type", None),
    "a pdf": (b"%PDF-1.7\n", "audio/wav", 415, "unsupported-media-type", None),
    "a zip": (b"PK\x03\x04\x14\x00", "application/zip", 415, "unsupported-media-type", None),
    "a zip in JSON": (b'{"inputs": "UEsDBBQA"}', "application/json", 415, "unsupported-media-type", None),
    "a playlist": (b"#EXTM3U\nhttp://127.0.0.1/a.ts\n", "audio/mpegurl", 415, "unsupported-media-type", None),
    "out of range": (
        b'{"inputs": "QUJD", "parameters": {"generation_parameters": {"temperature": 9}}}',
        "application/json",
        422,
        "invalid-parameter",
        "generation_parameters.temperature",
    ),
    "wrong type": (
        b'{"inputs": "QUJD", "parameters": {"return_timestamps": 7}}',
        "application/json",
        422,
        "invalid-parameter",
        "return_timestamps",
    ),
    "unknown parameter": (
        b'{"inputs": "QUJD", "parameters": {"volume": 11}}',
        "application/json",
        422,
        "invalid-parameter",
        "volume",
    ),
}


@pytest.mark.parametrize("case", HF_BODIES)
async def test_bad_bodies_in_the_hf_shape(case: str, served: Served) -> None:
    body, content_type, status, kind, param = HF_BODIES[case]
    told = await served.post(body=body, **{"Content-Type": content_type})
    check(served, told, status, kind)
    assert isinstance(told.body["error"], str)
    assert told.param == param


OPENAI_FORMS: dict[str, tuple[bytes | None, dict[str, str], int, str, str | None]] = {
    "no file": (None, {}, 400, "bad-request", "file"),
    "an empty file": (b"", {}, 400, "no-audio", None),
    "unknown bytes": (b"\x00\x01\x02\x03", {}, 400, "unreadable-audio", None),
    "a corrupt flac": (b"fLaC" + bytes(100), {}, 400, "unreadable-audio", None),
    "a png": (b"\x89PNG\r\n\x1a\n", {}, 415, "unsupported-media-type", None),
    "an address": (b"http://127.0.0.1/a.wav", {}, 422, "url-input-disabled", "file"),
    "a path": (b"/etc/hosts", {}, 400, "unreadable-audio", None),
    "out of range": (WAV, {"temperature": "3"}, 422, "invalid-parameter", "temperature"),
    "unknown format": (WAV, {"response_format": "mp3"}, 400, "unsupported-value", "response_format"),
}


@pytest.mark.parametrize("case", OPENAI_FORMS)
async def test_bad_forms_in_the_openai_shape(case: str, served: Served) -> None:
    file, fields, status, kind, param = OPENAI_FORMS[case]
    told = await served.openai(file, **fields)
    check(served, told, status, kind)
    assert isinstance(told.body["error"], dict)
    assert told.param == param


@pytest.mark.parametrize("content_type", ["application/json", "audio/wav"])
async def test_openai_takes_forms_only(content_type: str, served: Served) -> None:
    told = await served.post("/v1/audio/transcriptions", WAV, **{"Content-Type": content_type})
    check(served, told, 415, "unsupported-media-type")


async def test_a_truncated_mp4_names_what_is_missing(served: Served) -> None:
    whole = encoded(tone(2, 16_000), 16_000, "mp4", "aac")
    told = await served.post(body=whole[: len(whole) // 2])
    check(served, told, 400, "unreadable-audio")
    assert "mp4" in told.message


async def test_audio_that_only_the_upstream_finds_broken_is_400(served: Served) -> None:
    """The headers are right and so is the length; the frames are noise."""
    flac = bytearray(sample("sb_spk2_snt1.flac"))
    flac[200:-9_000] = blake3(b"noise").digest(length=len(flac) - 9_200)
    told = await served.post(body=bytes(flac[:60]) + bytes(len(flac) - 60))
    check(served, told, 400, "unreadable-audio")


async def test_a_compressed_body_is_415(served: Served) -> None:
    for path in (f"/models/{MODEL}", "/v1/audio/transcriptions"):
        told = await served.post(path, b"\x1f\x8b\x08", **{"Content-Encoding": "gzip"})
        check(served, told, 415, "unsupported-media-type")


# --- too much


def endless(head: bytes) -> tuple[list[int], AsyncIterator[bytes]]:
    """Return the bytes taken so far, and a body without end."""
    taken = [0]

    async def body() -> AsyncIterator[bytes]:
        yield head
        while True:
            taken[0] += 65_536
            yield b"A" * 65_536
            await asyncio.sleep(0)

    return taken, body()


FORM_HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
ENDLESS = {
    "raw": ("/models/x", WAV[:44], "audio/wav"),
    "json": ("/models/x", b'{"inputs": "', "application/json"),
    "text": ("/models/x", b"QUJD" * 128, "text/plain"),
    "hf form": ("/models/x", FORM_HEAD, "multipart/form-data; boundary=b"),
    "openai form": ("/v1/audio/transcriptions", FORM_HEAD, "multipart/form-data; boundary=b"),
    "fal": ("/fal-ai/whisper", b'{"audio_url": "data:audio/wav;base64,', "application/json"),
    "replicate": ("/replicate/v1/predictions", b'{"version": "x", "input": {"audio": "', "application/json"),
}


@pytest.mark.parametrize("kind", ENDLESS)
async def test_a_body_without_end_is_413_while_it_arrives(kind: str, served: Served) -> None:
    path, head, content_type = ENDLESS[kind]
    taken, body = endless(head)
    told = await served.post(path, body, **{"Content-Type": content_type})
    check(served, told, 413, "too-large")
    assert str(MAX_UPLOAD) in told.message or str(MAX_UPLOAD * 4 // 3 + 65_536) in told.message
    # What stands between: the buffers of two sockets.
    assert taken[0] < MAX_UPLOAD * 4 // 3 + 20_000_000


async def test_an_announced_size_is_413_before_it_arrives(served: Served) -> None:
    async def never() -> AsyncIterator[bytes]:
        yield WAV[:1000]
        await asyncio.Event().wait()

    told = await served.post(body=never(), **{"Content-Length": str(10**10)})
    check(served, told, 413, "too-large")
    assert told.headers["Connection"] == "close"


async def test_longer_than_allowed_is_413(emulate: Emulate) -> None:
    async with serving(settings({"up": await emulate("hf-inference")}, max_duration=5.0)) as served:
        for told in (await served.post(), await served.openai()):
            check(served, told, 413, "too-long")
            assert "5 s" in told.message


async def test_larger_than_any_deployment_takes_is_413(served: Served, emulate: Emulate) -> None:
    """hf-inference takes 25 MiB; the gateway would take more, but is not to ask for parts."""
    roomy = settings({"up": await emulate("hf-inference")}, max_upload=40_000_000)
    whole = roomy.models[MODEL].model_copy(update={"long_audio": LongAudio(split=False)})
    roomy = roomy.model_copy(update={"models": {MODEL: whole}})
    large = encoded(tone(1, 48_000), 48_000, "wav", "pcm_s16le")
    async with serving(roomy) as other:
        told = await other.post(body=BytesIO(large + bytes(26_300_000)))
        check(other, told, 413, "too-large")
        assert "up/whisper takes at most" in told.message


async def test_a_body_that_stalls_is_408(emulate: Emulate) -> None:
    async def stalling(begins: bytes) -> AsyncIterator[bytes]:
        yield begins
        await asyncio.Event().wait()

    form = {"Content-Type": "multipart/form-data; boundary=b"}
    async with serving(settings({"up": await emulate("hf-inference")}, body_timeout=0.3)) as served:
        check(served, await served.post(body=stalling(WAV[:1000])), 408, "stalled")
        told = await served.post("/v1/audio/transcriptions", stalling(FORM_HEAD + WAV[:1000]), **form)
        check(served, told, 408, "stalled")


async def test_a_body_that_trickles_is_408(emulate: Emulate) -> None:
    async def trickling() -> AsyncIterator[bytes]:
        yield WAV[:1000]
        while True:
            await asyncio.sleep(0.05)
            yield b"."

    chosen = settings({"up": await emulate("hf-inference")}, body_timeout=0.3, body_min_rate=10_000)
    async with serving(chosen) as served:
        check(served, await served.post(body=trickling()), 408, "stalled")


async def test_no_room_for_the_upload_is_507(emulate: Emulate, tmp_path: Path) -> None:
    url = await emulate("hf-inference")
    full = {"memory_per_upload": 1000, "disk_total": 100_000}
    unwritable = {"memory_per_upload": 1000, "directory": tmp_path / "missing"}
    for spool in (full, unwritable):
        async with serving(settings({"up": url}, spool=spool)) as served:
            check(served, await served.post(), 507, "spool-full")
            check(served, await served.openai(), 507, "spool-full")
            check(served, await served.hf({"inputs": base64.b64encode(WAV).decode()}), 507, "spool-full")
            assert str(tmp_path) not in json.dumps(served.lines)


# --- who may call


async def test_a_missing_or_wrong_key_is_401(emulate: Emulate) -> None:
    async with serving(settings({"up": await emulate("hf-inference")}, auth=KEYS)) as served:
        for given in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic bmV3c3Jvb20="}):
            for path in (f"/models/{MODEL}", "/v1/audio/transcriptions", "/nowhere"):
                told = await served.post(path, WAV, **given)
                check(served, told, 401, "unauthorized")
                assert told.headers["WWW-Authenticate"] == "Bearer"


async def test_a_key_without_that_model_is_403(emulate: Emulate) -> None:
    async with serving(
        settings({"up": await emulate("hf-inference")}, auth=KEYS), Authorization="Bearer hf_gw_other"
    ) as served:
        for told in (await served.post(), await served.openai()):
            check(served, told, 403, "model-not-allowed")
            assert served.line_of(told)["caller"] == "other"


async def test_an_unknown_model_is_404_with_the_nearest(served: Served) -> None:
    near = MODEL.replace("large", "lagre")
    for told in (await served.post(f"/models/{near}"), await served.openai(model=near)):
        check(served, told, 404, "unknown-model")
        assert MODEL in told.message
        assert served.line_of(told)["model"] == "other"


# --- nobody can


BROKEN = {
    "500": upstreams.answers(500, {"error": "KeyError: secret-of-the-provider"}),
    "503": upstreams.answers(503, b"<html>secret-of-the-provider</html>"),
    "401": upstreams.answers(401, {"error": "Invalid credentials secret-of-the-provider"}),
    "402": upstreams.answers(402, {"error": "You have exceeded your credits secret-of-the-provider"}),
    "404": upstreams.answers(404, {"error": "Not Found"}),
    "413": upstreams.answers(413, {"error": "too large"}),
    "429": upstreams.answers(429, {"error": "slow down"}, Retry_After="7"),
    "redirect": upstreams.answers(302, b"", Location="http://127.0.0.1:9/"),
    "no JSON": upstreams.answers(200, b"<html>secret-of-the-provider</html>"),
    "other JSON": upstreams.answers(200, {"transcript": "secret-of-the-provider"}),
    "cut": upstreams.cuts_the_reply,
    "closed": upstreams.closes,
    "no HTTP": upstreams.speaks_no_http,
}


@pytest.mark.parametrize("how", BROKEN)
async def test_the_next_one_answers_with_the_same_bytes(how: str, emulate: Emulate) -> None:
    """Failover: the body arrives whole at the second, byte for byte."""
    second = await emulate("hf-inference")
    async with (
        upstreams.faulty(BROKEN[how]) as broken,
        serving(settings({"first": broken.url, "second": second})) as served,
    ):
        told = await served.post()
        assert told.status == 200, told
        assert told.body["text"] == f"blake3 {blake3(WAV).hexdigest()}"
        assert (told.headers["X-Gateway-Attempts"], told.headers["X-Gateway-Provider"]) == ("2", "second")
        assert broken.bodies == [WAV]
        is_left_alone = how in {"401", "402", "429"}  # it said so: nobody else need hear it
        told = await served.openai()
        assert (told.status, told.headers["X-Gateway-Provider"]) == (200, "second")
        assert told.headers["X-Gateway-Attempts"] == ("1" if is_left_alone else "2")
        assert broken.bodies == [WAV] * (1 if is_left_alone else 2)


async def test_the_next_one_answers_where_the_first_hangs(emulate: Emulate) -> None:
    """It is given half of the time that is left, and no more."""
    async with upstreams.faulty(upstreams.hangs) as silent:
        urls = {"first": silent.url, "second": await emulate("hf-inference")}
        async with serving(settings(urls, deadline={"base": 2, "per_audio_second": 0})) as served:
            told = await served.post()
    assert (told.status, told.headers["X-Gateway-Attempts"]) == (200, "2")


async def test_the_next_one_answers_where_nobody_listens(emulate: Emulate) -> None:
    """Also a body that waits in a file: it is read again from its beginning."""
    urls = {"first": await upstreams.refused(), "second": await emulate("hf-inference")}
    large = sample("two_cities.flac")
    async with serving(settings(urls, spool={"memory_per_upload": 1000})) as served:
        told = await served.post(body=large)
        assert told.headers["X-Gateway-Attempts"] == "2"
        assert told.body["text"] == f"blake3 {blake3(large).hexdigest()}"


async def test_every_deployment_failed_is_502_with_a_line_for_each() -> None:
    async with upstreams.faulty(BROKEN["500"]) as first, upstreams.faulty(upstreams.cuts_the_reply) as second:
        urls = {"first": first.url, "second": second.url, "third": await upstreams.refused()}
        async with serving(settings(urls)) as served:
            for told in (await served.post(), await served.openai()):
                check(served, told, 502, "all-failed")
                assert told.headers["x-should-retry"] == "false"
                for name, outcome in (("first", "unavailable"), ("second", "malformed"), ("third", "unavailable")):
                    assert f"{name}/whisper: {outcome} after " in told.message
                assert "secret-of-the-provider" not in json.dumps(told.body)
                assert "first/whisper: unavailable" in served.line_of(told)["cause"]
            assert "secret-of-the-provider" not in json.dumps(served.lines)
            assert (
                samples(served.gateway)["asr_attempts_total{deployment=second/whisper,kind=failover,outcome=malformed}"]
                == 2
            )


async def test_all_rate_limited_is_429_with_the_shortest_wait() -> None:
    async with (
        upstreams.faulty(upstreams.answers(429, {"error": "slow"}, Retry_After="7")) as first,
        upstreams.faulty(upstreams.answers(429, {"error": "slow"}, Retry_After="3")) as second,
        serving(settings({"first": first.url, "second": second.url})) as served,
    ):
        for told in (await served.post(), await served.openai()):
            check(served, told, 429, "rate-limited")
            assert told.headers["Retry-After"] == "3"


async def test_the_deadline_is_504_with_the_same_lines() -> None:
    async with upstreams.faulty(upstreams.hangs) as silent:
        chosen = settings({"first": silent.url}, deadline={"base": 0.4, "per_audio_second": 0})
        async with serving(chosen) as served:
            for told in (await served.post(), await served.openai()):
                check(served, told, 504, "deadline")
                assert told.headers["x-should-retry"] == "false"
                assert "first/whisper: timeout after " in told.message
            await silent.left.wait()


async def test_audio_the_provider_refuses_is_400_and_not_sent_on(emulate: Emulate) -> None:
    refuses = upstreams.answers(400, {"error": "Malformed soundfile: secret-of-the-provider"})
    async with (
        upstreams.faulty(refuses) as first,
        upstreams.faulty(upstreams.hangs) as second,
        serving(settings({"first": first.url, "second": second.url})) as served,
    ):
        told = await served.post()
        check(served, told, 400, "unreadable-audio")
        assert "secret-of-the-provider" not in told.message
        assert second.calls == 0


# --- the client leaves


@pytest.mark.parametrize("memory_per_upload", [1000, 10_000_000])
async def test_a_client_who_leaves_cancels_the_upstream_call(memory_per_upload: int) -> None:
    """The provider sees the connection end; it is no failure of its; nothing is kept."""
    async with upstreams.faulty(upstreams.hangs) as silent, upstreams.faulty(upstreams.hangs) as second:
        chosen = settings({"first": silent.url, "second": second.url}, spool={"memory_per_upload": memory_per_upload})
        async with serving(chosen) as served:
            asking = asyncio.get_running_loop().create_task(served.post())
            await silent.called.wait()
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            await silent.left.wait()
            await served.at_rest()
            (line,) = served.lines
            assert (line["status"], line["problem"]) == ("cancelled", "")
            counted = samples(served.gateway)
            assert counted["asr_attempts_total{deployment=first/whisper,kind=first,outcome=cancelled}"] == 1
            assert counted[f"asr_requests_total{{front=hf,model={MODEL},status=cancelled}}"] == 1
            assert second.calls == 0


async def test_a_client_who_leaves_half_way_is_cancelled_too(served: Served) -> None:
    sending = asyncio.Event()

    async def half() -> AsyncIterator[bytes]:
        yield WAV[:200_000]
        sending.set()
        await asyncio.Event().wait()

    asking = asyncio.get_running_loop().create_task(served.post(body=half()))
    await sending.wait()
    while served.gateway.spool.memory_used == 0:  # noqa: ASYNC110 - a budget has no event to wait for
        await asyncio.sleep(0.01)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await served.at_rest()
    assert served.lines[-1]["status"] == "cancelled"
