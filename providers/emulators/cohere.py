"""Cohere's transcriptions as its clients see them: a form with a language, and text alone.

Source: cohere 7.3.1 (`audio/transcriptions`, `errors`), docs.cohere.com/docs/transcribe and its API reference (2026).
The wording of errors, but for the token's, is unconfirmed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import uuid4

from aiohttp import web

from providers.emulators import form_service

if TYPE_CHECKING:
    from collections.abc import Mapping

    from providers.emulators.ear import Emulation
    from providers.emulators.form_service import Refused

_MAX_BYTES = 25_000_000
_MODELS: Final = ("cohere-transcribe-03-2026",)
_LANGUAGES: Final = ("en", "de", "fr", "it", "es", "pt", "el", "nl", "pl", "vi", "zh", "ar", "ja", "ko")
OPTIONS: Final[Mapping[str, str]] = {"language": "en"}
"""Of an account: a language for callers who name none."""


def build_app(emulation: Emulation) -> web.Application:
    """Return the service where its SDK looks for it."""

    async def transcribe(request: web.Request) -> web.StreamResponse:
        form = await form_service.read(request, max_bytes=_MAX_BYTES)
        form_service.model_of(form, _MODELS)
        if "language" not in form.fields:
            raise form_service.Refused(400, "language is required")
        language = form_service.one_of(form, "language", *_LANGUAGES)
        form_service.number(form, "temperature", float, 0.0, 1.0)
        heard = await form_service.hear(emulation.ear, form_service.file_of(form, or_url=None), language=language)
        return web.json_response({"text": heard.text})

    return form_service.application(
        {"/v2/audio/transcriptions": transcribe}, emulation.key, max_bytes=_MAX_BYTES, envelope=_envelope
    )


def _envelope(refused: Refused) -> object:
    return {"id": str(uuid4()), "message": "invalid api token" if refused.status == 401 else refused.message}
