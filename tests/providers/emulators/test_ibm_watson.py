"""The emulator, driven by IBM's own SDK with its own way to IAM, and by our adapter over real sockets."""

from __future__ import annotations

import asyncio
from io import BytesIO
from typing import TYPE_CHECKING, Any, cast

import aiohttp
import pytest
from ibm_cloud_sdk_core import ApiException
from ibm_cloud_sdk_core.authenticators import IAMAuthenticator
from ibm_watson import SpeechToTextV1

from providers.errors import CredentialsRejected
from providers.ibm_watson import IbmWatsonOptions
from providers.registry import PROVIDERS
from providers.transport import HttpProvider, new_session
from providers.types import Moment, Timestamps, TranscriptionJob
from tests.conftest import KEY, sample, sample_audio
from tests.driving import at, hear, state
from tests.turns import TURNS, TwoTurns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from providers.emulators.ear import LocalEar

    Emulate = Callable[..., Awaitable[str]]

MODEL = "en-US_Multimedia"


def recognized(url: str, audio: bytes | None = None, *, key: str = KEY, **wanted: Any) -> Any:
    """Have IBM's SDK fetch its token and ask."""
    client = SpeechToTextV1(authenticator=IAMAuthenticator(key, url=url))
    client.set_service_url(url)
    client.disable_retries()
    asked = {"content_type": "audio/mp3", "model": MODEL, **wanted}
    reply = client.recognize(audio=BytesIO(sample("slushy.mp3") if audio is None else audio), **asked)
    return cast("Any", reply).get_result()


# --- IBM's own SDK


async def test_its_own_sdk_reads_words_of_real_speech(emulate: Emulate, local_ear: LocalEar) -> None:
    url = await emulate("ibm-watson", local_ear)
    heard = await asyncio.to_thread(recognized, url, timestamps=True, word_confidence=True)

    said = [each["alternatives"][0] for each in heard["results"]]
    assert "slushy country roads" in "".join(each["transcript"] for each in said)
    text, start, end = said[0]["timestamps"][0]
    assert start < end
    assert said[0]["word_confidence"][0] == [text, 0.9]
    assert "speaker_labels" not in heard
    assert await state(url) == {"tokens": 1}


async def test_its_own_sdk_reads_what_it_asked_for_and_no_more(emulate: Emulate) -> None:
    ear = TwoTurns()
    url = await emulate("ibm-watson", ear)
    plain = await asyncio.to_thread(recognized, url, content_type=None)
    told = await asyncio.to_thread(recognized, url, speaker_labels=True, model="de-DE", profanity_filter=False)

    assert plain["results"][0]["alternatives"] == [{"transcript": "Hi there. ", "confidence": 0.96}]
    assert [(each["from"], each["speaker"]) for each in told["speaker_labels"]] == [
        (0.5, 0),
        (1.0, 0),
        (2.5, 1),
        (3.0, 1),
    ]
    assert len(told["results"][0]["alternatives"][0]["timestamps"]) == 2
    assert ear.asked == [("en", False, None), ("de", False, None)]


@pytest.mark.parametrize(
    ("wanted", "status", "says"),
    [
        ({"model": "en-XX_Whatever"}, 404, "not found"),
        ({"content_type": "video/mp4"}, 415, "content type"),
        ({"model": "en-US", "low_latency": True}, 400, "low_latency"),
        ({"audio": b"RIFF\x10\0\0\0WAVEnothing of the kind"}, 400, "transcode"),
        ({"key": "wrong"}, 400, "could not be found"),
    ],
)
async def test_its_own_sdk_raises_its_own_error(
    emulate: Emulate, wanted: dict[str, Any], status: int, says: str
) -> None:
    url = await emulate("ibm-watson")
    with pytest.raises(ApiException) as caught:
        await asyncio.to_thread(recognized, url, **wanted)

    assert (caught.value.status_code, says in str(caught.value)) == (status, True)


@pytest.mark.parametrize(
    ("path", "form", "status"),
    [
        ("/v1/recognize", {}, 401),
        ("/identity/token", {"grant_type": "password", "apikey": KEY}, 400),
        ("/v1/nothing", {}, 401),
    ],
)
async def test_what_the_sdk_would_not_send_is_refused(
    emulate: Emulate, path: str, form: dict[str, str], status: int
) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{await emulate('ibm-watson')}{path}", data=form) as reply,
    ):
        assert reply.status == status
        assert reply.headers["x-global-transaction-id"]


async def test_a_switch_is_on_or_off(emulate: Emulate) -> None:
    url = await emulate("ibm-watson")
    async with aiohttp.ClientSession() as session:
        asked = {"grant_type": "urn:ibm:params:oauth:grant-type:apikey", "apikey": KEY}
        async with session.post(f"{url}/identity/token", data=asked) as given:
            token = (await given.json())["access_token"]
        headers = {"authorization": f"Bearer {token}"}
        async with session.post(f"{url}/v1/recognize?timestamps=perhaps", data=b"x", headers=headers) as reply:
            assert (reply.status, (await reply.json())["error"]) == (400, "timestamps is no boolean")


# --- our adapter


async def test_the_adapter_gets_all_it_asks_for(emulate: Emulate) -> None:
    ear = TwoTurns()
    options = {"ibm-watson": IbmWatsonOptions(smart_formatting=True, end_of_phrase_silence_time=0.5)}
    to = at("ibm-watson", "multimedia", await emulate("ibm-watson", ear))
    heard = await hear(to, timestamps=Timestamps.WORD, diarize=True, language="en-GB", provider_options=options)

    assert [(each.text, each.start_s, each.speaker, each.confidence) for each in heard.words] == [
        ("Hi", 0.5, "0", 0.9),
        ("there.", 1.0, "0", 0.9),
        ("Oh", 2.5, "1", 0.9),
        ("no.", 3.0, "1", 0.9),
    ]
    assert [(each.text, each.speaker) for each in heard.segments] == [("Hi there.", "0"), ("Oh no.", "1")]
    assert (heard.language, heard.request_id) == ("en", "3f3f6b52-emulated")


async def test_segments_are_stretches_of_speech(emulate: Emulate) -> None:
    heard = await hear(
        at("ibm-watson", "en-US", await emulate("ibm-watson", TwoTurns())), timestamps=Timestamps.SEGMENT
    )

    assert [each.text for each in heard.segments] == [text for text, *_ in TURNS]
    assert heard.words == ()


async def test_one_token_lets_many_in_and_another_key_has_another(emulate: Emulate) -> None:
    url = await emulate("ibm-watson")
    job = TranscriptionJob(model="m", audio=sample_audio("slushy.mp3"))
    async with new_session() as session:
        client = HttpProvider(PROVIDERS["ibm-watson"], session)
        deadline = Moment(asyncio.get_running_loop().time() + 30)
        await asyncio.gather(*(client.transcribe(job, at("ibm-watson", MODEL, url), deadline) for _ in range(5)))
        with pytest.raises(CredentialsRejected, match="no token is given"):
            await client.transcribe(job, at("ibm-watson", MODEL, url, key="a-callers-own"), deadline)
        await client.close()

    assert await state(url) == {"tokens": 1}
