"""The emulator driven by OpenAI's own SDK: its typed models accept every answer, its errors every refusal."""

from __future__ import annotations

import asyncio
import io
import wave
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import openai
import pytest
from aiohttp import ClientSession, FormData
from openai.types.audio import (
    Transcription,
    TranscriptionDiarized,
    TranscriptionTextDeltaEvent,
    TranscriptionTextDoneEvent,
    TranscriptionTextSegmentEvent,
    TranscriptionVerbose,
    Translation,
    TranslationVerbose,
)

from tests.conftest import KEY, sample

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from providers.emulators.ear import LocalEar

    Emulate = Callable[..., Awaitable[str]]

FILE = ("slushy.mp3", sample("slushy.mp3"))
DIARIZES = "gpt-4o-transcribe-diarize"


@asynccontextmanager
async def sdk(root: str, key: str = KEY) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(api_key=key, base_url=f"{root}/v1", max_retries=0) as client:
        yield client


async def transcribe(root: str, *, key: str = KEY, **wanted: Any) -> Any:
    async with sdk(root, key) as client:
        return await client.audio.transcriptions.create(**{"file": FILE, "model": "whisper-1", **wanted})


async def test_json_of_every_model(emulate: Emulate) -> None:
    root = await emulate("openai")
    for model in ("whisper-1", "gpt-transcribe", "gpt-4o-transcribe", "gpt-4o-mini-transcribe-2025-12-15"):
        heard = await transcribe(root, model=model)
        assert isinstance(heard, Transcription)
        assert heard.text.startswith("blake3 ")
        assert heard.usage is not None
        assert heard.usage.type == ("tokens" if "4o" in model else "duration")


async def test_the_synchronous_sdk_hears_real_speech(emulate: Emulate, local_ear: LocalEar) -> None:
    root = await emulate("openai", local_ear)

    def call() -> TranscriptionVerbose:
        with openai.OpenAI(api_key=KEY, base_url=f"{root}/v1", max_retries=0) as client:
            return client.audio.transcriptions.create(
                file=FILE,
                model="whisper-1",
                response_format="verbose_json",
                timestamp_granularities=["word", "segment"],
            )

    heard = await asyncio.to_thread(call)
    assert "slushy country roads" in heard.text
    assert (heard.language, round(heard.duration)) == ("english", 14)
    assert heard.words is not None
    assert [word.word for word in heard.words[1:4]] == ["along", "slushy", "country"]
    assert heard.segments is not None
    assert heard.segments[-1].end <= 14
    assert heard.segments[0].text.startswith(" ")


@pytest.mark.parametrize(("levels", "words", "segments"), [(["word"], True, False), (None, False, True)])
async def test_only_the_times_asked_for_are_there(
    emulate: Emulate,
    levels: list[str] | None,
    words: bool,  # noqa: FBT001 - a parameter of the table
    segments: bool,  # noqa: FBT001 - a parameter of the table
) -> None:
    levels_named: dict[str, Any] = {"timestamp_granularities": levels} if levels else {}
    heard = await transcribe(await emulate("openai"), response_format="verbose_json", **levels_named)

    assert isinstance(heard, TranscriptionVerbose)
    assert (heard.words is not None, heard.segments is not None) == (words, segments)


@pytest.mark.parametrize(
    ("written", "begins"),
    [
        ("text", "blake3 "),
        ("srt", "1\n00:00:00,000 --> 00:00:13,690\nblake3 "),
        ("vtt", "WEBVTT\n\n00:00:00.000 --> 00:00:13,690\nblake3 ".replace("13,690", "13.690")),
    ],
)
async def test_text_and_subtitles_are_strings(emulate: Emulate, written: str, begins: str) -> None:
    heard = await transcribe(await emulate("openai"), file=("a.flac", sample("slushy.flac")), response_format=written)

    assert isinstance(heard, str)
    assert heard.startswith(begins)


@pytest.mark.parametrize("strategy", ["auto", {"type": "server_vad", "threshold": 0.4}])
async def test_speakers(emulate: Emulate, strategy: Any) -> None:
    heard = await transcribe(
        await emulate("openai"), model=DIARIZES, response_format="diarized_json", chunking_strategy=strategy
    )
    assert isinstance(heard, TranscriptionDiarized)
    assert [segment.speaker for segment in heard.segments] == ["A"]


async def test_a_strategy_may_be_json_in_one_part(emulate: Emulate) -> None:
    """As go-openai writes it; the file before the other fields, as curl users do."""
    form = FormData()
    form.add_field("file", FILE[1], filename=FILE[0])
    form.add_field("chunking_strategy", '{"type":"server_vad"}')
    form.add_field("model", DIARIZES)
    status, answer = await post(await emulate("openai"), form)

    assert (status, answer["text"][:6]) == (200, "blake3")


async def test_languages_and_keywords_of_gpt_transcribe(emulate: Emulate) -> None:
    heard = await transcribe(
        await emulate("openai"), model="gpt-transcribe", extra_body={"languages": ["de"], "keywords": ["Slush"]}
    )
    assert [each.code for each in heard.languages] == ["de"]


async def test_logprobs(emulate: Emulate) -> None:
    heard = await transcribe(await emulate("openai"), model="gpt-4o-transcribe", include=["logprobs"])

    assert heard.logprobs is not None
    assert bytes(map(int, heard.logprobs[0].bytes)) == b"blake3"


async def test_a_stream_ends_with_the_whole_text(emulate: Emulate) -> None:
    events = [
        event async for event in await transcribe(await emulate("openai"), model="gpt-4o-transcribe", stream=True)
    ]

    *deltas, done = events
    assert all(isinstance(event, TranscriptionTextDeltaEvent) for event in deltas)
    assert isinstance(done, TranscriptionTextDoneEvent)
    assert "".join(event.delta for event in deltas) == done.text


async def test_a_stream_of_speakers_has_their_segments(emulate: Emulate) -> None:
    stream = await transcribe(
        await emulate("openai"),
        model=DIARIZES,
        stream=True,
        response_format="diarized_json",
        chunking_strategy="auto",
    )
    assert [type(event) for event in [event async for event in stream][-2:]] == [
        TranscriptionTextSegmentEvent,
        TranscriptionTextDoneEvent,
    ]


async def test_whisper_does_not_stream(emulate: Emulate) -> None:
    form = FormData({"model": "whisper-1", "stream": "true"})
    form.add_field("file", FILE[1], filename=FILE[0])
    status, answer = await post(await emulate("openai"), form)

    assert (status, sorted(answer)) == (200, ["text", "usage"])


async def translate(root: str, **wanted: Any) -> Any:
    """Translate with the SDK, which warns that the route has an end."""
    async with sdk(root) as client:
        with pytest.deprecated_call():
            answer = client.audio.translations.create(**{"file": FILE, "model": "whisper-1", **wanted})
        return await answer


async def test_translations(emulate: Emulate) -> None:
    root = await emulate("openai")
    verbose = await translate(root, response_format="verbose_json")

    assert isinstance(await translate(root), Translation)
    assert isinstance(verbose, TranslationVerbose)
    assert (verbose.language, len(verbose.segments or [])) == ("english", 1)
    assert (await translate(root, response_format="srt")).startswith("1\n")
    with pytest.raises(openai.BadRequestError):
        await translate(root, model="gpt-4o-transcribe")


async def test_models_say_when_they_end(emulate: Emulate) -> None:
    async with sdk(await emulate("openai")) as client:
        models = {model.id: model async for model in client.models.list()}

    assert getattr(models["whisper-1"], "shutdown_date", None) == "2027-02-26"


@pytest.mark.parametrize(
    ("wanted", "param", "code"),
    [
        ({"model": "gpt-4o-transcribe", "response_format": "verbose_json"}, "response_format", "unsupported_value"),
        ({"response_format": "diarized_json"}, "response_format", "unsupported_value"),
        ({"response_format": "docx"}, "response_format", "invalid_value"),
        ({"model": DIARIZES}, "chunking_strategy", "invalid_value"),
        ({"model": DIARIZES, "chunking_strategy": {"type": "other"}}, "chunking_strategy", "invalid_value"),
        ({"model": DIARIZES, "chunking_strategy": "{"}, "chunking_strategy", "invalid_value"),
        ({"model": DIARIZES, "chunking_strategy": "auto", "prompt": "x"}, "prompt", "unsupported_value"),
        (
            {"model": DIARIZES, "chunking_strategy": "auto", "known_speaker_names": list("abcde")},
            "known_speaker_names",
            "invalid_value",
        ),
        ({"temperature": 1.5}, "temperature", "invalid_value"),
        ({"temperature": "hot"}, "temperature", "invalid_value"),
        ({"language": "english"}, "language", "invalid_language_format"),
        ({"extra_body": {"languages": ["en"]}}, "languages", "unsupported_value"),
        ({"extra_body": {"keywords": ["en"]}}, "keywords", "unsupported_value"),
        ({"timestamp_granularities": ["word"]}, "timestamp_granularities", "invalid_value"),
        (
            {"response_format": "verbose_json", "timestamp_granularities": ["letter"]},
            "timestamp_granularities",
            "invalid_value",
        ),
        (
            {"model": "gpt-4o-transcribe", "timestamp_granularities": ["word"]},
            "timestamp_granularities",
            "unsupported_value",
        ),
        ({"include": ["logprobs"]}, "include", "unsupported_value"),
        (
            {"model": "gpt-4o-transcribe", "include": ["logprobs"], "response_format": "text"},
            "include",
            "invalid_value",
        ),
        ({"file": ("a.docx", FILE[1])}, None, None),
        ({"file": ("a.mp3", b"RIFF\x10\0\0\0WAVEnothing of the kind")}, None, None),
        ({"model": ""}, None, None),
    ],
)
async def test_a_bad_request_is_named(
    emulate: Emulate, wanted: dict[str, Any], param: str | None, code: str | None
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await transcribe(await emulate("openai"), **wanted)
    assert (caught.value.type, caught.value.param, caught.value.code) == ("invalid_request_error", param, code)


async def test_audio_may_be_too_short_or_too_long(emulate: Emulate) -> None:
    root = await emulate("openai")
    with pytest.raises(openai.BadRequestError, match="too short") as caught:
        await transcribe(root, file=("a.wav", silence(0.05)))
    assert caught.value.code == "audio_too_short"
    with pytest.raises(openai.BadRequestError, match="longer than 1400 seconds"):
        await transcribe(root, file=("a.wav", silence(1401)), model="gpt-4o-transcribe")
    assert (await transcribe(root, file=("a.wav", silence(1401)))).text


async def test_keys_models_and_sizes_are_refused_as_the_sdk_expects(emulate: Emulate) -> None:
    root = await emulate("openai")
    with pytest.raises(openai.AuthenticationError) as wrong_key:
        await transcribe(root, key="wrong")
    with pytest.raises(openai.NotFoundError) as no_model:
        await transcribe(root, model="whisper-9")
    with pytest.raises(openai.APIStatusError) as too_large:
        await transcribe(root, file=("a.wav", bytes(26_214_400)))

    assert wrong_key.value.code == "invalid_api_key"
    assert no_model.value.code == "model_not_found"
    assert (too_large.value.status_code, too_large.value.type) == (413, "server_error")


async def test_limits_and_credit(emulate: Emulate) -> None:
    root = await emulate("openai")
    with pytest.raises(openai.RateLimitError) as limited:
        await transcribe(root, key=f"{KEY}-limited")
    with pytest.raises(openai.RateLimitError) as broke:
        await transcribe(root, key=f"{KEY}-broke")

    assert limited.value.response.headers["x-ratelimit-reset-requests"] == "1.2s"
    assert (broke.value.type, broke.value.code) == ("insufficient_quota", "insufficient_quota")


async def test_every_answer_says_what_is_left(emulate: Emulate) -> None:
    async with sdk(await emulate("openai")) as client:
        whisper, gpt = [
            await client.audio.transcriptions.with_raw_response.create(file=FILE, model=model)
            for model in ("whisper-1", "gpt-4o-transcribe")
        ]
    assert whisper.headers["x-request-id"].startswith("req_")
    assert "x-ratelimit-reset-tokens" not in whisper.headers
    assert gpt.headers["x-ratelimit-reset-tokens"] == "6m0s"


async def test_what_is_no_form_or_has_no_file_is_refused(emulate: Emulate) -> None:
    root = await emulate("openai")
    headers = {"authorization": f"Bearer {KEY}"}
    async with (
        ClientSession(headers=headers) as session,
        session.post(f"{root}/v1/audio/transcriptions", json={"model": "whisper-1"}) as reply,
    ):
        assert (reply.status, (await reply.json())["error"]["message"]) == (400, "Could not parse multipart form")
    form = FormData({"model": "whisper-1"})
    form.add_field("file", "a text", content_type="text/plain")
    assert (await post(root, form))[0] == 400


async def post(root: str, form: FormData) -> tuple[int, dict[str, Any]]:
    headers = {"authorization": f"Bearer {KEY}"}
    async with (
        ClientSession(headers=headers) as session,
        session.post(f"{root}/v1/audio/transcriptions", data=form) as reply,
    ):
        return reply.status, await reply.json()


def silence(seconds: float) -> bytes:
    """Return a WAV of so many seconds, 8 kHz, mono, 8 bits."""
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setparams((1, 1, 8000, 0, "NONE", ""))
        written.writeframes(b"\x80" * round(8000 * seconds))
    return file.getvalue()
