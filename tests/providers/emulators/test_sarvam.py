"""The emulator, driven by Sarvam's own SDK and by our adapter over real sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
import pytest
from sarvamai import AsyncSarvamAI
from sarvamai.core.api_error import ApiError
from sarvamai.environment import SarvamAIEnvironment

from providers.audio.unreadable import AudioTooLong
from providers.errors import JobUnsupported
from providers.sarvam import SarvamOptions
from providers.types import Task, Timestamps, Transcript
from tests.conftest import KEY, sample
from tests.driving import at, hear
from tests.turns import TURNS, TwoTurns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sarvamai import SpeechToTextResponse

    from providers.emulators.ear import LocalEar

    Emulate = Callable[..., Awaitable[str]]

SHORT = sample("slushy.mp3")


async def transcribed(url: str, audio: bytes = SHORT, *, key: str = KEY, **wanted: Any) -> SpeechToTextResponse:
    there = SarvamAIEnvironment(base=url, creative=url, production=url.replace("http", "ws"))
    async with httpx.AsyncClient(timeout=60.0) as http:
        client = AsyncSarvamAI(api_subscription_key=key, environment=there, httpx_client=http)
        heard: SpeechToTextResponse = await client.speech_to_text.transcribe(
            file=("a.mp3", audio, "audio/mpeg"), request_options={"max_retries": 0}, **wanted
        )
    return heard


# --- Sarvam's own SDK


async def test_its_own_sdk_reads_phrases_of_real_speech(emulate: Emulate, local_ear: LocalEar) -> None:
    heard = await transcribed(await emulate("sarvam", local_ear), model="saaras:v3", with_timestamps=True)

    assert "slushy country roads" in heard.transcript
    assert heard.timestamps
    assert len(heard.timestamps.words) == len(heard.timestamps.end_time_seconds)
    assert (heard.language_code, heard.language_probability) == ("en-IN", 0.98)


async def test_its_own_sdk_reads_what_it_asked_for_and_no_more(emulate: Emulate) -> None:
    ear = TwoTurns()
    url = await emulate("sarvam", ear)
    plain = await transcribed(url, model="saaras:v4", language_code="hi-IN", keyterms=["Zoë", "New Delhi"])
    await transcribed(url, mode="translate")

    assert (plain.timestamps, plain.language_code, plain.language_probability) == (None, "hi-IN", None)
    assert ear.asked == [("hi", False, "Zoë, New Delhi"), (None, True, None)]


@pytest.mark.parametrize(
    ("wanted", "status", "says"),
    [
        ({"model": "saaras:v9"}, 400, "model"),
        ({"mode": "sing"}, 400, "mode"),
        ({"language_code": "en-US"}, 400, "language_code"),
        ({"keyterms": ["a"], "model": "saaras:v3"}, 400, "keyterms"),
        ({"keyterms": ["a" * 65], "model": "saaras:v4"}, 422, "keyterms"),
        ({"audio": b"no audio"}, 400, "format"),
        ({"key": "wrong"}, 403, "API key"),
    ],
)
async def test_its_own_sdk_raises_its_own_error(
    emulate: Emulate, wanted: dict[str, Any], status: int, says: str
) -> None:
    url = await emulate("sarvam")
    with pytest.raises(ApiError) as caught:
        await transcribed(url, **wanted)

    assert (caught.value.status_code, says in caught.value.body["error"]["message"]) == (status, True)


@pytest.mark.parametrize(
    ("fields", "status"), [({"keyterms": "no JSON"}, 422), ({"keyterms": "[7]"}, 422), ({"model": "saaras:v3"}, 422)]
)
async def test_what_the_sdk_would_not_send_is_refused(emulate: Emulate, fields: dict[str, str], status: int) -> None:
    form = aiohttp.FormData(fields, default_to_multipart=True)
    if "keyterms" in fields:
        form.add_field("file", SHORT, filename="a.mp3")
    headers = {"api-subscription-key": KEY}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{await emulate('sarvam')}/speech-to-text", data=form) as reply,
    ):
        assert (reply.status, (await reply.json())["error"]["code"]) == (status, "unprocessable_entity_error")


async def test_a_body_that_is_no_form_is_refused(emulate: Emulate) -> None:
    url = f"{await emulate('sarvam')}/speech-to-text"
    async with (
        aiohttp.ClientSession(headers={"api-subscription-key": KEY}) as session,
        session.post(url, data=b"x") as reply,
    ):
        assert reply.status == 400


# --- our adapter


async def test_the_adapter_gets_all_it_asks_for(emulate: Emulate) -> None:
    ear = TwoTurns()
    to = at("sarvam", "saaras:v4", await emulate("sarvam", ear))
    options = {"sarvam": SarvamOptions(keyterms=["New Delhi"], mode="verbatim")}
    heard = await hear(to, timestamps=Timestamps.SEGMENT, language="hi", prompt="Zoë", provider_options=options)

    assert [(each.text, each.start_s, each.end_s) for each in heard.segments] == [turn[:3] for turn in TURNS]
    assert (heard.language, heard.request_id) == ("hi", "20260105_emulated")
    assert ear.asked == [("hi", False, "Zoë, New Delhi")]


async def test_a_translation_is_a_mode(emulate: Emulate) -> None:
    ear = TwoTurns()
    heard = await hear(at("sarvam", "saaras:v3", await emulate("sarvam", ear)), task=Task.TRANSLATE)

    assert (heard.text, heard.segments, ear.asked) == ("Hi there. Oh no.", (), [(None, True, None)])


class _Long(TwoTurns):
    async def hear(self, audio: bytes, **wanted: Any) -> Transcript:
        del audio, wanted
        return Transcript(text="", duration_s=31.0)


class _Tired(TwoTurns):
    """Stops decoding at its limit."""

    async def hear(self, audio: bytes, **wanted: Any) -> Transcript:
        del audio, wanted
        raise AudioTooLong(4 * 3600)


@pytest.mark.parametrize("ear", [_Long(), _Tired()])
async def test_more_than_half_a_minute_is_for_another(emulate: Emulate, ear: TwoTurns) -> None:
    with pytest.raises(JobUnsupported):
        await hear(at("sarvam", "saaras:v4", await emulate("sarvam", ear)))
