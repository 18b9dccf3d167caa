"""The emulator, driven by Google's own SDK over REST and by our adapter over real sockets."""

from __future__ import annotations

import asyncio
import base64
import json
from io import BytesIO
from typing import TYPE_CHECKING, Any, cast

import aiohttp
import pytest
from blake3 import blake3
from google.api_core.client_options import ClientOptions
from google.api_core.exceptions import BadRequest, NotFound
from google.cloud import speech_v2
from google.cloud.storage import Client
from google.oauth2.credentials import Credentials

from providers.audio.unreadable import AudioTooLong
from providers.errors import JobUnsupported, ProviderError
from providers.google_stt import GoogleSttOptions
from providers.types import Task, Timestamps, Transcript
from tests.conftest import KEY, sample
from tests.driving import at, hear, state
from tests.turns import TwoTurns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from providers.emulators.ear import LocalEar

    Emulate = Callable[..., Awaitable[str]]

FLAC = sample("sb_spk2_snt1.flac")
HEARD = f"blake3 {blake3(FLAC).hexdigest()}"
PATH = "projects/emulated/locations/{}/recognizers/_"


def recognize(url: str, *, audio: bytes = FLAC, place: str = "eu", **config: Any) -> Any:
    """Have Google's SDK ask: for this it sends enums as numbers."""
    wanted = {"auto_decoding_config": {}, "model": "chirp_2", "language_codes": ["auto"], **config}
    options = ClientOptions(api_endpoint=url)
    credentials = Credentials(token=KEY)
    with speech_v2.SpeechClient(transport="rest", client_options=options, credentials=credentials) as client:
        request = speech_v2.RecognizeRequest(
            recognizer=PATH.format(place), config=speech_v2.RecognitionConfig(**wanted), content=audio
        )
        return client.recognize(request=request, retry=None)


# --- Google's own SDK


async def test_its_own_sdk_reads_words_of_real_speech(emulate: Emulate, local_ear: LocalEar) -> None:
    url = await emulate("google-stt", local_ear)
    features = {"enable_word_time_offsets": True, "enable_word_confidence": True}
    heard = await asyncio.to_thread(recognize, url, audio=sample("slushy.mp3"), features=features)

    said = "".join(each.alternatives[0].transcript for each in heard.results)
    assert "slushy country roads" in said
    first = heard.results[0].alternatives[0].words[0]
    assert first.end_offset.total_seconds() > first.start_offset.total_seconds()
    assert heard.results[0].language_code == "en-us"
    assert heard.metadata.request_id


async def test_its_own_sdk_reads_speakers_translates_and_adapts(emulate: Emulate) -> None:
    ear = TwoTurns()
    url = await emulate("google-stt", ear)
    phrases = {"phrase_sets": [{"inline_phrase_set": {"phrases": [{"value": "gnocchi", "boost": 10}]}}]}
    features = {
        "enable_word_time_offsets": True,
        "diarization_config": {"min_speaker_count": 1, "max_speaker_count": 6},
    }
    heard = await asyncio.to_thread(
        recognize,
        url,
        features=features,
        adaptation=phrases,
        translation_config={"target_language": "en-US"},
        language_codes=["cmn-Hans-CN"],
    )

    words = [word for each in heard.results for word in each.alternatives[0].words]
    assert [(each.word, each.speaker_label) for each in words] == [
        ("Hi", "1"),
        ("there.", "1"),
        ("Oh", "2"),
        ("no.", "2"),
    ]
    assert ear.asked == [("zh", True, "gnocchi")]


async def test_its_own_sdk_reads_silence(emulate: Emulate) -> None:
    class Silent(TwoTurns):
        async def hear(self, audio: bytes, **wanted: Any) -> Transcript:
            del audio, wanted
            return Transcript(text="", duration_s=4.0)

    heard = await asyncio.to_thread(recognize, await emulate("google-stt", Silent()))
    assert list(heard.results) == []


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"model": "chirp_9"}, "does not exist"),
        ({"model": "chirp_3", "place": "asia-southeast1"}, "asia-southeast1"),
        ({"language_codes": []}, "language"),
        ({"language_codes": ["en"]}, "not supported"),
        ({"model": "long"}, "language"),
        (
            {"model": "long", "language_codes": ["en-US"], "translation_config": {"target_language": "en"}},
            "Translation",
        ),
        ({"auto_decoding_config": None}, "Decoding"),
        ({"audio": b"RIFF\x10\0\0\0WAVEnothing of the kind"}, "could not be detected"),
        ({"audio": bytes(8_000_000)}, "payload size"),
    ],
)
async def test_its_own_sdk_raises_its_own_error(emulate: Emulate, asked: dict[str, Any], says: str) -> None:
    url = await emulate("google-stt")
    with pytest.raises(BadRequest, match=says):
        await asyncio.to_thread(recognize, url, **asked)


def batch(url: str, *uris: str) -> Any:
    """Have Google's SDK start an operation and wait for it."""
    options = ClientOptions(api_endpoint=url)
    with speech_v2.SpeechClient(transport="rest", client_options=options, credentials=Credentials(token=KEY)) as client:
        request = speech_v2.BatchRecognizeRequest(
            recognizer=PATH.format("eu"),
            config=speech_v2.RecognitionConfig(
                auto_decoding_config={}, model="chirp_2", language_codes=["auto"], features=WORDS
            ),
            files=[speech_v2.BatchRecognizeFileMetadata(uri=uri) for uri in uris],
            recognition_output_config=speech_v2.RecognitionOutputConfig(inline_response_config={}),
        )
        started = client.batch_recognize(request=request, retry=None)
        done: Any = cast("Any", started).result(timeout=30)  # it has no types
        client.delete_operation({"name": started.operation.name})
        return done.results[uris[0]]


WORDS = {"enable_word_time_offsets": True}


async def test_its_own_sdks_store_recognize_and_delete(emulate: Emulate, local_ear: LocalEar) -> None:
    url = await emulate("google-stt", local_ear)

    def call() -> Any:
        options = ClientOptions(api_endpoint=url)
        storage = Client(project="emulated", credentials=Credentials(token=KEY), client_options=options)
        blob = storage.bucket("emulated-bucket").blob("long.mp3")
        blob.upload_from_string(sample("slushy.mp3"), content_type="audio/mpeg")
        blob.reload()
        heard = batch(url, "gs://emulated-bucket/long.mp3")
        blob.delete()
        with pytest.raises(NotFound):
            blob.delete()
        return blob.size, heard, batch(url, "gs://emulated-bucket/long.mp3")

    size, heard, gone = await asyncio.to_thread(call)
    assert size == len(sample("slushy.mp3"))
    said = "".join(each.alternatives[0].transcript for each in heard.inline_result.transcript.results)
    assert "slushy country roads" in said
    assert heard.inline_result.transcript.results[0].alternatives[0].words
    assert heard.metadata.request_id
    assert gone.error.code == 5
    told = await state(url)
    assert (list(told["jobs"].values()), told["files"]) == (["deleted", "deleted"], [])


async def test_its_own_sdk_is_told_what_no_batch_is(emulate: Emulate) -> None:
    url = await emulate("google-stt")
    with pytest.raises(BadRequest, match="Exactly one file"):
        await asyncio.to_thread(batch, url, "gs://emulated-bucket/a", "gs://emulated-bucket/b")


# --- our adapter


async def test_a_bucket_takes_what_is_longer_than_a_minute(emulate: Emulate) -> None:
    """It is translated there too, with everything that one call would have been told; nothing is left."""
    ear = TwoTurns()
    url = await emulate("google-stt", ear, job_s=0.1)
    heard = await hear(
        at("google-stt", "chirp_2", url, bucket="emulated-bucket"),
        task=Task.TRANSLATE,
        language="de",
        prompt="Zoë",
        timestamps=Timestamps.WORD,
    )

    assert (heard.text, [each.start_s for each in heard.words]) == ("Hi there. Oh no.", [0.5, 1.0, 2.5, 3.0])
    assert ear.asked == [("de", False, "Zoë"), (None, True, None)]  # the emulator's own way to hear both
    assert heard.request_id
    told = await state(url)
    assert (list(told["jobs"].values()), told["files"]) == (["deleted"], [])


async def test_a_bucket_that_is_not_there_is_no_transcript(emulate: Emulate) -> None:
    with pytest.raises(ProviderError):
        await hear(at("google-stt", "chirp_2", await emulate("google-stt"), bucket="another"))


@pytest.mark.parametrize("model", ["long", "telephony"])
async def test_words_and_speakers_come_back(emulate: Emulate, model: str) -> None:
    url = await emulate("google-stt", TwoTurns())
    heard = await hear(at("google-stt", model, url), language="en", diarize=True, timestamps=Timestamps.WORD)

    assert [(each.text, each.start_s, each.speaker, each.confidence) for each in heard.words] == [
        ("Hi", 0.5, "1", 0.9),
        ("there.", 1.0, "1", 0.9),
        ("Oh", 2.5, "2", 0.9),
        ("no.", 3.0, "2", 0.9),
    ]
    assert heard.segments == ()


async def test_a_prompt_and_a_translation_arrive(emulate: Emulate) -> None:
    ear = TwoTurns()
    url = await emulate("google-stt", ear)
    options = {"google-stt": GoogleSttOptions(phrases=["gnocchi"])}
    heard = await hear(
        at("google-stt", "chirp_2", url), task=Task.TRANSLATE, language="de", prompt="Zoë", provider_options=options
    )

    assert (heard.text, ear.asked) == ("Hi there. Oh no.", [("de", True, "Zoë, gnocchi")])


async def test_segments_need_no_words(emulate: Emulate) -> None:
    url = await emulate("google-stt", TwoTurns())
    heard = await hear(at("google-stt", "chirp_3", url), timestamps=Timestamps.SEGMENT)

    assert [(each.text, each.start_s, each.end_s) for each in heard.segments] == [
        ("Hi there.", 0.0, 2.0),
        ("Oh no.", 2.0, 4.0),
    ]
    assert heard.words == ()


class _Long(TwoTurns):
    async def hear(self, audio: bytes, **wanted: Any) -> Transcript:
        del audio, wanted
        return Transcript(text="", duration_s=61.0)


class _Tired(TwoTurns):
    """Stops decoding at its limit."""

    async def hear(self, audio: bytes, **wanted: Any) -> Transcript:
        del audio, wanted
        raise AudioTooLong(4 * 3600)


@pytest.mark.parametrize("ear", [_Long(), _Tired()])
async def test_more_than_a_minute_is_for_another(emulate: Emulate, ear: TwoTurns) -> None:
    with pytest.raises(JobUnsupported):
        await hear(at("google-stt", "chirp_2", await emulate("google-stt", ear)))


# --- what neither provokes


async def post(url: str, body: bytes) -> tuple[int, Any]:
    headers = {"authorization": f"Bearer {KEY}"}
    async with aiohttp.ClientSession(headers=headers) as session, session.post(url, data=BytesIO(body)) as reply:
        return reply.status, await reply.json()


@pytest.mark.parametrize("content", [None, 7, "%"])
async def test_audio_that_is_none(emulate: Emulate, content: object) -> None:
    config = {"autoDecodingConfig": {}, "model": "chirp_2", "languageCodes": ["auto"]}
    url = f"{await emulate('google-stt')}/v2/{PATH.format('eu')}:recognize"
    status, body = await post(url, json.dumps({"config": config, "content": content}).encode())

    assert (status, body["error"]["status"]) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    "form",
    [
        b"",
        b"grant_type=password",
        b"grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion=a",
        b"grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion=a.b.c",
        b"grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion=a."
        + base64.urlsafe_b64encode(b'{"iss": "a", "scope": "b", "aud": "c", "iat": 0, "exp": 3601}')
        + b".c",
    ],
)
async def test_no_token_for_who_asks_otherwise(emulate: Emulate, form: bytes) -> None:
    url = f"{await emulate('google-stt')}/token"
    headers = {"content-type": "application/x-www-form-urlencoded"}
    async with aiohttp.ClientSession() as session, session.post(url, data=form, headers=headers) as reply:
        assert (reply.status, (await reply.json())["error"]) == (400, "invalid_grant")
