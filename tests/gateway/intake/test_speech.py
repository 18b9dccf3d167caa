"""Listening in a thread: what cannot be read is nothing heard, and a caller who leaves ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from gateway.intake.speech import SpeechDetector
from providers.audio.content import MemoryContent
from tests.conftest import sample_audio


@pytest.fixture
def detector() -> Iterator[SpeechDetector]:
    made = SpeechDetector()
    yield made
    made.close()


async def test_a_voice_is_heard(detector: SpeechDetector) -> None:
    assert await detector.speech_at_least(sample_audio("slushy.wav"), 1.0)


async def test_what_cannot_be_read_is_not_heard(detector: SpeechDetector) -> None:
    broken = replace(sample_audio("slushy.wav"), content=MemoryContent(b"RIFF"))

    assert not await detector.speech_at_least(broken, 1.0)


async def test_a_clip_shorter_than_that_is_not_listened_to(detector: SpeechDetector) -> None:
    short = replace(sample_audio("slushy.wav"), duration_s=0.9)

    assert not await detector.speech_at_least(short, 1.0)


async def test_a_caller_who_leaves_ends_it(detector: SpeechDetector) -> None:
    """The thread is free again for the next."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(detector.speech_at_least(sample_audio("two_cities.flac"), 3600.0))
        await asyncio.sleep(0)
        task.cancel()

    assert task.cancelled()
    assert await detector.speech_at_least(sample_audio("slushy.wav"), 1.0)
