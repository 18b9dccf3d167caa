"""The emulator, driven by Speechmatics' own SDK and by our adapter over real sockets."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from blake3 import blake3
from speechmatics.batch import (
    AsyncClient,
    AuthenticationError,
    BatchError,
    FormatType,
    JobConfig,
    JobError,
    JobStatus,
    JobType,
    Transcript,
    TranscriptionConfig,
    TranslationConfig,
)

from providers.speechmatics import SpeechmaticsOptions
from providers.types import Task, Timestamps
from tests.conftest import KEY, sample
from tests.driving import at, hear, state
from tests.turns import TURNS, TwoTurns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from providers.emulators.ear import LocalEar

    Emulate = Callable[..., Awaitable[str]]

SHORT = sample("slushy.mp3")
HEARD = f"blake3 {blake3(SHORT).hexdigest()}"
ENGLISH = TranscriptionConfig(language="en")


def sdk(url: str, key: str = KEY) -> AsyncClient:
    return AsyncClient(api_key=key, url=f"{url}/v2")


def file(audio: bytes = SHORT) -> io.BytesIO:
    return io.BytesIO(audio)


# --- Speechmatics' own SDK


async def test_its_own_sdk_starts_waits_and_reads(emulate: Emulate, local_ear: LocalEar) -> None:
    async with sdk(await emulate("speechmatics", local_ear)) as client:
        heard = await client.transcribe(file(), transcription_config=ENGLISH, polling_interval=0.1)

    assert isinstance(heard, Transcript)
    assert "slushy country roads" in heard.transcript_text
    assert heard.job.duration == 14
    assert {each.type for each in heard.results} == {"word", "punctuation"}
    assert heard.results[0].alternatives
    assert heard.results[0].alternatives[0].speaker == "UU"


async def test_its_own_sdk_reads_speakers_and_a_translation(emulate: Emulate) -> None:
    wanted = JobConfig(
        type=JobType.TRANSCRIPTION,
        transcription_config=TranscriptionConfig(language="de", diarization="speaker"),
        translation_config=TranslationConfig(target_languages=["en"]),
    )
    ear = TwoTurns()
    async with sdk(await emulate("speechmatics", ear)) as client:
        heard = await client.transcribe(file(), config=wanted, polling_interval=0.1)

    assert isinstance(heard, Transcript)
    assert heard.transcript_text == "SPEAKER S1: Hi there.\nSPEAKER S2: Oh no."
    assert heard.translations
    assert [each["content"] for each in heard.translations["en"]] == ["Hi there.", "Oh no."]
    assert ear.asked == [("de", False, None), (None, True, None)]


async def test_its_own_sdk_waits_in_one_call(emulate: Emulate) -> None:
    async with sdk(await emulate("speechmatics", job_s=0.3)) as client:
        done = await client.submit_job(file(), transcription_config=ENGLISH, wait=5)
        assert (done.status, isinstance(done.transcript, Transcript)) == (JobStatus.DONE, True)

    async with sdk(await emulate("speechmatics", job_s=30)) as client:
        early = await client.submit_job(file(), transcription_config=ENGLISH, wait=1)
        assert (early.status in {JobStatus.RUNNING, JobStatus.CREATED}, early.transcript) == (True, None)


async def test_its_own_sdk_reads_other_forms(emulate: Emulate) -> None:
    async with sdk(await emulate("speechmatics", TwoTurns())) as client:
        started = await client.submit_job(file(), transcription_config=ENGLISH)
        text = await client.wait_for_completion(started.id, format_type=FormatType.TXT, polling_interval=0.1)
        subtitles = await client.get_transcript(started.id, format_type=FormatType.SRT)

    assert text == "Hi there.\nOh no."
    assert isinstance(subtitles, str)
    assert subtitles.startswith("1\n00:00:00,500 --> 00:00:02,000\nHi there.\n")


async def test_its_own_sdk_lists_deletes_and_stops(emulate: Emulate) -> None:
    url = await emulate("speechmatics", job_s=3600)
    async with sdk(url) as client:
        started = await client.submit_job(file(), transcription_config=ENGLISH)
        info = await client.get_job_info(started.id, wait=0)
        assert (info.status, info.config is not None) == (JobStatus.RUNNING, True)
        assert [each.id for each in await client.list_jobs()] == [started.id]
        with pytest.raises(JobError):
            await client.get_transcript(started.id, wait=0)
        with pytest.raises(JobError, match="still running"):
            await client.delete_job(started.id)
        await client.delete_job(started.id, force=True)
        assert await client.list_jobs() == []
    now = await state(url)
    assert (now["cancelled"], now["files"]) == ([started.id], {})


async def test_its_own_sdk_reads_a_rejected_job(emulate: Emulate) -> None:
    async with sdk(await emulate("speechmatics")) as client:
        started = await client.submit_job(file(b"no audio"), transcription_config=ENGLISH)
        info = await client.get_job_info(started.id)
        assert info.errors
        assert (info.status, "unable to read" in info.errors[0].message) == (JobStatus.REJECTED, True)
        with pytest.raises(JobError, match="rejected"):
            await client.wait_for_completion(started.id, polling_interval=0.1)


async def test_its_own_sdk_raises_its_own_errors(emulate: Emulate) -> None:
    url = await emulate("speechmatics")
    async with sdk(url, "wrong") as client:
        with pytest.raises(AuthenticationError):
            await client.submit_job(file(), transcription_config=ENGLISH)
    async with sdk(url) as client:
        with pytest.raises(BatchError, match="language"):
            await client.submit_job(file(), transcription_config=TranscriptionConfig(language=""))


@pytest.mark.parametrize(
    ("config", "has_file", "status", "says"),
    [
        (None, True, 400, "Job rejected"),
        ("{", True, 400, "Job rejected"),
        ('{"type": "alignment"}', True, 400, "Job rejected"),
        ('{"type": "transcription"}', True, 400, "No language selected"),
        ('{"type": "transcription", "transcription_config": {"language": "en"}}', False, 400, "Missing data_file"),
        (
            '{"type": "transcription", "transcription_config": {"language": "en", "model": "x"}}',
            True,
            403,
            "Forbidden",
        ),
        (
            '{"type": "transcription", "transcription_config": {"language": "auto", "model": "melia-1"}}',
            True,
            400,
            "Job rejected",
        ),
    ],
)
async def test_what_is_wrong_is_told_from_its_list(
    emulate: Emulate, config: str | None, status: int, says: str, *, has_file: bool
) -> None:
    form = aiohttp.FormData(default_to_multipart=True)
    form.add_field("x", "y")
    if config is not None:
        form.add_field("config", config)
    if has_file:
        form.add_field("data_file", SHORT, filename="a.mp3")
    url = f"{await emulate('speechmatics')}/v2/jobs/"
    async with (
        aiohttp.ClientSession(headers={"authorization": f"Bearer {KEY}"}) as session,
        session.post(url, data=form) as response,
    ):
        told = await response.json()
    assert (response.status, told["code"], told["error"]) == (status, status, says)
    assert response.headers["request-id"]


@pytest.mark.parametrize(
    ("path", "status"), [("/none", 404), ("/{id}/transcript?format=doc", 400), ("/{id}?wait=soon", 400)]
)
async def test_what_is_not_there_is_told_so(emulate: Emulate, path: str, status: int) -> None:
    url = await emulate("speechmatics")
    async with sdk(url) as client:
        started = await client.submit_job(file(), transcription_config=ENGLISH)
    headers = {"authorization": f"Bearer {KEY}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"{url}/v2/jobs{path.format(id=started.id)}") as response,
    ):
        assert response.status == status


async def test_without_a_key_a_page_of_html_answers(emulate: Emulate) -> None:
    url = f"{await emulate('speechmatics')}/v2/jobs"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert (response.status, response.content_type) == (401, "text/html")
    async with (
        aiohttp.ClientSession(headers={"authorization": f"Bearer {KEY}"}) as session,
        session.post(url, json={}) as response,
    ):
        assert (response.status, (await response.json())["error"]) == (400, "Malformed request")


# --- our adapter


async def test_speakers_words_and_options_arrive(emulate: Emulate) -> None:
    ear = TwoTurns()
    url = await emulate("speechmatics", ear)
    heard = await hear(
        at("speechmatics", "enhanced", url),
        timestamps=Timestamps.WORD,
        diarize=True,
        language="zh",
        provider_options={"speechmatics": SpeechmaticsOptions(additional_vocab=["Zoë"], speaker_sensitivity=0.5)},
    )

    assert heard.text == "Hi there. Oh no."
    assert [(each.text, each.speaker) for each in heard.segments] == [("Hi there.", "S1"), ("Oh no.", "S2")]
    assert [(each.text, each.speaker) for each in heard.words] == [
        ("Hi", "S1"), ("there.", "S1"), ("Oh", "S2"), ("no.", "S2"),
    ]  # fmt: skip
    assert ear.asked == [("zh", False, None)]
    now = await state(url)
    assert (list(now["jobs"].values()), now["files"], now["cancelled"]) == (["deleted"], {}, [])


async def test_a_translation_comes_in_sentences(emulate: Emulate) -> None:
    url = await emulate("speechmatics", TwoTurns())
    wanted: dict[str, Any] = {"task": Task.TRANSLATE, "language": "de", "timestamps": Timestamps.SEGMENT}
    heard = await hear(at("speechmatics", "enhanced", url), **wanted)

    assert (heard.text, [each.text for each in heard.segments]) == ("Hi there. Oh no.", [each[0] for each in TURNS])
