"""The emulator, driven by Soniox' own SDK and by our adapter over real sockets."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from blake3 import blake3
from soniox import SonioxClient
from soniox.errors import SonioxAPIError, SonioxAuthenticationError, SonioxNotFoundError
from soniox.types import CreateTranscriptionConfig

from providers.soniox import SonioxOptions
from providers.types import Task, Timestamps
from tests.conftest import KEY, sample
from tests.driving import at, hear, state
from tests.turns import TURNS, TwoTurns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from providers.emulators.ear import LocalEar

    Emulate = Callable[..., Awaitable[str]]
    Sdk = Callable[..., SonioxClient]

SHORT = sample("slushy.mp3")
HEARD = f"blake3 {blake3(SHORT).hexdigest()}"


@pytest.fixture
def sdk() -> Iterator[Sdk]:
    """Return a function that gives Soniox' client; each is closed afterwards."""
    clients: list[SonioxClient] = []

    def begin(url: str, key: str = KEY) -> SonioxClient:
        clients.append(SonioxClient(api_key=key, api_base_url=f"{url}/v1"))
        return clients[-1]

    yield begin
    for client in clients:
        client.close()


def transcribed(client: SonioxClient, audio: bytes = SHORT, **wanted: Any) -> Any:
    """Upload, start, wait; return the transcription and its transcript."""
    file = client.files.upload(io.BytesIO(audio), filename="a.mp3")
    started = client.stt.create(file_id=file.id, config=CreateTranscriptionConfig(**wanted))
    done = client.stt.wait(started.id, interval_sec=0.05)
    return done, client.stt.get_transcript(done.id) if done.status == "completed" else None


# --- Soniox' own SDK


async def test_its_own_sdk_uploads_starts_waits_and_reads(emulate: Emulate, sdk: Sdk, local_ear: LocalEar) -> None:
    client = sdk(await emulate("soniox", local_ear))
    done, heard = await asyncio.to_thread(transcribed, client, language_hints=["en"])

    assert (done.status, done.filename, done.model) == ("completed", "a.mp3", "stt-async-v5")
    assert done.audio_duration_ms == pytest.approx(13_690, abs=100)
    assert "slushy country roads" in heard.text
    assert "".join(each.text for each in heard.tokens) == heard.text
    assert max(len(each.text.strip()) for each in heard.tokens) <= 4
    assert {(each.speaker, each.language) for each in heard.tokens} == {(None, None)}


async def test_its_own_sdk_reads_speakers_languages_and_a_translation(emulate: Emulate, sdk: Sdk) -> None:
    ear = TwoTurns()
    wanted: dict[str, Any] = {
        "enable_speaker_diarization": True,
        "enable_language_identification": True,
        "translation": {"type": "one_way", "target_language": "en"},
        "context": {"text": "names", "terms": ["Zoë"]},
    }
    _, heard = await asyncio.to_thread(transcribed, sdk(await emulate("soniox", ear)), **wanted)

    originals = [each for each in heard.tokens if each.translation_status == "original"]
    others = [each for each in heard.tokens if each.translation_status == "translation"]
    assert {each.speaker for each in heard.tokens} == {"1", "2"}
    assert all(each.start_ms is not None for each in originals)
    assert "".join(each.text for each in others) == "Hi there. Oh no."
    assert {(each.start_ms, each.source_language) for each in others} == {(None, "en")}
    assert ear.asked == [(None, False, "names"), (None, True, None)]


async def test_its_own_sdk_lists_counts_and_deletes(emulate: Emulate, sdk: Sdk) -> None:
    client = sdk(await emulate("soniox"))

    def call() -> None:
        done, _ = transcribed(client)
        assert [each.id for each in client.stt.list().transcriptions] == [done.id]
        assert [each.id for each in client.files.list().files] == [done.file_id]
        assert client.files.get(done.file_id).size == len(SHORT)
        assert (client.files.count().total, client.stt.count().total) == (1, 1)
        client.files.delete(done.file_id)
        assert client.stt.get_transcript(done.id).text == HEARD  # stays readable
        client.stt.delete(done.id)
        assert client.stt.get_or_none(done.id) is None
        other, _ = transcribed(client)
        client.stt.destroy(other.id)
        assert (client.files.count().total, client.stt.count().total) == (0, 0)

    await asyncio.to_thread(call)


async def test_its_own_sdk_is_told_that_a_transcription_runs(emulate: Emulate, sdk: Sdk) -> None:
    client = sdk(await emulate("soniox", job_s=3600))

    def call() -> None:
        file = client.files.upload(io.BytesIO(SHORT), filename="a.mp3")
        started = client.stt.create(file_id=file.id)
        assert started.status == "queued"
        for refused in (client.stt.get_transcript, client.stt.delete):
            with pytest.raises(SonioxAPIError) as caught:
                refused(started.id)
            assert (caught.value.status_code, caught.value.api_error and caught.value.api_error.error_type) == (
                409,
                "transcription_invalid_state",
            )

    await asyncio.to_thread(call)


async def test_its_own_sdk_meets_the_end_of_its_room(emulate: Emulate, sdk: Sdk) -> None:
    """Whoever forgets to delete is stopped there."""
    client = sdk(await emulate("soniox", TwoTurns(), job_s=3600))

    def call() -> None:
        file = client.files.upload(io.BytesIO(SHORT), filename="a.mp3")
        for _ in range(100):
            client.stt.create(file_id=file.id)
        with pytest.raises(SonioxAPIError) as caught:
            client.stt.create(file_id=file.id)
        assert (caught.value.status_code, client.stt.count().total) == (429, 100)

    await asyncio.to_thread(call)


async def test_its_own_sdk_reads_a_failed_transcription(emulate: Emulate, sdk: Sdk) -> None:
    done, _ = await asyncio.to_thread(transcribed, sdk(await emulate("soniox")), b"no audio")

    assert (done.status, done.error_type) == ("error", "audio_decode_error")


async def test_its_own_sdk_raises_its_own_errors(emulate: Emulate, sdk: Sdk) -> None:
    url = await emulate("soniox")

    def call() -> None:
        with pytest.raises(SonioxAuthenticationError, match="Incorrect API key"):
            sdk(url, "wrong").models.list()
        client = sdk(url)
        assert [each.id for each in client.models.list().models] == ["stt-async-v5", "stt-async-v4"]
        for missing in (client.stt.get, client.files.get):
            with pytest.raises(SonioxNotFoundError):
                missing("none")
        with pytest.raises(SonioxNotFoundError):
            client.stt.create(file_id="none")

    await asyncio.to_thread(call)


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, "model"),
        ({"model": "whisper"}, "model"),
        ({"model": "stt-async-v5"}, "file_id"),
        ({"model": "stt-async-v5", "file_id": "f", "audio_url": "https://x/y"}, "file_id"),
        ({"model": "stt-async-v5", "audio_url": "https://x/y"}, "audio_url"),
        ({"model": "stt-async-v5", "file_id": "f", "language_hints": ["xx"]}, "language_hints"),
        ({"model": "stt-async-v5", "file_id": "f", "translation": {"type": "two_way"}}, "translation"),
    ],
)
async def test_what_is_wrong_is_told_by_its_place(emulate: Emulate, body: dict[str, Any], where: str) -> None:
    url = f"{await emulate('soniox')}/v1"
    async with aiohttp.ClientSession(headers={"authorization": f"Bearer {KEY}"}) as session:
        async with session.post(f"{url}/transcriptions", json=body) as response:
            told = await response.json()
        assert (response.status, told["error_type"]) == (400, "invalid_request")
        assert told["validation_errors"][0]["location"] == f"body.payload.{where}"
        async with session.post(f"{url}/files", json=body) as response:
            assert response.status == 400


# --- our adapter


async def test_speakers_words_and_options_arrive(emulate: Emulate) -> None:
    ear = TwoTurns()
    url = await emulate("soniox", ear)
    heard = await hear(
        at("soniox", "stt-async-v5", url),
        timestamps=Timestamps.WORD,
        diarize=True,
        language="de",
        prompt="names",
        provider_options={"soniox": SonioxOptions(terms=["Zoë"])},
    )

    assert heard.text == "Hi there. Oh no."
    assert [(each.text, each.speaker) for each in heard.segments] == [("Hi there.", "1"), ("Oh no.", "2")]
    assert [(each.text, each.start_s, each.end_s, each.speaker) for each in heard.words] == [
        ("Hi", 0.5, 1.0, "1"), ("there.", 1.0, 2.0, "1"), ("Oh", 2.5, 3.0, "2"), ("no.", 3.0, 4.0, "2"),
    ]  # fmt: skip
    assert ear.asked == [("de", False, "names")]
    now = await state(url)
    assert (list(now["jobs"].values()), now["files"]) == (["deleted"], [])


async def test_a_translation_comes_in_turns(emulate: Emulate) -> None:
    to = at("soniox", "stt-async-v5", await emulate("soniox", TwoTurns()))
    heard = await hear(to, task=Task.TRANSLATE, timestamps=Timestamps.SEGMENT)

    assert (heard.text, [each.text for each in heard.segments]) == ("Hi there. Oh no.", [each[0] for each in TURNS])
    assert heard.segments[1].start_s == 2.5  # of its first word


async def test_an_upload_whose_transcription_is_refused_is_deleted(emulate: Emulate) -> None:
    url = await emulate("soniox")
    with pytest.raises(Exception, match="status 400"):
        await hear(at("soniox", "stt-rt-v5", url))
    now = await state(url)

    assert (now["jobs"], now["files"]) == ({}, [])
