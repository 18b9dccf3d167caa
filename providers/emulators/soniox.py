"""Soniox as its SDK sees it: files, transcriptions of them, tokens that are pieces of words, and little room for all.

Source: soniox 2.10.0 `types/api.py`, soniox.com/docs "Async transcription", "Limits", "Errors" (2026). Left out: lists
in pages, webhooks, two-way translation, usage, speech synthesis and the real-time service. An address is refused: an
emulator opens no connection. Speakers are made up: two take turns. `GET /emulator/state` tells what is left.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from aiohttp import web

from providers.emulators.door import STATE, Refused, guard, json_object
from providers.emulators.jobs import Run, Runs
from providers.emulators.turns import Turn, turns
from providers.languages import NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from providers.emulators.ear import Emulation

_MAX_BYTES = 100 * 1024 * 1024
_MODELS: Final = ("stt-async-v5", "stt-async-v4")
_DATE: Final = "2026-11-01T10:00:00Z"
_MAX_FILES: Final = 1000
_MAX_PENDING: Final = 100
_MAX_KEPT: Final = 2000
_PIECE: Final = 4  # letters, the longest a token is here


def base_urls(root: str) -> dict[str, str]:
    """Return an account's base URLs where this runs at the root URL."""
    return {"api": f"{root}/v1"}


def build_app(emulation: Emulation) -> web.Application:
    """Return the service under `/v1`."""
    service = _Service(emulation)

    def let_in(request: web.Request) -> None:
        if request.headers.get("authorization") != f"Bearer {emulation.key}":
            raise Refused(401, "Incorrect API key provided.", error_type="unauthenticated")

    app = web.Application(client_max_size=_MAX_BYTES, middlewares=[guard(let_in, _answer)])
    app.router.add_get(STATE, service.state)
    app.router.add_get("/v1/models", service.models)
    app.router.add_post("/v1/files", service.upload)
    app.router.add_get("/v1/files", service.files)
    app.router.add_get("/v1/files/count", service.count_files)
    app.router.add_get("/v1/files/{id}", service.file)
    app.router.add_delete("/v1/files/{id}", service.delete_file)
    app.router.add_post("/v1/transcriptions", service.create)
    app.router.add_get("/v1/transcriptions", service.transcriptions)
    app.router.add_get("/v1/transcriptions/count", service.count_transcriptions)
    app.router.add_get("/v1/transcriptions/{id}", service.transcription)
    app.router.add_get("/v1/transcriptions/{id}/transcript", service.transcript)
    app.router.add_delete("/v1/transcriptions/{id}", service.delete_transcription)
    return app


def _answer(refused: Refused) -> web.Response:
    kind = refused.more.get("error_type") or HTTPStatus(refused.status).name.lower()
    body = {
        "status_code": refused.status,
        "error_type": kind,
        "message": refused.said,
        "validation_errors": refused.more.get("validation_errors", []),
        "request_id": str(uuid4()),
        "more_info": f"https://soniox.com/docs/api-reference/errors#{kind}",
    }
    return web.json_response(body, status=refused.status)


def _invalid(location: str, message: str) -> Refused:
    fault = {"error_type": "invalid", "location": f"body.payload.{location}", "message": message}
    return Refused(400, "Invalid request", error_type="invalid_request", validation_errors=[fault])


class _Service:
    """Files and transcriptions."""

    def __init__(self, emulation: Emulation) -> None:
        self._runs = Runs(emulation)
        self._files: dict[str, tuple[str, bytes]] = {}  # by id: name and content

    async def state(self, _: web.Request) -> web.Response:
        return web.json_response({**self._runs.state(), "files": list(self._files)})

    async def models(self, _: web.Request) -> web.Response:
        languages = [{"code": code, "name": name.title()} for code, name in NAMES.items()]
        described = [
            {
                "id": name,
                "aliased_model_id": None,
                "name": name,
                "context_version": 2,
                "transcription_mode": "async",
                "languages": languages,
                "supports_language_hints_strict": True,
                "supports_max_endpoint_delay": False,
                "translation_targets": [],
                "two_way_translation_pairs": [],
                "one_way_translation": "all_languages",
                "two_way_translation": "all_languages",
            }
            for name in _MODELS
        ]
        return web.json_response({"models": described})

    # --- files

    async def upload(self, request: web.Request) -> web.Response:
        part = (await request.post()).get("file") if request.content_type == "multipart/form-data" else None
        if not isinstance(part, web.FileField):
            raise _invalid("file", "Field required")
        content = part.file.read()
        part.file.close()
        if len(self._files) >= _MAX_FILES:
            raise Refused(429, "Too many files are stored", error_type="limit_exceeded")
        identity = str(uuid4())
        self._files[identity] = (part.filename, content)
        return web.json_response(self._file(identity), status=201)

    async def files(self, _: web.Request) -> web.Response:
        return web.json_response({"files": [self._file(each) for each in self._files], "next_page_cursor": None})

    async def count_files(self, _: web.Request) -> web.Response:
        return web.json_response(_counted(len(self._files)))

    async def file(self, request: web.Request) -> web.Response:
        return web.json_response(self._file(self._stored(request)))

    async def delete_file(self, request: web.Request) -> web.Response:
        del self._files[self._stored(request)]
        return web.Response(status=204)

    def _stored(self, request: web.Request) -> str:
        identity = request.match_info["id"]
        if identity not in self._files:
            raise Refused(404, "File not found", error_type="file_not_found")
        return identity

    def _file(self, identity: str) -> dict[str, Any]:
        name, content = self._files[identity]
        return {
            "id": identity,
            "filename": name,
            "size": len(content),
            "created_at": _DATE,
            "client_reference_id": None,
        }

    # --- transcriptions

    async def create(self, request: web.Request) -> web.Response:
        asked = _read(await json_object(request))
        if asked["file_id"] not in self._files:
            raise Refused(404, "File not found", error_type="file_not_found")
        kept = self._runs.kept()
        if len(kept) >= _MAX_KEPT or sum(not run.is_over for run in kept) >= _MAX_PENDING:
            raise Refused(429, "Too many transcriptions", error_type="limit_exceeded")
        name, content = self._files[asked["file_id"]]
        hints = asked.get("language_hints") or []
        run = await self._runs.begin(
            {**asked, "filename": name},
            content,
            language=hints[0] if len(hints) == 1 else None,
            prompt=(asked.get("context") or {}).get("text"),
            translate=bool(asked.get("translation")),
        )
        return web.json_response(_described(run), status=201)

    async def transcriptions(self, _: web.Request) -> web.Response:
        kept = [_described(run) for run in self._runs.kept()]
        return web.json_response({"transcriptions": kept, "next_page_cursor": None})

    async def count_transcriptions(self, _: web.Request) -> web.Response:
        return web.json_response(_counted(len(self._runs.kept())))

    async def transcription(self, request: web.Request) -> web.Response:
        return web.json_response(_described(self._run(request)))

    async def transcript(self, request: web.Request) -> web.Response:
        run = self._run(request)
        if _status(run) != "completed":
            raise Refused(409, "Transcription is not completed", error_type="transcription_invalid_state")
        tokens = list(_tokens(run))
        return web.json_response({"id": run.id, "text": "".join(each["text"] for each in tokens), "tokens": tokens})

    async def delete_transcription(self, request: web.Request) -> web.Response:
        run = self._run(request)
        if not run.is_over:
            raise Refused(409, "Transcription is being processed", error_type="transcription_invalid_state")
        run.delete()
        return web.Response(status=204)

    def _run(self, request: web.Request) -> Run:
        run = self._runs.find(request.match_info["id"])
        if run is None:
            raise Refused(404, "Transcription not found", error_type="transcription_not_found")
        return run


# --- what is read


def _read(body: dict[str, Any]) -> dict[str, Any]:
    """Return what is asked for. Raises Refused."""
    if body.get("model") not in _MODELS:
        raise _invalid("model", "Field required" if "model" not in body else "Unknown model")
    if bool(body.get("file_id")) == bool(body.get("audio_url")):
        raise _invalid("file_id", "Exactly one of file_id and audio_url is required")
    if "audio_url" in body:
        raise _invalid("audio_url", "Could not be fetched")
    if not set(body.get("language_hints") or []) <= NAMES.keys():
        raise _invalid("language_hints", "Unknown language")
    if body.get("translation", _INTO_ENGLISH) != _INTO_ENGLISH:
        raise _invalid("translation", "this emulator translates into English only")
    return body


_INTO_ENGLISH: Final = {"type": "one_way", "target_language": "en"}

# --- what is answered


def _counted(number: int) -> dict[str, int]:
    return {"total": number, "public_api": number, "playground": 0}


def _status(run: Run) -> str:
    if not run.is_over:
        return "queued" if run.is_waiting else "processing"
    return "error" if run.heard is None else "completed"


def _described(run: Run) -> dict[str, Any]:
    status = _status(run)
    asked = run.asked
    length_s = run.heard.duration_s or 0.0 if run.heard else 0.0
    return {
        "id": run.id,
        "status": status,
        "created_at": _DATE,
        "model": asked["model"],
        "audio_url": None,
        "file_id": asked["file_id"],
        "filename": asked["filename"],
        "language_hints": asked.get("language_hints"),
        "enable_speaker_diarization": bool(asked.get("enable_speaker_diarization")),
        "enable_language_identification": bool(asked.get("enable_language_identification")),
        "audio_duration_ms": round(length_s * 1000) if status == "completed" else None,
        "error_type": "audio_decode_error" if status == "error" else None,
        "error_message": f"The audio could not be decoded: {run.fault}" if status == "error" else None,
        "webhook_url": None,
        "webhook_auth_header_name": None,
        "webhook_auth_header_value": None,
        "webhook_status_code": None,
        "client_reference_id": None,
    }


def _tokens(run: Run) -> Iterator[dict[str, Any]]:
    """Yield the pieces of words, and after each turn those of its translation."""
    if run.heard is None:
        raise ValueError("a completed transcription without what was heard")
    language = run.heard.language or "en"
    status = "original" if run.translated else None
    translated = list(turns(run.translated, 2)) if run.translated else []
    for turn in turns(run.heard, 2):
        for each in turn.words:
            pieces = _split(each.text)
            length_ms = (each.end_s - each.start_s) * 1000 / len(pieces)
            for number, piece in enumerate(pieces):
                begin_ms = each.start_s * 1000 + number * length_ms
                space = " " if number == 0 and each is not run.heard.words[0] else ""
                times = {"start_ms": round(begin_ms), "end_ms": round(begin_ms + length_ms), "confidence": 0.95}
                yield {**_told(run, turn, language, status), "text": space + piece, **times}
        for other in translated[turn.number : turn.number + 1]:
            told = {**_told(run, turn, "en", "translation"), "source_language": language}
            for piece in _split(f" {other.text}" if turn.number else other.text):
                yield {**told, "text": piece, "start_ms": None, "end_ms": None, "confidence": 0.9}


def _split(text: str) -> list[str]:
    """Return a text in pieces, none longer than a few letters."""
    return [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)]


def _told(run: Run, turn: Turn, language: str, status: str | None) -> dict[str, Any]:
    return {
        "speaker": str(turn.speaker + 1) if run.asked.get("enable_speaker_diarization") else None,
        "language": language if run.asked.get("enable_language_identification") else None,
        "is_audio_event": None,
        "translation_status": status,
    }
