"""ElevenLabs' speech-to-text as its SDK sees it: a form, words with the blanks between them, transcripts that are kept.

Source: elevenlabs 2.78.0 (`speech_to_text`), elevenlabs.io's page "Errors" (2026). Left out: webhooks, several
channels, other formats, entities and edits, which are accepted and do nothing. An address is answered with a refusal:
an emulator opens no connection. Speakers are made up: as many as are named take turns, two otherwise. The wording of
errors is unconfirmed. `GET /emulator/state` tells which transcripts were deleted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from aiohttp import web

from providers.audio.unreadable import AudioTooLong, UnreadableAudio
from providers.emulators.door import STATE, Refused, guard
from providers.emulators.openai_form import Form, read_form
from providers.emulators.turns import Turn, turns

if TYPE_CHECKING:
    from providers.emulators.ear import Emulation
    from providers.types import Transcript

_MAX_BYTES = 100 * 1024 * 1024  # of 3 GB possible
_MODELS: Final = ("scribe_v3", "scribe_v2", "scribe_v2_medical", "scribe_v1", "scribe_v1_experimental")
_LIMITS: Final = {
    "temperature": (0.0, 2.0),
    "num_speakers": (1, 32),
    "seed": (0, 2**31 - 1),
    "diarization_threshold": (0.0, 1.0),
}
_BUSY: Final = {"current-concurrent-requests": "1", "maximum-concurrent-requests": "10"}


def build_app(emulation: Emulation) -> web.Application:
    """Return the service under `/v1`."""
    service = _Service(emulation)

    def let_in(request: web.Request) -> None:
        if request.headers.get("xi-api-key") != emulation.key:
            raise Refused(401, "Invalid API key", code="invalid_api_key", kind="authentication_error")

    app = web.Application(client_max_size=_MAX_BYTES, middlewares=[guard(let_in, _answer)])
    app.on_response_prepare.append(_tell_of_others)
    app.router.add_get(STATE, service.state)
    app.router.add_post("/v1/speech-to-text", service.convert)
    app.router.add_get("/v1/speech-to-text/transcripts/{id}", service.get)
    app.router.add_delete("/v1/speech-to-text/transcripts/{id}", service.delete)
    return app


async def _tell_of_others(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_BUSY)


def _answer(refused: Refused) -> web.Response:
    code = refused.more.get("code", "error")
    detail: object = {
        "type": refused.more.get("kind", "validation_error"),
        "code": code,
        "message": refused.said,
        "status": code,
        "request_id": uuid4().hex,
        "param": refused.more.get("param"),
    }
    if "missing" in refused.more:
        detail = [{"loc": ["body", refused.more["missing"]], "msg": refused.said, "type": "missing"}]
    return web.json_response({"detail": detail}, status=refused.status)


class _Service:
    """Transcripts, kept until they are deleted."""

    def __init__(self, emulation: Emulation) -> None:
        self._ear = emulation.ear
        self._kept: dict[str, dict[str, Any]] = {}
        self._deleted: list[str] = []

    async def state(self, _: web.Request) -> web.Response:
        return web.json_response({"kept": list(self._kept), "deleted": self._deleted})

    async def convert(self, request: web.Request) -> web.Response:
        try:
            form = await read_form(request)
        except ValueError as error:
            raise Refused(400, str(error), code="invalid_parameters") from None
        _check(form)
        try:
            heard = await self._ear.hear(form.audio or b"", language=_given(form, "language_code") or None)
        except (UnreadableAudio, AudioTooLong):
            raise Refused(400, "The audio could not be read", code="invalid_audio", param="file") from None
        described = _described(heard, form)
        if request.query.get("enable_logging", "true") != "false":
            self._kept[described["transcription_id"]] = described
        return web.json_response(described)

    async def get(self, request: web.Request) -> web.Response:
        return web.json_response(self._kept[self._known(request)])

    async def delete(self, request: web.Request) -> web.Response:
        identity = self._known(request)
        del self._kept[identity]
        self._deleted.append(identity)
        return web.json_response({"message": "Delete completed successfully."})

    def _known(self, request: web.Request) -> str:
        identity = request.match_info["id"]
        if identity not in self._kept:
            raise Refused(404, "No such transcript", code="not_found", kind="not_found_error")
        return identity


def _given(form: Form, name: str) -> str:
    """Return a part's text; its own SDK writes `null` where it means nothing."""
    said = form.one(name)
    return "" if said == "null" else said


def _check(form: Form) -> None:
    """Raise Refused for what the service would not take."""
    model = _given(form, "model_id")
    if not model:
        raise Refused(422, "Field required", missing="model_id")
    if model not in _MODELS:
        raise _invalid("model_id", f"'{model}' is not a valid model_id")
    addresses = [name for name in ("source_url", "cloud_storage_url") if _given(form, name)]
    if (form.audio is not None) + len(addresses) != 1:
        raise _invalid("file", "Exactly one of file, source_url and cloud_storage_url must be given")
    if addresses:
        raise _invalid(addresses[0], "The file could not be fetched")
    if (_given(form, "timestamps_granularity") or "word") not in {"none", "word", "character"}:
        raise _invalid("timestamps_granularity", "must be none, word or character")
    for name, (least, most) in _LIMITS.items():
        _check_number(name, _given(form, name), least, most)
    _check_terms(form.fields.get("keyterms", ()), model)
    if _given(form, "num_speakers") and _given(form, "diarization_threshold"):
        raise _invalid("diarization_threshold", "diarization_threshold cannot be used with num_speakers")


def _check_number(name: str, said: str, least: float, most: float) -> None:
    try:
        fits = not said or least <= float(said) <= most
    except ValueError:
        fits = False
    if not fits:
        raise _invalid(name, f"{name} must be between {least} and {most}")


def _check_terms(terms: tuple[str, ...], model: str) -> None:
    if terms and model.startswith("scribe_v1"):
        raise _invalid("keyterms", f"The 'keyterms' parameter is not supported with '{model}'.")
    if any(len(each) > 50 or len(each.split()) > 5 for each in terms):
        raise _invalid("keyterms", "Each keyterm has at most 50 characters and 5 words")


def _invalid(name: str, said: str) -> Refused:
    return Refused(400, said, code="invalid_parameters", param=name)


def _described(heard: Transcript, form: Form) -> dict[str, Any]:
    diarizes = _given(form, "diarize").lower() == "true"
    timed = _given(form, "timestamps_granularity") != "none"
    by_letter = _given(form, "timestamps_granularity") == "character"
    said = turns(heard, int(_given(form, "num_speakers") or 2))
    items = [item for turn in said for item in _items(turn, diarizes=diarizes, by_letter=by_letter)]
    return {
        "language_code": _LONG_CODES.get(heard.language or "", heard.language),
        "language_probability": 0.98,
        "text": heard.text,
        "words": items[1:] if timed else [],  # no blank before the first
        "transcription_id": uuid4().hex[:20],
        "audio_duration_secs": heard.duration_s,
        "additional_formats": None,
        "entities": None,
        "channel_index": None,
    }


_LONG_CODES: Final = {"en": "eng", "de": "deu", "fr": "fra", "es": "spa"}


def _items(turn: Turn, *, diarizes: bool, by_letter: bool) -> list[dict[str, Any]]:
    """Return the words, a blank before each."""
    items: list[dict[str, Any]] = []
    for each in turn.words:
        whose = {"speaker_id": f"speaker_{turn.speaker}" if diarizes else None, "logprob": -0.01}
        letters = [{"text": letter, "start": each.start_s, "end": each.end_s} for letter in each.text]
        blank = {"text": " ", "start": each.start_s, "end": each.start_s, "type": "spacing", **whose}
        spoken = {"text": each.text, "start": each.start_s, "end": each.end_s, "type": "word", **whose}
        items += [blank, {**spoken, "characters": letters if by_letter else None}]
    return items
