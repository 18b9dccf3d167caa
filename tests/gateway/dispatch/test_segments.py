"""Ends that a model left open, and speakers that nobody asked for."""

from __future__ import annotations

import pytest

from gateway.dispatch.segments import settled, without_speakers
from providers.types import Segment, Transcript, Word


def word(text: str, start_s: float, end_s: float, speaker: str | None = None) -> Word:
    return Word(text=text, start_s=start_s, end_s=end_s, speaker=speaker)


def test_an_open_end_is_the_next_start_or_the_end_of_the_audio() -> None:
    segments = (Segment(text="a", start_s=0, end_s=None), Segment(text="b", start_s=2, end_s=None))

    closed = settled(Transcript(text="a b", segments=segments), 5.0)

    assert [(each.start_s, each.end_s) for each in closed.segments] == [(0, 2), (2, 5.0)]


def test_no_end_comes_before_its_start() -> None:
    segments = (
        Segment(text="a", start_s=3, end_s=1),
        Segment(text="b", start_s=4, end_s=None),
        Segment(text="c", start_s=2, end_s=None),
    )

    closed = settled(Transcript(text="a b c", segments=segments), 1.0)

    assert [each.end_s for each in closed.segments] == [3, 4, 2]


@pytest.mark.parametrize(
    ("measured", "announced", "length"), [(5.0, 6.0, 5.0), (None, 6.0, 6.0), (5.0, None, 5.0), (None, None, None)]
)
def test_what_was_measured_counts_before_what_was_announced(
    measured: float | None, announced: float | None, length: float | None
) -> None:
    assert settled(Transcript(text="", duration_s=measured), announced).duration_s == length


def test_an_open_end_of_unknown_audio_is_its_start() -> None:
    closed = settled(Transcript(text="a", segments=(Segment(text="a", start_s=2, end_s=None),)), None)

    assert closed.segments[0].end_s == 2


def test_segments_stay_where_there_are_some() -> None:
    segment = Segment(text="a b", start_s=0, end_s=2)
    heard = Transcript(text="a b", segments=(segment,), words=(word("a", 0, 1), word("b", 1, 2)))

    assert settled(heard, 2.0).segments == (segment,)


def test_segments_are_made_of_words_where_there_are_none() -> None:
    heard = Transcript(text="a. b", words=(word("a", 0, 1), word("b", 1, 2)))

    assert [each.text for each in settled(heard, 2.0).segments] == ["a.", "b"]


def test_speakers_named_unasked_are_dropped() -> None:
    heard = Transcript(
        text="a", segments=(Segment(text="a", start_s=0, end_s=1, speaker="A"),), words=(word("a", 0, 1, "A"),)
    )

    dropped = without_speakers(heard)

    assert (dropped.segments[0].speaker, dropped.words[0].speaker) == (None, None)
