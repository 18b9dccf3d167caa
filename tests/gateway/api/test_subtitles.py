"""Subtitles that players accept, whatever a model says: read back by a parser that is not ours."""

from __future__ import annotations

import html
from itertools import pairwise

import pysubs2
import pytest
import webvtt
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.subtitles import render_subtitles
from providers.types import Segment, Transcript

SECONDS = st.floats(-10, 20_000, allow_nan=False)
SEGMENTS = st.lists(
    st.builds(
        Segment,
        text=st.text(st.characters(exclude_categories=("Cs", "Cc"), max_codepoint=0x2FFF), max_size=20),
        start_s=SECONDS,
        end_s=st.none() | SECONDS,
        speaker=st.none() | st.just("A"),
    ),
    max_size=8,
)


def said(*segments: tuple[str, float, float | None]) -> Transcript:
    """Return a transcript of the segments: text, start and end."""
    return Transcript(
        text=" ".join(text for text, _, _ in segments),
        segments=tuple(Segment(text=text, start_s=start, end_s=end) for text, start, end in segments),
    )


def cues(document: str, format_: str) -> list[tuple[int, int, str]]:
    """Return start and end in ms, and text, of each cue."""
    read = pysubs2.SSAFile.from_string(document, format_=format_, keep_html_tags=True)
    return [(cue.start, cue.end, cue.text) for cue in read]


def test_srt() -> None:
    transcript = said((" Good morning.", 0.0, 2.1), (" All set.", 2.1, 3661.5))

    assert render_subtitles(transcript, None, "srt") == (
        "1\n00:00:00,000 --> 00:00:02,100\nGood morning.\n\n2\n00:00:02,100 --> 01:01:01,500\nAll set.\n\n"
    )


def test_vtt() -> None:
    transcript = said((" Good morning.", 0.0, 2.1), (" All set.", 2.1, 3661.5))

    assert render_subtitles(transcript, None, "vtt") == (
        "WEBVTT\n\n1\n00:00:00.000 --> 00:00:02.100\nGood morning.\n\n2\n00:00:02.100 --> 01:01:01.500\nAll set.\n\n"
    )


@pytest.mark.parametrize(("format_", "empty"), [("srt", ""), ("vtt", "WEBVTT\n\n")])
def test_silence_is_a_document_without_cues(format_: str, empty: str) -> None:
    assert render_subtitles(Transcript(text=""), 3.0, format_) == empty
    assert render_subtitles(said(("  ", 0.0, 1.0)), 3.0, format_) == empty


@pytest.mark.parametrize("format_", ["srt", "vtt"])
@given(segments=SEGMENTS, duration_s=st.none() | st.floats(0.02, 20_000))
def test_cues_are_in_order_inside_the_clip_and_last(
    format_: str, segments: list[Segment], duration_s: float | None
) -> None:
    """Times that overlap, run backwards, or lie outside the clip still make subtitles."""
    transcript = Transcript(text="", segments=tuple(segments))

    read = cues(render_subtitles(transcript, duration_s, format_), format_)

    assert len(read) == sum(bool(segment.text.strip()) for segment in segments)
    assert all(0 <= start < end for start, end, _ in read)
    assert all(start <= after for (start, _, _), (after, _, _) in pairwise(read))
    if duration_s is not None:
        assert all(end <= duration_s * 1000 for _, end, _ in read)


@pytest.mark.parametrize("format_", ["srt", "vtt"])
def test_a_cue_is_one_line(format_: str) -> None:
    """A line break, or an empty line that would end the cue, is a space."""
    document = render_subtitles(said(("one\n\ntwo\r\nthree\u2028four", 0.0, 1.0)), 1.0, format_)

    assert cues(document, format_) == [(0, 1000, "one two three four")]


def test_what_is_syntax_in_webvtt_is_escaped() -> None:
    """W3C WebVTT, section 4.2.2: no `<`, no bare `&`, and no arrow in a cue."""
    text = "a <b> & {\\i1} c --> d &lt;"
    document = render_subtitles(said((text, 0.0, 1.0)), 1.0, "vtt")

    line = document.splitlines()[4]
    assert line == "a &lt;b&gt; &amp; {\\i1} c --&gt; d &amp;lt;"
    assert html.unescape(line) == text


def test_what_is_syntax_in_subrip_is_avoided() -> None:
    """It has no escapes; braces, which another format would take for styling, stay."""
    text = "00:00:00,000 --> 00:00:01,000 {\\i1} <b>"
    document = render_subtitles(said((text, 0.0, 1.0), ("next", 1.0, 2.0)), 2.0, "srt")

    assert document.count("-->") == 2
    assert document.splitlines()[2] == "00:00:00,000 -> 00:00:01,000 {\\i1} <b>"


def test_speakers_are_named() -> None:
    segments = (Segment(text=" Hello.", start_s=0, end_s=1, speaker="A"), Segment(text=" Hi.", start_s=1, end_s=2))

    document = render_subtitles(Transcript(text="Hello. Hi.", segments=segments), 2.0, "srt")

    assert [text for *_, text in cues(document, "srt")] == ["A: Hello.", "Hi."]


def test_speakers_are_voices_in_webvtt() -> None:
    """W3C WebVTT, section 4.2.2: a voice span, whose annotation is escaped as text is, and stays on one line."""
    segments = (
        Segment(text=" Hello & so on.", start_s=0, end_s=1, speaker="Dr. A > B\n& C"),
        Segment(text=" Hi.", start_s=1, end_s=2),
    )

    document = render_subtitles(Transcript(text="Hello. Hi.", segments=segments), 2.0, "vtt")

    read = webvtt.from_string(document).captions
    assert [cue.voice and html.unescape(cue.voice) for cue in read] == ["Dr. A > B & C", None]
    assert [html.unescape(cue.text) for cue in read] == ["Hello & so on.", "Hi."]


@pytest.mark.parametrize(("duration_s", "end_ms"), [(4.5, 4500), (None, 1000)])
def test_a_text_without_times_is_one_cue(duration_s: float | None, end_ms: int) -> None:
    document = render_subtitles(Transcript(text=" All of it. "), duration_s, "vtt")

    assert cues(document, "vtt") == [(0, end_ms, "All of it.")]


def test_a_cue_after_the_end_moves_into_the_clip() -> None:
    document = render_subtitles(said(("one", 0.0, 1.0), ("two", 7.0, 9.0), ("three", 9.5, None)), 5.0, "srt")

    assert cues(document, "srt") == [(0, 1000, "one"), (4990, 5000, "two"), (4990, 5000, "three")]
