"""Every flavour driven by OpenAI's SDK where it can be, and by plain HTTP where the server is not OpenAI's like."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import openai
import pytest
from aiohttp import ClientSession, FormData
from openai.types.audio import Transcription, TranscriptionVerbose, Translation

from tests.conftest import KEY, sample

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from providers.emulators.ear import LocalEar

    Emulate = Callable[..., Awaitable[str]]

FILE = ("slushy.mp3", sample("slushy.mp3"))
MODEL = "Systran/faster-whisper-large-v3"
FLAVOURS = ["/v1", "/speaches/v1", "/vllm/v1", "/localai/v1"]


@asynccontextmanager
async def sdk(base_url: str, key: str = KEY) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(api_key=key, base_url=base_url, max_retries=0) as client:
        yield client


async def transcribe(base_url: str, *, key: str = KEY, **wanted: Any) -> Any:
    async with sdk(base_url, key) as client:
        return await client.audio.transcriptions.create(**{"file": FILE, "model": MODEL, **wanted})


async def post(url: str, *, file: bytes | None = FILE[1], **fields: str) -> tuple[int, str, str]:
    """Send a form to a server that has no SDK; return status, content type and text."""
    form = FormData(fields)
    if file is not None:
        form.add_field("file", file, filename="a")
    async with ClientSession() as session, session.post(url, data=form) as reply:
        return reply.status, reply.content_type, await reply.text()


@pytest.mark.parametrize("flavour", FLAVOURS)
async def test_the_sdk_reads_json_and_text(emulate: Emulate, flavour: str) -> None:
    url = await emulate("openai-compatible") + flavour
    heard = await transcribe(url, response_format="json")

    assert isinstance(heard, Transcription)
    assert heard.text.startswith("blake3 ")
    assert (await transcribe(url, response_format="text")).strip() == heard.text


@pytest.mark.parametrize("flavour", FLAVOURS)
async def test_the_sdk_reads_times(emulate: Emulate, local_ear: LocalEar, flavour: str) -> None:
    url = await emulate("openai-compatible", local_ear) + flavour
    heard = await transcribe(url, response_format="verbose_json", timestamp_granularities=["word", "segment"])

    assert isinstance(heard, TranscriptionVerbose)
    assert heard.segments is not None
    assert "slushy country roads" in " ".join(segment.text for segment in heard.segments)
    assert (heard.words is None) == (flavour == "/vllm/v1")


@pytest.mark.parametrize("flavour", ["/v1", "/speaches/v1", "/localai/v1"])
async def test_subtitles(emulate: Emulate, flavour: str) -> None:
    url = await emulate("openai-compatible") + flavour

    assert (await transcribe(url, response_format="srt")).startswith("1\n00:00:00,000 --> ")
    assert (await transcribe(url, response_format="vtt")).startswith("WEBVTT\n\n00:00:00.000 --> ")


async def translate(base_url: str) -> Any:
    """Translate with the SDK, which warns that OpenAI's own route has an end."""
    async with sdk(base_url) as client:
        with pytest.deprecated_call():
            answer = client.audio.translations.create(file=FILE, model=MODEL)
        return await answer


@pytest.mark.parametrize("flavour", ["/v1", "/speaches/v1", "/vllm/v1"])
async def test_translations(emulate: Emulate, flavour: str) -> None:
    assert isinstance(await translate(await emulate("openai-compatible") + flavour), Translation)


async def test_localai_has_no_translations_route(emulate: Emulate) -> None:
    with pytest.raises(openai.NotFoundError):
        await translate(await emulate("openai-compatible") + "/localai/v1")


@pytest.mark.parametrize("flavour", ["/v1", "/speaches/v1", "/localai/v1"])
async def test_openai_events_are_streamed(emulate: Emulate, flavour: str) -> None:
    stream = await transcribe(await emulate("openai-compatible") + flavour, stream=True)
    *deltas, done = [event async for event in stream]

    assert done.type == "transcript.text.done"
    assert "".join(event.delta for event in deltas) == done.text


async def test_vllm_streams_chunks_of_a_chat(emulate: Emulate) -> None:
    """The SDK takes them for events without a type: whoever relays them must translate."""
    stream = await transcribe(await emulate("openai-compatible") + "/vllm/v1", stream=True)
    events = [event async for event in stream]

    assert {event.type for event in events} == {None}
    assert "".join(event.choices[0]["delta"]["content"] for event in events).startswith("blake3 ")


async def test_vllm_translates_in_chunks_of_their_own_name(emulate: Emulate) -> None:
    form = FormData({"model": MODEL, "stream": "true"})
    form.add_field("file", FILE[1], filename="a.mp3")
    url = await emulate("openai-compatible") + "/vllm/v1/audio/translations"
    headers = {"authorization": f"Bearer {KEY}"}
    async with ClientSession(headers=headers) as session, session.post(url, data=form) as reply:
        first, *_, last, _ = (await reply.text()).split("\n\n")

    assert json.loads(first.removeprefix("data: "))["object"] == "translation.chunk"
    assert last == "data: [DONE]"


async def test_nulls_and_strings_are_as_the_servers_send_them(emulate: Emulate) -> None:
    root = await emulate("openai-compatible")
    async with sdk(f"{root}/speaches/v1") as speaches, sdk(f"{root}/vllm/v1") as vllm:
        plain = await speaches.audio.transcriptions.with_raw_response.create(file=FILE, model=MODEL)
        verbose = await vllm.audio.transcriptions.with_raw_response.create(
            file=FILE, model=MODEL, response_format="verbose_json"
        )

    assert json.loads(plain.text)["logprobs"] is None
    assert isinstance(json.loads(verbose.text)["duration"], str)
    assert json.loads(verbose.text)["segments"][0]["no_speech_prob"] is None


@pytest.mark.parametrize(
    ("flavour", "error"),
    [
        ("/v1", openai.AuthenticationError),
        ("/speaches/v1", openai.PermissionDeniedError),
        ("/vllm/v1", openai.AuthenticationError),
        ("/localai/v1", openai.AuthenticationError),
    ],
)
async def test_a_wrong_key_is_refused(emulate: Emulate, flavour: str, error: type[openai.APIStatusError]) -> None:
    with pytest.raises(error):
        await transcribe(await emulate("openai-compatible") + flavour, key="wrong")


@pytest.mark.parametrize(
    ("flavour", "wanted", "status"),
    [
        ("/v1", {"model": ""}, 400),
        ("/v1", {"response_format": "docx"}, 400),
        ("/speaches/v1", {"model": "missing/model"}, 404),
        ("/speaches/v1", {"file": ("a.mp3", b"no audio")}, 415),
        ("/speaches/v1", {"model": ""}, 422),
        ("/vllm/v1", {"model": "missing/model"}, 404),
        ("/vllm/v1", {"response_format": "srt"}, 400),
        ("/vllm/v1", {"stream": True, "response_format": "verbose_json"}, 400),
        ("/vllm/v1", {"stream": True, "extra_body": {"use_beam_search": True}}, 400),
        ("/vllm/v1", {"file": ("a.wav", bytes(26_300_000))}, 400),
        ("/localai/v1", {"file": ("a.wav", bytes(15_000_000))}, 413),
        ("/localai/v1", {"language": "tlh"}, 400),
    ],
)
async def test_each_refuses_in_its_own_way(emulate: Emulate, flavour: str, wanted: dict[str, Any], status: int) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        await transcribe(await emulate("openai-compatible") + flavour, **wanted)
    assert caught.value.status_code == status
    if flavour != "/v1":
        assert caught.value.body


async def test_vllm_needs_no_model_but_a_file(emulate: Emulate) -> None:
    url = await emulate("openai-compatible") + "/vllm/v1"
    assert (await transcribe(url, model="")).text
    form = FormData({"model": MODEL})
    form.add_field("file", "a text", content_type="text/plain")
    headers = {"authorization": f"Bearer {KEY}"}
    async with ClientSession(headers=headers) as session:
        async with session.post(f"{url}/audio/transcriptions", data=form) as reply:
            assert reply.status == 422
        async with session.post(f"{url}/audio/transcriptions", json={}) as reply:
            assert reply.status == 422


async def test_localai_is_verbose_unless_told(emulate: Emulate) -> None:
    form = FormData({"model": MODEL})
    form.add_field("file", FILE[1], filename="a.mp3")
    url = await emulate("openai-compatible") + "/localai/audio/transcriptions"
    headers = {"authorization": f"Bearer {KEY}"}
    async with ClientSession(headers=headers) as session, session.post(url, data=form) as reply:
        answer = await reply.json()

    assert answer["segments"][0]["speaker"] == "SPEAKER_00"
    assert "words" not in answer


async def test_whisper_cpp_is_spoken_to_without_a_key(emulate: Emulate, local_ear: LocalEar) -> None:
    url = await emulate("openai-compatible", local_ear) + "/whisper-cpp/inference"
    status, kind, text = await post(url, response_format="verbose_json")
    answer = json.loads(text)

    assert (status, kind, answer["language"]) == (200, "application/json", "english")
    assert answer["text"].endswith("\n")
    pieces = [piece["word"] for segment in answer["segments"] for piece in segment["words"]]
    assert " slushy country" in "".join(pieces).lower()
    assert " slushy" not in pieces, "tokens, not words"
    assert "words" not in answer


async def test_whisper_cpp_writes_text_as_html_and_subtitles_by_their_type(emulate: Emulate) -> None:
    url = await emulate("openai-compatible") + "/whisper-cpp/inference"

    assert [(await post(url, response_format=wanted))[1] for wanted in ("text", "srt", "vtt", "json")] == [
        "text/html",
        "application/x-subrip",
        "text/vtt",
        "application/json",
    ]


async def test_whisper_cpp_refuses_with_a_bare_string(emulate: Emulate) -> None:
    url = await emulate("openai-compatible") + "/whisper-cpp/inference"

    status, _, text = await post(url, file=sample("slushy.m4a"))
    assert (status, json.loads(text)) == (400, {"error": "failed to read audio data"})
    async with ClientSession() as session, session.post(url, data=FormData({"language": "en"})()) as reply:
        assert reply.status == 400


NIM_FILE = sample("slushy.flac")


async def test_nim_answers_the_sdk_with_a_text_alone(emulate: Emulate, local_ear: LocalEar) -> None:
    url = await emulate("openai-compatible", local_ear) + "/nim/v1"
    async with sdk(url) as client:
        heard = await client.audio.transcriptions.create(file=("a.flac", NIM_FILE), model="", language="en-US")

    assert "slushy country roads" in heard.text
    assert set(heard.model_dump(exclude_none=True)) == {"text"}


async def test_nim_translates_and_says_when_it_is_ready(emulate: Emulate) -> None:
    url = await emulate("openai-compatible") + "/nim/v1"
    status, kind, text = await post(
        f"{url}/audio/translations", file=NIM_FILE, language="multi", response_format="text"
    )

    assert (status, kind) == (200, "text/plain")
    assert text.startswith("blake3 ")
    async with ClientSession() as session, session.get(f"{url}/health/ready") as reply:
        assert (reply.status, await reply.json()) == (200, {"status": "ready"})


@pytest.mark.parametrize(
    ("file", "fields", "status"),
    [
        (NIM_FILE, {}, 400),
        (NIM_FILE, {"language": "en"}, 400),
        (NIM_FILE, {"language": "tlh-KL"}, 400),
        (NIM_FILE, {"language": "en-US", "response_format": "verbose_json"}, 400),
        (NIM_FILE, {"model": "missing/model"}, 404),
        (FILE[1], {"language": "en-US"}, 400),
        (None, {"language": "en-US"}, 422),
    ],
)
async def test_nim_refuses_with_a_detail(
    emulate: Emulate, file: bytes | None, fields: dict[str, str], status: int
) -> None:
    url = await emulate("openai-compatible") + "/nim/v1/audio/transcriptions"
    told, _, text = await post(url, file=file, **fields)

    assert (told, list(json.loads(text))) == (status, ["detail"])
