"""The emulator, driven by AssemblyAI's own SDK and by our adapter over real sockets."""

from __future__ import annotations

import asyncio
import io
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import assemblyai as aai
import pytest
from assemblyai.prerecorded.v2.api import delete_transcript
from blake3 import blake3

from providers.assemblyai import AssemblyaiOptions
from providers.types import Task, Timestamps
from tests.conftest import KEY, sample
from tests.driving import at, hear, state
from tests.turns import TURNS, TwoTurns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from providers.emulators.ear import LocalEar

    Emulate = Callable[..., Awaitable[str]]
    Sdk = Callable[..., aai.Transcriber]

# The SDK calls methods of its own models that pydantic has renamed.
pytestmark = pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20")

SHORT = sample("slushy.mp3")
HEARD = f"blake3 {blake3(SHORT).hexdigest()}"
PRO, TWO = "universal-3-5-pro", "universal-2"


# --- AssemblyAI's own SDK


@pytest.fixture
def sdk() -> Iterator[Callable[..., aai.Transcriber]]:
    """Return a function that gives AssemblyAI's client; each is closed afterwards."""
    clients: list[aai.Client] = []

    def begin(url: str, key: str = KEY) -> aai.Transcriber:
        clients.append(aai.Client(settings=aai.Settings(api_key=key, base_url=url, polling_interval=0.05)))
        return aai.Transcriber(client=clients[-1])

    yield begin
    for client in clients:
        client.http_client.close()


def config(**wanted: Any) -> aai.TranscriptionConfig:
    return aai.TranscriptionConfig(**{"speech_models": [TWO], **wanted})


async def test_its_own_sdk_uploads_orders_and_waits(emulate: Emulate, sdk: Sdk, local_ear: LocalEar) -> None:
    theirs = sdk(await emulate("assemblyai", local_ear))
    heard = await asyncio.to_thread(theirs.transcribe, io.BytesIO(SHORT), config(language_code="en"))

    assert heard.status == aai.TranscriptStatus.completed
    assert "slushy country roads" in (heard.text or "")
    assert (heard.audio_duration, heard.json_response and heard.json_response["speech_model_used"]) == (14, TWO)
    assert heard.words
    assert heard.words[0].start < heard.words[0].end <= 14_000
    sentences = await asyncio.to_thread(heard.get_sentences)
    assert " ".join(each.text for each in sentences) == heard.text


async def test_its_own_sdk_reads_speakers(emulate: Emulate, sdk: Sdk) -> None:
    theirs = sdk(await emulate("assemblyai", TwoTurns()))
    wanted = config(speaker_labels=True, speakers_expected=2)
    heard = await asyncio.to_thread(theirs.transcribe, io.BytesIO(SHORT), wanted)

    assert heard.utterances
    assert [(each.speaker, each.text) for each in heard.utterances] == [("A", "Hi there."), ("B", "Oh no.")]
    assert [word.speaker for word in heard.words or []] == ["A", "A", "B", "B"]


async def test_its_own_sdk_reads_a_translation(emulate: Emulate, sdk: Sdk) -> None:
    theirs = sdk(await emulate("assemblyai", TwoTurns()))
    wanted = config(
        speaker_labels=True,
        language_detection=True,
        speech_understanding=aai.SpeechUnderstandingRequest(
            request=aai.SpeechUnderstandingFeatureRequests(
                translation=aai.TranslationRequest(target_languages=["en"], match_original_utterance=True)
            )
        ),
    )
    heard = await asyncio.to_thread(theirs.transcribe, io.BytesIO(SHORT), wanted)

    assert heard.translated_texts == {"en": "Hi there. Oh no."}
    assert [each.translated_texts for each in heard.utterances or []] == [{"en": "Hi there."}, {"en": "Oh no."}]


async def test_its_own_sdk_reads_a_failed_job_behind_a_200(emulate: Emulate, sdk: Sdk) -> None:
    url = await emulate("assemblyai")
    failed = await asyncio.to_thread(sdk(url).transcribe, io.BytesIO(b"no audio"), config())
    assert failed.status == aai.TranscriptStatus.error
    assert "does not appear to contain audio" in (failed.error or "")

    elsewhere = await asyncio.to_thread(sdk(url).transcribe, "https://elsewhere.example/a.wav", config())
    assert "unable to download" in (elsewhere.error or "")


async def test_its_own_sdk_sees_the_states_lists_and_deletes(emulate: Emulate, sdk: Sdk) -> None:
    url = await emulate("assemblyai", job_s=0.4)
    theirs = sdk(url)
    submitted = await asyncio.to_thread(theirs.submit, io.BytesIO(SHORT), config())
    assert submitted.id
    assert submitted.status == aai.TranscriptStatus.queued
    listed = await asyncio.to_thread(theirs.list_transcripts)
    assert [each.id for each in listed.transcripts] == [submitted.id]

    await asyncio.to_thread(submitted.wait_for_completion)
    assert submitted.text == HEARD
    client = aai.Client(settings=aai.Settings(api_key=KEY, base_url=url)).http_client
    wiped = await asyncio.to_thread(delete_transcript, client, submitted.id)
    client.close()
    assert (wiped.text, wiped.audio_url, wiped.words) == ("Deleted by user.", "http://deleted_by_user", None)
    assert (await state(url))["files"] == {}


async def test_its_own_sdk_raises_its_own_errors(emulate: Emulate, sdk: Sdk) -> None:
    url = await emulate("assemblyai")
    with pytest.raises(aai.TranscriptError, match="API token"):
        await asyncio.to_thread(sdk(url, "wrong").transcribe, io.BytesIO(SHORT), config())
    for wanted, says in ((config(prompt="x"), "prompt"), (config(speech_models=["nano"]), "speech_models")):
        with pytest.raises(aai.TranscriptError, match=says):
            await asyncio.to_thread(sdk(url).transcribe, io.BytesIO(SHORT), wanted)


def ordered(**wanted: Any) -> bytes:
    return json.dumps({"audio_url": "https://x/y", "speech_models": [TWO], **wanted}).encode()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "JSON"),
        (b"[]", "JSON"),
        (b"{}", "audio_url"),
        (b'{"audio_url": "file:///etc/passwd"}', "audio_url"),
        (b'{"audio_url": "https://x/y", "format_text": 1}', "format_text must be a Boolean"),
        (b'{"audio_url": "https://x/y"}', "speech_models"),
        (b'{"audio_url": "https://x/y", "speech_models": ["universal-3-pro"], "temperature": 2}', "temperature"),
        (ordered(language_code="en", language_detection=True), "both"),
        (
            ordered(speech_understanding={"request": {"translation": {"target_languages": ["fr"]}}}),
            "English only",
        ),
    ],
)
async def test_what_is_wrong_is_told_in_its_envelope(emulate: Emulate, body: bytes, says: str) -> None:
    url = f"{await emulate('assemblyai')}/v2/transcript"
    async with (
        aiohttp.ClientSession(headers={"authorization": KEY}) as session,
        session.post(url, data=body) as response,
    ):
        assert response.status == 400
        assert says in (await response.json())["error"]


async def test_what_is_nowhere_is_told_so(emulate: Emulate) -> None:
    url = f"{await emulate('assemblyai')}/v2"
    async with aiohttp.ClientSession(headers={"authorization": KEY}) as session:
        for path, status in (("transcript/none", 400), ("nothing", 404)):
            async with session.get(f"{url}/{path}") as response:
                assert response.status == status
                assert (await response.json())["error"]


# --- our adapter


async def test_sentences_are_its_segments(emulate: Emulate) -> None:
    url = await emulate("assemblyai", TwoTurns())
    heard = await hear(at("assemblyai", TWO, url), timestamps=Timestamps.SEGMENT)

    assert [(each.text, each.start_s, each.end_s, each.speaker) for each in heard.segments] == TURNS
    assert (await state(url))["jobs"].popitem()[1] == "deleted"


async def test_speakers_words_and_options_arrive(emulate: Emulate) -> None:
    ear = TwoTurns()
    heard = await hear(
        at("assemblyai", PRO, await emulate("assemblyai", ear)),
        timestamps=Timestamps.WORD,
        diarize=True,
        language="de",
        prompt="Zoë",
        provider_options={"assemblyai": AssemblyaiOptions(speakers_expected=2, keyterms_prompt=["Zoë"])},
    )

    assert [each.speaker for each in heard.segments] == ["A", "B"]
    assert [(each.text, each.speaker) for each in heard.words] == [
        ("Hi", "A"), ("there.", "A"), ("Oh", "B"), ("no.", "B"),
    ]  # fmt: skip
    assert ear.asked == [("de", False, "Zoë")]


async def test_a_translation_comes_in_turns(emulate: Emulate) -> None:
    ear = TwoTurns()
    to = at("assemblyai", PRO, await emulate("assemblyai", ear))
    heard = await hear(to, task=Task.TRANSLATE, timestamps=Timestamps.SEGMENT)

    assert (heard.text, [each.text for each in heard.segments]) == ("Hi there. Oh no.", ["Hi there.", "Oh no."])
    assert ear.asked == [(None, False, None), (None, True, None)]
