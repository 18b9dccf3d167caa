"""Segments where a service gave none, ends for what a model left open, and speakers only where they were asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from providers.sentences import from_words

if TYPE_CHECKING:
    from providers.types import Segment, Transcript


def settled(transcript: Transcript, duration_s: float | None) -> Transcript:
    """Close what a model left open: a missing end is the next start or the audio's end, and no end precedes its start.

    duration_s: what the headers said, used where the provider did not measure.
    """
    length_s = transcript.duration_s or duration_s
    if not transcript.segments and not transcript.words:
        return replace(transcript, duration_s=length_s)
    segments = transcript.segments or tuple(from_words(transcript.words, transcript.text))
    starts = [each.start_s for each in segments[1:]]
    ends = [*starts, length_s]
    closed = tuple(_closed(segment, after) for segment, after in zip(segments, ends, strict=False))
    return replace(transcript, segments=closed, duration_s=length_s)


def _closed(segment: Segment, after_s: float | None) -> Segment:
    if segment.end_s is not None and segment.end_s >= segment.start_s:
        return segment
    end_s = segment.end_s if segment.end_s is not None else after_s
    return replace(segment, end_s=max(segment.start_s, end_s if end_s is not None else segment.start_s))


def without_speakers(transcript: Transcript) -> Transcript:
    """Drop the speakers that a model which always names them names unasked."""
    if not (any(each.speaker for each in transcript.segments) or any(each.speaker for each in transcript.words)):
        return transcript
    return replace(
        transcript,
        segments=tuple(replace(each, speaker=None) for each in transcript.segments),
        words=tuple(replace(each, speaker=None) for each in transcript.words),
    )
