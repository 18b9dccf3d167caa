"""Groq as its clients see it: OpenAI's form with json, text or verbose_json, its envelope and its headers.

Source: groq 1.7.0 (`types/audio`), console.groq.com speech-to-text and rate limits (2026-11). The wording of errors is
unconfirmed; so is what the turbo model answers to a translation: it is refused here. A `url` is not fetched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import uuid4

from aiohttp import web

from providers.emulators import form_service, openai_form

if TYPE_CHECKING:
    from collections.abc import Mapping

    from providers.emulators.ear import Emulation
    from providers.emulators.openai_form import Form
    from providers.types import Transcript

_MAX_BYTES = 25_000_000
_TASKS: Final = {
    "whisper-large-v3": frozenset({"transcribe", "translate"}),
    "whisper-large-v3-turbo": frozenset({"transcribe"}),
}
_RATE: Final = {
    "x-ratelimit-limit-requests": "2000",
    "x-ratelimit-remaining-requests": "1999",
    "x-ratelimit-reset-requests": "43.2s",
}


def base_urls(root: str) -> Mapping[str, str]:
    """Return where an account finds the service."""
    return {"api": f"{root}/openai/v1"}


def build_app(emulation: Emulation) -> web.Application:
    """Return the service where its SDK looks for it: under `/openai/v1`."""

    async def transcribe(request: web.Request) -> web.StreamResponse:
        form = await form_service.read(request, max_bytes=_MAX_BYTES)
        _check(form, "transcribe")
        form_service.only_with(form, ("timestamp_granularities",), "verbose_json")
        return _answer(await _hear(emulation, form, translate=False), form, "transcribe")

    async def translate(request: web.Request) -> web.StreamResponse:
        form = await form_service.read(request, max_bytes=_MAX_BYTES)
        _check(form, "translate")
        return _answer(await _hear(emulation, form, translate=True), form, "translate")

    routes = {"/openai/v1/audio/transcriptions": transcribe, "/openai/v1/audio/translations": translate}
    return form_service.application(routes, emulation.key, max_bytes=_MAX_BYTES, headers=_RATE)


def _check(form: Form, task: str) -> None:
    model = form_service.model_of(form, _TASKS)
    if task not in _TASKS[model]:
        raise form_service.Refused(400, f"The model `{model}` does not support {task}", param="model")
    form_service.one_of(form, "response_format", "json", "text", "verbose_json")
    form_service.number(form, "temperature", float, 0.0, 1.0)
    form_service.levels(form)
    if "url" in form.fields and form.audio is not None:
        raise form_service.Refused(400, "exactly one of file and url must be given", param="url")


async def _hear(emulation: Emulation, form: Form, *, translate: bool) -> Transcript:
    return await form_service.hear(
        emulation.ear,
        form_service.file_of(form, or_url="url"),
        language=None if translate else form.one("language") or None,
        translate=translate,
        prompt=form.one("prompt") or None,
    )


def _answer(heard: Transcript, form: Form, task: str) -> web.Response:
    """Return what was heard; `language` is a capitalised name, and the text begins with a space."""
    wanted = form.one("response_format", "json")
    if wanted == "text":
        return web.Response(text=f" {heard.text}", content_type="text/plain")
    answer = {"text": f" {heard.text}"}
    if wanted == "verbose_json":
        answer = {**openai_form.verbose_json(heard, form_service.levels(form), task=task), **answer}
        answer["language"] = answer["language"].capitalize()
    return web.json_response({**answer, "x_groq": {"id": f"req_{uuid4().hex}"}})
