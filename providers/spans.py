"""Segments and words of the times that services give: some before the first sample, some missing, some backwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

from msgspec.structs import replace
from pydantic import BeforeValidator

from providers.types import Segment, Word

if TYPE_CHECKING:
    from collections.abc import Iterable

Speaker: TypeAlias = Annotated[str | None, BeforeValidator(lambda value: str(value) if type(value) is int else value)]
"""A speaker in a reply: a name, or the number that most services give instead, which is a name from here on."""


def segment(text: str, start: float | None, end: float | None, speaker: str | None = None) -> Segment:
    """Return a segment that begins in the audio and ends no sooner. An open end stays open.

    start, end: seconds from the first sample.
    """
    start_s = max(0.0, start or 0.0)
    return Segment(text=text, start_s=start_s, end_s=None if end is None else max(start_s, end), speaker=speaker)


def word(
    text: str,
    start: float | None,
    end: float | None,
    *,
    speaker: str | None = None,
    confidence: float | None = None,
) -> Word:
    """Return a word without the space around it. An open end closes at its beginning.

    start, end: seconds from the first sample. confidence: left out where it is none from 0 to 1.
    """
    start_s = max(0.0, start or 0.0)
    return Word(
        text=text.strip(),
        start_s=start_s,
        end_s=max(start_s, end or 0.0),
        speaker=speaker,
        confidence=confidence if confidence is not None and 0 <= confidence <= 1 else None,
    )


def whole(pieces: Iterable[tuple[Word, bool]]) -> tuple[Word, ...]:
    """Return words of pieces, each with whether it belongs to the one before: punctuation, syllables."""
    words: list[Word] = []
    for piece, belongs in pieces:
        if belongs and words:
            last = words[-1]
            words[-1] = replace(last, text=last.text + piece.text, end_s=max(last.end_s, piece.end_s))
        else:
            words.append(piece)
    return tuple(words)
