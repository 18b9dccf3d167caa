"""Copies of uploads, made where they hold nobody up, and given up when nobody wants them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gateway.intake.transcoder import Transcoder
from providers.emulators.ear import as_audio
from providers.types import Container
from tests.conftest import AUDIO, encoded, sample_audio

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def transcoder(tmp_path: Path) -> Iterator[Transcoder]:
    made = Transcoder(max_duration_s=36_000, directory=tmp_path)
    yield made
    made.close()


async def test_a_copy_is_made(transcoder: Transcoder) -> None:
    copy = await transcoder.run(sample_audio("slushy.webm"), Container.WAV)
    assert (copy.container, copy.content.read_at(0, 4)) == (Container.WAV, b"RIFF")
    copy.content.close()


async def test_a_folder_that_is_not_there_is_no_room() -> None:
    transcoder = Transcoder(max_duration_s=60, directory=AUDIO / "nowhere")
    with pytest.raises(OSError, match="nowhere"):
        await transcoder.run(sample_audio("slushy.webm"), Container.WAV)
    transcoder.close()


async def test_a_caller_who_leaves_ends_the_work_at_its_next_frame(transcoder: Transcoder) -> None:
    """Two hours of silence take seconds; both threads are free again long before."""
    hours = as_audio(encoded(np.zeros((1, 7200 * 8000), np.int16), 8000, "flac", "flac"))
    for _ in range(4):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await transcoder.run(hours, Container.WAV)
    copy = await transcoder.run(sample_audio("sb_spk2_snt1.flac"), Container.WAV)
    copy.content.close()
    assert transcoder._threads._work_queue.empty()
