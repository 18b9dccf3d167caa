"""SRT and WebVTT through pysubs2: cues in order, inside the clip, none of zero length.

Source: W3C WebVTT (2019-04-04), sections 4.2 and 4.2.2 (voices); SubRip has no document. The library knows text as
SubStation's: it is told to keep braces, and what is syntax in the format written is escaped here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from pysubs2 import SSAEvent, SSAFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from providers.types import Transcript

_LEAST_MS = 10  # a cue that begins and ends at one moment is shown by no player
_WITHOUT_END_S = 1.0  # of a clip whose length nobody knows
_BACKSLASH = re.compile(r"\\(?=[hnN])")  # SubStation's white space: a word joiner between keeps the letters


class _Cue(NamedTuple):
    """A line of text, not yet placed in the clip."""

    text: str  # one line, as it is written
    start_s: float
    end_s: float


def render_subtitles(transcript: Transcript, duration_s: float | None, format_: str) -> str:
    """Return the transcript as "srt" or "vtt". duration_s: of the clip, which no cue outlasts."""
    written = _vtt if format_ == "vtt" else _srt
    subtitles = SSAFile()
    for text, start_ms, end_ms in _placed(_cues(transcript, duration_s, written), duration_s):
        subtitles.append(SSAEvent(start=start_ms, end=end_ms, text=_BACKSLASH.sub("\\\\\u2060", text)))
    return subtitles.to_string(format_, keep_ssa_tags=True)


def _cues(transcript: Transcript, duration_s: float | None, written: Callable[[str, str | None], str]) -> list[_Cue]:
    """Return a cue for each segment; one over the whole clip where a text has no times."""
    if not transcript.segments and transcript.text.strip():
        return [_Cue(written(_line(transcript.text), None), 0.0, duration_s or _WITHOUT_END_S)]
    return [
        _Cue(
            written(_line(each.text), _line(each.speaker or "") or None),
            each.start_s,
            each.end_s if each.end_s is not None else each.start_s,
        )
        for each in transcript.segments
        if each.text.strip()
    ]


def _line(text: str) -> str:
    """Return the text as one line: an empty one would end the cue."""
    return " ".join(text.split())


def _placed(cues: Iterable[_Cue], duration_s: float | None) -> Iterator[tuple[str, int, int]]:
    """Yield text, start and end in ms. Cues may overlap, as speakers do; none starts before the one above it."""
    clip_ms = max(_LEAST_MS, int(duration_s * 1000)) if duration_s else None
    previous_ms = 0
    for text, start_s, end_s in sorted(cues, key=lambda cue: cue.start_s):
        start_ms = max(previous_ms, round(start_s * 1000))
        if clip_ms is not None:
            start_ms = min(start_ms, clip_ms - _LEAST_MS)
        end_ms = max(start_ms + _LEAST_MS, round(end_s * 1000))
        yield text, start_ms, end_ms if clip_ms is None else min(end_ms, clip_ms)
        previous_ms = start_ms


def _vtt(line: str, speaker: str | None) -> str:
    """Write a line as its speaker's voice: players show who it is, or style it, as they please."""
    return f"<v {_escaped(speaker)}>{_escaped(line)}" if speaker else _escaped(line)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _srt(line: str, speaker: str | None) -> str:
    """Write a line behind its speaker, with no arrow of SubRip's own: it has no escapes, and readers look for one."""
    return (f"{speaker}: {line}" if speaker else line).replace("-->", "->")
