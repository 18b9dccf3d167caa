"""The fronts in the providers' own shapes, over a real socket; the job behind goes wherever the model is routed."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from blake3 import blake3
from pydantic import SecretStr

from config.auth import Auth, AuthMode
from config.settings import AccountSettings
from tests.conftest import KEY, sample
from tests.serving import routed, running
from tests.wire import Reply, send

MODEL = "openai/whisper-large-v3"
CLIP = sample("slushy.ogg")
HEARD = f"blake3 {blake3(CLIP).hexdigest()}"
DATA_URI = f"data:audio/mpeg;base64,{base64.b64encode(CLIP).decode()}"  # Python's label for whatever it is
FAST_WHISPER = "3ab86df6c8f54c11309d4d1f930ac292bad43ace52d10c80d87eb258b3c9f79c"
WHISPER = "8099696689d249cf8b122d833c36ac3f75505c666a395ca40ef26f68e7d3d16e"
FORM = {"content-type": "multipart/form-data; boundary=cut"}
DEEPINFRA = "/deepinfra/v1/openai/audio/transcriptions"
TOGETHER = "/together/v1/audio/transcriptions"


@pytest.fixture
async def gateway(emulate: Callable[..., Awaitable[str]]) -> AsyncIterator[str]:
    hub = AccountSettings(adapter="hf-inference", base_url=await emulate("hf-inference"), api_key=SecretStr(KEY))
    async with running(routed(MODEL, {"hub": hub}, f"hub/{MODEL}")) as (url, _):
        yield url


def answer(reply: Reply, status: int = 200) -> dict[str, Any]:
    assert reply.status == status, reply.body
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-request-id"]
    answered: dict[str, Any] = reply.json()
    return answered


def refused(reply: Reply, status: int, param: str | None) -> str:
    """Return the reason: `error` is a string in every dialect, for that is what the clients show."""
    answered = answer(reply, status)
    assert answered.get("param") == param
    reason: str = answered["error"]
    assert isinstance(reason, str)
    return reason


async def fal(gateway: str, path: str = f"/fal-ai/{MODEL}", **fields: Any) -> Reply:
    return await send(gateway, path, json.dumps({"audio_url": DATA_URI, **fields}).encode())


async def replicate(gateway: str, path: str = "/replicate/v1/predictions", **fields: Any) -> Reply:
    fields["input"] = {"audio": DATA_URI, **fields.get("input", {})}
    return await send(gateway, path, json.dumps(fields).encode(), {"prefer": "wait"})


async def upload(gateway: str, path: str, *fields: tuple[str, str], file: bytes = CLIP) -> Reply:
    """Send a form as the clients build it: the file first, the model last."""
    parts = [b'--cut\r\ncontent-disposition: form-data; name="file"; filename="audio.wav"\r\n\r\n' + file]
    parts += [f'--cut\r\ncontent-disposition: form-data; name="{n}"\r\n\r\n{v}'.encode() for n, v in fields]
    return await send(gateway, path, b"\r\n".join([*parts, b"--cut--\r\n"]), FORM)


# --- fal


@pytest.mark.parametrize(
    "path",
    [
        f"/fal-ai/{MODEL}",
        f"/fal-ai/{MODEL}/",
        "/fal-ai/fal-ai/whisper",
        "/fal-ai/whisper",
        f"/fal-ai/{MODEL}?_subdomain=queue",
    ],
)
async def test_fal_knows_our_names_and_its_own(gateway: str, path: str) -> None:
    assert answer(await fal(gateway, path)) == {"text": HEARD, "chunks": [], "inferred_languages": []}


@pytest.mark.parametrize(
    "fields",
    [
        {"chunk_level": "word"},
        {"parameters": {"chunk_level": "word"}},
        {"return_timestamps": "word"},
        {"parameters": {"return_timestamps": "word"}, "chunk_level": None},
    ],
)
async def test_fal_fields_are_flat_or_nested(gateway: str, fields: dict[str, Any]) -> None:
    """Python sends them flat, JavaScript under `parameters`."""
    chunks = answer(await fal(gateway, **fields))["chunks"]
    assert [each["text"] for each in chunks] == HEARD.split()
    assert all(isinstance(end, float) for each in chunks for end in each["timestamp"])


async def test_fal_segments_and_what_has_no_times(gateway: str) -> None:
    assert len(answer(await fal(gateway, chunk_level="segment"))["chunks"]) == 1
    assert answer(await fal(gateway, chunk_level="none", task="transcribe", language="en"))["chunks"] == []


async def test_fals_own_options_are_checked_and_named_where_they_had_no_effect(gateway: str) -> None:
    reply = await fal(gateway, num_speakers=2)
    assert reply.headers["x-gateway-ignored-parameters"] == "provider_options.fal-ai.num_speakers"
    refused(await fal(gateway, num_speakers=99), 422, "provider_options.fal-ai.num_speakers")


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"audio_url": "https://example.com/a.mp3"}, 422, "audio_url"),
        ({"audio_url": None}, 400, "audio_url"),
        ({"audio_url": "data:audio/mpeg,notbase64"}, 400, "audio_url"),
        ({"chunk_level": "letter"}, 422, "chunk_level"),
        ({"chunk_level": ["word"]}, 422, "chunk_level"),
        ({"parameters": "word"}, 400, "parameters"),
        ({"surprise": 1}, 422, "surprise"),
        ({"temperature": 3}, 422, "temperature"),
    ],
)
async def test_what_fal_refuses(gateway: str, fields: dict[str, Any], status: int, param: str) -> None:
    refused(await fal(gateway, **fields), status, param)


async def test_fal_takes_json_and_nothing_else(gateway: str) -> None:
    refused(await send(gateway, f"/fal-ai/{MODEL}", CLIP, {"content-type": "audio/ogg"}), 400, None)
    refused(await fal(gateway, "/fal-ai/nobody/knows"), 404, None)


# --- Replicate


@pytest.mark.parametrize("version", [MODEL, WHISPER, FAST_WHISPER, f"openai/whisper:{WHISPER}"])
async def test_replicate_by_version(gateway: str, version: str) -> None:
    """The Hub's real mapping sends the bare version."""
    answered = answer(await replicate(gateway, version=version), 201)
    assert (answered["status"], answered["error"]) == ("succeeded", None)
    assert answered["output"]["transcription"] == HEARD
    assert "translation" not in answered["output"]


@pytest.mark.parametrize("model", [MODEL, "openai/whisper", "vaibhavs10/incredibly-fast-whisper"])
async def test_replicate_by_model(gateway: str, model: str) -> None:
    answered = answer(await replicate(gateway, f"/replicate/v1/models/{model}/predictions"), 201)
    assert answered["output"]["transcription"] == HEARD


@pytest.mark.parametrize("asked", [{"return_timestamps": "word"}, {"timestamp": "word", "task": "transcribe"}])
async def test_replicate_words(gateway: str, asked: dict[str, Any]) -> None:
    answered = answer(await replicate(gateway, version=MODEL, input={**asked, "language": "None"}), 201)
    assert [each["text"] for each in answered["output"]["chunks"]] == HEARD.split()


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({}, 400, "version"),
        ({"version": 5}, 400, "version"),
        ({"version": "0" * 64}, 404, None),
        ({"version": MODEL, "input": {"audio": "https://example.com/a.wav"}}, 422, "input.audio"),
        ({"version": MODEL, "input": {"audio": None}}, 400, "input.audio"),
        ({"version": MODEL, "input": {"timestamp": "letter"}}, 422, "timestamp"),
        ({"version": MODEL, "input": {"translate": "yes"}}, 422, "translate"),
        ({"version": MODEL, "input": {"diarise_audio": "yes"}}, 422, "diarize"),
        ({"version": MODEL, "input": {"hf_token": "hf_secret"}}, 422, "hf_token"),
        ({"version": MODEL, "webhook": "https://example.com"}, 422, "webhook"),
        ({"version": MODEL, "surprise": 1}, 422, "surprise"),
    ],
)
async def test_what_replicate_refuses(gateway: str, fields: dict[str, Any], status: int, param: str | None) -> None:
    reason = refused(await replicate(gateway, **fields), status, param)
    assert "hf_secret" not in reason


async def test_replicate_without_a_webhook_or_a_stream(gateway: str) -> None:
    answer(await replicate(gateway, version=MODEL, webhook=None, stream=False), 201)


# --- DeepInfra and Together


@pytest.mark.parametrize("path", [DEEPINFRA, TOGETHER])
async def test_forms_with_the_model_last(gateway: str, path: str) -> None:
    assert answer(await upload(gateway, path, ("language", "en"), ("model", MODEL))) == {"text": HEARD}


@pytest.mark.parametrize(
    "fields",
    [
        [("response_format", "verbose_json")],
        [("timestamp_granularities", '["segment"]')],
        [("timestamp_granularities[]", "segment")],
        [("return_timestamps", "true")],
        [("return_timestamps", "true"), ("response_format", "json")],
    ],
)
async def test_segments_when_asked_for(gateway: str, fields: list[tuple[str, str]]) -> None:
    """The clients make chunks of them."""
    answered = answer(await upload(gateway, DEEPINFRA, *fields, ("model", MODEL)))
    assert answered == {"text": HEARD, "segments": [{"id": 0, "text": HEARD, "start": 0.0, "end": 13.69}]}


@pytest.mark.parametrize(
    "fields",
    [
        [("timestamp_granularities", "word")],
        [("timestamp_granularities", '["word", "segment"]')],
        [("timestamp_granularities[]", "segment"), ("timestamp_granularities[]", "word")],
        [
            ("response_format", "verbose_json"),
            ("timestamp_granularities", "segment"),
            ("timestamp_granularities", "word"),
        ],
    ],
)
async def test_words_stand_beside_the_segments(gateway: str, fields: list[tuple[str, str]]) -> None:
    answered = answer(await upload(gateway, DEEPINFRA, *fields, ("model", MODEL)))
    assert [each["word"] for each in answered["words"]] == HEARD.split()
    assert answered["segments"]


async def test_the_specifications_word_makes_chunks_of_words(gateway: str) -> None:
    answered = answer(await upload(gateway, TOGETHER, ("return_timestamps", "word"), ("model", MODEL)))
    assert [each["text"] for each in answered["segments"]] == HEARD.split()


async def test_a_prompt_that_looks_like_a_number_is_a_prompt(gateway: str) -> None:
    answer(await upload(gateway, DEEPINFRA, ("generate", '{"temperature": 0.2}'), ("top_k", "5"), ("model", MODEL)))
    reply = await upload(gateway, DEEPINFRA, ("prompt", "1984"), ("model", MODEL))
    refused(reply, 422, "prompt")  # of which this route's only provider knows nothing: not of its type


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ([], "model"),
        ([("response_format", "srt"), ("model", MODEL)], "response_format"),
        ([("timestamp_granularities", "letter"), ("model", MODEL)], "timestamp_granularities"),
        ([("temperature", "hot"), ("model", MODEL)], "temperature"),
        ([("flag", "true"), ("model", MODEL)], "flag"),
        ([("language", "en"), ("language", "fr"), ("model", MODEL)], "language"),
    ],
)
async def test_what_a_form_refuses(gateway: str, fields: list[tuple[str, str]], param: str) -> None:
    refused(await upload(gateway, DEEPINFRA, *fields), 400 if param == "model" else 422, param)


async def test_an_address_instead_of_a_file(gateway: str) -> None:
    """Together's SDK form allows it."""
    refused(await upload(gateway, TOGETHER, ("model", MODEL), file=b"https://example.test/a.mp3"), 422, "file")


async def test_a_form_is_wanted(gateway: str) -> None:
    reply = await send(gateway, DEEPINFRA, CLIP, {"content-type": "audio/ogg"})
    assert refused(reply, 415, None) == "Content-Type must be multipart/form-data"


# --- whose token


async def test_in_passthrough_a_token_goes_to_the_provider_whose_dialect_was_spoken(
    emulate: Callable[..., Awaitable[str]],
) -> None:
    accounts = {
        "deep": AccountSettings(adapter="deepinfra", base_url=await emulate("deepinfra")),
        "hub": AccountSettings(adapter="hf-inference", base_url=await emulate("hf-inference")),
    }
    settings = routed(MODEL, accounts, f"hub/{MODEL}", f"deep/{MODEL}")
    settings = settings.model_copy(update={"auth": Auth(mode=AuthMode.PASSTHROUGH)})
    async with running(settings) as (url, _):
        body = (
            (
                f'--cut\r\ncontent-disposition: form-data; name="model"\r\n\r\n{MODEL}\r\n'
                '--cut\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n'
            ).encode()
            + CLIP
            + b"\r\n--cut--\r\n"
        )
        mine = {"authorization": f"Bearer {KEY}"}
        reply = await send(url, DEEPINFRA, body, {**FORM, **mine})
        assert answer(reply)["text"] == HEARD
        assert reply.headers["x-gateway-provider"] == "deep"
        assert (await send(url, TOGETHER, body, {**FORM, **mine})).status == 403
