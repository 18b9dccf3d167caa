"""Segments from words, for services that time words only; and ends for what a model left open."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from providers.types import Segment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from providers.types import Transcript, Word

_PAUSE_S = 0.8  # a breath between sentences; shorter gaps are within them
_LONGEST_S = 7.0  # the longest a subtitle is usually shown (BBC and Netflix guidelines)
_SENTENCE_ENDS = (".", "?", "!", "\u3002", "\uff1f", "\uff01", "\u0964")  # the last four: CJK and Devanagari


def settled(transcript: Transcript, duration_s: float | None) -> Transcript:
    """Close what a model left open: a missing end is the next start or the audio's end, and no end precedes its start.

    duration_s: what the headers said, used where the provider did not measure.
    """
    length_s = transcript.duration_s or duration_s
    segments = transcript.segments or tuple(from_words(transcript.words))
    starts = [each.start_s for each in segments[1:]]
    ends = [*starts, length_s]
    closed = tuple(_closed(segment, after) for segment, after in zip(segments, ends, strict=False))
    return replace(transcript, segments=closed, duration_s=length_s)


def _closed(segment: Segment, after_s: float | None) -> Segment:
    end_s = segment.end_s if segment.end_s is not None else after_s
    return replace(segment, end_s=max(segment.start_s, end_s if end_s is not None else segment.start_s))


def from_words(words: Sequence[Word]) -> Iterator[Segment]:
    """Yield segments cut at pauses, sentence ends, changes of speaker, and before they grow too long to read."""
    kept: list[Word] = []
    for word in words:
        if kept and _begins_anew(kept, word):
            yield _joined(kept)
            kept = []
        kept.append(word)
    if kept:
        yield _joined(kept)


def _begins_anew(kept: Sequence[Word], word: Word) -> bool:
    last = kept[-1]
    return (
        word.speaker != last.speaker
        or word.start_s - last.end_s > _PAUSE_S
        or last.text.endswith(_SENTENCE_ENDS)
        or word.end_s - kept[0].start_s > _LONGEST_S
    )


def _joined(words: Sequence[Word]) -> Segment:
    return Segment(
        text=" ".join(word.text for word in words),
        start_s=words[0].start_s,
        end_s=words[-1].end_s,
        speaker=words[0].speaker,
    )
