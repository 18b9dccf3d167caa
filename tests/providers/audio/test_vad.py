"""Speech is told from everything else: an empty text is doubted only where somebody speaks."""

from __future__ import annotations

import io
import itertools
import math
import random
import wave
from array import array

import pytest

from providers.audio.content import MemoryContent
from providers.audio.unreadable import UnreadableAudio
from providers.audio.vad import speech_at_least
from tests.conftest import sample

RATE_HZ = 16_000
SECONDS = 20


def recording(samples: list[float]) -> MemoryContent:
    """Return a WAV of samples from -1 to 1."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE_HZ)
        out.writeframes(array("h", [int(max(-1.0, min(1.0, each)) * 32_767) for each in samples]).tobytes())
    return MemoryContent(file.getvalue())


def noise(loudness: float) -> list[float]:
    chance = random.Random(1)  # noqa: S311 - a test repeats what it draws
    return [chance.gauss(0, loudness) for _ in range(RATE_HZ * SECONDS)]


def melody() -> list[float]:
    """Return plucked notes with overtones, two a second."""
    notes = (261.6, 329.6, 392.0, 523.3, 440.0, 349.2, 293.7, 246.9)

    def at(t: float) -> float:
        tone = notes[int(t * 2) % len(notes)]
        return 0.3 * math.exp(-3 * (t * 2 % 1)) * sum(math.sin(2 * math.pi * tone * h * t) / h for h in (1, 2, 3, 4))

    return [at(i / RATE_HZ) for i in range(RATE_HZ * SECONDS)]


def chords() -> list[float]:
    """Return organ chords with vibrato."""
    chosen = ((261.6, 329.6, 392.0), (220.0, 277.2, 329.6), (293.7, 370.0, 440.0))

    def at(t: float) -> float:
        sway = 0.3 * math.sin(2 * math.pi * 5 * t)
        return 0.2 * sum(math.sin(2 * math.pi * tone * t + sway) for tone in chosen[int(t / 2) % 3])

    return [at(i / RATE_HZ) for i in range(RATE_HZ * SECONDS)]


def drums() -> list[float]:
    return [each * math.exp(-20 * (i / RATE_HZ * 2 % 1)) for i, each in enumerate(noise(0.5))]


@pytest.mark.parametrize(
    "name",
    [
        "jfk.flac",
        "austen_0870.flac",
        "es_librivox.flac",
        "fr_dictee.aiff",
        "digits_8k.wav",  # from a telephone
        "sb_spk2_snt1.flac",
        "slushy.opus",
        "slushy.m4a",
    ],
)
def test_speech_is_heard(name: str) -> None:
    assert speech_at_least(MemoryContent(sample(name)), 1.0)


@pytest.mark.parametrize(
    "samples",
    [[0.0] * RATE_HZ * SECONDS, noise(0.1), noise(0.5), melody(), chords(), drums()],
    ids=["silence", "noise", "loud noise", "melody", "chords", "drums"],
)
def test_nothing_else_is(samples: list[float]) -> None:
    assert not speech_at_least(recording(samples), 1.0)


def test_so_many_seconds_are_wanted() -> None:
    """The sample holds thirteen."""
    speech = MemoryContent(sample("slushy.wav"))

    assert speech_at_least(speech, 12.0)
    assert not speech_at_least(speech, 14.0)


def test_it_stops_when_nobody_waits() -> None:
    asked = itertools.count()

    assert not speech_at_least(MemoryContent(sample("slushy.wav")), 5.0, is_abandoned=lambda: next(asked) >= 9)
    assert next(asked) == 10


def test_two_minutes_are_enough() -> None:
    """Longer audio is no error, and what comes later is not looked at."""
    speech = sample("slushy.wav")
    pause = [0.0] * RATE_HZ * 121
    late = io.BytesIO()
    with wave.open(io.BytesIO(speech)) as given, wave.open(late, "wb") as out:
        out.setparams(given.getparams())
        silence = array("h", [0] * (given.getframerate() * given.getnchannels() * 121)).tobytes()
        out.writeframes(silence + given.readframes(given.getnframes()))
    assert not speech_at_least(recording(pause), 1.0)
    assert not speech_at_least(MemoryContent(late.getvalue()), 1.0)


def test_what_is_no_audio_is_unreadable() -> None:
    with pytest.raises(UnreadableAudio):
        speech_at_least(MemoryContent(b"RIFF no, not at all"), 1.0)
