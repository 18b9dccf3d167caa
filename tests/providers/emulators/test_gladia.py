"""The emulator, driven by Gladia's own SDK and by our adapter over real sockets."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from blake3 import blake3
from gladiaio_sdk import GladiaClient, HttpError, HttpRetryOptions

from providers.gladia import GladiaOptions
from providers.types import Task, Timestamps
from tests.conftest import KEY, sample
from tests.driving import at, hear, state
from tests.turns import TURNS, TwoTurns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from gladiaio_sdk import PreRecordedV2Client

    from providers.emulators.ear import LocalEar

    Emulate = Callable[..., Awaitable[str]]
    Sdk = Callable[..., PreRecordedV2Client]

SHORT = sample("slushy.wav")
HEARD = f"blake3 {blake3(SHORT).hexdigest()}"


# --- Gladia's own SDK


@pytest.fixture
def sdk() -> Iterator[Callable[..., PreRecordedV2Client]]:
    """Return a function that gives Gladia's client. It cannot be closed: what it holds is, afterwards."""
    clients: list[PreRecordedV2Client] = []

    def begin(url: str, key: str = KEY) -> PreRecordedV2Client:
        options = HttpRetryOptions(max_attempts=1)
        clients.append(GladiaClient(api_key=key, api_url=url, http_retry=options).prerecorded())
        return clients[-1]

    yield begin
    for client in clients:
        client._http_client._client.close()


async def transcribed(client: PreRecordedV2Client, **wanted: Any) -> Any:
    def call() -> Any:
        return client.transcribe(io.BytesIO(SHORT), wanted, interval=0.05)

    return await asyncio.to_thread(call)


async def test_its_own_sdk_uploads_starts_and_waits(emulate: Emulate, sdk: Sdk, local_ear: LocalEar) -> None:
    url = await emulate("gladia", local_ear)
    heard = await transcribed(sdk(url), model="solaria-1", language_config={"languages": ["en"]})

    assert heard.status == "done"
    assert "slushy country roads" in heard.result.transcription.full_transcript
    assert heard.result.metadata.billing_time == pytest.approx(13.69, abs=0.1)
    assert heard.file.audio_duration == pytest.approx(13.69, abs=0.1)
    first = heard.result.transcription.utterances[0]
    assert (first.language, first.speaker, first.words[0].word[0]) == ("en", None, " ")


async def test_its_own_sdk_reads_speakers_and_a_translation(emulate: Emulate, sdk: Sdk) -> None:
    url = await emulate("gladia", TwoTurns())
    heard = await transcribed(
        sdk(url),
        diarization=True,
        diarization_config={"number_of_speakers": 2},
        translation=True,
        translation_config={"target_languages": ["en"]},
    )

    assert [(each.text, each.speaker) for each in heard.result.transcription.utterances] == [
        ("Hi there.", 0),
        ("Oh no.", 1),
    ]
    assert heard.result.translation.results[0].full_transcript == "Hi there. Oh no."


async def test_its_own_sdk_sees_the_states_lists_and_deletes(emulate: Emulate, sdk: Sdk) -> None:
    url = await emulate("gladia", job_s=0.5)
    theirs = sdk(url)
    uploaded = await asyncio.to_thread(theirs.upload_file, io.BytesIO(SHORT))
    assert (uploaded.audio_metadata.size, uploaded.audio_url.startswith(f"{url}/file/")) == (len(SHORT), True)
    made = await asyncio.to_thread(theirs.create, {"audio_url": uploaded.audio_url})
    running = await asyncio.to_thread(theirs.get, made.id)
    assert (running.status, running.result, running.completed_at) == ("queued", None, None)
    with pytest.raises(HttpError, match="403"):
        await asyncio.to_thread(theirs.delete, made.id)

    done = await asyncio.to_thread(lambda: theirs.poll(made.id, interval=0.05))
    assert done.result
    assert done.result.transcription
    assert done.result.transcription.full_transcript == HEARD
    assert [each.id for each in (await asyncio.to_thread(theirs.list)).items] == [made.id]
    assert await asyncio.to_thread(theirs.get_file, made.id) == SHORT
    assert await asyncio.to_thread(theirs.delete, made.id)
    with pytest.raises(HttpError, match="404"):
        await asyncio.to_thread(theirs.get, made.id)
    assert (await state(url))["files"] == {}


async def test_its_own_sdk_reads_a_failed_job_behind_a_200(emulate: Emulate, sdk: Sdk) -> None:
    theirs = sdk(await emulate("gladia"))

    def call() -> Any:
        url = theirs.upload_file(io.BytesIO(b"no audio")).audio_url
        made = theirs.create({"audio_url": url})
        while (job := theirs.get(made.id)).status not in {"done", "error"}:
            pass
        return job

    failed = await asyncio.to_thread(call)
    assert (failed.status, failed.error_code, failed.result) == ("error", 400, None)


async def test_its_own_sdk_raises_its_own_errors(emulate: Emulate, sdk: Sdk) -> None:
    url = await emulate("gladia")
    with pytest.raises(HttpError, match="401"):
        await asyncio.to_thread(sdk(url, "wrong").upload_file, io.BytesIO(SHORT))
    with pytest.raises(HttpError, match="must be a language code"):
        await transcribed(sdk(url), language_config={"languages": ["xx"]})


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "audio_url must be a URL address"),
        ({"audio_url": "https://elsewhere.example/a.wav"}, "audio_url must be reachable"),
        ({"audio_url": "https://x/y", "prompt": "x"}, "property prompt should not exist"),
        ({"audio_url": "https://x/y", "model": "whisper"}, "model must be one of"),
        ({"audio_url": "https://x/y", "diarization": "yes"}, "diarization must be a boolean value"),
        ({"audio_url": "https://x/y", "translation": True}, "English only"),
    ],
)
async def test_what_is_wrong_is_told_fault_by_fault(emulate: Emulate, body: dict[str, Any], says: str) -> None:
    url = f"{await emulate('gladia')}/v2/pre-recorded"
    async with (
        aiohttp.ClientSession(headers={"x-gladia-key": KEY}) as session,
        session.post(url, json=body) as response,
    ):
        told = await response.json()
    assert (response.status, told["statusCode"], "x-aipi-call-id" in response.headers) == (400, 400, True)
    assert any(says in each for each in told["validation_errors"])


async def test_an_upload_is_a_form_with_audio(emulate: Emulate) -> None:
    url = f"{await emulate('gladia')}/v2/upload"
    form = aiohttp.FormData({"file": "x"}, default_to_multipart=True)
    async with aiohttp.ClientSession(headers={"x-gladia-key": KEY}) as session:
        for sent in ({"data": form}, {"json": {"audio_url": "https://elsewhere.example/a.wav"}}):
            async with session.post(url, **sent) as response:
                assert response.status == 400


# --- our adapter


async def test_speakers_words_and_options_arrive(emulate: Emulate) -> None:
    ear = TwoTurns()
    url = await emulate("gladia", ear)
    heard = await hear(
        at("gladia", "solaria-3", url),
        timestamps=Timestamps.WORD,
        diarize=True,
        language="de",
        provider_options={"gladia": GladiaOptions(number_of_speakers=2, custom_vocabulary=["Zoë"])},
    )

    assert [(each.text, each.start_s, each.end_s, each.speaker) for each in heard.segments] == [
        (*TURNS[0][:3], "0"),
        (*TURNS[1][:3], "1"),
    ]
    assert [(each.text, each.speaker) for each in heard.words] == [
        ("Hi", "0"), ("there.", "0"), ("Oh", "1"), ("no.", "1"),
    ]  # fmt: skip
    assert ear.asked == [("de", False, None)]
    now = await state(url)
    assert (list(now["jobs"].values()), now["files"], now["cancelled"]) == (["deleted"], {}, [])


async def test_a_translation_has_words(emulate: Emulate) -> None:
    ear = TwoTurns()
    to = at("gladia", "solaria-1", await emulate("gladia", ear))
    heard = await hear(to, task=Task.TRANSLATE, timestamps=Timestamps.WORD)

    assert (heard.text, [each.text for each in heard.words]) == ("Hi there. Oh no.", ["Hi", "there.", "Oh", "no."])
    assert ear.asked == [(None, False, None), (None, True, None)]
