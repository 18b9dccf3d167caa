"""The emulator, driven by Rev AI's own SDK and by our adapter over real sockets.

The SDK wants a WebSocket client of 2019, which nothing else here can use: `make install` puts it beside the
environment, alone. What is driven here does without.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import requests
from blake3 import blake3

from providers.revai import RevaiOptions
from providers.types import Timestamps
from tests.conftest import AUDIO, KEY, sample
from tests.driving import at, hear, state
from tests.turns import TURNS, TwoTurns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from providers.emulators.ear import LocalEar

    Emulate = Callable[..., Awaitable[str]]

PACKAGE = Path(sys.prefix) / "rev_ai-2.21"
SHORT = AUDIO / "slushy.mp3"
HEARD = f"blake3 {blake3(sample('slushy.mp3')).hexdigest()}"
ROOT = "speechtotext/v1"


@pytest.fixture
def sdk(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return a function that gives Rev AI's client."""
    monkeypatch.syspath_prepend(str(PACKAGE))
    client = importlib.import_module("rev_ai.apiclient").RevAiAPIClient
    return lambda url, key=KEY: client(key, url=url)


def finished(client: Any, file: Path = SHORT, **wanted: Any) -> Any:
    """Start a job and wait for it."""
    job = client.submit_job_local_file(str(file), **wanted)
    while job.status.name == "IN_PROGRESS":
        job = client.get_job_details(job.id)
    return job


# --- Rev AI's own SDK


async def test_its_own_sdk_starts_waits_and_reads(
    emulate: Emulate, sdk: Callable[..., Any], local_ear: LocalEar
) -> None:
    client = sdk(await emulate("revai", local_ear))

    def call() -> tuple[Any, Any, str]:
        job = finished(client, language="en", transcriber="machine", skip_diarization=True)
        return job, client.get_transcript_object(job.id), client.get_transcript_text(job.id)

    job, heard, text = await asyncio.to_thread(call)
    assert (job.status.name, job.transcriber, job.language) == ("TRANSCRIBED", "machine", "en")
    assert job.name.endswith("slushy.mp3")
    assert job.duration_seconds == pytest.approx(13.69, abs=0.1)
    assert [each.speaker for each in heard.monologues] == [0]
    elements = heard.monologues[0].elements
    assert "slushy country roads" in "".join(each.value for each in elements)
    assert {(each.type_, each.timestamp is None) for each in elements} == {("text", False), ("punct", True)}
    assert text.startswith("Speaker 0    00:00:0")


async def test_its_own_sdk_reads_speakers_and_captions(emulate: Emulate, sdk: Callable[..., Any]) -> None:
    client = sdk(await emulate("revai", TwoTurns()))

    def call() -> tuple[Any, bytes]:
        job = finished(client)
        return client.get_transcript_object(job.id), client.get_captions(job.id)

    heard, captions = await asyncio.to_thread(call)
    said = [("".join(each.value for each in turn.elements), turn.speaker) for turn in heard.monologues]
    assert said == [("Hi there.", 0), ("Oh no.", 1)]
    assert str(captions).startswith("1\n00:00:00,500 --> 00:00:02,000\nHi there.\n")


async def test_its_own_sdk_lists_and_deletes(emulate: Emulate, sdk: Callable[..., Any]) -> None:
    url = await emulate("revai")
    client = sdk(url)

    def call() -> None:
        job = finished(client, metadata="mine", delete_after_seconds=60)
        assert (job.metadata, job.delete_after_seconds) == ("mine", 60)
        assert [each.id for each in client.get_list_of_jobs()] == [job.id]
        assert client.get_account().balance_seconds == 3600
        client.delete_job(job.id)
        with pytest.raises(requests.HTTPError, match="could not find job"):
            client.get_job_details(job.id)

    await asyncio.to_thread(call)
    assert (await state(url))["files"] == {}


async def test_its_own_sdk_is_told_that_a_job_runs(emulate: Emulate, sdk: Callable[..., Any]) -> None:
    client = sdk(await emulate("revai", job_s=3600))

    def call() -> None:
        job = client.submit_job_local_file(str(SHORT))
        assert job.status.name == "IN_PROGRESS"
        for refused in (client.get_transcript_object, client.get_captions, client.delete_job):
            with pytest.raises(requests.HTTPError, match="invalid state") as caught:
                refused(job.id)
            assert caught.value.response is not None
            assert caught.value.response.status_code == 409

    await asyncio.to_thread(call)


async def test_its_own_sdk_reads_failed_jobs(emulate: Emulate, sdk: Callable[..., Any]) -> None:
    client = sdk(await emulate("revai"))

    def by_url() -> Any:
        job = client.submit_job_url("https://elsewhere.example/a.wav")
        while job.status.name == "IN_PROGRESS":
            job = client.get_job_details(job.id)
        return job

    broken = await asyncio.to_thread(finished, client, AUDIO / "manifest.json")
    assert (broken.status.name, broken.failure) == ("FAILED", "invalid_media")
    assert (await asyncio.to_thread(by_url)).failure == "download_failure"


async def test_its_own_sdk_raises_its_own_errors(emulate: Emulate, sdk: Callable[..., Any]) -> None:
    url = await emulate("revai")

    def call() -> None:
        with pytest.raises(requests.HTTPError, match="Authorization has been denied"):
            sdk(url, "wrong").get_account()
        with pytest.raises(requests.HTTPError, match="language is not supported"):
            finished(sdk(url), language="xx")
        with pytest.raises(requests.HTTPError, match="transcriber"):
            finished(sdk(url), transcriber="nobody")

    await asyncio.to_thread(call)


@pytest.mark.parametrize(
    ("options", "has_file", "name"),
    [
        ("{}", False, "media"),
        ("{", True, "options"),
        ("[]", True, "options"),
        ('{"skip_diarization": "yes"}', True, "skip_diarization"),
        ('{"delete_after_seconds": -1}', True, "delete_after_seconds"),
    ],
)
async def test_what_is_wrong_is_told_by_its_name(emulate: Emulate, options: str, name: str, *, has_file: bool) -> None:
    form = aiohttp.FormData({"options": options}, default_to_multipart=True)
    if has_file:
        form.add_field("media", SHORT.read_bytes(), filename="a.mp3")
    url = f"{await emulate('revai')}/{ROOT}/jobs"
    async with (
        aiohttp.ClientSession(headers={"authorization": f"Bearer {KEY}"}) as session,
        session.post(url, data=form) as response,
    ):
        problem = await response.json(content_type="application/problem+json")
    assert (response.status, list(problem["parameter"])) == (400, [name])


async def test_forms_are_asked_for_by_their_type(emulate: Emulate, sdk: Callable[..., Any]) -> None:
    url = await emulate("revai", TwoTurns())
    job = await asyncio.to_thread(finished, sdk(url))
    async with aiohttp.ClientSession(headers={"authorization": f"Bearer {KEY}"}) as session:
        for what, accept, status in (
            ("transcript", "text/html", 406),
            ("captions", "text/html", 406),
            ("captions", "text/vtt", 200),
        ):
            there = f"{url}/{ROOT}/jobs/{job.id}/{what}"
            async with session.get(there, headers={"accept": accept}) as response:
                assert response.status == status
                said = await response.text()
        assert said.startswith("WEBVTT\n\n1\n00:00:00.500 --> 00:00:02.000\n")
        async with session.post(f"{url}/{ROOT}/jobs", json={"language": "en"}) as response:
            assert response.status == 400


# --- our adapter


async def test_speakers_words_and_options_arrive(emulate: Emulate) -> None:
    ear = TwoTurns()
    url = await emulate("revai", ear)
    heard = await hear(
        at("revai", "fusion", url),
        timestamps=Timestamps.WORD,
        diarize=True,
        language="zh",
        provider_options={"revai": RevaiOptions(custom_vocabulary=["Zoë"], speakers_count=2)},
    )

    assert heard.text == "Hi there. Oh no."
    assert [(each.text, each.speaker) for each in heard.segments] == [("Hi there.", "0"), ("Oh no.", "1")]
    assert [(each.text, each.start_s, each.end_s, each.speaker) for each in heard.words] == [
        ("Hi", 0.5, 1.0, "0"), ("there.", 1.0, 2.0, "0"), ("Oh", 2.5, 3.0, "1"), ("no.", 3.0, 4.0, "1"),
    ]  # fmt: skip
    assert ear.asked == [("zh", False, None)]
    now = await state(url)
    assert (list(now["jobs"].values()), now["files"]) == (["deleted"], {})


async def test_nobody_is_told_apart_unasked(emulate: Emulate) -> None:
    heard = await hear(at("revai", "machine", await emulate("revai", TwoTurns())), timestamps=Timestamps.SEGMENT)

    assert [(each.text, each.speaker) for each in heard.segments] == [(each[0], None) for each in TURNS]
