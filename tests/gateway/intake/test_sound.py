"""Sounds told in threads: for certain, or not at all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from gateway.intake.sound import SoundReader
from providers.emulators.ear import as_audio
from tests.conftest import sample, sample_audio

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def reader() -> Iterator[SoundReader]:
    made = SoundReader(3600.0)
    yield made
    made.close()


async def test_one_recording_is_one_sound(reader: SoundReader) -> None:
    assert await reader.digest(sample_audio("slushy.wav")) == await reader.digest(sample_audio("slushy.flac"))


async def test_what_cannot_be_told_is_none(reader: SoundReader) -> None:
    assert await reader.digest(as_audio(sample("slushy.flac")[:50_000])) is None
    reader.max_duration_s = 1.0
    assert await reader.digest(sample_audio("slushy.wav")) is None


async def test_it_ends_with_its_caller(reader: SoundReader) -> None:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(reader.digest(sample_audio("two_cities.flac")))
        await asyncio.sleep(0)
        task.cancel()
    assert task.cancelled()
