"""Gladia as its SDK sees it: uploads, jobs that take their time and fail behind a 200, what they heard, their deletion.

Source: gladiaio-sdk 2.2.0 `v2/prerecorded`, docs.gladia.io (2026-04), an OpenAPI document of api.gladia.io (2026-06).
Left out: live sessions, callbacks, subtitles, and add-ons besides translation. An address of somebody else's is
refused: an emulator opens no connection. Speakers are made up: as many as are named take turns. `GET /emulator/state`
tells which jobs were deleted, and of each upload that is left that it expires.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from aiohttp import web

from providers.audio.headers import duration_s
from providers.emulators.door import STATE, Refused, guard, json_object
from providers.emulators.ear import as_audio
from providers.emulators.jobs import Run, Runs
from providers.emulators.turns import Turn, turns
from providers.languages import NAMES

if TYPE_CHECKING:
    from providers.emulators.ear import Emulation
    from providers.types import Transcript

_MAX_BYTES = 100 * 1024 * 1024  # of 1000 MB possible
_MODELS: Final = ("solaria-1", "solaria-3", "solaria-fusion")
_DATE: Final = "2026-11-01T10:00:00.000Z"
_LANGUAGES: Final = NAMES.keys() - {"yue"}
_KNOWN: Final = frozenset(
    """
    audio_url model language_config diarization diarization_config custom_vocabulary custom_vocabulary_config
    custom_spelling custom_spelling_config translation translation_config subtitles subtitles_config sentences
    punctuation_enhanced summarization summarization_config named_entity_recognition sentiment_analysis audio_to_llm
    audio_to_llm_config pii_redaction pii_redaction_config callback callback_config callback_url custom_metadata
    """.split()  # noqa: SIM905 - thirty quoted words would hide the table
)
_SWITCHES: Final = ("diarization", "custom_vocabulary", "translation", "punctuation_enhanced")


def build_app(emulation: Emulation) -> web.Application:
    """Return the service under `/v2`."""
    service = _Service(emulation)

    def let_in(request: web.Request) -> None:
        if request.headers.get("x-gladia-key") != emulation.key:
            raise Refused(401, "gladia key not found")

    app = web.Application(client_max_size=_MAX_BYTES, middlewares=[guard(let_in, _answer)])
    app.on_response_prepare.append(_number)
    app.router.add_get(STATE, service.state)
    app.router.add_post("/v2/upload", service.upload)
    app.router.add_post("/v2/pre-recorded", service.create)
    app.router.add_get("/v2/pre-recorded", service.list)
    app.router.add_get("/v2/pre-recorded/{id}", service.get)
    app.router.add_delete("/v2/pre-recorded/{id}", service.delete)
    app.router.add_get("/v2/pre-recorded/{id}/file", service.file)
    return app


async def _number(_: web.Request, response: web.StreamResponse) -> None:
    """Give every call a number, for the support desk."""
    response.headers["x-aipi-call-id"] = uuid4().hex


def _answer(refused: Refused) -> web.Response:
    body = {
        "timestamp": _DATE,
        "path": "/v2",
        "request_id": f"G-{uuid4().hex[:8]}",
        "statusCode": refused.status,
        "message": refused.said,
        **refused.more,
    }
    return web.json_response(body, status=refused.status)


class _Service:
    """Uploads and jobs."""

    def __init__(self, emulation: Emulation) -> None:
        self._runs = Runs(emulation)
        self._uploads: dict[str, tuple[str, bytes]] = {}  # by address: name and content

    async def state(self, _: web.Request) -> web.Response:
        return web.json_response({**self._runs.state(), "files": dict.fromkeys(self._uploads, True)})

    async def upload(self, request: web.Request) -> web.Response:
        if request.content_type != "multipart/form-data":
            raise _invalid("audio_url must be reachable")
        part = (await request.post()).get("audio")
        if not isinstance(part, web.FileField):
            raise _invalid("audio must be a file")
        identity, content = str(uuid4()), part.file.read()
        part.file.close()
        url = f"{request.url.origin()}/file/{identity}"
        self._uploads[url] = (part.filename, content)
        metadata = {
            "id": identity,
            "filename": part.filename,
            "extension": part.filename.rpartition(".")[2],
            "size": len(content),
            "audio_duration": _duration_s(content),
            "number_of_channels": 1,
        }
        return web.json_response({"audio_url": url, "audio_metadata": metadata})

    async def create(self, request: web.Request) -> web.Response:
        asked = _read(await json_object(request))
        name_and_content = self._uploads.get(asked["audio_url"])
        if name_and_content is None:
            raise _invalid("audio_url must be reachable")
        languages = asked.get("language_config", {}).get("languages", [])
        run = await self._runs.begin(
            asked,
            name_and_content[1],
            language=languages[0] if len(languages) == 1 else None,
            translate=bool(asked.get("translation")),
        )
        made = {"id": run.id, "result_url": f"{request.url.origin()}/v2/pre-recorded/{run.id}"}
        return web.json_response(made, status=201)

    async def list(self, request: web.Request) -> web.Response:
        here = f"{request.url.origin()}/v2/pre-recorded?offset=0&limit=20"
        items = [self._described(run) for run in self._runs.kept()]
        return web.json_response({"first": here, "current": here, "next": None, "items": items})

    async def get(self, request: web.Request) -> web.Response:
        return web.json_response(self._described(self._run(request)))

    async def file(self, request: web.Request) -> web.Response:
        return web.Response(body=self._run(request).audio)

    async def delete(self, request: web.Request) -> web.Response:
        run = self._run(request)
        if not run.is_over:
            raise Refused(403, "The job is not in a state in which it can be deleted")
        del self._uploads[run.asked["audio_url"]]
        run.delete()
        return web.Response(status=202)

    def _run(self, request: web.Request) -> Run:
        run = self._runs.find(request.match_info["id"])
        if run is None:
            raise Refused(404, "Pre recorded job not found")
        return run

    def _described(self, run: Run) -> dict[str, Any]:
        status = _status(run)
        url = run.asked["audio_url"]
        return {
            "id": run.id,
            "request_id": f"G-{run.id[:8]}",
            "version": 2,
            "status": status,
            "created_at": _DATE,
            "completed_at": _DATE if run.is_over else None,
            "kind": "pre-recorded",
            "custom_metadata": run.asked.get("custom_metadata"),
            "error_code": 400 if status == "error" else None,
            "file": {
                "id": url.rpartition("/")[2],
                "filename": self._uploads[url][0],
                "source": None,
                "audio_duration": _duration_s(run.audio),
                "number_of_channels": 1,
            },
            "request_params": run.asked,
            "result": _result(run) if status == "done" else None,
        }


# --- what is read


def _invalid(*faults: str) -> Refused:
    return Refused(400, "Bad request", validation_errors=list(faults))


def _read(body: dict[str, Any]) -> dict[str, Any]:
    """Return what is asked for. Raises Refused."""
    faults = [f"property {name} should not exist" for name in sorted(body.keys() - _KNOWN)]
    if not str(body.get("audio_url", "")).startswith(("http://", "https://")):
        faults.append("audio_url must be a URL address")
    if body.get("model", _MODELS[0]) not in _MODELS:
        faults.append(f"model must be one of the following values: {', '.join(_MODELS)}")
    faults += [f"{name} must be a boolean value" for name in _SWITCHES if not isinstance(body.get(name, False), bool)]
    if not set(body.get("language_config", {}).get("languages", [])) <= _LANGUAGES:
        faults.append("each value in language_config.languages must be a language code")
    if body.get("translation") and body.get("translation_config", {}).get("target_languages") != ["en"]:
        faults.append("this emulator translates into English only")
    if faults:
        raise _invalid(*faults)
    return body


def _duration_s(content: bytes) -> float:
    audio = as_audio(content)
    return duration_s(audio.content, audio.container) or 0.0


# --- what is answered


def _status(run: Run) -> str:
    if not run.is_over:
        return "queued" if run.is_waiting else "processing"
    return "error" if run.heard is None else "done"


def _result(run: Run) -> dict[str, Any]:
    if run.heard is None:
        raise ValueError("a job that is done without what was heard")
    bounds = run.asked.get("diarization_config", {})
    told = bool(run.asked.get("diarization"))
    speakers = int(bounds.get("number_of_speakers") or bounds.get("min_speakers") or 1)
    length_s = run.heard.duration_s or 0.0
    result = {
        "metadata": {
            "audio_duration": length_s,
            "number_of_distinct_channels": 1,
            "billing_time": length_s,
            "transcription_time": run.lasts_s,
        },
        "transcription": _said(run.heard, run.heard.language or "en", speakers, told=told),
    }
    if run.translated:
        translated = {**_said(run.translated, "en", speakers, told=told), "error": None}
        addon = {"success": True, "is_empty": False, "exec_time": 0.1, "error": None, "results": [translated]}
        return {**result, "translation": addon}
    return result


def _said(heard: Transcript, language: str, speakers: int, *, told: bool) -> dict[str, Any]:
    return {
        "languages": [language],
        "full_transcript": heard.text.strip(),
        "utterances": [_utterance(turn, language, told=told) for turn in turns(heard, speakers)],
    }


def _utterance(turn: Turn, language: str, *, told: bool) -> dict[str, Any]:
    return {
        "text": turn.text,
        "language": language,
        "start": turn.start_s,
        "end": turn.end_s,
        "confidence": 0.95,
        "channel": 0,
        **({"speaker": turn.speaker} if told else {}),
        "words": [
            {"word": f" {each.text}", "start": each.start_s, "end": each.end_s, "confidence": 0.97}
            for each in turn.words
        ],
    }
