"""The emulator, driven by OpenRouter's own SDK and by our adapter over real sockets."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import openrouter
import pytest
from blake3 import blake3
from openrouter import errors

from providers.errors import JobUnsupported, RateLimited
from providers.openrouter import OpenRouterOptions
from providers.types import GenerationParameters, Timestamps
from tests.conftest import KEY, sample
from tests.driving import at, hear
from tests.turns import TURNS, TwoTurns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from providers.emulators.ear import LocalEar

    Emulate = Callable[..., Awaitable[str]]

FLAC = sample("sb_spk2_snt1.flac")
HEARD = f"blake3 {blake3(FLAC).hexdigest()}"
WHISPER, GPT, CHIRP = "openai/whisper-large-v3", "openai/gpt-4o-transcribe", "google/chirp-3"
MAI = "microsoft/mai-transcribe-2"


def client(url: str, key: str = KEY) -> openrouter.OpenRouter:
    return openrouter.OpenRouter(api_key=key, server_url=f"{url}/api/v1", retry_config=None, timeout_ms=60_000)


def inline(audio: bytes = FLAC, format_: str = "flac") -> Any:
    return {"data": base64.b64encode(audio).decode(), "format": format_}


async def test_its_own_sdk_reads_json(emulate: Emulate, local_ear: LocalEar) -> None:
    async with client(await emulate("openrouter", local_ear)) as sdk:
        plain = await sdk.stt.create_transcription_async(
            input_audio=inline(sample("slushy.m4a"), "m4a"), model=GPT, language="en", temperature=0.2
        )
        timed = await sdk.stt.create_transcription_async(
            input_audio=inline(sample("slushy.m4a"), "m4a"),
            model=WHISPER,
            response_format="verbose_json",
            timestamp_granularities=["segment", "word"],
            provider={"zdr": True, "data_collection": "deny"},
        )

    assert "slushy country roads" in plain.text
    assert plain.words is None
    assert plain.usage
    assert plain.usage.cost == pytest.approx(13.69 * 0.0031 / 100, abs=1e-5)
    assert (timed.text, timed.language) == (plain.text, "en")
    assert timed.segments
    assert timed.words
    assert timed.duration == pytest.approx(13.69, abs=0.1)


async def test_its_own_sdk_sends_a_form(emulate: Emulate) -> None:
    """With a list's brackets twice."""
    async with client(await emulate("openrouter", TwoTurns())) as sdk:
        heard = await sdk.stt.create_transcription_multipart_async(
            file={"file_name": "a.flac", "content": FLAC},
            model=MAI,
            response_format="verbose_json",
            timestamp_granularities=["word"],
            diarize=True,
            keyterms=["slushy", "draughty"],
            temperature=0.5,
            provider='{"zdr": true}',
        )

    assert [(word.word, word.speaker) for word in heard.words or ()] == [
        ("Hi", 0),
        ("there.", 0),
        ("Oh", 1),
        ("no.", 1),
    ]


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # for values it does not know
async def test_its_own_sdk_raises_its_own_errors(emulate: Emulate) -> None:
    url = await emulate("openrouter")
    for key, error in (
        ("wrong", errors.UnauthorizedResponseError),
        (f"{KEY}-limited", errors.TooManyRequestsResponseError),
    ):
        async with client(url, key) as sdk:
            with pytest.raises(error):
                await sdk.stt.create_transcription_async(input_audio=inline(), model=WHISPER)
    verbose = {"response_format": "verbose_json"}
    async with client(url) as sdk:
        for model, refused, says in (
            ("acme/none", {}, "valid model ID"),
            (WHISPER, {"input_audio": inline(FLAC, "aiff")}, "audio format"),
            (WHISPER, {"input_audio": inline(b"RIFF\x10\0\0\0WAVEnothing", "wav")}, "decoded"),
            (WHISPER, {"input_audio": {"url": "https://example.com/a.wav"}}, "fetched"),
            (WHISPER, {"response_format": "srt"}, "response_format"),
            (WHISPER, {"temperature": 3.0}, "temperature"),
            (WHISPER, {"diarize": True}, "diarize"),
            (WHISPER, {**verbose, "diarize": True}, "diarize"),
            (WHISPER, {"keyterms": ["a"]}, "keyterms"),
            (WHISPER, {**verbose, "timestamp_granularities": ["letter"]}, "timestamp_granularities"),
            (GPT, verbose, "Provider returned 400"),
            (CHIRP, {"input_audio": inline(sample("slushy.mp3"), "mp3")}, "Provider returned 400"),
        ):
            with pytest.raises(errors.BadRequestResponseError, match=says):
                await sdk.stt.create_transcription_async(**{"input_audio": inline(), "model": model, **refused})
        form: Any = {"model": WHISPER, "file": {"file_name": "a.flac", "content": FLAC}}
        for refused, says in (
            ({"provider": "zdr"}, "JSON"),
            ({"provider": '{"data_collection": "perhaps"}'}, "data_collection"),
            ({"model": "m"}, "model ID"),
        ):
            with pytest.raises(errors.BadRequestResponseError, match=says):
                await sdk.stt.create_transcription_multipart_async(**{**form, **refused})


async def test_the_adapter_hears_speakers_and_words(emulate: Emulate) -> None:
    url = await emulate("openrouter", TwoTurns())
    options = {"openrouter": OpenRouterOptions(keyterms=["slushy"], zdr=True, data_collection="deny")}
    told = await hear(at("openrouter", MAI, url), diarize=True, provider_options=options)
    words = await hear(at("openrouter", WHISPER, url), timestamps=Timestamps.WORD)

    assert [(each.text, each.start_s, each.end_s) for each in told.segments] == [
        ("Hi there.", 0.5, 2.0),
        ("Oh no.", 2.5, 4.0),
    ]
    assert [each.speaker for each in told.segments] == ["0", "1"]
    assert [word.text for word in words.words] == ["Hi", "there.", "Oh", "no."]
    assert [each.text.strip() for each in words.segments] == [text for text, *_ in TURNS]
    assert (words.language, words.duration_s, words.cost_usd) == ("en", 4.0, 0.000124)
    assert words.request_id
    assert words.request_id.startswith("gen-stt-")


async def test_the_adapter_asks_for_what_the_caller_did(emulate: Emulate) -> None:
    ear = TwoTurns()
    to = at("openrouter", GPT, await emulate("openrouter", ear))
    await hear(to, language="fr-CA", generation=GenerationParameters(temperature=1.5))

    assert ear.asked == [("fr", False, None)]


async def test_what_a_model_cannot_do_is_anothers_turn(emulate: Emulate) -> None:
    with pytest.raises(JobUnsupported):
        await hear(at("openrouter", "acme/none", await emulate("openrouter")))


async def test_the_adapter_waits_as_it_is_told(emulate: Emulate) -> None:
    with pytest.raises(RateLimited) as caught:
        await hear(at("openrouter", WHISPER, await emulate("openrouter"), key=f"{KEY}-limited"))

    assert caught.value.retry_after_s == 2.0
