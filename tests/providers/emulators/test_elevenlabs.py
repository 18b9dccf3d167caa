"""The emulator, driven by ElevenLabs' own SDK and by our adapter over real sockets."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
import pytest
from blake3 import blake3
from elevenlabs import AsyncElevenLabs
from elevenlabs.core.api_error import ApiError
from elevenlabs.types import SpeechToTextChunkResponseModel

from providers.elevenlabs import ElevenlabsOptions
from providers.types import GenerationParameters, Timestamps
from tests.conftest import KEY, sample
from tests.driving import at, hear, state
from tests.turns import TURNS, TwoTurns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from providers.emulators.ear import LocalEar

    Emulate = Callable[..., Awaitable[str]]

SHORT = sample("slushy.wav")
HEARD = f"blake3 {blake3(SHORT).hexdigest()}"


# --- ElevenLabs' own SDK


@contextlib.asynccontextmanager
async def sdk(url: str, key: str = KEY) -> AsyncIterator[AsyncElevenLabs]:
    async with httpx.AsyncClient(timeout=60.0) as http:
        yield AsyncElevenLabs(api_key=key, base_url=url, httpx_client=http)


async def converted(url: str, **wanted: Any) -> SpeechToTextChunkResponseModel:
    asked = {"model_id": "scribe_v2", "file": ("a.wav", SHORT), **wanted}
    async with sdk(url) as client:
        heard = await client.speech_to_text.convert(**asked, request_options={"max_retries": 0})
    assert isinstance(heard, SpeechToTextChunkResponseModel)
    return heard


async def test_its_own_sdk_reads_real_speech(emulate: Emulate, local_ear: LocalEar) -> None:
    heard = await converted(await emulate("elevenlabs", local_ear), language_code="en", temperature=0.1)

    assert "slushy country roads" in heard.text
    assert heard.audio_duration_secs == pytest.approx(13.69, abs=0.1)
    assert [each.type for each in heard.words[:3]] == ["word", "spacing", "word"]


async def test_its_own_sdk_reads_speakers_and_letters(emulate: Emulate) -> None:
    url = await emulate("elevenlabs", TwoTurns())
    heard = await converted(url, diarize=True, num_speakers=2, timestamps_granularity="character", keyterms=["Oh no"])
    plain = await converted(url, timestamps_granularity="none")

    assert [(each.text, each.speaker_id) for each in heard.words if each.type == "word"] == [
        ("Hi", "speaker_0"),
        ("there.", "speaker_0"),
        ("Oh", "speaker_1"),
        ("no.", "speaker_1"),
    ]
    assert [letter.text for letter in heard.words[0].characters or []] == ["H", "i"]
    assert (heard.language_code, plain.text, plain.words) == ("eng", "Hi there. Oh no.", [])


async def test_its_own_sdk_reads_again_what_is_kept_and_deletes_it(emulate: Emulate) -> None:
    url = await emulate("elevenlabs")
    name = (await converted(url)).transcription_id
    assert name
    await converted(url, enable_logging=False)
    assert (await state(url))["kept"] == [name]
    async with sdk(url) as client:
        again = await client.speech_to_text.transcripts.get(name)
        await client.speech_to_text.transcripts.delete(name)
        with pytest.raises(ApiError) as caught:
            await client.speech_to_text.transcripts.get(name)

    assert (again.text, caught.value.status_code) == (HEARD, 404)
    assert await state(url) == {"kept": [], "deleted": [name]}


@pytest.mark.parametrize(
    ("wanted", "param"),
    [
        ({"model_id": "scribe_v9"}, "model_id"),
        ({"model_id": "scribe_v1", "keyterms": ["slushy"]}, "keyterms"),
        ({"keyterms": ["a" * 51]}, "keyterms"),
        ({"temperature": 2.1}, "temperature"),
        ({"num_speakers": 33}, "num_speakers"),
        ({"num_speakers": 2, "diarization_threshold": 0.2}, "diarization_threshold"),
        ({"timestamps_granularity": "sentence"}, "timestamps_granularity"),
        ({"source_url": "https://media.example/a.wav"}, "file"),
        ({"file": None}, "file"),
        ({"file": None, "source_url": "https://media.example/a.wav"}, "source_url"),
        ({"file": ("a.wav", b"no audio")}, "file"),
    ],
)
async def test_its_own_sdk_reads_refusals(emulate: Emulate, wanted: dict[str, Any], param: str) -> None:
    url = await emulate("elevenlabs")
    with pytest.raises(ApiError) as caught:
        await converted(url, **wanted)

    detail = caught.value.body["detail"]
    assert (caught.value.status_code, detail["param"], detail["code"] == detail["status"]) == (400, param, True)
    assert (caught.value.headers or {})["maximum-concurrent-requests"] == "10"


async def test_its_own_sdk_reads_a_wrong_key(emulate: Emulate) -> None:
    async with sdk(await emulate("elevenlabs"), "wrong") as client:
        with pytest.raises(ApiError) as caught:
            await client.speech_to_text.convert(model_id="scribe_v2", file=("a.wav", SHORT))
    assert (caught.value.status_code, caught.value.body["detail"]["code"]) == (401, "invalid_api_key")


async def post(url: str, body: aiohttp.FormData | bytes) -> tuple[int, Any]:
    there = f"{url}/v1/speech-to-text"
    async with aiohttp.ClientSession() as session, session.post(there, data=body, headers={"xi-api-key": KEY}) as reply:
        return reply.status, (await reply.json())["detail"]


async def test_what_the_sdk_would_not_send_is_refused(emulate: Emulate) -> None:
    """A form without its model is refused as FastAPI does."""
    url = await emulate("elevenlabs")
    form, odd = aiohttp.FormData(), aiohttp.FormData()
    form.add_field("file", SHORT, filename="a.wav")
    odd.add_field("file", SHORT, filename="a.wav")
    odd.add_field("model_id", "scribe_v2")
    odd.add_field("seed", "seven")

    assert await post(url, form) == (422, [{"loc": ["body", "model_id"], "msg": "Field required", "type": "missing"}])
    assert (await post(url, b"bytes"))[0] == 400
    status, detail = await post(url, odd)
    assert (status, detail["param"]) == (400, "seed")


# --- our adapter


async def test_the_adapter_gets_all_it_asks_for_and_has_it_deleted(emulate: Emulate) -> None:
    ear = TwoTurns()
    url = await emulate("elevenlabs", ear)
    heard = await hear(
        at("elevenlabs", "scribe_v2", url),
        timestamps=Timestamps.WORD,
        diarize=True,
        language="en",
        generation=GenerationParameters(temperature=0.5),
        provider_options={"elevenlabs": ElevenlabsOptions(keyterms=["Oh no"], num_speakers=2, seed=1)},
    )

    assert [(each.text, each.speaker) for each in heard.segments] == [
        ("Hi there.", "speaker_0"),
        ("Oh no.", "speaker_1"),
    ]
    assert [(each.start_s, each.end_s) for each in heard.segments] == [(0.5, 2.0), (2.5, 4.0)]
    assert [each.text for each in heard.words] == ["Hi", "there.", "Oh", "no."]
    assert (heard.language, heard.duration_s, len(TURNS)) == ("en", 4.0, 2)
    assert ear.asked == [("en", False, None)]
    assert await state(url) == {"kept": [], "deleted": [heard.request_id]}


async def test_nothing_need_be_deleted_where_nothing_is_kept(emulate: Emulate) -> None:
    url = await emulate("elevenlabs")
    options = {"elevenlabs": ElevenlabsOptions(enable_logging=False)}
    heard = await hear(at("elevenlabs", "scribe_v3", url), SHORT, provider_options=options)

    assert (heard.text, heard.words, heard.segments) == (HEARD, (), ())
    assert await state(url) == {"kept": [], "deleted": []}
