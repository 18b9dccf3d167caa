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


def from_words(words: Sequence[Word], text: str) -> Iterator[Segment]:
    """Yield segments cut at pauses, sentence ends, changes of speaker, and before they grow too long to read.

    text: all that was said, where the words stand with their punctuation, and with spaces if the language has them.
    """
    kept: list[Word] = []
    said = ""
    for word, piece in zip(words, _pieces(words, text), strict=True):
        if kept and _begins_anew(kept, said, word):
            yield _joined(kept, said)
            kept, said = [], ""
        kept.append(word)
        said += piece
    if kept:
        yield _joined(kept, said)


def _pieces(words: Sequence[Word], text: str) -> list[str]:
    """Return for each word the part of the text up to the next; the words and a space where they are not all in it."""
    cuts: list[int] = []
    end = 0
    for word in words:
        start = text.find(word.text, end)
        if start < 0:
            return [f"{each.text} " for each in words]
        cuts.append(start if cuts else 0)
        end = start + len(word.text)
    return [text[start:stop] for start, stop in zip(cuts, [*cuts[1:], len(text)], strict=False)]


def _begins_anew(kept: Sequence[Word], said: str, word: Word) -> bool:
    last = kept[-1]
    return (
        word.speaker != last.speaker
        or word.start_s - last.end_s > _PAUSE_S
        or said.rstrip().endswith(_SENTENCE_ENDS)
        or word.end_s - kept[0].start_s > _LONGEST_S
    )


def _joined(words: Sequence[Word], said: str) -> Segment:
    return Segment(text=said.strip(), start_s=words[0].start_s, end_s=words[-1].end_s, speaker=words[0].speaker)
