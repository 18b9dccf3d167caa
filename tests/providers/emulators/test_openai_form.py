"""Subtitles and JSON of a transcript that leaves things open."""

from __future__ import annotations

from providers.emulators import openai_form
from providers.types import Segment, Transcript, Word

HEARD = Transcript(
    text="Good morning. All set.",
    segments=(
        Segment(text=" Good morning.", start_s=0.0, end_s=1.9996),
        Segment(text=" All set.", start_s=3661.5, end_s=None),
    ),
    words=(Word(text="Good", start_s=0.0, end_s=0.4), Word(text="set.", start_s=0.4, end_s=0.8)),
    duration_s=3662.0,
)


def test_an_open_segment_ends_with_the_audio() -> None:
    assert openai_form.end_s(HEARD.segments[1], HEARD) == 3662.0


def test_subtitles_count_hours_and_round_to_milliseconds() -> None:
    assert openai_form.srt(HEARD) == (
        "1\n00:00:00,000 --> 00:00:02,000\nGood morning.\n\n2\n01:01:01,500 --> 01:01:02,000\nAll set.\n\n"
    )
    assert openai_form.vtt(HEARD).startswith("WEBVTT\n\n00:00:00.000 --> 00:00:02.000\nGood morning.\n\n")


def test_words_lose_their_punctuation_and_segments_keep_their_space() -> None:
    answer = openai_form.verbose_json(HEARD, ("word", "segment"))

    assert [word["word"] for word in answer["words"]] == ["Good", "set"]
    assert answer["segments"][0]["text"] == " Good morning."


def test_deltas_join_to_the_text() -> None:
    assert "".join(openai_form.pieces(HEARD.text)) == HEARD.text
