"""AssemblyAI as its SDK sees it: uploads, transcripts that take their time and fail behind a 200, and their deletion.

Source: assemblyai 1.8.2 `api.py` and `types.py`, AssemblyAI/assemblyai-api-spec openapi.yml (2026-03-23), docs (2026).
Left out: subtitles, paragraphs, add-ons besides translation, and the synchronous and streaming services. That a
transcript is kept while it is made is unconfirmed. An address of somebody else's is answered with a failed transcript:
an emulator opens no connection. Speakers are made up: as many as are expected take turns. `GET /emulator/state` tells
which transcripts were deleted, and of each upload that is left that it expires.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from aiohttp import web

from providers.emulators.door import STATE, Refused, guard, json_object
from providers.emulators.jobs import Run, Runs
from providers.emulators.turns import Turn, turns

if TYPE_CHECKING:
    from providers.emulators.ear import Emulation
    from providers.types import Word

_MAX_BYTES = 100 * 1024 * 1024  # of 2.2 GB possible
_UNIVERSAL_3: Final = ("universal-3-5-pro", "universal-3-pro")
_MODELS: Final = (*_UNIVERSAL_3, "universal-2")
_SHORTEST_S = 0.16
_SWITCHES: Final = frozenset(
    {"language_detection", "speaker_labels", "punctuate", "format_text", "disfluencies", "filter_profanity"}
)
_WIPED: Final = "Deleted by user."


def build_app(emulation: Emulation) -> web.Application:
    """Return the service under `/v2`."""
    service = _Service(emulation)

    def let_in(request: web.Request) -> None:
        if request.headers.get("authorization") != emulation.key:
            raise Refused(401, "Authentication error, API token missing/invalid")

    app = web.Application(client_max_size=_MAX_BYTES, middlewares=[guard(let_in, _answer)])
    app.router.add_get(STATE, service.state)
    app.router.add_post("/v2/upload", service.upload)
    app.router.add_post("/v2/transcript", service.order)
    app.router.add_get("/v2/transcript", service.list)
    app.router.add_get("/v2/transcript/{id}", service.get)
    app.router.add_delete("/v2/transcript/{id}", service.delete)
    app.router.add_get("/v2/transcript/{id}/sentences", service.sentences)
    return app


def _answer(refused: Refused) -> web.Response:
    return web.json_response({"error": refused.said}, status=refused.status)


class _Service:
    """Uploads and transcripts."""

    def __init__(self, emulation: Emulation) -> None:
        self._runs = Runs(emulation)
        self._uploads: dict[str, bytes] = {}
        self._wiped: dict[str, dict[str, Any]] = {}

    async def state(self, _: web.Request) -> web.Response:
        return web.json_response({**self._runs.state(), "files": dict.fromkeys(self._uploads, True)})

    async def upload(self, request: web.Request) -> web.Response:
        url = f"https://cdn.assemblyai.com/upload/{uuid4()}"
        self._uploads[url] = await request.read()
        return web.json_response({"upload_url": url})

    async def order(self, request: web.Request) -> web.Response:
        asked = _read(await json_object(request))
        translation = _translation(asked)
        run = await self._runs.begin(
            asked,
            self._uploads.get(asked["audio_url"]),
            language=_language(asked),
            prompt=asked.get("prompt"),
            translate=translation is not None,
        )
        return web.json_response(_described(run))

    async def list(self, request: web.Request) -> web.Response:
        listed = [
            {
                "id": run.id,
                "resource_url": f"{request.url.origin()}/v2/transcript/{run.id}",
                "status": _status(run),
                "created": "2026-11-01T10:00:00.123456",
                "completed": None,
                "audio_url": run.asked["audio_url"],
                "error": None,
            }
            for run in self._runs.kept()
        ]
        limit = int(request.query.get("limit", "10"))
        page = {"limit": limit, "result_count": len(listed), "current_url": str(request.url)}
        return web.json_response({"page_details": page, "transcripts": listed[:limit]})

    async def get(self, request: web.Request) -> web.Response:
        identity = request.match_info["id"]
        if identity in self._wiped:
            return web.json_response(self._wiped[identity])
        return web.json_response(_described(self._run(request)))

    async def sentences(self, request: web.Request) -> web.Response:
        run = self._run(request)
        if _status(run) != "completed" or run.heard is None:
            raise Refused(400, "This transcript has a status of 'processing'. Transcripts must be completed")
        said = [_said(turn, told=False) for turn in turns(run.heard)]
        return web.json_response({"id": run.id, "confidence": 0.9, "audio_duration": _whole_s(run), "sentences": said})

    async def delete(self, request: web.Request) -> web.Response:
        run = self._run(request)
        if not run.is_over:
            raise Refused(400, "This transcript cannot be deleted while it is being processed")
        nothing = dict.fromkeys(("text", "words", "utterances", "translated_texts"))
        wiped = {**_described(run), **nothing, "text": _WIPED, "audio_url": "http://deleted_by_user"}
        self._uploads.pop(run.asked["audio_url"], None)
        run.delete()
        self._wiped[run.id] = wiped
        return web.json_response(wiped)

    def _run(self, request: web.Request) -> Run:
        run = self._runs.find(request.match_info["id"])
        if run is None:
            raise Refused(400, "Transcript lookup error, transcript id not found")
        return run


# --- what is read


def _read(body: dict[str, Any]) -> dict[str, Any]:
    """Return what is asked for. Raises Refused."""
    if not str(body.get("audio_url", "")).startswith(("http://", "https://")):
        raise Refused(400, "audio_url should be a http/https URL")
    for name in sorted(_SWITCHES & body.keys()):
        if not isinstance(body[name], bool):
            raise Refused(400, f"{name} must be a Boolean")
    models = body.get("speech_models")
    if not isinstance(models, list) or not models or not set(models) <= set(_MODELS):
        raise Refused(400, f'"speech_models" must be a non-empty list containing one or more of: {", ".join(_MODELS)}')
    for name in ("prompt", "temperature"):
        if name in body and models[0] not in _UNIVERSAL_3:
            raise Refused(400, f"{name} is not supported by {models[0]}")
    if body.get("language_detection") and body.get("language_code"):
        raise Refused(400, "language_code and language_detection cannot both be set")
    if not 0 <= body.get("temperature", 0) <= 1:
        raise Refused(400, "temperature must be between 0 and 1")
    return body


def _language(asked: dict[str, Any]) -> str | None:
    """Return the language it is to be heard in; None where that is to be detected."""
    if asked.get("language_detection"):
        return None
    return str(asked.get("language_code") or "en_us").partition("_")[0]


def _translation(asked: dict[str, Any]) -> dict[str, Any] | None:
    understanding = asked.get("speech_understanding") or {}
    wanted: dict[str, Any] | None = understanding.get("request", {}).get("translation")
    if wanted and wanted.get("target_languages") != ["en"]:
        raise Refused(400, "this emulator translates into English only")
    return wanted


# --- what is answered


def _status(run: Run) -> str:
    if not run.is_over:
        return "queued" if run.is_waiting else "processing"
    return "error" if _error(run) else "completed"


def _error(run: Run) -> str | None:
    if run.heard is None:
        if not run.audio:
            return f"Download error, unable to download {run.asked['audio_url']}. Please make sure the file exists"
        return f"File does not appear to contain audio. File type is text/plain ({run.fault})."
    return "Audio duration is too short." if (run.heard.duration_s or 0.0) < _SHORTEST_S else None


def _described(run: Run) -> dict[str, Any]:
    status = _status(run)
    asked = run.asked
    return {
        "id": run.id,
        "status": status,
        "language_model": "assemblyai_default",
        "acoustic_model": "assemblyai_default",
        "audio_url": asked["audio_url"],
        "language_code": asked.get("language_code", "en_us"),
        "language_detection": asked.get("language_detection", False),
        "speech_models": asked["speech_models"],
        "speech_model": None,
        "punctuate": asked.get("punctuate", True),
        "format_text": asked.get("format_text", True),
        "speaker_labels": asked.get("speaker_labels", False),
        "webhook_url": None,
        "webhook_auth": False,
        "auto_highlights": False,
        "redact_pii": False,
        "summarization": False,
        "error": _error(run) if status == "error" else None,
        **(_result(run) if status == "completed" else _NO_RESULT),
    }


_NO_RESULT: Final = dict.fromkeys(
    ("text", "words", "utterances", "confidence", "audio_duration", "speech_model_used", "language_confidence")
)


def _result(run: Run) -> dict[str, Any]:
    heard, asked = run.heard, run.asked
    if heard is None:
        raise ValueError("a completed transcript without what was heard")
    told = bool(asked.get("speaker_labels"))
    said = list(turns(heard, int(asked.get("speakers_expected", 1))))
    translation = _translation(dict(asked))
    translations = run.translated and [each.text.strip() for each in run.translated.segments]
    utterances = [
        {
            **_said(turn, told=True),
            **({"translated_texts": {"en": translations[turn.number % len(translations)]}} if translations else {}),
        }
        for turn in said
    ]
    return {
        "text": heard.text.strip(),
        "confidence": 0.9,
        "audio_duration": _whole_s(run),
        "language_code": asked.get("language_code") or heard.language,
        "language_confidence": 0.97 if asked.get("language_detection") else None,
        "speech_model_used": asked["speech_models"][0],
        "words": [_word(each, turn if told else None) for turn in said for each in turn.words],
        "utterances": utterances if told else None,
        **({"translated_texts": {"en": run.translated.text.strip()}} if translation and run.translated else {}),
    }


def _whole_s(run: Run) -> int:
    return round(run.heard.duration_s or 0.0) if run.heard else 0


def _said(turn: Turn, *, told: bool) -> dict[str, Any]:
    whose = turn if told else None
    return {
        "text": turn.text,
        "start": round(turn.start_s * 1000),
        "end": round(turn.end_s * 1000),
        "confidence": 0.9,
        "speaker": _name(whose),
        "words": [_word(each, whose) for each in turn.words],
    }


def _word(each: Word, turn: Turn | None) -> dict[str, Any]:
    return {
        "text": each.text,
        "start": round(each.start_s * 1000),
        "end": round(each.end_s * 1000),
        "confidence": 0.9,
        "speaker": _name(turn),
    }


def _name(turn: Turn | None) -> str | None:
    return chr(ord("A") + turn.speaker) if turn else None
