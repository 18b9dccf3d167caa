"""The emulators of services of OpenAI's form: SambaNova's and Telnyx's driven by their own SDKs, the rest by OpenAI's.

Lemonfox, OVHcloud, Scaleway and Venice have none, and point OpenAI's at their addresses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import openai
import pytest
import sambanova
import telnyx
from blake3 import blake3

from providers.errors import RateLimited
from providers.openai_hosts import MODELS
from providers.registry import emulated_urls
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
FILE = ("a.flac", FLAC)
SAMBANOVA = "Whisper-Large-v3"
NOVA: Final = "deepgram/nova-3"
VERBOSE: Any = {"response_format": "verbose_json"}
OPENAIS = {name: next(iter(MODELS[name])) for name in ("lemonfox", "ovhcloud", "scaleway", "venice")}


def client(name: str, root: str, key: str = KEY) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(api_key=key, base_url=emulated_urls(name, root)["api"], max_retries=0)


# --- SambaNova


async def test_sambanovas_sdk_transcribes_and_translates(emulate: Emulate, local_ear: LocalEar) -> None:
    ear = TwoTurns()
    for hears in (local_ear, ear):
        root = await emulate("sambanova", hears)
        async with sambanova.AsyncSambaNova(api_key=KEY, base_url=f"{root}/v1", max_retries=0) as sdk:
            heard: Any = await sdk.audio.transcriptions.create(
                file=("a.m4a", sample("slushy.m4a")), model=SAMBANOVA, language="en", prompt="names"
            )
            translated: Any = await sdk.audio.translations.create(file=FILE, model=SAMBANOVA)
        assert heard.text
        assert translated.text

    assert ear.asked == [("en", False, "names"), (None, True, None)]


async def test_sambanovas_sdk_raises_its_own_errors(emulate: Emulate) -> None:
    root = await emulate("sambanova")
    for key, error in (
        ("wrong", sambanova.AuthenticationError),
        (f"{KEY}-limited", sambanova.RateLimitError),
    ):
        async with sambanova.AsyncSambaNova(api_key=key, base_url=f"{root}/v1", max_retries=0) as sdk:
            with pytest.raises(error):
                await sdk.audio.transcriptions.create(file=FILE, model=SAMBANOVA)
    async with sambanova.AsyncSambaNova(api_key=KEY, base_url=f"{root}/v1", max_retries=0) as sdk:
        create: Any = sdk.audio.transcriptions.create
        with pytest.raises(sambanova.NotFoundError):
            await create(file=FILE, model="Whisper-Small")
        for refused, says in (
            ({"response_format": "verbose_json"}, "response_format"),
            ({"language": "xx"}, "language"),
            ({"extra_body": {"temperature": 0.5}}, "temperature"),
        ):
            with pytest.raises(sambanova.BadRequestError, match=says):
                await create(file=FILE, model=SAMBANOVA, **refused)


# --- Telnyx


async def test_telnyxs_sdk_reads_text_and_segments(emulate: Emulate) -> None:
    root = await emulate("telnyx", TwoTurns())
    async with telnyx.AsyncTelnyx(api_key=KEY, base_url=f"{root}/v2", max_retries=0) as sdk:
        plain = await sdk.ai.audio.transcribe(model="openai/whisper-large-v3-turbo", file=FILE, language="de")
        timed = await sdk.ai.audio.transcribe(model=NOVA, file=FILE, timestamp_granularities="segment", **VERBOSE)

    assert (plain.text, plain.segments) == ("Hi there. Oh no.", None)
    assert timed.duration == 4.0
    assert [(each.text.strip(), each.start, each.end) for each in timed.segments or ()] == [turn[:3] for turn in TURNS]


async def test_telnyxs_sdk_raises_its_own_errors(emulate: Emulate) -> None:
    root = await emulate("telnyx")
    async with telnyx.AsyncTelnyx(api_key="wrong", base_url=f"{root}/v2", max_retries=0) as sdk:
        with pytest.raises(telnyx.AuthenticationError):
            await sdk.ai.audio.transcribe(model=NOVA, file=FILE)
    async with telnyx.AsyncTelnyx(api_key=KEY, base_url=f"{root}/v2", max_retries=0) as sdk:
        for model, refused, says in (
            (NOVA, {"timestamp_granularities": "segment"}, "verbose_json"),
            ("openai/whisper-large-v3-turbo", {**VERBOSE, "timestamp_granularities": "segment"}, "not supported"),
            ("nvidia/parakeet-v3", {"language": "de"}, "language"),
        ):
            transcribe: Any = sdk.ai.audio.transcribe
            with pytest.raises(telnyx.BadRequestError, match=says):
                await transcribe(model=model, file=FILE, **refused)


# --- those that OpenAI's SDK is pointed at


@pytest.mark.parametrize(("name", "model"), OPENAIS.items())
async def test_openais_sdk_reads_text(emulate: Emulate, name: str, model: str) -> None:
    async with client(name, await emulate(name)) as sdk:
        plain = await sdk.audio.transcriptions.create(file=FILE, model=model)
        text: Any = await sdk.audio.transcriptions.create(file=FILE, model=model, response_format="text")
        with pytest.raises(openai.NotFoundError):
            await sdk.audio.transcriptions.create(file=FILE, model="none")
        with pytest.raises(openai.BadRequestError):
            await sdk.audio.transcriptions.create(file=FILE, model=model, extra_body={"top_k": 5})

    assert plain.text == str(text) == HEARD


@pytest.mark.parametrize(("name", "duration"), [("lemonfox", "duration"), ("ovhcloud", "seconds")])
async def test_openais_sdk_reads_words_and_subtitles(emulate: Emulate, name: str, duration: str) -> None:
    async with client(name, await emulate(name, TwoTurns())) as sdk:
        create: Any = sdk.audio.transcriptions.create
        timed = await create(file=FILE, model=OPENAIS[name], timestamp_granularities=["word", "segment"], **VERBOSE)
        srt, vtt = [
            str(await create(file=FILE, model=OPENAIS[name], response_format=format_)) for format_ in ("srt", "vtt")
        ]

    assert [word.word for word in timed.words] == ["Hi", "there", "Oh", "no"]
    assert getattr(timed, duration) == 4.0
    assert len(timed.segments) == 2
    assert (srt[:2], vtt[:6]) == ("1\n", "WEBVTT")


# --- our adapter


async def test_lemonfox_tells_speakers_apart(emulate: Emulate) -> None:
    heard = await hear(at("lemonfox", "whisper-1", await emulate("lemonfox", TwoTurns())), diarize=True)

    assert [(each.text.strip(), each.speaker) for each in heard.segments] == [
        ("Hi there.", "SPEAKER_00"),
        ("Oh no.", "SPEAKER_01"),
    ]


async def test_lemonfox_is_told_of_languages_by_name(emulate: Emulate) -> None:
    ear = TwoTurns()
    await hear(at("lemonfox", "whisper-1", await emulate("lemonfox", ear)), language="pt-BR", prompt="names")

    assert ear.asked == [("pt", False, "names")]


async def test_ovhclouds_seconds_are_the_duration(emulate: Emulate) -> None:
    to = at("ovhcloud", "whisper-large-v3", await emulate("ovhcloud", TwoTurns()))
    heard = await hear(to, timestamps=Timestamps.WORD)

    assert (heard.duration_s, len(heard.words), len(heard.segments)) == (4.0, 4, 2)


async def test_sambanova_translates(emulate: Emulate) -> None:
    ear = TwoTurns()
    await hear(at("sambanova", SAMBANOVA, await emulate("sambanova", ear)), task=Task.TRANSLATE, language="fr")

    assert ear.asked == [(None, True, None)]


@pytest.mark.parametrize("name", sorted(MODELS))
async def test_the_adapter_waits_as_it_is_told(emulate: Emulate, name: str) -> None:
    with pytest.raises(RateLimited) as caught:
        await hear(at(name, next(iter(MODELS[name])), await emulate(name), key=f"{KEY}-limited"))

    assert caught.value.retry_after_s == 2.0
