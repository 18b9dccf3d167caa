"""The emulator, driven by Groq's own SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import groq
import pytest
from blake3 import blake3

from providers.errors import RateLimited
from providers.types import Task, Timestamps
from tests.conftest import KEY, sample
from tests.driving import at, hear
from tests.turns import TwoTurns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from providers.emulators.ear import LocalEar

    Emulate = Callable[..., Awaitable[str]]

FLAC = sample("sb_spk2_snt1.flac")
HEARD = f"blake3 {blake3(FLAC).hexdigest()}"
WHISPER, TURBO = "whisper-large-v3", "whisper-large-v3-turbo"


def client(url: str, key: str = KEY) -> groq.AsyncGroq:
    return groq.AsyncGroq(api_key=key, base_url=url, max_retries=0)


async def test_its_own_sdk_reads_plain_json_and_text(emulate: Emulate) -> None:
    async with client(await emulate("groq")) as sdk:
        plain = await sdk.audio.transcriptions.create(file=("a.flac", FLAC), model=TURBO)
        text: Any = await sdk.audio.transcriptions.create(file=("a.flac", FLAC), model=WHISPER, response_format="text")

    assert plain.text.strip() == HEARD
    assert str(text).strip() == HEARD
    assert plain.x_groq["id"].startswith("req_")  # type: ignore[attr-defined]  # what the SDK does not declare


async def test_its_own_sdk_reads_words_of_real_speech(emulate: Emulate, local_ear: LocalEar) -> None:
    async with client(await emulate("groq", local_ear)) as sdk:
        heard: Any = await sdk.audio.transcriptions.create(
            file=("slushy.m4a", sample("slushy.m4a")),
            model=WHISPER,
            response_format="verbose_json",
            timestamp_granularities=["segment", "word"],
        )

    assert "slushy country roads" in heard.text
    assert heard.language == "English"
    assert heard.duration == pytest.approx(13.69, abs=0.1)
    assert heard.segments
    assert heard.words


async def test_its_own_sdk_translates(emulate: Emulate) -> None:
    ear = TwoTurns()
    async with client(await emulate("groq", ear)) as sdk:
        heard = await sdk.audio.translations.create(file=("a.flac", FLAC), model=WHISPER, prompt="names")
        with pytest.raises(groq.BadRequestError, match="does not support"):
            await sdk.audio.translations.create(file=("a.flac", FLAC), model=TURBO)

    assert heard.text.strip() == "Hi there. Oh no."
    assert ear.asked == [(None, True, "names")]


async def test_its_own_sdk_raises_its_own_errors(emulate: Emulate) -> None:
    url = await emulate("groq")
    for key, error in (("wrong", groq.AuthenticationError), (f"{KEY}-limited", groq.RateLimitError)):
        async with client(url, key) as sdk:
            with pytest.raises(error):
                await sdk.audio.transcriptions.create(file=("a.flac", FLAC), model=WHISPER)
    async with client(url) as sdk:
        create: Any = sdk.audio.transcriptions.create
        with pytest.raises(groq.NotFoundError, match="model_not_found"):
            await create(file=("a.flac", FLAC), model="distil-whisper-large-v3-en")
        for refused, says in (
            ({"file": ("a.wav", b"RIFF\x10\0\0\0WAVEnothing of the kind")}, "decoded"),
            ({"file": ("a.flac", FLAC), "temperature": 1.5}, "temperature"),
            ({"file": ("a.flac", FLAC), "response_format": "srt"}, "response_format"),
            ({"file": ("a.flac", FLAC), "timestamp_granularities": ["word"]}, "verbose_json"),
            ({"file": ("a.flac", FLAC), "url": "https://example.com/a.wav"}, "exactly one"),
            ({"url": "https://example.com/a.wav"}, "fetch"),
            ({}, "file"),
        ):
            with pytest.raises(groq.BadRequestError, match=says):
                await create(model=WHISPER, **refused)


async def test_the_adapter_hears_words_and_translates(emulate: Emulate) -> None:
    ear = TwoTurns()
    to = at("groq", WHISPER, await emulate("groq", ear))
    heard = await hear(to, timestamps=Timestamps.WORD, language="fr")
    await hear(to, task=Task.TRANSLATE)

    assert [word.text for word in heard.words] == ["Hi", "there", "Oh", "no"]
    assert (heard.language, heard.duration_s) == ("en", 4.0)
    assert ear.asked == [("fr", False, None), (None, True, None)]


async def test_the_adapter_waits_as_it_is_told(emulate: Emulate) -> None:
    with pytest.raises(RateLimited) as caught:
        await hear(at("groq", WHISPER, await emulate("groq"), key=f"{KEY}-limited"))

    assert caught.value.retry_after_s == 2.0
