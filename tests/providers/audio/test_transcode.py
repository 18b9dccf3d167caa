"""Audio into a container that a provider takes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from blake3 import blake3

from providers.audio.content import FileContent, MemoryContent
from providers.audio.decode import frames, probe
from providers.audio.headers import duration_s
from providers.audio.samples import read_samples
from providers.audio.transcode import transcode
from providers.audio.unreadable import AudioTooLong, UnreadableAudio
from providers.emulators.ear import as_audio
from providers.types import Audio, Container
from tests.conftest import encoded, sample, sample_audio, tone

TARGETS = [Container.FLAC, Container.WAV]


def descriptors() -> set[str]:
    return {str(each.readlink()) for each in Path("/proc/self/fd").iterdir() if each.is_symlink()}


def decoded_s(audio: Audio) -> float:
    return sum(f.samples / f.sample_rate for f in frames(audio.content, max_duration_s=600))


@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize(
    "name", ["slushy.webm", "slushy.m4a", "slushy.mp3", "slushy.opus", "fr_dictee.aiff", "jfk.flac"]
)
def test_the_same_utterance_in_another_container(name: str, to: Container) -> None:
    """Its own sample rate, one channel, 16 bits; neither longer nor shorter."""
    before = sample_audio(name)
    after = transcode(before, to, max_duration_s=60)
    rate_hz = probe(before.content).rate_hz

    assert (after.container, after.media_type) == (to, f"audio/{to}")
    assert after.duration_s == pytest.approx(decoded_s(before), abs=0.05)
    assert decoded_s(after) == pytest.approx(decoded_s(before), abs=0.05)
    assert probe(after.content).rate_hz == rate_hz
    assert probe(after.content).channels == 1
    assert duration_s(after.content, to) == pytest.approx(after.duration_s, abs=0.001)
    assert after.digest == blake3(after.content.read_at(0, after.size_bytes)).hexdigest()
    after.content.close()


@pytest.mark.parametrize("to", TARGETS)
def test_the_sound_is_the_same(to: Container) -> None:
    before = sample_audio("slushy.wav")
    after = transcode(before, to, max_duration_s=60)

    np.testing.assert_allclose(
        read_samples(after.content, max_duration_s=60), read_samples(before.content, max_duration_s=60), atol=1e-4
    )
    after.content.close()


@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 48_000, 96_000])
def test_two_loud_channels_become_one_that_is_not_too_loud(to: Container, rate_hz: int) -> None:
    loud = 2 * tone(1, rate_hz, channels=2).clip(-16_000, 16_000)
    after = transcode(as_audio(encoded(loud, rate_hz, "wav", "pcm_s16le")), to, max_duration_s=60)
    heard = read_samples(after.content, max_duration_s=60)

    assert after.duration_s == pytest.approx(1)
    assert np.abs(heard).max() == pytest.approx(32_000 / 32_768, abs=0.12)
    after.content.close()


def test_flac_is_smaller_than_wav() -> None:
    flac, wav = (transcode(sample_audio("slushy.webm"), to, max_duration_s=60) for to in TARGETS)

    assert flac.size_bytes < 0.7 * wav.size_bytes
    flac.content.close()
    wav.content.close()


def test_what_comes_out_is_in_no_directory() -> None:
    after = transcode(sample_audio("slushy.opus"), Container.FLAC, max_duration_s=60)

    assert isinstance(after.content, FileContent)
    assert os.fstat(after.content.fileno()).st_nlink == 0
    after.content.close()


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"no audio at all", UnreadableAudio),
        (sample("slushy.m4a")[:9_000], UnreadableAudio),
        (sample("jfk.flac"), AudioTooLong),
    ],
)
def test_nothing_stays_open_after_a_failure(body: bytes, error: type[Exception]) -> None:
    before = descriptors()
    with pytest.raises(error):
        transcode(as_audio(body), Container.FLAC, max_duration_s=5)

    assert descriptors() == before


def test_a_stream_that_changes_half_way_is_refused() -> None:
    body = encoded(tone(1, 44_100), 44_100, "adts", "aac") + encoded(tone(1, 16_000), 16_000, "adts", "aac")
    with pytest.raises(UnreadableAudio, match="half way"):
        transcode(as_audio(body), Container.WAV, max_duration_s=60)


def test_an_upload_in_a_file_is_read_from_there() -> None:
    first = transcode(sample_audio("slushy.webm"), Container.WAV, max_duration_s=60)
    second = transcode(first, Container.FLAC, max_duration_s=60)

    assert second.duration_s == first.duration_s
    first.content.close()
    second.content.close()


def test_memory_is_not_closed_for_the_caller() -> None:
    before = sample_audio("slushy.mp3")
    transcode(before, Container.FLAC, max_duration_s=60).content.close()

    assert isinstance(before.content, MemoryContent)
    assert before.content.read_at(0, 4) == sample("slushy.mp3")[:4]


@pytest.mark.parametrize("name", ["slushy.webm", "slushy.mp3", "fr_dictee.aiff", "jfk.flac", "sb_spk2_snt1.flac"])
def test_samples_are_what_models_hear(name: str) -> None:
    """Nothing but 32-bit floats of one channel at 16 kHz; the same as local models are given, to the filter's edge."""
    audio = sample_audio(name)
    after = transcode(audio, Container.SAMPLES, max_duration_s=60)
    samples = np.frombuffer(after.content.read_at(0, after.size_bytes), np.float32)
    expected = read_samples(audio.content, max_duration_s=60)

    assert (after.container, after.media_type) == (Container.SAMPLES, "application/octet-stream")
    assert after.duration_s == pytest.approx(len(samples) / 16_000)
    assert abs(len(samples) - len(expected)) < 100
    assert np.abs(samples).max() <= 1
    both = min(len(samples), len(expected))
    assert np.sqrt(np.mean((samples[:both] - expected[:both]) ** 2)) < 0.003
    after.content.close()


@pytest.mark.parametrize(("hz", "least_db", "most_db"), [(1_000, -0.2, 0.2), (7_000, -0.2, 0.2), (9_000, -200, -80)])
def test_what_samples_cannot_hold_is_filtered_out(hz: int, least_db: float, most_db: float) -> None:
    """What is above 8 kHz would come back as noise in speech."""
    times = np.arange(88_200) / 44_100
    pcm = (np.sin(2 * np.pi * hz * times) * 16_000).astype(np.int16)[np.newaxis]
    after = transcode(as_audio(encoded(pcm, 44_100, "wav", "pcm_s16le")), Container.SAMPLES, max_duration_s=60)
    samples = np.frombuffer(after.content.read_at(0, after.size_bytes), np.float32)[1_000:-1_000]

    loudness_db = 20 * np.log10(np.sqrt(np.mean(samples**2)) / (16_000 / 32_768 / np.sqrt(2)))
    assert least_db <= loudness_db <= most_db
    after.content.close()


def test_samples_at_their_own_rate_are_the_very_ones() -> None:
    audio = as_audio(encoded(tone(1, 16_000), 16_000, "wav", "pcm_s16le"))
    after = transcode(audio, Container.SAMPLES, max_duration_s=60)

    samples = np.frombuffer(after.content.read_at(0, after.size_bytes), np.float32)
    np.testing.assert_array_equal(samples, tone(1, 16_000)[0].astype(np.float32) / 32_768)
    after.content.close()
