"""Samples as a speech model wants them."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from providers.audio.content import MemoryContent
from providers.audio.samples import MODEL_RATE_HZ, Samples, read_parts, read_samples
from providers.audio.unreadable import AudioTooLong, UnreadableAudio
from tests.conftest import encoded, sample, tone


def read(body: bytes) -> Samples:
    return read_samples(MemoryContent(body), max_duration_s=600)


def level_db(samples: Samples, hz: float) -> float:
    """Return the level of one frequency, in dB of a full-scale sine, away from the ends."""
    middle = samples[2_000:-2_000].astype(np.float64)
    window = np.blackman(len(middle))
    spectrum = np.abs(np.fft.rfft(middle * window)) / window.sum() * 2
    at = round(hz * len(middle) / MODEL_RATE_HZ)
    return float(20 * np.log10(spectrum[at - 5 : at + 6].max() + 1e-12))


def float_wav(samples: np.ndarray[tuple[int, ...], np.dtype[np.float32]], rate_hz: int, channels: int = 1) -> bytes:
    fmt = struct.pack("<HHIIHH", 3, channels, rate_hz, rate_hz * channels * 4, channels * 4, 32)
    data = samples.astype("<f4").tobytes()
    return b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0" + fmt + b"data" + struct.pack("<I", len(data)) + data


@pytest.mark.parametrize("name", ["slushy.flac", "slushy.mp3", "slushy.webm", "jfk.flac", "fr_dictee.aiff"])
def test_one_channel_of_float32_at_16_khz(name: str) -> None:
    samples = read(sample(name))

    assert (samples.dtype.name, samples.ndim) == ("float32", 1)
    assert np.isfinite(samples).all()
    assert 0.05 < np.abs(samples).max() <= 1.05


def test_a_file_at_16_khz_comes_through_unchanged() -> None:
    body = sample("slushy.wav")
    expected = np.frombuffer(body[body.index(b"data") + 8 :], np.int16).astype(np.float32) / 32_768

    np.testing.assert_allclose(read(body), expected, atol=1e-6)


def test_parts_are_the_whole() -> None:
    body = encoded(tone(9, 44_100), 44_100, "flac", "flac")

    parts = list(read_parts(MemoryContent(body), max_duration_s=60, longest_s=4))

    assert len(parts) >= 3
    assert max(map(len, parts)) <= 4 * MODEL_RATE_HZ
    np.testing.assert_array_equal(np.concatenate(parts), read(body))


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_the_length_is_that_of_the_audio(rate_hz: int) -> None:
    assert len(read(encoded(tone(3, rate_hz), rate_hz, "wav", "pcm_s16le"))) == pytest.approx(48_000, abs=2)


def heard_tone(hz: float, rate_hz: int = 48_000) -> Samples:
    at = np.arange(3 * rate_hz)
    return read(float_wav((0.5 * np.sin(2 * np.pi * hz * at / rate_hz)).astype(np.float32), rate_hz))


def test_what_is_above_8_khz_does_not_fold_into_speech() -> None:
    """FFmpeg's own resampler leaves -26 dB of it, linear interpolation all."""
    assert level_db(heard_tone(8_500), 7_500) < -100


def test_what_is_below_8_khz_stays() -> None:
    for hz in (100, 1_000, 7_000):
        assert level_db(heard_tone(hz), hz) == pytest.approx(-6.02, abs=0.1)


def test_8_khz_gains_no_mirror_image() -> None:
    heard = heard_tone(1_000, 8_000)

    assert level_db(heard, 1_000) == pytest.approx(-6.02, abs=0.1)
    assert level_db(heard, 7_000) < -80


def test_two_channels_are_mixed_half_and_half() -> None:
    left, right = tone(2, 16_000, hz=500), tone(2, 16_000, hz=3_000)
    heard = read(encoded(np.vstack([left, right]), 16_000, "wav", "pcm_s16le"))

    assert level_db(heard, 500) == pytest.approx(-12.04, abs=0.2)
    assert level_db(heard, 3_000) == pytest.approx(-12.04, abs=0.2)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf, 1e38])
def test_a_number_that_is_none_harms_only_its_place(odd: float) -> None:
    """One NaN would run through the filter into everything after it."""
    wave = (0.5 * np.sin(2 * np.pi * 440 * np.arange(96_000) / 48_000)).astype(np.float32)
    wave[1_000] = odd
    heard = read(float_wav(wave, 48_000))

    assert np.isfinite(heard).all()
    assert np.abs(heard).max() < 1.3
    assert level_db(heard, 440) == pytest.approx(-6.02, abs=0.1)


@pytest.mark.parametrize("samples", [1, 2, 5, 100])
@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 48_000])
def test_a_file_of_a_few_samples_is_not_an_error(samples: int, rate_hz: int) -> None:
    heard = read(encoded(np.full((1, samples), 1_000, np.int16), rate_hz, "wav", "pcm_s16le"))

    assert len(heard) == pytest.approx(samples * 16_000 / rate_hz, abs=1.01)


def test_a_stream_that_changes_half_way_is_refused() -> None:
    """Two recordings glued together; cutting one off silently would lose what was said."""
    stereo = encoded(tone(1, 48_000, channels=2), 48_000, "ogg", "libopus")
    mono = encoded(tone(1, 44_100), 44_100, "adts", "aac") + encoded(tone(1, 16_000), 16_000, "adts", "aac")
    with pytest.raises(UnreadableAudio, match="half way"):
        read(mono)
    assert len(read(stereo)) == pytest.approx(16_000, abs=20)


def test_the_limit_is_the_decoders() -> None:
    with pytest.raises(AudioTooLong):
        read_samples(MemoryContent(sample("slushy.wav")), max_duration_s=10)
