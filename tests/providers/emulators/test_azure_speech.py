"""The emulator, driven by Azure's own SDK and by our adapter over real sockets."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from azure.ai.transcription import TranscriptionClient
from azure.ai.transcription.models import (
    EnhancedModeProperties,
    PhraseListProperties,
    TranscriptionContent,
    TranscriptionDiarizationOptions,
    TranscriptionOptions,
    TranscriptionResult,
)
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from blake3 import blake3

from providers.azure_speech import AzureSpeechOptions
from providers.errors import RateLimited
from providers.types import Task, Timestamps
from tests.conftest import KEY, sample
from tests.driving import at, hear
from tests.turns import TURNS, TwoTurns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from providers.emulators.ear import LocalEar

    Emulate = Callable[..., Awaitable[str]]

FLAC = sample("sb_spk2_snt1.flac")
HEARD = f"blake3 {blake3(FLAC).hexdigest()}"
ROUTE = "speechtotext/transcriptions:transcribe?api-version=2025-10-15"


async def transcribed(url: str, *, audio: bytes = FLAC, key: str = KEY, **wanted: Any) -> TranscriptionResult:
    """Return what the SDK reads. It blocks, and sends no definition that says nothing."""

    def call() -> TranscriptionResult:
        with TranscriptionClient(endpoint=url, credential=AzureKeyCredential(key), retry_total=0) as client:
            content = TranscriptionContent(definition=TranscriptionOptions(**wanted), audio=("a.flac", audio))
            return client.transcribe(content)

    return await asyncio.to_thread(call)


async def test_its_own_sdk_reads_real_speech(emulate: Emulate, local_ear: LocalEar) -> None:
    url = await emulate("azure-speech", local_ear)
    heard = await transcribed(url, audio=sample("slushy.m4a"), locales=["en-US"], profanity_filter_mode="None")
    masked = await transcribed(url, audio=sample("slushy.m4a"), locales=["en-US", "de-DE"])

    assert "slushy country roads" in heard.combined_phrases[0].text
    assert "****** country roads" in masked.combined_phrases[0].text
    assert heard.duration_milliseconds == pytest.approx(13_690, abs=100)
    assert heard.phrases
    assert (heard.phrases[0].locale, heard.phrases[0].speaker) == ("en-US", None)
    assert all(word.duration_milliseconds >= 0 for phrase in heard.phrases for word in phrase.words or ())


async def test_its_own_sdk_tells_speakers_apart(emulate: Emulate) -> None:
    heard = await transcribed(
        await emulate("azure-speech", TwoTurns()),
        diarization_options=TranscriptionDiarizationOptions(max_speakers=2),
        phrase_list=PhraseListProperties(phrases=["Contoso"], biasing_weight=1.0),
    )

    assert [(each.speaker, each.text, each.offset_milliseconds) for each in heard.phrases or ()] == [
        (1, "Hi there.", 500),
        (2, "Oh no.", 2000),
    ]


async def test_its_own_sdk_has_a_language_model_translate(emulate: Emulate) -> None:
    ear = TwoTurns()
    mode = EnhancedModeProperties(task="translate", target_language="en", prompt=["names"])
    heard = await transcribed(await emulate("azure-speech", ear), enhanced_mode=mode)

    assert [each.confidence for each in heard.phrases or ()] == [0, 0]
    assert ear.asked == [(None, True, "names")]


async def test_its_own_sdk_raises_its_own_errors(emulate: Emulate) -> None:
    url = await emulate("azure-speech")
    with pytest.raises(ClientAuthenticationError, match="invalid subscription key"):
        await transcribed(url, key="wrong")
    with pytest.raises(HttpResponseError, match="call rate limit"):
        await transcribed(url, key=f"{KEY}-limited")
    with pytest.raises(ResourceNotFoundError):
        await transcribed(f"{url}/elsewhere")
    for refused, says in (
        ({"audio": b"RIFF\x10\0\0\0WAVEnothing of the kind", "locales": ["en-US"]}, "decoded"),
        ({"locales": ["english"]}, "locale"),
        ({"profanity_filter_mode": "loud"}, "profanityFilterMode"),
        ({"diarization_options": TranscriptionDiarizationOptions(max_speakers=99)}, "maxSpeakers"),
        (
            {"diarization_options": TranscriptionDiarizationOptions(max_speakers=2), "active_channels": [0, 1]},
            "exclude each other",
        ),
        ({"enhanced_mode": EnhancedModeProperties(task="sing")}, "task"),
        ({"enhanced_mode": EnhancedModeProperties(task="translate")}, "targetLanguage"),
        ({"audio_url": "https://example.com/a.wav"}, "fetched"),
    ):
        with pytest.raises(HttpResponseError, match=says) as caught:
            await transcribed(url, **refused)
        assert caught.value.status_code == 400


@pytest.mark.parametrize(
    ("parts", "status"),
    [({}, 400), ({"definition": "[]"}, 400), ({"definition": "{"}, 400), ({"definition": "{}"}, 400), (None, 415)],
    ids=str,
)
async def test_forms_that_are_none_are_refused(emulate: Emulate, parts: dict[str, str] | None, status: int) -> None:
    form = b"{}" if parts is None else aiohttp.FormData(parts, default_to_multipart=True)
    url, headers = await emulate("azure-speech"), {"Ocp-Apim-Subscription-Key": KEY}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{url}/{ROUTE}", data=form) as answer,
        session.post(f"{url}/{ROUTE.partition('?')[0]}", data=b"") as unversioned,
    ):
        assert answer.status == status
        assert answer.headers["apim-request-id"]
        assert unversioned.status == 404


async def test_the_adapter_hears_speakers_and_words(emulate: Emulate) -> None:
    to = at("azure-speech", "fast", await emulate("azure-speech", TwoTurns()))
    told = await hear(to, diarize=True, provider_options={"azure-speech": AzureSpeechOptions(max_speakers=4)})
    words = await hear(to, timestamps=Timestamps.WORD, language="fr")

    assert [(each.text, each.start_s, each.end_s, each.speaker) for each in told.segments] == [
        (*turn[:3], str(number)) for number, turn in enumerate(TURNS, 1)
    ]
    assert [word.text for word in words.words] == ["Hi", "there.", "Oh", "no."]
    assert (words.language, words.duration_s) == ("fr", 4.0)
    assert words.request_id


async def test_the_adapter_comes_with_a_token_and_asks_for_what_the_caller_did(emulate: Emulate) -> None:
    ear = TwoTurns()
    url = await emulate("azure-speech", ear)
    await hear(at("azure-speech", "fast", url, auth="entra"), language="de", prompt="names")
    await hear(at("azure-speech", "llm-speech", url), task=Task.TRANSLATE, prompt="names")

    assert ear.asked == [("de", False, None), (None, True, "names")]


async def test_the_adapter_waits_as_it_is_told(emulate: Emulate) -> None:
    with pytest.raises(RateLimited) as caught:
        await hear(at("azure-speech", "fast", await emulate("azure-speech"), key=f"{KEY}-limited"))

    assert caught.value.retry_after_s == 1.0
