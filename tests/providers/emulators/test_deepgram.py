"""The emulator, driven by Deepgram's own SDK and by our adapter over real sockets."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
import pytest
from blake3 import blake3
from deepgram import AsyncDeepgramClient
from deepgram.core.api_error import ApiError
from deepgram.environment import DeepgramClientEnvironment
from deepgram.types import ListenV1Response

from providers.deepgram import DeepgramOptions
from providers.types import Timestamps
from tests.conftest import KEY, sample
from tests.driving import at, hear
from tests.turns import TURNS, TwoTurns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from providers.emulators.ear import LocalEar

    Emulate = Callable[..., Awaitable[str]]

# The SDK's live half, which is imported with the rest, names what websockets has renamed.
pytestmark = pytest.mark.filterwarnings("ignore:websockets:DeprecationWarning")

SHORT = sample("slushy.wav")
HEARD = f"blake3 {blake3(SHORT).hexdigest()}"


# --- Deepgram's own SDK


@contextlib.asynccontextmanager
async def sdk(url: str, key: str = KEY) -> AsyncIterator[AsyncDeepgramClient]:
    there = DeepgramClientEnvironment(base=url, production=url, agent=url, agent_rest=url)
    async with httpx.AsyncClient(timeout=60.0) as http:
        yield AsyncDeepgramClient(api_key=key, environment=there, httpx_client=http, max_retries=0)


async def transcribed(url: str, audio: bytes = SHORT, **wanted: Any) -> ListenV1Response:
    async with sdk(url) as client:
        heard = await client.listen.v1.media.transcribe_file(request=audio, **wanted)
    assert isinstance(heard, ListenV1Response)
    return heard


def said(heard: ListenV1Response) -> Any:
    alternatives = heard.results.channels[0].alternatives
    assert alternatives
    return alternatives[0]


async def test_its_own_sdk_reads_real_speech(emulate: Emulate, local_ear: LocalEar) -> None:
    url = await emulate("deepgram", local_ear)
    heard = await transcribed(url, model="nova-3", language="en", smart_format=True, utterances=True)

    assert "slushy country roads" in said(heard).transcript
    assert heard.results.utterances
    assert heard.metadata.duration == pytest.approx(13.69, abs=0.1)


async def test_its_own_sdk_reads_what_it_asked_for_and_no_more(emulate: Emulate) -> None:
    url = await emulate("deepgram", TwoTurns())
    plain = await transcribed(url)
    full = await transcribed(
        url,
        model="nova-3",
        detect_language=True,
        diarize_model="latest",
        punctuate=True,
        paragraphs=True,
        utterances=True,
    )

    assert (plain.results.utterances, plain.results.channels[0].detected_language) == (None, None)
    assert said(plain).paragraphs is None
    plainly = said(plain).words[0].model_dump()
    assert (plainly.get("punctuated_word"), plainly["speaker"]) == (None, None)
    words = [each.model_dump() for each in said(full).words]
    assert [(each["word"], each["punctuated_word"], each["speaker"]) for each in words] == [
        ("hi", "Hi", 0),
        ("there", "there.", 0),
        ("oh", "Oh", 1),
        ("no", "no.", 1),
    ]
    assert [(each.transcript, each.speaker) for each in full.results.utterances or []] == [
        ("Hi there.", 0),
        ("Oh no.", 1),
    ]
    assert full.results.channels[0].detected_language == "en"
    assert said(full).paragraphs.transcript == "\nHi there. Oh no."


async def test_several_languages_at_once_are_told(emulate: Emulate) -> None:
    heard = await transcribed(await emulate("deepgram", TwoTurns()), model="nova-3", language="multi")

    assert said(heard).languages == ["en"]


async def test_its_own_sdk_lists_projects(emulate: Emulate) -> None:
    """What costs nothing, and tells whether the key is right."""
    async with sdk(await emulate("deepgram")) as client:
        assert (await client.manage.v1.projects.list()).projects


@pytest.mark.parametrize(
    ("wanted", "code", "says"),
    [
        ({"model": "nova-9"}, "Bad Request", "No such model/version combination found."),
        ({"model": "nova-3", "keywords": "slushy:2"}, "INVALID_QUERY_PARAMETER", "keyterm"),
        ({"model": "nova-2", "keyterm": "slushy"}, "INVALID_QUERY_PARAMETER", "Nova-3"),
        ({"model": "whisper-large", "language": "en", "detect_language": True}, "INVALID_QUERY_PARAMETER", "exclude"),
        ({"audio": b"no audio"}, "Bad Request", "corrupt or unsupported data"),
        ({"audio": b""}, "Bad Request", "corrupt or unsupported data"),
    ],
)
async def test_its_own_sdk_reads_refusals(emulate: Emulate, wanted: dict[str, Any], code: str, says: str) -> None:
    url = await emulate("deepgram")
    with pytest.raises(ApiError) as caught:
        await transcribed(url, **wanted)

    assert (caught.value.status_code, caught.value.body["err_code"]) == (400, code)
    assert says in caught.value.body["err_msg"]
    assert (caught.value.headers or {})["dg-request-id"] == caught.value.body["request_id"]


async def test_its_own_sdk_reads_a_wrong_key(emulate: Emulate) -> None:
    async with sdk(await emulate("deepgram"), "wrong") as client:
        with pytest.raises(ApiError) as caught:
            await client.listen.v1.media.transcribe_file(request=SHORT)
    assert (caught.value.status_code, caught.value.body["err_code"]) == (401, "INVALID_AUTH")


async def test_an_address_is_not_gone_to(emulate: Emulate) -> None:
    async with sdk(await emulate("deepgram")) as client:
        with pytest.raises(ApiError) as caught:
            await client.listen.v1.media.transcribe_url(url="https://media.example/a.wav", model="nova-3")
    assert caught.value.body["err_code"] == "REMOTE_CONTENT_ERROR"


@pytest.mark.parametrize(
    ("query", "body", "code"),
    [
        ("model=nova-3&punctuate=yes", {"url": "https://media.example/a.wav"}, "INVALID_QUERY_PARAMETER"),
        ("model=nova-3&punctuation=true", {"url": "https://media.example/a.wav"}, "INVALID_QUERY_PARAMETER"),
        ("model=nova-3", {"address": 7}, "INVALID_JSON"),
    ],
)
async def test_what_the_sdk_would_not_send_is_refused(
    emulate: Emulate, query: str, body: dict[str, Any], code: str
) -> None:
    """A short-lived key comes after `Bearer`."""
    url = f"{await emulate('deepgram')}/v1/listen?{query}"
    headers = {"authorization": f"Bearer {KEY}"}
    async with aiohttp.ClientSession() as session, session.post(url, json=body, headers=headers) as response:
        assert (response.status, (await response.json())["err_code"]) == (400, code)


# --- our adapter


async def test_the_adapter_gets_all_it_asks_for(emulate: Emulate) -> None:
    ear = TwoTurns()
    to = at("deepgram", "nova-3", await emulate("deepgram", ear))
    options = {"deepgram": DeepgramOptions(keyterm=["Oh no"], mip_opt_out=True, numerals=True)}
    heard = await hear(to, timestamps=Timestamps.WORD, diarize=True, language="en-GB", provider_options=options)

    assert [(each.text, each.start_s, each.end_s) for each in heard.segments] == [turn[:3] for turn in TURNS]
    assert [each.speaker for each in heard.segments] == ["0", "1"]
    assert [(each.text, each.speaker) for each in heard.words] == [
        ("Hi", "0"),
        ("there.", "0"),
        ("Oh", "1"),
        ("no.", "1"),
    ]
    assert (heard.duration_s, heard.model_version) == (4.0, "general-nova-3 2025-04-17.21547")
    assert heard.request_id
    assert ear.asked == [("en-GB", False, None)]


async def test_the_adapter_has_the_language_detected(emulate: Emulate) -> None:
    ear = TwoTurns()
    heard = await hear(at("deepgram", "nova-2", await emulate("deepgram", ear)))

    assert (heard.text, heard.language, heard.segments, heard.words) == ("Hi there. Oh no.", "en", (), ())
    assert ear.asked == [(None, False, None)]
