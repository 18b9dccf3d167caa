"""SRT and WebVTT from segments or words, through pysubs2: cues in order, inside the clip, none of zero length."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pysubs2 import SSAEvent, SSAFile

if TYPE_CHECKING:
    from providers.types import Transcript

_LEAST_MS = 10  # a cue that begins and ends at one moment is shown by no player
_LEAST_MS_WITHOUT_END = 1000


def render_subtitles(transcript: Transcript, duration_s: float | None, format_: str) -> str:
    """Return the transcript as "srt" or "vtt". duration_s: of the clip, which no cue outlasts."""
    subtitles = SSAFile()
    end_ms = round(duration_s * 1000) if duration_s else None
    previous_ms = 0
    for text, start_s, stop_s in _cues(transcript, duration_s):
        start_ms = max(previous_ms, round(start_s * 1000))
        stop_ms = max(start_ms + _LEAST_MS, round(stop_s * 1000))
        if end_ms is not None:
            stop_ms = min(stop_ms, end_ms)
            start_ms = max(0, min(start_ms, stop_ms - _LEAST_MS))
        event = SSAEvent(start=start_ms, end=stop_ms)
        event.plaintext = text
        subtitles.append(event)
        previous_ms = start_ms
    return str(subtitles.to_string(format_))


def _cues(transcript: Transcript, duration_s: float | None) -> list[tuple[str, float, float]]:
    if transcript.segments:
        return [
            (_cue_text(segment.text, segment.speaker), segment.start_s, _end_s(segment.end_s, segment.start_s))
            for segment in transcript.segments
            if segment.text.strip()
        ]
    if transcript.text:
        return [(transcript.text.strip(), 0.0, duration_s or _LEAST_MS_WITHOUT_END / 1000)]
    return []


def _end_s(end_s: float | None, start_s: float) -> float:
    return end_s if end_s is not None else start_s


def _cue_text(text: str, speaker: str | None) -> str:
    text = " ".join(text.split())
    return f"{speaker}: {text}" if speaker else text
