"""Long audio in parts: each a readable file, and all of them together the whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from blake3 import blake3

from providers.audio.content import MemoryContent
from providers.audio.decode import frames, probe
from providers.audio.part_limit import MOST_HZ, PartLimit
from providers.audio.split import Part, split
from providers.audio.transcode import Abandoned
from providers.audio.unreadable import AudioTooLong, UnreadableAudio
from providers.emulators.ear import as_audio
from providers.types import Audio, Container
from tests.conftest import encoded, sample_audio, tone

TARGETS = [Container.FLAC, Container.WAV]
TWO_S = PartLimit(longest_s=2)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def decoded(audio: Audio) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    """Return a mono 16-bit file's samples."""
    blocks = [frame.to_ndarray().reshape(-1) for frame in frames(audio.content, max_duration_s=600)]
    whole: np.ndarray[tuple[int], np.dtype[np.int16]] = np.concatenate(blocks)
    return whole


def closed(parts: list[Part]) -> None:
    for part in parts:
        part.audio.content.close()


@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize("rate_hz", [8_000, 44_100])
def test_the_parts_are_the_whole(to: Container, rate_hz: int) -> None:
    whole = tone(9.5, rate_hz, hz=220)
    before = as_audio(encoded(whole, rate_hz, "wav", "pcm_s16le"))

    parts = split(before, to, limit=PartLimit(longest_s=4.0), max_duration_s=60)

    assert len(parts) >= 3
    assert np.array_equal(np.concatenate([decoded(part.audio) for part in parts]), whole[0])
    ends_s = [part.start_s + (part.audio.duration_s or 0) for part in parts]
    assert [part.start_s for part in parts] == [0.0, *ends_s[:-1]]
    assert ends_s[-1] == pytest.approx(9.5)
    for part in parts:
        assert (part.audio.container, probe(part.audio.content).rate_hz) == (to, rate_hz)
        assert 0 < (part.audio.duration_s or 0) <= 4.0
        assert part.audio.digest == blake3(part.audio.content.read_at(0, part.audio.size_bytes)).hexdigest()
    closed(parts)


def test_a_part_is_of_48_khz_at_most_and_mono() -> None:
    before = as_audio(encoded(tone(3, 96_000, channels=2), 96_000, "wav", "pcm_s16le"))

    parts = split(before, Container.WAV, limit=PartLimit(longest_s=2.0), max_duration_s=60)

    assert {(probe(part.audio.content).rate_hz, probe(part.audio.content).channels) for part in parts} == {(MOST_HZ, 1)}
    assert sum(part.audio.duration_s or 0 for part in parts) == pytest.approx(3, abs=0.01)
    closed(parts)


def test_what_is_short_is_one_part() -> None:
    (part,) = parts = split(sample_audio("jfk.flac"), Container.FLAC, limit=PartLimit(longest_s=60), max_duration_s=60)

    assert part.start_s == 0.0
    assert part.audio.duration_s == pytest.approx(11.0, abs=0.01)
    closed(parts)


def test_whatever_fails_leaves_no_file_open() -> None:
    jfk, before = sample_audio("jfk.flac"), descriptors()
    noise = Audio(content=MemoryContent(b"RIFF" * 99), media_type="audio/wav", container=None, duration_s=1, digest="")
    answers = iter([False] * 60)

    with pytest.raises(AudioTooLong):
        split(jfk, Container.FLAC, limit=PartLimit(longest_s=2), max_duration_s=5)
    with pytest.raises(UnreadableAudio):
        split(noise, Container.FLAC, limit=PartLimit(longest_s=2), max_duration_s=5)
    with pytest.raises(Abandoned):
        split(
            jfk,
            Container.FLAC,
            limit=PartLimit(longest_s=2),
            max_duration_s=60,
            is_abandoned=lambda: next(answers, True),
        )

    assert descriptors() == before


def test_a_disk_that_is_not_there_is_an_error_of_the_system() -> None:
    with pytest.raises(OSError, match="No such file"):
        split(
            sample_audio("jfk.flac"),
            Container.FLAC,
            limit=PartLimit(longest_s=2),
            max_duration_s=60,
            directory=Path("/nowhere"),
        )
