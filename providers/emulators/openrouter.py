"""OpenRouter's transcriptions as its clients see them: JSON with base64 or a form, a cost, numbers for error codes.

Source: openrouter 1.3.84 (`stt.py`, `components/stt*.py`, `operations/createaudiotranscriptions_multipart.py`),
openrouter.ai/docs "Speech-to-Text" (2026-11). The wording of errors is unconfirmed. An address is answered with a
refusal: an emulator opens no connection. Speakers take turns; every file costs what Whisper does.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from aiohttp import web

from providers.emulators import form_service, openai_form
from providers.emulators.form_service import Refused
from providers.emulators.turns import turns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from providers.emulators.ear import Emulation
    from providers.types import Transcript

_MAX_FORM_BYTES = 25_000_000
_MAX_BYTES = 134 * 1024 * 1024  # 100 MB as base64
_CENTS_A_SECOND = 0.0031
_FORMATS: Final = ("wav", "mp3", "flac", "m4a", "mp4", "ogg", "webm", "aac")
# Of each model, what it can do besides writing down.
_MODELS: Final[Mapping[str, frozenset[str]]] = {
    "openai/whisper-large-v3": frozenset({"verbose_json"}),
    "openai/whisper-large-v3-turbo": frozenset({"verbose_json"}),
    "openai/whisper-1": frozenset({"verbose_json"}),
    "openai/gpt-4o-transcribe": frozenset(),
    "openai/gpt-4o-mini-transcribe": frozenset(),
    "google/chirp-3": frozenset(),
    "microsoft/mai-transcribe-2": frozenset({"verbose_json", "diarize", "keyterms"}),
}
_NO_MP3: Final = frozenset({"google/chirp-3"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A transcription, however it was asked for."""

    audio: bytes
    format: str
    fields: Mapping[str, Any]  # as JSON has them

    def one_of(self, name: str, *allowed: str) -> str:
        value = self.fields.get(name) or allowed[0]
        if value not in allowed:
            raise Refused(400, f"{name} must be one of {', '.join(allowed)}")
        return str(value)


def base_urls(root: str) -> Mapping[str, str]:
    """Return where an account finds the service."""
    return {"api": f"{root}/api/v1"}


def build_app(emulation: Emulation) -> web.Application:
    """Return the service where its clients look for it."""

    async def transcribe(request: web.Request) -> web.StreamResponse:
        asked = await (_read_form(request) if request.content_type == "multipart/form-data" else _read_json(request))
        _check(asked)
        heard = await form_service.hear(emulation.ear, asked.audio, language=asked.fields.get("language"))
        generation = {"x-generation-id": f"gen-stt-{uuid4().hex}"}
        return web.json_response(_answer(heard, asked), headers=generation)

    routes = {"/api/v1/audio/transcriptions": transcribe}
    return form_service.application(routes, emulation.key, max_bytes=_MAX_BYTES, envelope=_envelope)


def _envelope(refused: Refused) -> object:
    return {"error": {"code": refused.status, "message": refused.message, "metadata": None}, "user_id": "user_1"}


# --- what is read


async def _read_json(request: web.Request) -> _Asked:
    try:
        fields = await request.json()
        audio = fields["input_audio"]
        held = base64.b64decode(audio.get("data", ""), validate=True)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Refused(400, "The body must be JSON with input_audio") from None
    if "url" in audio:
        raise Refused(400, "The audio could not be fetched")
    return _Asked(audio=held, format=str(audio.get("format", "")), fields=fields)


async def _read_form(request: web.Request) -> _Asked:
    form = await form_service.read(request, max_bytes=_MAX_FORM_BYTES)
    audio = form_service.file_of(form, or_url="source_url")
    # Its own SDK writes a list's brackets twice.
    lists = {name.removesuffix("[]"): list(values) for name, values in form.fields.items()}
    fields: dict[str, Any] = {
        name: values if name in {"keyterms", "timestamp_granularities"} else values[-1]
        for name, values in lists.items()
    }
    try:
        fields["temperature"] = float(fields.get("temperature", 0))
        fields["provider"] = json.loads(fields.get("provider", "{}"))
    except ValueError:
        raise Refused(400, "temperature must be a number, provider a JSON object") from None
    fields["diarize"] = str(fields.get("diarize", "false")).lower() == "true"
    return _Asked(audio=audio, format=(form.file_name or "").rpartition(".")[2], fields=fields)


def _check(asked: _Asked) -> None:
    """Raise Refused for what the service, or the one behind it, would not take."""
    model = str(asked.fields.get("model"))
    if model not in _MODELS:
        raise Refused(400, f"{model} is not a valid model ID")
    if asked.format not in _FORMATS:
        raise Refused(400, f"audio format must be one of {', '.join(_FORMATS)}")
    if model in _NO_MP3 and asked.format == "mp3":
        raise Refused(400, "Provider returned 400")
    wanted = asked.one_of("response_format", "json", "verbose_json")
    can = _MODELS[model]
    if wanted == "verbose_json" and wanted not in can:
        raise Refused(400, "Provider returned 400")
    if asked.fields.get("diarize") and (wanted != "verbose_json" or "diarize" not in can):
        raise Refused(400, "diarize needs verbose_json, and a model that can diarize")
    if asked.fields.get("keyterms") and "keyterms" not in can:
        raise Refused(400, "this model cannot use keyterms")
    if not {"segment", "word"} >= set(asked.fields.get("timestamp_granularities") or ()):
        raise Refused(400, "timestamp_granularities must be segment or word")
    if not 0 <= asked.fields.get("temperature", 0) <= 2:
        raise Refused(400, "temperature must be between 0 and 2")
    if (asked.fields.get("provider") or {}).get("data_collection", "allow") not in {"allow", "deny"}:
        raise Refused(400, "data_collection must be allow or deny")


# --- what is answered


def _answer(heard: Transcript, asked: _Asked) -> dict[str, Any]:
    tokens = len(heard.text.split())
    seconds = heard.duration_s or 0.0
    answer: dict[str, Any] = {
        "text": heard.text,
        "usage": {
            "seconds": seconds,
            "total_tokens": 14 + tokens,
            "input_tokens": 14,
            "output_tokens": tokens,
            "cost": round(seconds * _CENTS_A_SECOND / 100, 8),
        },
    }
    return {**answer, **_timed(heard, asked)} if asked.fields.get("response_format") == "verbose_json" else answer


def _timed(heard: Transcript, asked: _Asked) -> dict[str, Any]:
    diarizes = bool(asked.fields.get("diarize"))
    said = list(turns(heard, 2))
    timed: dict[str, Any] = {
        "task": "transcribe",
        "language": heard.language,
        "duration": heard.duration_s,
        "segments": [openai_form.segment_json(turn.number, heard.segments[turn.number], heard) for turn in said],
    }
    if diarizes or "word" in (asked.fields.get("timestamp_granularities") or ()):
        timed["words"] = [
            {
                "word": word.text,
                "start": word.start_s,
                "end": word.end_s,
                **({"speaker": turn.speaker, "confidence": 0.98} if diarizes else {}),
            }
            for turn in said
            for word in turn.words
        ]
    return timed
