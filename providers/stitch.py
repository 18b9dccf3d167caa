"""The transcripts of an utterance's parts, joined into that of the whole."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from msgspec.structs import replace

from providers.languages import UNSPACED
from providers.types import Transcript

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from providers.types import Segment, Word


def stitched(heard: Sequence[tuple[float, Transcript]]) -> Transcript:
    """Return the transcript of the whole.

    heard: where each part starts in the whole, in seconds, and what was heard in it, in order. Times in a part count
    from its own start, in the whole from the whole's. The language is the one that most text is in.
    """
    transcripts = [transcript for _, transcript in heard]
    language = _most_spoken(transcripts)
    texts = [text for each in transcripts if (text := each.text.strip())]
    return Transcript(
        text=_joined(texts) if language in UNSPACED else " ".join(texts),
        segments=tuple(_segments(heard)),
        words=tuple(_words(heard)),
        language=language,
        duration_s=_end_s(heard),
        model_version=next((each.model_version for each in transcripts if each.model_version), None),
        request_id=next((each.request_id for each in transcripts if each.request_id), None),
    )


def _joined(texts: Sequence[str]) -> str:
    """Join what is written without spaces; but a translation, whose language is the one that was spoken, has them."""
    whole = ""
    for text in texts:
        has_spaces = whole[-1:].isascii() and text[0].isascii()
        whole += f" {text}" if whole and has_spaces else text
    return whole


def _most_spoken(transcripts: Sequence[Transcript]) -> str | None:
    letters = Counter[str]()
    for each in transcripts:
        if each.language:
            letters[each.language] += len(each.text)
    return max(letters, key=lambda language: letters[language], default=None)


def _segments(heard: Sequence[tuple[float, Transcript]]) -> Iterator[Segment]:
    for start_s, transcript in heard:
        for each in transcript.segments:
            end_s = None if each.end_s is None else start_s + each.end_s
            yield replace(each, start_s=start_s + each.start_s, end_s=end_s)


def _words(heard: Sequence[tuple[float, Transcript]]) -> Iterator[Word]:
    for start_s, transcript in heard:
        for each in transcript.words:
            yield replace(each, start_s=start_s + each.start_s, end_s=start_s + each.end_s)


def _end_s(heard: Sequence[tuple[float, Transcript]]) -> float | None:
    if not heard:
        return None
    start_s, last = heard[-1]
    return None if last.duration_s is None else start_s + last.duration_s
