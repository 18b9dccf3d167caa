"""Segments from words, for services that time words only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from providers.types import Segment, Timestamps

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from providers.types import Transcript, TranscriptionJob, Word

_PAUSE_S = 0.8  # a breath between sentences; shorter gaps are within them
_LONGEST_S = 7.0  # the longest a subtitle is usually shown (BBC and Netflix guidelines)
_SENTENCE_ENDS = (".", "?", "!", "\u3002", "\uff1f", "\uff01", "\u0964")  # the last four: CJK and Devanagari


def as_asked(heard: Transcript, job: TranscriptionJob) -> Transcript:
    """Return what was asked for of a transcript that always has times: segments are made of its words if need be."""
    if job.timestamps is Timestamps.NONE and not job.diarize:
        return replace(heard, segments=(), words=())
    return replace(
        heard,
        segments=heard.segments or tuple(from_words(heard.words, heard.text)),
        words=heard.words if job.timestamps is Timestamps.WORD else (),
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
