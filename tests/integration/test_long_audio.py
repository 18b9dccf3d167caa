"""Recordings longer than a provider takes, through the whole gateway; and real speech across the seams."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import aiohttp
import numpy as np
import pytest
from msgspec.structs import replace

from config.long_audio import LongAudio
from config.settings import Route, Target
from providers.audio.part_limit import PartLimit
from providers.audio.samples import MODEL_RATE_HZ, read_samples
from providers.audio.split import Part, split
from providers.emulators.ear import as_audio
from providers.local.engine import heard
from providers.stitch import stitched
from providers.types import Audio, Container, Timestamps, Transcript, TranscriptionJob
from tests.conftest import encoded, sample_audio, tone, whisper
from tests.contract.test_word_errors import SPOKEN, errors, words
from tests.serving import emulated_account, routed, running

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Emulate = Callable[..., Awaitable[str]]

MODEL = "gpt-4o-transcribe"  # takes 1400 s
MINUTES = 25


@pytest.fixture(scope="module")
def lecture() -> bytes:
    """Return twenty-five minutes of a tone that grows louder, and in which nobody breathes, in FLAC."""
    whole = tone(MINUTES * 60, 8_000)
    louder = (whole * np.linspace(0.2, 1.0, whole.shape[1])).astype(np.int16)
    return encoded(louder, 8_000, "flac", "flac")


async def test_it_is_asked_for_in_parts_which_the_answer_tells(emulate: Emulate, lecture: bytes) -> None:
    """By the front, the header, the cost and the plan; and kept as a whole."""
    settings = routed("m", {"up": emulated_account("openai", await emulate("openai"))}, f"up/{MODEL}")
    async with running(settings) as (url, _), aiohttp.ClientSession(url) as session:
        async with session.post("/models/m", data=BytesIO(lecture), headers={"X-Gateway-Dry-Run": "true"}) as reply:
            plan = await reply.json()
        async with session.post("/models/m", data=BytesIO(lecture)) as reply:
            told, answer = reply.headers, await reply.json()

    assert reply.status == 200, answer
    assert plan["parts_of_s"] == 600.0
    assert [each["deployment"] for each in plan["candidates"]] == [f"up/{MODEL}"]
    assert told["X-Gateway-Parts"] == told["X-Gateway-Attempts"] == "3"
    assert float(told["X-Audio-Duration"]) == pytest.approx(MINUTES * 60, abs=0.1)
    assert float(told["X-Gateway-Cost"]) == pytest.approx(MINUTES * 0.006, rel=0.01)
    assert answer["text"].count("blake3") == 3  # what each part's bytes digest to
    assert len(set(answer["text"].split())) == 4


async def test_where_the_operator_says_no_it_is_413(emulate: Emulate, lecture: bytes) -> None:
    settings = routed("m", {"up": emulated_account("openai", await emulate("openai"))}, f"up/{MODEL}")
    whole = Route(targets=(Target(target=f"up/{MODEL}", substitute=True),), long_audio=LongAudio(split=False))
    async with (
        running(settings.model_copy(update={"models": {"m": whole}})) as (url, _),
        aiohttp.ClientSession(url) as session,
        session.post("/models/m", data=BytesIO(lecture)) as reply,
    ):
        assert (reply.status, (await reply.json())["type"]) == (413, "too-large")


def recording() -> tuple[Audio, list[str]]:
    """Return the bundled English speech as one recording, half a second between clips, and its words."""
    once = {text: name for name, text in map(_named, SPOKEN)}  # one file of those that hold the same
    pause = np.zeros(MODEL_RATE_HZ // 2, np.float32)
    clips = [read_samples(sample_audio(name).content, max_duration_s=60) for name in once.values()]
    whole = np.concatenate([samples for clip in clips for samples in (clip, pause)])
    pcm = (whole.clip(-1, 1) * 32_767).astype(np.int16)[np.newaxis]
    audio = replace(as_audio(encoded(pcm, MODEL_RATE_HZ, "flac", "flac")), duration_s=len(whole) / MODEL_RATE_HZ)
    return audio, [word for text in once for word in words(text)]


def _named(parameter: object) -> tuple[str, str]:
    name, text = parameter.values  # type: ignore[attr-defined] # of pytest.param
    return name, text


def heard_in(audio: Audio) -> Transcript:
    job = TranscriptionJob(model="m", audio=audio, timestamps=Timestamps.WORD)
    return heard(whisper(), job)


@pytest.mark.parametrize("longest_s", [20, 30])
def test_no_word_is_lost_or_doubled_at_a_seam(longest_s: float) -> None:
    """Real speech through a real model: in parts no more words are wrong than in the whole, and times run on."""
    audio, said = recording()
    in_whole = heard_in(audio)
    parts: list[Part] = split(audio, Container.FLAC, limit=PartLimit(longest_s=longest_s), max_duration_s=3600)
    try:
        in_parts = stitched([(part.start_s, heard_in(part.audio)) for part in parts])
    finally:
        for part in parts:
            part.audio.content.close()

    assert len(parts) >= 4
    assert errors(said, words(in_parts.text)) <= errors(said, words(in_whole.text))
    starts_s = [word.start_s for word in in_parts.words]
    assert starts_s == sorted(starts_s)
    assert in_parts.duration_s == pytest.approx(audio.duration_s, abs=0.01)
