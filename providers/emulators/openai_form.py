"""What emulators of OpenAI's audio form share: reading the form, and writing a transcript in each response format."""

from __future__ import annotations

import json
import math
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web

from providers.languages import name_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from providers.types import Segment, Transcript, Word

MAX_READ_BYTES = 64 * 1024 * 1024  # for the applications themselves; each service's own limit is smaller


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A multipart form, its parts in any order."""

    fields: Mapping[str, tuple[str, ...]]  # text parts by name without `[]`, repeated ones together
    file_name: str | None  # None where `file` came without one
    audio: bytes | None  # None where `file` is missing, or a text part

    def one(self, name: str, default: str = "") -> str:
        """Return the last value of a field."""
        return self.fields.get(name, (default,))[-1]

    def is_true(self, name: str) -> bool:
        return self.one(name).lower() in {"true", "1"}


async def read_form(request: web.Request) -> Form:
    """Read the whole form. Raises ValueError where the body is none."""
    if request.content_type != "multipart/form-data":
        raise ValueError("Could not parse multipart form")
    fields: dict[str, tuple[str, ...]] = {}
    file_name, audio = None, None
    for name, value in (await request.post()).items():
        if isinstance(value, web.FileField):
            file_name, audio = value.filename, value.file.read()
        elif isinstance(value, str):
            bare = name.removesuffix("[]")
            fields[bare] = (*fields.get(bare, ()), value)
    return Form(fields=fields, file_name=file_name, audio=audio)


def verbose_json(heard: Transcript, levels: Iterable[str], *, task: str = "transcribe") -> dict[str, Any]:
    """Return OpenAI's verbose_json with the levels asked for, "segment" and "word"."""
    answer: dict[str, Any] = {
        "task": task,
        "language": name_of(heard.language or "en"),
        "duration": round(heard.duration_s or 0.0, 2),
        "text": heard.text,
    }
    if "word" in levels:
        answer["words"] = [word_json(word) for word in heard.words]
    if "segment" in levels:
        answer["segments"] = [segment_json(i, segment, heard) for i, segment in enumerate(heard.segments)]
    return answer


def word_json(word: Word) -> dict[str, Any]:
    """Return a word as OpenAI does, without punctuation."""
    return {"word": word.text.strip(string.punctuation + " ") or word.text, "start": word.start_s, "end": word.end_s}


def segment_json(index: int, segment: Segment, heard: Transcript) -> dict[str, Any]:
    """Return a segment with every field of OpenAI's; what a model alone would know is plausible."""
    return {
        "id": index,
        "seek": int(segment.start_s // 30) * 3000,
        "start": segment.start_s,
        "end": end_s(segment, heard),
        "text": f" {segment.text.strip()}",
        "tokens": [50364, 50364 + len(segment.text)],
        "temperature": 0.0,
        "avg_logprob": -0.28,
        "compression_ratio": 1.1,
        "no_speech_prob": 0.01,
    }


def end_s(segment: Segment, heard: Transcript) -> float:
    """Return where a segment ends; an open one ends with the audio."""
    if segment.end_s is not None:
        return segment.end_s
    return max(segment.start_s, heard.duration_s or 0.0)


def srt(heard: Transcript) -> str:
    """Return SubRip."""
    return "".join(
        f"{i}\n{_clock(s.start_s, ',')} --> {_clock(end_s(s, heard), ',')}\n{s.text.strip()}\n\n"
        for i, s in enumerate(heard.segments, start=1)
    )


def vtt(heard: Transcript) -> str:
    """Return WebVTT."""
    cues = (
        f"{_clock(s.start_s, '.')} --> {_clock(end_s(s, heard), '.')}\n{s.text.strip()}\n\n" for s in heard.segments
    )
    return "WEBVTT\n\n" + "".join(cues)


def _clock(seconds: float, point: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{point}{rest % 1000:03}"


def billed(heard: Transcript) -> dict[str, Any]:
    """Return the usage of a model billed by whole seconds."""
    return {"type": "duration", "seconds": math.ceil(heard.duration_s or 0.0)}


def pieces(text: str) -> list[str]:
    """Cut a text into the deltas of a stream: its words, each but the first with its space."""
    return [word if i == 0 else f" {word}" for i, word in enumerate(text.split())]


async def stream(
    request: web.Request,
    events: Iterable[Mapping[str, Any]],
    *,
    done_mark: bool,
    named_events: bool = False,
    headers: Mapping[str, str] | None = None,
) -> web.StreamResponse:
    """Send server-sent events one by one, and `[DONE]` where the service ends so.

    named_events: whether a line above each says its type.
    """
    response = web.StreamResponse(headers={"content-type": "text/event-stream", **(headers or {})})
    await response.prepare(request)
    for event in events:
        named = f"event: {event['type']}\n" if named_events else ""
        await response.write(f"{named}data: {json.dumps(event)}\n\n".encode())
    if done_mark:
        await response.write(b"data: [DONE]\n\n")
    await response.write_eof()
    return response
