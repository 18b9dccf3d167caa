"""What is said in turn, as services give it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from providers.types import Transcript, Word


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A segment as services give it: with an end, its words, and whoever is made out to have said it."""

    text: str
    start_s: float
    end_s: float
    words: tuple[Word, ...]
    number: int  # from 0
    speaker: int  # from 0; speakers take turns


def turns(heard: Transcript, speakers: int = 1) -> Iterator[Turn]:
    """Yield the segments, each with the words that begin in it."""
    for number, each in enumerate(heard.segments):
        end_s = each.end_s if each.end_s is not None else heard.duration_s or each.start_s
        yield Turn(
            text=each.text.strip(),
            start_s=each.start_s,
            end_s=end_s,
            words=tuple(word for word in heard.words if each.start_s <= word.start_s < end_s),
            number=number,
            speaker=number % max(1, speakers),
        )
