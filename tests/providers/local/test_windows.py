"""Pieces of an utterance: they fit the model, cut no word, and leave long silence out."""

from __future__ import annotations

import numpy as np
import pytest

from providers.audio.samples import MODEL_RATE_HZ, Samples, read_samples
from providers.audio.unreadable import AudioTooLong, UnreadableAudio
from providers.emulators.ear import as_audio
from providers.local.engine import Piece
from providers.local.windows import AROUND_SPEECH_S, WINDOW_S, windows
from providers.types import TranscriptionJob
from tests.conftest import encoded, sample_audio, tone

SAID = read_samples(sample_audio("sb_spk2_snt1.flac").content, max_duration_s=9)  # two seconds, one sentence
DENSE = read_samples(sample_audio("two_cities.flac").content, max_duration_s=60)  # 44 seconds


def job(*stretches: Samples) -> TranscriptionJob:
    pcm = (np.concatenate(stretches).clip(-1, 1) * 32_767).astype(np.int16)[np.newaxis]
    return TranscriptionJob(model="m", audio=as_audio(encoded(pcm, MODEL_RATE_HZ, "flac", "flac")), language="en")


def quiet(seconds: float) -> Samples:
    return np.zeros(round(seconds * MODEL_RATE_HZ), np.float32)


def pieces(asked: TranscriptionJob, longest_s: float = WINDOW_S) -> list[Piece]:
    """Return the pieces, having checked that they cover the whole and fit."""
    found = list(windows(asked, max_duration_s=3_600, longest_s=longest_s))
    whole = read_samples(asked.audio.content, max_duration_s=3_600)
    assert np.array_equal(np.concatenate([each.samples for each in found]), whole)
    starts = np.cumsum([0, *(len(each.samples) for each in found)])[:-1] / MODEL_RATE_HZ
    assert [each.start_s for each in found] == pytest.approx(list(starts))
    assert all(each.silent or len(each.samples) <= longest_s * MODEL_RATE_HZ for each in found)
    assert all(each.job is asked and each.language == "en" for each in found)
    return found


def test_what_fits_is_one_piece() -> None:
    (only,) = pieces(job(SAID))
    assert not only.silent


@pytest.mark.parametrize("longest_s", [30.0, 10.0])
def test_longer_speech_is_cut_where_nobody_speaks(longest_s: float) -> None:
    found = pieces(job(DENSE), longest_s)

    assert len(found) >= len(DENSE) / MODEL_RATE_HZ / longest_s
    for each in found[:-1]:  # quieter around the cut than the piece is
        around = each.samples[-800:]
        assert np.square(around).mean() < np.square(each.samples).mean() / 2


def test_pieces_are_no_shorter_than_they_must_be() -> None:
    """A pause ends a piece only in its latter half."""
    found = pieces(job(DENSE), 10.0)

    assert all(len(each.samples) >= 5 * MODEL_RATE_HZ for each in found[:-1])


def test_long_silence_is_set_apart_but_for_what_is_around_speech() -> None:
    found = pieces(job(SAID, quiet(8), SAID))

    assert [each.silent for each in found] == [False, True, False]
    assert len(found[1].samples) / MODEL_RATE_HZ == pytest.approx(8 - 2 * AROUND_SPEECH_S, abs=1.0)


def test_a_breath_is_none() -> None:
    assert [each.silent for each in pieces(job(SAID, quiet(2), SAID))] == [False]


def test_silence_at_either_end_is_left_out_to_the_end() -> None:
    found = pieces(job(quiet(9), SAID, quiet(9)))

    assert [each.silent for each in found] == [True, False, True]


@pytest.mark.parametrize("samples", [quiet(5), quiet(0.001), tone(5, 16_000)[0] / np.float32(32_768)])
def test_where_nobody_speaks_every_piece_is_silent(samples: Samples) -> None:
    assert all(each.silent for each in pieces(job(samples)))


def test_an_hour_is_not_held_in_memory() -> None:
    """The first piece comes before the rest is decoded, and starts of later ones run on."""
    found = pieces(job(SAID, quiet(320), SAID))

    spoken = [each for each in found if not each.silent]
    assert spoken[-1].start_s > 300
    assert len(spoken) == 2
    assert all(len(each.samples) <= 300 * MODEL_RATE_HZ for each in found)


def test_speech_without_a_pause_is_cut_all_the_same() -> None:
    """Sentences laid over each other leave none."""
    said = DENSE[: 12 * MODEL_RATE_HZ]
    babble = np.mean([np.roll(said, round(shift * 0.37 * MODEL_RATE_HZ)) for shift in range(8)], axis=0)

    assert len(pieces(job(babble.astype(np.float32)), 2.0)) >= 6


def test_too_long_and_no_audio_are_told_apart() -> None:
    with pytest.raises(AudioTooLong):
        list(windows(job(DENSE), max_duration_s=10))
    with pytest.raises(UnreadableAudio):
        list(windows(TranscriptionJob(model="m", audio=as_audio(b"no audio")), max_duration_s=10))
