"""The services of `providers/openai_hosts.py` as their clients see them: a row each, of what it takes and answers.

The sources are named there. A part that a service is not said to take is refused here, so that it is not sent. Left
out: streams, addresses in the place of files, what only one of them has. The wording of errors is unconfirmed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from providers.emulators import form_service, openai_form
from providers.emulators.form_service import Refused
from providers.languages import code_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from providers.emulators.ear import Emulation
    from providers.emulators.openai_form import Form
    from providers.types import Transcript

_NONE: Final = frozenset[str]()
_SEGMENTS: Final = frozenset({"segment"})
_WORDS: Final = frozenset({"segment", "word"})
_SUBTITLES: Final = ("json", "text", "srt", "verbose_json", "vtt")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Host:
    """One service. Every one takes `file`, `model`, `language` and `response_format`."""

    models: Mapping[str, frozenset[str]]  # each with the times it tells
    formats: tuple[str, ...] = _SUBTITLES
    parts: frozenset[str] = frozenset({"prompt", "temperature", "timestamp_granularities"})  # besides
    translates: bool = False
    max_bytes: int = 25_000_000
    default: str | None = None  # the model where none is named
    deaf: frozenset[str] = frozenset()  # models that take no language
    renamed: Mapping[str, str] = field(default_factory=dict)  # what it calls otherwise in its answer
    root: str = "/v1"  # where its own clients look for it


_HOSTS: Final = {
    "sambanova": _Host(
        models={"Whisper-Large-v3": _NONE}, formats=("json", "text"), parts=frozenset({"prompt"}), translates=True
    ),
    "lemonfox": _Host(
        models={"whisper-1": _WORDS},
        parts=frozenset({"prompt", "timestamp_granularities", "speaker_labels"}),
        max_bytes=100_000_000,
        default="whisper-1",
    ),
    "ovhcloud": _Host(
        models={"whisper-large-v3": _WORDS, "whisper-large-v3-turbo": _WORDS},
        max_bytes=100_000_000,
        renamed={"duration": "seconds"},  # since 2026-05-11
    ),
    "scaleway": _Host(
        models={"whisper-large-v3": _NONE, "voxtral-small-24b-2507": _NONE},
        formats=("json", "text"),
    ),
    "telnyx": _Host(
        models={
            "openai/whisper-large-v3-turbo": _NONE,
            "distil-whisper/distil-large-v2": _SEGMENTS,
            "deepgram/nova-3": _SEGMENTS,
            "nvidia/parakeet-v3": _NONE,
        },
        deaf=frozenset({"distil-whisper/distil-large-v2", "nvidia/parakeet-v3"}),
        formats=("json", "verbose_json"),
        parts=frozenset({"timestamp_granularities"}),
        max_bytes=100_000_000,
        root="/v2/ai",
    ),
    "venice": _Host(
        models=dict.fromkeys(("nvidia/parakeet-tdt-0.6b-v3", "openai/whisper-large-v3", "stt-xai-v1"), _NONE),
        formats=("json", "text"),
        parts=_NONE,
        max_bytes=100_000_000,
        default="nvidia/parakeet-tdt-0.6b-v3",
        root="/api/v1",
    ),
}


def base_urls(root: str, name: str) -> Mapping[str, str]:
    """Return where an account finds the service."""
    return {"api": f"{root}{_HOSTS[name].root}"}


def build_app(emulation: Emulation, name: str) -> web.Application:
    """Return the service of that name, where its clients look for it."""
    host = _HOSTS[name]

    async def transcribe(request: web.Request) -> web.StreamResponse:
        form = await _read(request, host)
        language = form.one("language")
        if language and (not code_of(language) or form.one("model") in host.deaf):
            raise Refused(400, "language is not supported", param="language")
        return _answer(await _hear(emulation, form, language=code_of(language)), form, host)

    async def translate(request: web.Request) -> web.StreamResponse:
        form = await _read(request, host)
        return _answer(await _hear(emulation, form, translate=True), form, host)

    routes = {f"{host.root}/audio/transcriptions": transcribe}
    if host.translates:
        routes[f"{host.root}/audio/translations"] = translate
    return form_service.application(routes, emulation.key, max_bytes=host.max_bytes)


async def _read(request: web.Request, host: _Host) -> Form:
    """Return the form. Raises Refused for what the service is not said to take."""
    form = await form_service.read(request, max_bytes=host.max_bytes)
    model = form_service.model_of(form, host.models, host.default)
    form_service.one_of(form, "response_format", *host.formats)
    for part in form.fields:
        if part not in host.parts | {"model", "language", "response_format"}:
            raise Refused(400, f"{part} is not supported", param=part)
    form_service.number(form, "temperature", float, 0.0, 1.0)
    if "timestamp_granularities" in form.fields and not form_service.levels(form) <= host.models[model]:
        raise Refused(400, "these timestamp_granularities are not supported", param="timestamp_granularities")
    form_service.only_with(form, ("timestamp_granularities", "speaker_labels"), "verbose_json")
    return form


async def _hear(
    emulation: Emulation, form: Form, *, language: str | None = None, translate: bool = False
) -> Transcript:
    return await form_service.hear(
        emulation.ear,
        form_service.file_of(form, or_url=None),
        language=language,
        translate=translate,
        prompt=form.one("prompt") or None,
    )


def _answer(heard: Transcript, form: Form, host: _Host) -> web.Response:
    match form.one("response_format", "json"):
        case "json":
            return web.json_response({"text": heard.text})
        case "verbose_json":
            return web.json_response(_verbose(heard, form, host))
        case "text":
            return web.Response(text=heard.text)
        case format_:
            return web.Response(text=openai_form.srt(heard) if format_ == "srt" else openai_form.vtt(heard))


def _verbose(heard: Transcript, form: Form, host: _Host) -> dict[str, Any]:
    told = openai_form.verbose_json(
        heard, form_service.levels(form) & host.models[form.one("model", host.default or "")]
    )
    if form.is_true("speaker_labels"):  # two take turns
        for number, each in enumerate(told.get("segments", ())):
            each["speaker"] = f"SPEAKER_{number % 2:02}"
    return {host.renamed.get(name, name): value for name, value in told.items()}
