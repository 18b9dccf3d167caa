"""SRT and WebVTT: cues in order, inside the clip, none of zero length.

Source: W3C WebVTT (2019-04-04), section 4.2; SubRip has no document. Written here and not by pysubs2, whose writer
takes braces for styling and drops them, and leaves `<`, `&` and `-->` in a WebVTT cue, where they are syntax.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from providers.types import Transcript

_LEAST_MS = 10  # a cue that begins and ends at one moment is shown by no player
_WITHOUT_END_S = 1.0  # of a clip whose length nobody knows


class _Cue(NamedTuple):
    """A line of text, not yet placed in the clip."""

    text: str  # one line
    start_s: float
    end_s: float


def render_subtitles(transcript: Transcript, duration_s: float | None, format_: str) -> str:
    """Return the transcript as "srt" or "vtt". duration_s: of the clip, which no cue outlasts."""
    placed = _placed(_cues(transcript, duration_s), duration_s)
    if format_ == "vtt":
        return "WEBVTT\n\n" + "".join(
            f"{_clock(start_ms, '.')} --> {_clock(end_ms, '.')}\n{_vtt_text(text)}\n\n"
            for text, start_ms, end_ms in placed
        )
    return "".join(
        f"{number}\n{_clock(start_ms, ',')} --> {_clock(end_ms, ',')}\n{_srt_text(text)}\n\n"
        for number, (text, start_ms, end_ms) in enumerate(placed, start=1)
    )


def _cues(transcript: Transcript, duration_s: float | None) -> list[_Cue]:
    """Return a cue for each segment; one over the whole clip where a text has no times."""
    if not transcript.segments and transcript.text.strip():
        return [_Cue(_line(transcript.text), 0.0, duration_s or _WITHOUT_END_S)]
    return [
        _Cue(_line(each.text, each.speaker), each.start_s, each.end_s if each.end_s is not None else each.start_s)
        for each in transcript.segments
        if each.text.strip()
    ]


def _line(text: str, speaker: str | None = None) -> str:
    """Return the text as one line: an empty one would end the cue."""
    line = " ".join(text.split())
    return f"{speaker}: {line}" if speaker else line


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


def _clock(milliseconds: int, point: str) -> str:
    seconds, rest_ms = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}{point}{rest_ms:03}"


def _vtt_text(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _srt_text(text: str) -> str:
    """Leave no arrow of SubRip's own: it has no escapes, and readers look for one in every line."""
    return text.replace("-->", "->")
