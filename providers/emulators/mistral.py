"""Mistral as its clients see it: a form without brackets or response formats, words called segments, a named stream.

Source: mistralai 3.7.0 (`audiotranscriptionrequest`, `transcriptionstream*`), the offline transcription page and the
error glossary (2026-11). Whether words come in `segments` is unconfirmed, as is the wording of errors. A `file_url` or
`file_id` is answered with an error: an emulator opens no connection and keeps no file. Speakers take turns.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from providers.emulators import form_service, openai_form
from providers.emulators.form_service import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from providers.emulators.ear import Emulation
    from providers.emulators.openai_form import Form
    from providers.types import Segment, Transcript, Word

_MAX_BYTES = 512 * 1024 * 1024
_MAX_S = 3 * 3600.0
_SECOND: Final = ("voxtral-mini-2602", "voxtral-mini-latest", "voxtral-mini-2507")
_THIRD: Final = tuple(
    f"voxtral-{size}-transcribe-{version}" for size in ("mini", "small") for version in ("3-0", "3", "latest")
)


def base_urls(root: str) -> Mapping[str, str]:
    """Return where an account finds the service."""
    return {"api": f"{root}/v1"}


def build_app(emulation: Emulation) -> web.Application:
    """Return the service where its SDK looks for it."""

    async def transcribe(request: web.Request) -> web.StreamResponse:
        if request.content_type == "application/x-www-form-urlencoded":
            raise Refused(400, "The file at file_url or file_id could not be had", code="1901")
        form = await form_service.read(request, max_bytes=_MAX_BYTES)
        _check(form)
        heard = await form_service.hear(
            emulation.ear, form_service.file_of(form, or_url=None), language=form.one("language") or None, max_s=_MAX_S
        )
        answer = _answer(heard, form)
        if form.is_true("stream"):
            return await openai_form.stream(request, _events(answer), done_mark=False, named_events=True)
        return web.json_response(answer)

    return form_service.application(
        {"/v1/audio/transcriptions": transcribe},
        emulation.key,
        max_bytes=_MAX_BYTES,
        envelope=_envelope,
        credential="authorization x-api-key",
    )


def _envelope(refused: Refused) -> object:
    """Return an error's body: flat, but for the credential's and those of single fields."""
    if refused.status == 401:
        return {"detail": "Unauthorized"}
    if refused.status == 422:
        return {"detail": [{"loc": ["body", refused.param], "msg": refused.message, "type": "value_error"}]}
    told = {"message": refused.message, "type": "invalid_request_error", "param": refused.param, "code": refused.code}
    return {"object": "error", **told}


def _check(form: Form) -> None:
    model = form_service.model_of(form, _SECOND + _THIRD)
    levels = form_service.levels(form)
    if "word" in levels and model in _THIRD:
        raise Refused(400, "word timestamps are not supported by this model", param="timestamp_granularities")
    if form.is_true("diarize") and model in _THIRD and "timestamp_granularities" not in form.fields:
        raise Refused(400, "diarize needs timestamp_granularities=segment", param="diarize")
    form_service.number(form, "temperature", float, 0.0, math.inf)
    if len(form.one("language", "en")) != 2:
        raise Refused(422, "language must be of two letters", param="language")
    if form.is_true("return_language") and ("language" in form.fields or model in _SECOND):
        raise Refused(400, "return_language needs Voxtral 3 and no language", param="return_language")
    terms = form.fields.get("context_bias", ())
    if len(terms) > 100 or (model in _SECOND and any("," in term or " " in term for term in terms)):
        raise Refused(422, "context_bias takes 100 terms without spaces or commas", param="context_bias")


# --- what is answered


def _answer(heard: Transcript, form: Form) -> dict[str, Any]:
    timed = "timestamp_granularities" in form.fields
    second = form.one("model") in _SECOND
    # The second answers a language beside times with nothing, and bills it.
    is_mute = timed and second and "language" in form.fields
    seconds = math.ceil(heard.duration_s or 0.0)
    return {
        "model": form.one("model"),
        "text": "" if is_mute else heard.text,
        "language": None if timed and second else heard.language,
        "segments": [] if is_mute or not timed else list(_segments(heard, form)),
        "usage": {
            "prompt_audio_seconds": seconds,
            "prompt_tokens": 4,
            "completion_tokens": len(heard.text.split()),
            "total_tokens": 4 + len(heard.text.split()),
        },
    }


def _segments(heard: Transcript, form: Form) -> Iterator[dict[str, Any]]:
    """Yield segments, or words by the same name where they were asked for."""
    pieces: tuple[Word | Segment, ...] = heard.words if "word" in form_service.levels(form) else heard.segments
    for number, piece in enumerate(pieces):
        yield {
            "type": "transcription_segment",
            "text": piece.text.strip(),
            "start": piece.start_s,
            "end": piece.end_s if piece.end_s is not None else heard.duration_s,
            "score": None,
            "speaker_id": f"speaker_{number % 2 + 1}" if form.is_true("diarize") else None,
        }


def _events(answer: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if answer["language"]:
        yield {"type": "transcription.language", "audio_language": answer["language"]}
    for piece in openai_form.pieces(answer["text"]):
        yield {"type": "transcription.text.delta", "text": piece}
    for each in answer["segments"]:
        named = ("text", "start", "end", "speaker_id")
        yield {"type": "transcription.segment", **{name: each[name] for name in named}}
    yield {"type": "transcription.done", **answer}
