"""Together AI as its clients see it: the OpenAI form with speakers, json or verbose_json only, English by default.

Source: together 3.1.1 (`types/audio`), togethercomputer/openapi (2026-04-28). The wording of errors is unconfirmed. The
rate-limit headers are sent and no request is refused for them. A `file` that is a URL is answered with an error: an
emulator opens no connection. Speakers are made up: the segments take turns, as many as `min_speakers` asks for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from providers.emulators import form_service
from providers.emulators.form_service import Refused
from providers.emulators.openai_form import end_s

if TYPE_CHECKING:
    from providers.emulators.ear import Emulation
    from providers.emulators.openai_form import Form
    from providers.types import Segment, Transcript, Word

_MAX_BYTES = 80_000_000
_MAX_S = 4 * 3600.0
_WHISPER = "openai/whisper-large-v3"
_MODELS: Final = (_WHISPER, "nvidia/parakeet-tdt-0.6b-v3")
_RATE: Final = {"x-ratelimit-limit": "600", "x-ratelimit-remaining": "599", "x-ratelimit-reset": "1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    audio: bytes
    language: str | None  # None: tell it from the sound
    prompt: str | None
    verbose: bool
    levels: frozenset[str]
    speakers: int  # 0: not told apart


def build_app(emulation: Emulation) -> web.Application:
    """Return the service, with and without `/v1` before its routes."""

    async def transcribe(request: web.Request) -> web.StreamResponse:
        asked = _read(await form_service.read(request, max_bytes=_MAX_BYTES))
        heard = await form_service.hear(
            emulation.ear, asked.audio, language=asked.language, prompt=asked.prompt, max_s=_MAX_S
        )
        return web.json_response(_answer(heard, asked, "transcribe"))

    async def translate(request: web.Request) -> web.StreamResponse:
        form = await form_service.read(request, max_bytes=_MAX_BYTES)
        asked = _read(form)
        if form.one("language", "en") != "en":
            raise Refused(400, "This model translates to English only", param="language")
        heard = await form_service.hear(emulation.ear, asked.audio, prompt=asked.prompt, translate=True, max_s=_MAX_S)
        return web.json_response(_answer(heard, asked, "translate"))

    routes = {
        f"{root}/audio/{task}": answer
        for root in ("", "/v1")
        for task, answer in (("transcriptions", transcribe), ("translations", translate))
    }
    return form_service.application(routes, emulation.key, max_bytes=_MAX_BYTES, headers=_RATE)


# --- what is read


def _read(form: Form) -> _Asked:
    """Return what is asked for. Raises Refused. Parts that are not known are ignored."""
    model = form.one("model") or _WHISPER
    if model not in _MODELS:
        raise Refused(404, f"Unable to access model {model}", code="model_not_available")
    language = form.one("language") or "en"
    form_service.number(form, "temperature", float, 0.0, 1.0)
    levels = form_service.levels(form)
    diarize = form_service.one_of(form, "diarize", "false", "true")
    least = form_service.number(form, "min_speakers", int, 1, 100)
    most = form_service.number(form, "max_speakers", int, 1, 100)
    if least and most and least > most:
        raise Refused(400, "min_speakers is greater than max_speakers", param="min_speakers")
    return _Asked(
        audio=form_service.file_of(form),
        language=None if language == "auto" else language,
        prompt=form.one("prompt") or None if model == _WHISPER else None,
        verbose=form_service.one_of(form, "response_format", "json", "verbose_json") == "verbose_json",
        levels=levels,
        speakers=int(least or 1) if diarize == "true" else 0,
    )


# --- what is answered


def _answer(heard: Transcript, asked: _Asked, task: str) -> dict[str, Any]:
    if not asked.verbose:  # speakers, where asked for, are dropped too
        return {"text": heard.text}
    answer: dict[str, Any] = {
        "task": task,
        "language": heard.language,
        "duration": heard.duration_s,
        "text": heard.text,
        "segments": [
            {"id": number, "start": each.start_s, "end": end_s(each, heard), "text": each.text.strip()}
            for number, each in enumerate(heard.segments)
        ],
    }
    turns = [_turn(number, each, heard, asked.speakers) for number, each in enumerate(heard.segments)]
    if "word" in asked.levels:
        said = [word for turn in turns for word in turn["words"]] if asked.speakers else map(_word, heard.words)
        answer["words"] = [{name: value for name, value in word.items() if name != "id"} for word in said]
    if asked.speakers:
        answer["speaker_segments"] = turns
    return answer


def _turn(number: int, segment: Segment, heard: Transcript, speakers: int) -> dict[str, Any]:
    """Give the segment, and the words that begin in it, to one of the speakers."""
    speaker = f"SPEAKER_{number % max(1, speakers):02}"
    until_s = end_s(segment, heard)
    inside = [word for word in heard.words if segment.start_s <= word.start_s < until_s]
    return {
        "id": number,
        "speaker_id": speaker,
        "start": segment.start_s,
        "end": until_s,
        "text": segment.text.strip(),
        "words": [{"id": place, **_word(word), "speaker_id": speaker} for place, word in enumerate(inside)],
    }


def _word(each: Word) -> dict[str, Any]:
    return {"word": each.text, "start": each.start_s, "end": each.end_s}
