"""The emulator, driven by Mistral's own SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from blake3 import blake3
from mistralai.client import Mistral
from mistralai.client.errors import SDKError

from providers.errors import RateLimited
from providers.mistral import MistralOptions
from providers.types import Timestamps
from tests.conftest import KEY, sample
from tests.driving import at, hear
from tests.turns import TwoTurns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from providers.emulators.ear import LocalEar

    Emulate = Callable[..., Awaitable[str]]

FLAC = sample("sb_spk2_snt1.flac")
HEARD = f"blake3 {blake3(FLAC).hexdigest()}"
SECOND, THIRD = "voxtral-mini-2602", "voxtral-mini-transcribe-3-0"
FILE: Any = {"file_name": "a.flac", "content": FLAC}


def client(url: str, key: str = KEY) -> Mistral:
    return Mistral(api_key=key, server_url=url)


async def test_its_own_sdk_reads_words_of_real_speech(emulate: Emulate, local_ear: LocalEar) -> None:
    async with client(await emulate("mistral", local_ear)) as sdk:
        file: Any = {"file_name": "slushy.m4a", "content": sample("slushy.m4a")}
        plain = await sdk.audio.transcriptions.complete_async(model=THIRD, file=file, language="en")
        timed = await sdk.audio.transcriptions.complete_async(model=SECOND, file=file, timestamp_granularities=["word"])

    assert "slushy country roads" in plain.text
    assert (plain.language, plain.segments, plain.usage.prompt_audio_seconds) == ("en", [], 14)
    assert timed.segments
    assert len(timed.segments) == len(timed.text.split())


async def test_its_own_sdk_reads_speakers(emulate: Emulate) -> None:
    async with client(await emulate("mistral", TwoTurns())) as sdk:
        heard = await sdk.audio.transcriptions.complete_async(
            model=THIRD, file=FILE, diarize=True, timestamp_granularities=["segment"], context_bias=["Chicken Kiev"]
        )

    assert heard.segments is not None
    assert [(each.text, each.speaker_id) for each in heard.segments] == [
        ("Hi there.", "speaker_1"),
        ("Oh no.", "speaker_2"),
    ]


async def test_its_own_sdk_reads_the_stream(emulate: Emulate) -> None:
    async with client(await emulate("mistral", TwoTurns())) as sdk:
        stream = await sdk.audio.transcriptions.stream_async(
            model=THIRD, file=FILE, timestamp_granularities=["segment"]
        )
        events: list[Any] = [event async for event in stream]

    assert [event.event for event in events] == [
        "transcription.language",
        *["transcription.text.delta"] * 4,
        *["transcription.segment"] * 2,
        "transcription.done",
    ]
    assert events[-1].data.text == "Hi there. Oh no."


async def test_a_language_beside_times_silences_the_second(emulate: Emulate) -> None:
    async with client(await emulate("mistral")) as sdk:
        heard = await sdk.audio.transcriptions.complete_async(
            model=SECOND, file=FILE, language="en", timestamp_granularities=["segment"]
        )

    assert (heard.text, heard.segments) == ("", [])


async def test_its_own_sdk_raises_its_own_errors(emulate: Emulate) -> None:
    url = await emulate("mistral")
    for key, status in (("wrong", 401), (f"{KEY}-limited", 429)):
        async with client(url, key) as sdk:
            with pytest.raises(SDKError) as caught:
                await sdk.audio.transcriptions.complete_async(model=THIRD, file=FILE)
        assert caught.value.status_code == status
    async with client(url) as sdk:
        complete: Any = sdk.audio.transcriptions.complete_async
        noise = {"file_name": "a.wav", "content": b"RIFF\x10\0\0\0WAVEnothing of the kind"}
        for refused, status in (
            ({"model": "whisper-1", "file": FILE}, 404),
            ({"model": THIRD, "file": noise}, 400),
            ({"model": THIRD, "file": FILE, "timestamp_granularities": ["word"]}, 400),
            ({"model": THIRD, "file": FILE, "diarize": True}, 400),
            ({"model": THIRD, "file": FILE, "language": "de-DE"}, 422),
            ({"model": SECOND, "file": FILE, "context_bias": ["two words"]}, 422),
            ({"model": THIRD, "file_url": "https://example.com/a.wav"}, 400),
            ({"model": THIRD}, 400),
        ):
            with pytest.raises(SDKError) as caught:
                await complete(**refused)
            assert caught.value.status_code == status


async def test_the_documented_header_lets_in_too(emulate: Emulate) -> None:
    url = f"{await emulate('mistral')}/v1/audio/transcriptions"
    form = aiohttp.FormData({"model": THIRD, "return_language": "true"})
    form.add_field("file", FLAC, filename="a.flac")
    async with aiohttp.ClientSession() as session, session.post(url, data=form, headers={"x-api-key": KEY}) as answer:
        assert (await answer.json())["text"] == HEARD


async def test_a_language_asked_for_and_named_is_refused(emulate: Emulate) -> None:
    url = f"{await emulate('mistral')}/v1/audio/transcriptions"
    form = aiohttp.FormData({"model": THIRD, "return_language": "true", "language": "en"})
    form.add_field("file", FLAC, filename="a.flac")
    async with aiohttp.ClientSession() as session, session.post(url, data=form, headers={"x-api-key": KEY}) as answer:
        assert (answer.status, (await answer.json())["param"]) == (400, "return_language")


async def test_the_adapter_hears_words_in_spite_of_a_language(emulate: Emulate) -> None:
    ear = TwoTurns()
    heard = await hear(at("mistral", SECOND, await emulate("mistral", ear)), timestamps=Timestamps.WORD, language="fr")

    assert [word.text for word in heard.words] == ["Hi", "there.", "Oh", "no."]
    assert [each.text for each in heard.segments] == ["Hi there.", "Oh no."]
    assert ear.asked == [(None, False, None)]


async def test_the_adapter_hears_who_spoke(emulate: Emulate) -> None:
    to = at("mistral", THIRD, await emulate("mistral", TwoTurns()))
    terms = MistralOptions(context_bias=["Chicken Kiev"], return_language=True)
    heard = await hear(to, diarize=True, provider_options={"mistral": terms})

    assert [(each.text, each.speaker) for each in heard.segments] == [
        ("Hi there.", "speaker_1"),
        ("Oh no.", "speaker_2"),
    ]
    assert heard.language == "en"


async def test_the_adapter_waits_as_it_is_told(emulate: Emulate) -> None:
    with pytest.raises(RateLimited) as caught:
        await hear(at("mistral", THIRD, await emulate("mistral"), key=f"{KEY}-limited"))

    assert caught.value.retry_after_s == 2.0
