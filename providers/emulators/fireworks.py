"""Fireworks' audio hosts as their clients see them: OpenAI's form, lists joined by commas, speakers with words only.

Source: fireworks-ai 0.19.20 (`client/audio.py`, `client/audio_api.py`), the public reference as tryAGI/Fireworks has it
(2026-08-17). The wording of errors is unconfirmed. One address stands for both hosts, so a model is never at the wrong
one. A file that is an address is answered with a refusal: an emulator opens no connection. Speakers take turns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from providers.emulators import form_service, openai_form
from providers.emulators.form_service import Refused
from providers.emulators.turns import turns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from providers.emulators.ear import Emulation
    from providers.emulators.openai_form import Form
    from providers.emulators.turns import Turn
    from providers.types import Transcript, Word

_MAX_BYTES = 100 * 1024 * 1024  # of 1 GB possible
_MODELS: Final = ("whisper-v3", "whisper-v3-turbo")
_VALUES: Final = {
    "response_format": ("json", "text", "srt", "verbose_json", "vtt"),
    "vad_model": ("silero", "whisperx-pyannet"),
    "alignment_model": ("mms_fa", "tdnn_ffn", "gentle"),
    "preprocessing": ("none", "dynamic", "soft_dynamic", "bass_dynamic"),
    "skip_vad": ("false", "true", "False", "True"),  # the SDK writes Python's
}
_ADDRESSES: Final = (b"http://", b"https://")


def base_urls(root: str) -> Mapping[str, str]:
    """Return where an account finds the service: both hosts at one place."""
    return {"api": f"{root}/v1", "turbo": f"{root}/v1"}


def build_app(emulation: Emulation) -> web.Application:
    """Return the service where its SDK looks for it. The key comes bare, or after `Bearer`."""

    async def transcribe(request: web.Request) -> web.StreamResponse:
        form = await _read(request)
        _check_speakers(form)
        heard = await _hear(emulation, form, translate=False)
        return _answer(heard, form, "transcribe")

    async def translate(request: web.Request) -> web.StreamResponse:
        form = await _read(request)
        return _answer(await _hear(emulation, form, translate=True), form, "translate")

    routes = {"/v1/audio/transcriptions": transcribe, "/v1/audio/translations": translate}
    return form_service.application(routes, emulation.key, max_bytes=_MAX_BYTES, envelope=_envelope)


def _envelope(refused: Refused) -> object:
    kind = "server_error" if refused.status >= 500 else "invalid_request_error"
    return {"error": {"object": "error", "type": kind, "message": refused.message}}


# --- what is read


async def _read(request: web.Request) -> Form:
    """Return the form. Raises Refused for what the service would not take."""
    form = await form_service.read(request, max_bytes=_MAX_BYTES)
    form_service.model_of(form, _MODELS, _MODELS[0])
    for name, allowed in _VALUES.items():
        form_service.one_of(form, name, *allowed)
    for step in form.one("temperature", "0").split(","):
        if not step.replace(".", "", 1).isdigit() or float(step) > 1:
            raise Refused(400, "temperature must be numbers from 0 to 1, joined by commas")
    if not _levels(form) <= {"segment", "word"}:
        raise Refused(400, "timestamp_granularities must be segment, word or both, joined by a comma")
    form_service.only_with(form, ("timestamp_granularities",), "verbose_json")
    return form


def _levels(form: Form) -> set[str]:
    return set(form.one("timestamp_granularities", "segment").split(","))


def _check_speakers(form: Form) -> None:
    diarizes = form_service.one_of(form, "diarize", "false", "true") == "true"
    form_service.only_with(form, ("diarize",), "verbose_json")
    if diarizes and "word" not in _levels(form):
        raise Refused(400, "diarize needs timestamp_granularities with word")
    for name in ("min_speakers", "max_speakers"):
        if form_service.number(form, name, int, 1, 100) and not diarizes:
            raise Refused(400, f"{name} needs diarize")


async def _hear(emulation: Emulation, form: Form, *, translate: bool) -> Transcript:
    audio = form_service.file_of(form)
    if audio.startswith(_ADDRESSES):
        raise Refused(400, "The audio could not be fetched from the URL")
    return await form_service.hear(
        emulation.ear,
        audio,
        language=None if translate else form.one("language") or None,
        translate=translate,
        prompt=form.one("prompt") or None,
    )


# --- what is answered


def _answer(heard: Transcript, form: Form, task: str) -> web.Response:
    match form.one("response_format", "json"):
        case "json":
            return web.json_response({"text": heard.text})
        case "verbose_json":
            return web.json_response(_verbose(heard, form, task))
        case "text":
            return web.Response(text=heard.text)
        case format_:
            return web.Response(text=openai_form.srt(heard) if format_ == "srt" else openai_form.vtt(heard))


def _verbose(heard: Transcript, form: Form, task: str) -> dict[str, Any]:
    said = list(turns(heard, int(form.one("min_speakers", "2"))))
    diarizes = form.is_true("diarize")
    answer: dict[str, Any] = {
        "task": task,
        "language": heard.language,
        "duration": heard.duration_s,
        "text": heard.text,
    }
    if "word" in _levels(form):
        answer["words"] = [
            _word(each, heard, _speaker(turn, diarizes=diarizes)) for turn in said for each in turn.words
        ]
    if "segment" in _levels(form):
        answer["segments"] = [
            {
                **openai_form.segment_json(turn.number, heard.segments[turn.number], heard),
                "audio_start": turn.start_s,
                "audio_end": turn.end_s,
                "language": heard.language,
                "words": None,
                "no_speech": False,
                "retry_count": 0,
                "speaker_id": _speaker(turn, diarizes=diarizes),
            }
            for turn in said
        ]
    return answer


def _speaker(turn: Turn, *, diarizes: bool) -> str | None:
    return f"SPEAKER_{turn.speaker:02}" if diarizes else None


def _word(each: Word, heard: Transcript, speaker: str | None) -> dict[str, Any]:
    return {
        **openai_form.word_json(each),
        "language": heard.language,
        "probability": 0.98,
        "hallucination_score": 0.0,
        "speaker_id": speaker,
    }
