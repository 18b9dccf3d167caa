"""Sarvam's speech to text as its SDK sees it: a form, half a minute at most, phrases in parallel lists.

Source: sarvamai 0.1.39, docs.sarvam.ai (2026). The wording of errors is unconfirmed, and which status says what. Left
out: jobs, streaming, and the older route that only translates.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from providers.audio.unreadable import AudioTooLong, UnreadableAudio
from providers.emulators.door import Refused, guard
from providers.emulators.openai_form import read_form
from providers.emulators.turns import turns

if TYPE_CHECKING:
    from providers.emulators.ear import Emulation
    from providers.emulators.openai_form import Form
    from providers.types import Transcript

_MAX_BYTES = 32 * 1024 * 1024
_MAX_S = 30.0
_MODELS: Final = ("saaras:v3", "saaras:v4")
_MODES: Final = frozenset({"transcribe", "translate", "verbatim", "translit", "codemix"})
_LANGUAGES: Final = frozenset(
    f"{code}-IN"
    for code in "hi bn kn ml mr od pa ta te en gu as ur ne kok ks sd sa sat mni brx mai doi".split()  # noqa: SIM905 - 23 quoted words
)
_CODES: Final = {400: "invalid_request_error", 403: "invalid_api_key_error", 422: "unprocessable_entity_error"}


def build_app(emulation: Emulation) -> web.Application:
    """Return the service; a key comes in a header of its own."""

    def let_in(request: web.Request) -> None:
        if request.headers.get("api-subscription-key") != emulation.key:
            raise Refused(403, "Invalid API key")

    async def transcribe(request: web.Request) -> web.Response:
        form = await _read(request)
        language = form.one("language_code", "unknown")
        try:
            heard = await emulation.ear.hear(
                form.audio or b"",
                language=None if language == "unknown" else language.partition("-")[0],
                translate=form.one("mode") == "translate",
                prompt=", ".join(_terms(form)) or None,
            )
        except UnreadableAudio:
            raise Refused(400, "Failed to read the file, please check the audio format.") from None
        except AudioTooLong:
            raise _TOO_LONG from None
        if (heard.duration_s or 0.0) > _MAX_S:
            raise _TOO_LONG
        return web.json_response(_described(heard, language, timed=form.is_true("with_timestamps")))

    app = web.Application(client_max_size=_MAX_BYTES, middlewares=[guard(let_in, _answer)])
    app.router.add_post("/speech-to-text", transcribe)
    return app


_TOO_LONG: Final = Refused(400, "Audio duration exceeds the maximum limit of 30 seconds. Use the batch API.")


def _answer(refused: Refused) -> web.Response:
    code = _CODES.get(refused.status, "internal_server_error")
    error = {"request_id": "20260105_emulated", "message": refused.said, "code": code}
    return web.json_response({"error": error}, status=refused.status)


async def _read(request: web.Request) -> Form:
    """Return the form. Raises Refused for what the service would not take."""
    try:
        form = await read_form(request)
    except ValueError as error:
        raise Refused(400, str(error)) from None
    if form.audio is None:
        raise Refused(422, "file is required")
    if form.one("model", _MODELS[0]) not in _MODELS:
        raise Refused(400, "model must be one of saaras:v3, saaras:v4")
    if form.one("mode", "transcribe") not in _MODES:
        raise Refused(400, "mode is not supported")
    if form.one("language_code", "unknown") not in {"unknown", *_LANGUAGES}:
        raise Refused(400, "language_code is not supported")
    _terms(form)
    return form


def _terms(form: Form) -> list[str]:
    """Return the words to expect; the SDK writes null where there are none. Raises Refused."""
    try:
        terms = json.loads(form.one("keyterms", "null")) or []
    except ValueError:
        terms = None
    if not isinstance(terms, list) or len(terms) > 50 or not all(isinstance(x, str) and len(x) <= 64 for x in terms):
        raise Refused(422, "keyterms must be a JSON array of at most 50 strings of at most 64 characters")
    if terms and form.one("model") != "saaras:v4":
        raise Refused(400, "keyterms is only supported with saaras:v4")
    return terms


def _described(heard: Transcript, language: str, *, timed: bool) -> dict[str, Any]:
    said = list(turns(heard))
    told: dict[str, Any] = {"request_id": "20260105_emulated", "transcript": heard.text, "diarized_transcript": None}
    if timed:
        told["timestamps"] = {
            "words": [each.text for each in said],
            "start_time_seconds": [each.start_s for each in said],
            "end_time_seconds": [each.end_s for each in said],
        }
    if language == "unknown":
        return {**told, "language_code": f"{heard.language or 'en'}-IN", "language_probability": 0.98}
    return {**told, "language_code": language}
