"""Transcripts of parts as one."""

from __future__ import annotations

from providers.stitch import stitched
from providers.types import Segment, Transcript, Word


def heard(text: str, language: str | None = None, *, duration_s: float | None = 10.0) -> Transcript:
    """Return a part's transcript: a segment and a word over its second second."""
    return Transcript(
        text=f" {text} ",
        segments=(Segment(text=text, start_s=1.0, end_s=2.0),),
        words=(Word(text=text, start_s=1.0, end_s=2.0),),
        language=language,
        duration_s=duration_s,
        model_version="v1",
    )


def test_text_is_joined_and_times_count_from_the_wholes_start() -> None:
    whole = stitched([(0.0, heard("one")), (10.0, heard("two")), (20.5, heard("three"))])

    assert whole.text == "one two three"
    assert [(each.text, each.start_s, each.end_s) for each in whole.segments] == [
        ("one", 1.0, 2.0),
        ("two", 11.0, 12.0),
        ("three", 21.5, 22.5),
    ]
    assert [(each.text, each.start_s, each.end_s) for each in whole.words] == [
        ("one", 1.0, 2.0),
        ("two", 11.0, 12.0),
        ("three", 21.5, 22.5),
    ]
    assert (whole.duration_s, whole.model_version) == (30.5, "v1")


def test_silence_between_adds_no_space() -> None:
    silence = Transcript(text="", duration_s=10.0)

    assert stitched([(0.0, silence), (10.0, heard("one")), (20.0, silence), (30.0, heard("two"))]).text == "one two"
    assert stitched([(0.0, silence), (10.0, silence)]) == Transcript(text="", duration_s=20.0)


def test_the_language_is_that_of_most_text_and_says_how_parts_are_joined() -> None:
    assert stitched([(0.0, heard("hm", "en")), (10.0, heard("今日は良い天気", "ja"))]).text == "hm今日は良い天気"
    assert stitched([(0.0, heard("今日は", "ja")), (10.0, heard("はい", "ja"))]).text == "今日ははい"
    assert stitched([(0.0, heard("hello there", "en")), (10.0, heard("はい", "ja"))]).language == "en"
    assert stitched([(0.0, heard("one")), (10.0, heard("two", "en"))]).language == "en"
    assert stitched([(0.0, heard("one"))]).language is None


def test_a_translation_is_joined_as_english_though_another_language_was_spoken() -> None:
    whole = stitched([(0.0, heard("It is fine.", "ja")), (10.0, heard("Yes.", "ja")), (20.0, heard("No", "ja"))])
    assert (whole.text, whole.language) == ("It is fine. Yes. No", "ja")


def test_an_end_that_a_model_left_open_stays_open() -> None:
    part = Transcript(text="a", segments=(Segment(text="a", start_s=0.5, end_s=None),))

    whole = stitched([(0.0, part), (10.0, part)])

    assert [each.end_s for each in whole.segments] == [None, None]
    assert whole.duration_s is None
