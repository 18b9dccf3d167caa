"""Segments from words."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.sentences import as_asked, from_words
from providers.types import Segment, Timestamps, Transcript, TranscriptionJob, Word
from tests.conftest import sample_audio


def word(text: str, start_s: float, end_s: float, speaker: str | None = None) -> Word:
    return Word(text=text, start_s=start_s, end_s=end_s, speaker=speaker)


def cut(words: list[Word], text: str | None = None) -> list[tuple[str, float, float | None]]:
    said = " ".join(each.text for each in words) if text is None else text
    return [(each.text, each.start_s, each.end_s) for each in from_words(words, said)]


def test_words_without_a_pause_are_one_segment() -> None:
    assert cut([word("good", 0.1, 0.4), word("morning", 0.5, 1.0)]) == [("good morning", 0.1, 1.0)]


def test_a_pause_cuts() -> None:
    assert cut([word("good", 0, 1), word("morning", 1.9, 2.5)]) == [("good", 0, 1), ("morning", 1.9, 2.5)]
    assert cut([word("good", 0, 1), word("morning", 1.8, 2.5)]) == [("good morning", 0, 2.5)]


@pytest.mark.parametrize("end", [".", "?", "!", "\u3002", "\uff1f", "\uff01", "\u0964"])
def test_a_sentence_ends_a_segment(end: str) -> None:
    words = [word(f"done{end}", 0, 1), word("next", 1, 2)]

    assert cut(words) == [(f"done{end}", 0, 1), ("next", 1, 2)]


def test_punctuation_comes_from_the_text() -> None:
    """OpenAI's words have none; the text they were taken from does."""
    words = [word("Good", 0, 1), word("morning", 1, 2), word("All", 2, 3), word("set", 3, 4)]

    assert cut(words, "Good morning. All set!") == [("Good morning.", 0, 2), ("All set!", 2, 4)]


def test_languages_without_spaces_get_none() -> None:
    words = [word("你", 0, 1), word("好", 1, 2), word("吗", 2, 3)]

    assert cut(words, "“你好吗”") == [("“你好吗”", 0, 3)]


def test_words_that_are_not_in_the_text_stand_with_spaces() -> None:
    words = [word("twenty", 0, 1), word("two", 1, 2)]

    assert cut(words, "22") == [("twenty two", 0, 2)]


def test_a_change_of_speaker_cuts() -> None:
    words = [word("yes", 0, 1, "A"), word("no", 1, 2, "B"), word("yes", 2, 3, "B")]

    assert [(each.text, each.speaker) for each in from_words(words, "yes no yes")] == [("yes", "A"), ("no yes", "B")]


def test_nothing_grows_too_long_to_read() -> None:
    words = [word(f"w{at}", at, at + 1) for at in range(20)]

    lengths = [(end or 0) - start for _, start, end in cut(words)]

    assert lengths == [7, 7, 6]


@given(st.lists(st.tuples(st.text("abc.", min_size=1, max_size=4), st.floats(0, 3), st.floats(0, 2)), max_size=30))
def test_no_word_is_lost_and_segments_follow_each_other(given_words: list[tuple[str, float, float]]) -> None:
    at, words = 0.0, []
    for text, gap_s, length_s in given_words:
        words.append(word(text, at + gap_s, at + gap_s + length_s))
        at = words[-1].end_s
    text = " ".join(each.text for each in words)

    segments = list(from_words(words, text))

    assert " ".join(each.text for each in segments) == text
    assert all((first.end_s or 0) <= second.start_s for first, second in pairwise(segments))


@pytest.mark.parametrize(
    ("timestamps", "diarize", "segments", "words"),
    [
        (Timestamps.NONE, False, [], []),
        (Timestamps.NONE, True, ["good"], []),
        (Timestamps.SEGMENT, False, ["good"], []),
        (Timestamps.WORD, False, ["good"], ["good"]),
    ],
)
def test_times_that_nobody_asked_for_are_left_out(
    timestamps: Timestamps, *, diarize: bool, segments: list[str], words: list[str]
) -> None:
    job = TranscriptionJob(model="m", audio=sample_audio("slushy.mp3"), timestamps=timestamps, diarize=diarize)

    told = as_asked(Transcript(text="good", words=(word("good", 0.1, 0.4),)), job)

    assert ([each.text for each in told.segments], [each.text for each in told.words]) == (segments, words)


def test_segments_that_a_service_gives_are_kept() -> None:
    job = TranscriptionJob(model="m", audio=sample_audio("slushy.mp3"), timestamps=Timestamps.SEGMENT)
    own = Segment(text="good", start_s=0.0, end_s=2.0)

    assert as_asked(Transcript(text="good", segments=(own,), words=(word("good", 0.1, 0.4),)), job).segments == (own,)
