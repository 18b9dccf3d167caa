"""Speechmatics as its SDK sees it: jobs with their audio, long polling, transcripts in three forms, forced deletion.

Source: speechmatics-batch 1.1.0, speechmatics/docs spec/batch.yaml (2026-08-13). Left out: fetching, alignment, usage,
logs, and add-ons besides translation. Speakers are made up: two take turns. `GET /emulator/state` tells which jobs were
deleted, which of them while they ran, and of those that are left that they expire.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from aiohttp import web

from providers.emulators.door import STATE, Refused, guard
from providers.emulators.jobs import Run, Runs
from providers.emulators.turns import Turn, turns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from providers.emulators.ear import Emulation
    from providers.types import Transcript

_MAX_BYTES = 100 * 1024 * 1024  # of 1 GB possible
_MODELS: Final = ("standard", "enhanced", "melia-1")
_MELIA: Final = "melia-1"
_DATE: Final = "2026-11-01T10:00:00.000Z"
_HELD_S: Final = 2.0  # a reading's answer, where it does not say for how long
_LONGEST_HELD_S: Final = 60.0
_MARKS: Final = ".,!?"
_FORMS: Final = {"json-v2": "application/vnd.speechmatics.v2+json", "txt": "text/plain", "srt": "text/plain"}


def base_urls(root: str) -> dict[str, str]:
    """Return an account's base URLs where this runs at the root URL."""
    return {"api": f"{root}/v2"}


def build_app(emulation: Emulation) -> web.Application:
    """Return the service under `/v2`."""
    service = _Service(emulation)

    def let_in(request: web.Request) -> None:
        given = request.headers.get("authorization")
        if given is None:
            raise Refused(401, "")
        if given != f"Bearer {emulation.key}":
            raise Refused(401, "Permission Denied")

    app = web.Application(client_max_size=_MAX_BYTES, middlewares=[guard(let_in, _answer)])
    app.on_response_prepare.append(_number)
    app.router.add_get(STATE, service.state)
    for create in ("/v2/jobs", "/v2/jobs/"):
        app.router.add_post(create, service.create)
    app.router.add_get("/v2/jobs", service.list)
    app.router.add_get("/v2/jobs/{id}", service.get)
    app.router.add_delete("/v2/jobs/{id}", service.delete)
    app.router.add_get("/v2/jobs/{id}/transcript", service.transcript)
    return app


async def _number(_: web.Request, response: web.StreamResponse) -> None:
    """Give every call a number, for the support desk."""
    response.headers["request-id"] = uuid4().hex


def _answer(refused: Refused) -> web.Response:
    if not refused.said:  # nginx stands before it, and wants a header
        page = "<html><head><title>401 Authorization Required</title></head></html>"
        return web.Response(status=refused.status, text=page, content_type="text/html")
    body = {"code": refused.status, "error": refused.said, **refused.more}
    return web.json_response(body, status=refused.status)


class _Service:
    """Jobs, each with its audio."""

    def __init__(self, emulation: Emulation) -> None:
        self._runs = Runs(emulation)

    async def state(self, _: web.Request) -> web.Response:
        return web.json_response({**self._runs.state(), "files": {run.id: True for run in self._runs.kept()}})

    async def create(self, request: web.Request) -> web.Response:
        config, name, audio = await _form(request)
        asked = config["transcription_config"]
        language = asked["language"]
        run = await self._runs.begin(
            {**config, "data_name": name},
            audio,
            language=None if language in {"auto", "multi"} else {"cmn": "zh"}.get(language, language),
            translate="translation_config" in config,
        )
        if "wait" not in request.query:
            return web.json_response({"id": run.id}, status=201)
        await _settled(run, _seconds(request, 0.0))
        status = _status(run)
        if status != "done":
            return web.json_response({"id": run.id, "status": {"running": "created"}.get(status, status)}, status=201)
        form = request.query.get("format", "json-v2")
        return web.json_response({"id": run.id, "status": status, form: _rendered(run, form)}, status=201)

    async def list(self, _: web.Request) -> web.Response:
        return web.json_response({"jobs": [_described(run) for run in self._runs.kept()]})

    async def get(self, request: web.Request) -> web.Response:
        run = self._run(request)
        await _settled(run, _seconds(request, _HELD_S))
        return web.json_response({"job": _described(run)})

    async def transcript(self, request: web.Request) -> web.Response:
        run = self._run(request)
        await _settled(run, _seconds(request, _HELD_S))
        form = request.query.get("format", "json-v2")
        if form not in _FORMS:
            raise Refused(400, "Format Not Supported")
        if _status(run) != "done":
            raise Refused(404, "Job not found", detail="Transcription not ready")
        made = _rendered(run, form)
        return web.Response(text=made if isinstance(made, str) else json.dumps(made), content_type=_FORMS[form])

    async def delete(self, request: web.Request) -> web.Response:
        run = self._run(request)
        if not run.is_over and request.query.get("force") != "true":
            raise Refused(423, "Resource Locked")
        described = {**_described(run), "status": "deleted"}
        run.delete()
        return web.json_response({"job": described})

    def _run(self, request: web.Request) -> Run:
        run = self._runs.find(request.match_info["id"])
        if run is None:
            raise Refused(404, "Job not found")
        return run


async def _settled(run: Run, wait_s: float) -> None:
    """Return when the job is over, or so many seconds later."""
    await asyncio.sleep(max(0.0, min(wait_s, run.left_s)))


def _seconds(request: web.Request, default_s: float) -> float:
    try:
        return min(_LONGEST_HELD_S, float(request.query.get("wait", default_s)))
    except ValueError:
        raise Refused(400, "Bad Request", detail="wait is no number") from None


# --- what is read


async def _form(request: web.Request) -> tuple[dict[str, Any], str, bytes]:
    """Return the configuration, the file's name and its content. Raises Refused."""
    if request.content_type != "multipart/form-data":
        raise Refused(400, "Malformed request")
    form = await request.post()
    config = _config(form.get("config"))
    file = form.get("data_file")
    if not isinstance(file, web.FileField):
        raise Refused(400, "Missing data_file")
    audio = file.file.read()
    file.file.close()
    return config, file.filename, audio


def _config(part: object) -> dict[str, Any]:
    rejected = Refused(400, "Job rejected", detail="Job config JSON is invalid")
    try:
        config = json.loads(part) if isinstance(part, str) else None
    except ValueError:
        raise rejected from None
    if not isinstance(config, dict) or config.get("type") != "transcription":
        raise rejected
    asked = config.get("transcription_config") or {}
    if not asked.get("language"):
        raise Refused(400, "No language selected")
    if asked.get("model", "standard") not in _MODELS:
        raise Refused(403, "Forbidden", detail="Entitlement check failed")
    if asked.get("model") == _MELIA and (asked["language"] == "auto" or "additional_vocab" in asked):
        raise Refused(400, "Job rejected", detail="not with melia-1")
    if config.get("translation_config", {"target_languages": ["en"]})["target_languages"] != ["en"]:
        raise Refused(400, "Job rejected", detail="this emulator translates into English only")
    return config


# --- what is answered


def _status(run: Run) -> str:
    if not run.is_over:
        return "running"
    return "rejected" if run.heard is None else "done"


def _described(run: Run) -> dict[str, Any]:
    status = _status(run)
    config = {name: value for name, value in run.asked.items() if name != "data_name"}
    described = {
        "id": run.id,
        "status": status,
        "created_at": _DATE,
        "data_name": run.asked["data_name"],
        "duration": round(run.heard.duration_s or 0.0) if run.heard else 0,
        "config": config,
    }
    if status == "rejected":
        described["errors"] = [{"timestamp": _DATE, "message": f"unable to read the audio: {run.fault}"}]
    return described


def _rendered(run: Run, form: str) -> dict[str, Any] | str:
    if run.heard is None:
        raise ValueError("a job that is done without what was heard")
    said = list(turns(run.heard, 2 if _diarizes(run) else 1))
    if form == "txt":
        return "\n".join(f"SPEAKER: S{turn.speaker + 1}\n{turn.text}" if _diarizes(run) else turn.text for turn in said)
    if form == "srt":
        return "\n".join(
            f"{turn.number + 1}\n{_srt(turn.start_s)} --> {_srt(turn.end_s)}\n{turn.text}\n" for turn in said
        )
    return _json(run, run.heard, said)


def _diarizes(run: Run) -> bool:
    return bool(run.asked["transcription_config"].get("diarization") == "speaker")


def _srt(moment_s: float) -> str:
    whole, ms = divmod(round(moment_s * 1000), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02},{ms:03}"


def _json(run: Run, heard: Transcript, said: list[Turn]) -> dict[str, Any]:
    language = heard.language or "en"
    transcript = {
        "format": "2.9",
        "job": {
            "id": run.id,
            "created_at": _DATE,
            "data_name": run.asked["data_name"],
            "duration": round(heard.duration_s or 0.0),
        },
        "metadata": {
            "created_at": _DATE,
            "type": "transcription",
            "transcription_config": run.asked["transcription_config"],
            "language_pack_info": {
                "adapted": False,
                "itn": True,
                "language_description": language,
                "word_delimiter": " ",
                "writing_direction": "left-to-right",
            },
            "orchestrator_version": "2026.10.1",
        },
        "results": [item for turn in said for item in _items(turn, language, told=_diarizes(run))],
    }
    if run.translated:
        transcript["translations"] = {"en": [_sentence(run, turn) for turn in turns(run.translated, 2)]}
    return transcript


def _items(turn: Turn, language: str, *, told: bool) -> Iterator[dict[str, Any]]:
    """Yield the words, and what follows them: punctuation is an item of its own."""
    for each in turn.words:
        bare = each.text.rstrip(_MARKS)
        said = {"confidence": 1.0, "language": language, "speaker": _name(turn, told=told)}
        if bare:
            alternatives = [{"content": bare, **said}]
            yield {"type": "word", "start_time": each.start_s, "end_time": each.end_s, "alternatives": alternatives}
        for mark in each.text[len(bare) :]:
            yield {
                "type": "punctuation",
                "start_time": each.end_s,
                "end_time": each.end_s,
                "is_eos": mark != ",",
                "attaches_to": "previous",
                "alternatives": [{"content": mark, **said}],
            }


def _sentence(run: Run, turn: Turn) -> dict[str, Any]:
    return {
        "start_time": turn.start_s,
        "end_time": turn.end_s,
        "content": turn.text,
        "speaker": _name(turn, told=_diarizes(run)),
    }


def _name(turn: Turn, *, told: bool) -> str:
    return f"S{turn.speaker + 1}" if told else "UU"
