"""The emulator, driven with plain aiohttp, for xAI's own SDK has no speech-to-text, and by our adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from blake3 import blake3

from providers.types import Timestamps
from providers.xai import XaiOptions
from tests.conftest import KEY, sample
from tests.driving import at, hear
from tests.turns import TwoTurns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from providers.emulators.ear import LocalEar

    Emulate = Callable[..., Awaitable[str]]

GROK = "grok-voice-transcribe-2.0"
SHORT = sample("slushy.wav")
HEARD = f"blake3 {blake3(SHORT).hexdigest()}"


async def post(url: str, body: aiohttp.FormData | bytes, key: str = KEY) -> tuple[int, Any]:
    headers = {"authorization": f"Bearer {key}"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/v1/stt", data=body, headers=headers) as response,
    ):
        return response.status, await response.json()


def form_of(*fields: tuple[str, str], audio: bytes | None = SHORT) -> aiohttp.FormData:
    form = aiohttp.FormData(default_to_multipart=True)
    for name, value in fields:
        form.add_field(name, value)
    if audio is not None:
        form.add_field("file", audio, filename="a.wav", content_type="audio/wav")
    return form


async def test_real_speech(emulate: Emulate, local_ear: LocalEar) -> None:
    status, heard = await post(await emulate("xai", local_ear), form_of(("model", GROK)))

    assert (status, heard["language"]) == (200, "English")
    assert "slushy country roads" in heard["text"]
    assert heard["duration"] == pytest.approx(13.69, abs=0.1)
    assert heard["words"]
    assert "speaker" not in heard["words"][0]


async def test_speakers_are_numbers(emulate: Emulate) -> None:
    _, heard = await post(await emulate("xai", TwoTurns()), form_of(("diarize", "true")))

    assert [(each["text"], each["speaker"]) for each in heard["words"]] == [
        ("Hi", 0),
        ("there.", 0),
        ("Oh", 1),
        ("no.", 1),
    ]


@pytest.mark.parametrize(
    ("form", "status", "says"),
    [
        (form_of(("model", "grok-9")), 404, "does not exist"),
        (form_of(("format", "true")), 400, "needs language"),
        (form_of(("diarize", "perhaps")), 422, "true or false"),
        (form_of(("sample_rate", "11025")), 422, "sample_rate"),
        (form_of(("url", "https://media.example/a.wav"), audio=None), 400, "fetched"),
        (form_of(("model", GROK), audio=None), 422, "required"),
        (form_of(audio=b"no audio"), 400, "decoded"),
        (b"no form", 400, "form"),
    ],
)
async def test_refusals(emulate: Emulate, form: aiohttp.FormData | bytes, status: int, says: str) -> None:
    refused, body = await post(await emulate("xai"), form)

    assert (refused, says in body["error"]) == (status, True)


async def test_the_audio_comes_last(emulate: Emulate) -> None:
    form = form_of()
    form.add_field("model", GROK)

    assert await post(await emulate("xai"), form) == (400, {"error": "file must be the last part"})


async def test_a_wrong_key(emulate: Emulate) -> None:
    refused = {"code": "unauthenticated", "error": "Incorrect API key provided"}
    assert await post(await emulate("xai"), form_of(), "wrong") == (401, refused)


async def test_the_adapter_gets_all_it_asks_for(emulate: Emulate) -> None:
    to = at("xai", GROK, await emulate("xai", TwoTurns()))
    options = {"xai": XaiOptions(keyterm=["Oh no"], filler_words=True)}
    heard = await hear(to, timestamps=Timestamps.WORD, diarize=True, language="en", provider_options=options)

    assert [(each.text, each.start_s, each.end_s, each.speaker) for each in heard.segments] == [
        ("Hi there.", 0.5, 2.0, "0"),
        ("Oh no.", 2.5, 4.0, "1"),
    ]
    assert [each.text for each in heard.words] == ["Hi", "there.", "Oh", "no."]
    assert (heard.language, heard.duration_s) == ("en", 4.0)
