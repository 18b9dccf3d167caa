"""Rev AI as its SDK sees it: jobs with their audio, transcripts in two forms, captions, problems as of RFC 7807.

Source: rev_ai 2.21.0, Rev AI's asynchronous speech-to-text API v1 (OpenAPI copy, 2026). Left out: people, stored
vocabularies, translation, summaries, and the streaming service. Media by address fails to download: an emulator opens
no connection. Speakers are made up: two take turns. `GET /emulator/state` tells which jobs were deleted, and of those
that are left that they expire.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from providers.emulators.door import STATE, Refused, guard, json_object
from providers.emulators.jobs import Run, Runs
from providers.emulators.turns import Turn, turns
from providers.languages import NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from providers.emulators.ear import Emulation

_ROOT: Final = "/speechtotext/v1"
_MAX_BYTES = 100 * 1024 * 1024  # of 2 GB possible
_TRANSCRIBERS: Final = ("machine", "low_cost", "fusion", "human")
_LANGUAGES: Final = NAMES.keys() - {"zh"} | {"cmn"}
_DATE: Final = "2026-11-01T10:00:00.000Z"
_TYPES: Final = "https://www.rev.ai/api/v1/errors"
_JSON: Final = "application/vnd.rev.transcript.v1.0+json"
_ECHOED: Final = (
    "language",
    "transcriber",
    "metadata",
    "skip_diarization",
    "skip_punctuation",
    "remove_disfluencies",
    "filter_profanity",
    "delete_after_seconds",
    "speakers_count",
    "diarization_type",
)
_MARKS: Final = ".,!?"


def base_urls(root: str) -> dict[str, str]:
    """Return an account's base URLs where this runs at the root URL."""
    return {"api": f"{root}{_ROOT}"}


def build_app(emulation: Emulation) -> web.Application:
    """Return the service under its own path."""
    service = _Service(emulation)

    def let_in(request: web.Request) -> None:
        if request.headers.get("authorization") != f"Bearer {emulation.key}":
            raise Refused(401, "Authorization has been denied for this request")

    app = web.Application(client_max_size=_MAX_BYTES, middlewares=[guard(let_in, _answer)])
    app.router.add_get(STATE, service.state)
    app.router.add_get(f"{_ROOT}/account", service.account)
    app.router.add_post(f"{_ROOT}/jobs", service.create)
    app.router.add_get(f"{_ROOT}/jobs", service.list)
    app.router.add_get(f"{_ROOT}/jobs/{{id}}", service.get)
    app.router.add_delete(f"{_ROOT}/jobs/{{id}}", service.delete)
    app.router.add_get(f"{_ROOT}/jobs/{{id}}/transcript", service.transcript)
    app.router.add_get(f"{_ROOT}/jobs/{{id}}/captions", service.captions)
    return app


def _answer(refused: Refused) -> web.Response:
    problem = {"title": refused.said, "status": refused.status, **refused.more}
    return web.json_response(problem, status=refused.status, content_type="application/problem+json")


def _invalid(name: str, fault: str) -> Refused:
    return Refused(
        400,
        "Your request parameters didn't validate",
        type=f"{_TYPES}/invalid-parameters",
        parameter={name: [fault]},
    )


class _Service:
    """Jobs, each with its audio."""

    def __init__(self, emulation: Emulation) -> None:
        self._runs = Runs(emulation)

    async def state(self, _: web.Request) -> web.Response:
        return web.json_response({**self._runs.state(), "files": {run.id: True for run in self._runs.kept()}})

    async def account(self, _: web.Request) -> web.Response:
        return web.json_response({"email": "somebody@example.com", "balance_seconds": 3600})

    async def create(self, request: web.Request) -> web.Response:
        if request.content_type == "multipart/form-data":
            options, name, audio = await _form(request)
        else:
            options, name, audio = await json_object(request), None, None
            if "source_config" not in options and "media_url" not in options:
                raise _invalid("source_config", "The source_config field is required")
        _check(options)
        language = options.get("language", "en")
        run = await self._runs.begin({**options, "name": name}, audio, language={"cmn": "zh"}.get(language, language))
        return web.json_response(_described(run))

    async def list(self, request: web.Request) -> web.Response:
        limit = int(request.query.get("limit", "100"))
        return web.json_response([_described(run) for run in self._runs.kept()][:limit])

    async def get(self, request: web.Request) -> web.Response:
        return web.json_response(_described(self._run(request)))

    async def delete(self, request: web.Request) -> web.Response:
        run = self._run(request)
        if not run.is_over:
            raise _wrong_state(run, "be deleted")
        run.delete()
        return web.Response(status=204)

    async def transcript(self, request: web.Request) -> web.Response:
        run = self._transcribed(request)
        match request.headers.get("accept"):
            case "application/vnd.rev.transcript.v1.0+json":
                return web.Response(text=json.dumps({"monologues": list(_monologues(run))}), content_type=_JSON)
            case "text/plain":
                lines = [f"Speaker {turn.speaker}    {_clock(turn.start_s)}    {turn.text}\n" for turn in _turns(run)]
                return web.Response(text="".join(lines))
        raise Refused(406, "invalid transcript format")

    async def captions(self, request: web.Request) -> web.Response:
        run = self._transcribed(request)
        form = request.headers.get("accept", "application/x-subrip")
        if form not in {"application/x-subrip", "text/vtt"}:
            raise Refused(406, "invalid captions format")
        mark, head = (",", "") if form == "application/x-subrip" else (".", "WEBVTT\n\n")
        cues = [
            f"{turn.number + 1}\n{_moment(turn.start_s, mark)} --> {_moment(turn.end_s, mark)}\n{turn.text}\n"
            for turn in _turns(run)
        ]
        return web.Response(text=head + "\n".join(cues), content_type=form)

    def _transcribed(self, request: web.Request) -> Run:
        run = self._run(request)
        if _status(run) != "transcribed":
            raise _wrong_state(run, "obtain the transcript")
        return run

    def _run(self, request: web.Request) -> Run:
        run = self._runs.find(request.match_info["id"])
        if run is None:
            raise Refused(404, "could not find job", type=f"{_TYPES}/job-not-found")
        return run


def _wrong_state(run: Run, what_for: str) -> Refused:
    return Refused(
        409,
        "Job is in invalid state",
        type="https://rev.ai/api/v1/errors/invalid-job-state",
        detail=f"Job is in invalid state to {what_for}",
        allowed_values=["transcribed"],
        current_value=_status(run),
    )


# --- what is read


async def _form(request: web.Request) -> tuple[dict[str, Any], str, bytes]:
    """Return the options, the file's name and its content. Raises Refused."""
    form = await request.post()
    media, given = form.get("media"), form.get("options", "{}")
    if not isinstance(media, web.FileField):
        raise _invalid("media", "The media field is required")
    audio = media.file.read()
    media.file.close()
    try:
        options = json.loads(given) if isinstance(given, str) else None
    except ValueError:
        options = None
    if not isinstance(options, dict):
        raise _invalid("options", "The options field is no JSON object")
    return options, media.filename, audio


def _check(options: dict[str, Any]) -> None:
    """Raise Refused where the options are none."""
    if options.get("transcriber", "machine") not in _TRANSCRIBERS:
        raise _invalid("transcriber", f"The transcriber field must be one of {', '.join(_TRANSCRIBERS)}")
    if options.get("language", "en") not in _LANGUAGES:
        raise _invalid("language", "The language is not supported")
    for name in ("skip_diarization", "skip_punctuation", "remove_disfluencies", "filter_profanity"):
        if not isinstance(options.get(name, False), bool):
            raise _invalid(name, f"The {name} field must be a boolean")
    if not 0 <= options.get("delete_after_seconds", 0) <= 2_592_000:
        raise _invalid("delete_after_seconds", "The delete_after_seconds field must be between 0 and 2592000")


# --- what is answered


def _status(run: Run) -> str:
    if not run.is_over:
        return "in_progress"
    return "failed" if run.heard is None else "transcribed"


def _described(run: Run) -> dict[str, Any]:
    """Return a job without what is null."""
    status = _status(run)
    job = {"id": run.id, "created_on": _DATE, "name": run.asked["name"], "status": status, "type": "async"}
    job |= {"language": "en", "transcriber": "machine"}
    job |= {name: run.asked[name] for name in _ECHOED if name in run.asked}
    if run.is_over:
        job["completed_on"] = _DATE
    if run.heard:
        job["duration_seconds"] = round(run.heard.duration_s or 0.0, 2)
    if status == "failed":
        job["failure"] = "invalid_media" if run.audio else "download_failure"
        job["failure_detail"] = f"The media could not be read: {run.fault}"
    return {name: value for name, value in job.items() if value is not None}


def _turns(run: Run) -> list[Turn]:
    if run.heard is None:
        raise ValueError("a job that is transcribed without what was heard")
    return list(turns(run.heard, 1 if run.asked.get("skip_diarization") else 2))


def _monologues(run: Run) -> Iterator[dict[str, Any]]:
    """Yield who said what in one go: one monologue where nobody tells speakers apart."""
    said = _turns(run)
    together = [said] if run.asked.get("skip_diarization") and said else [[turn] for turn in said]
    for each in together:
        elements = [element for turn in each for element in _elements(turn)]
        yield {"speaker": each[0].speaker, "elements": elements[:-1]}  # without the last space


def _elements(turn: Turn) -> Iterator[dict[str, Any]]:
    for each in turn.words:
        bare = each.text.rstrip(_MARKS)
        times = {"ts": round(each.start_s, 2), "end_ts": round(each.end_s, 2)}
        yield {"type": "text", "value": bare, **times, "confidence": 0.98}
        for mark in each.text[len(bare) :]:
            yield {"type": "punct", "value": mark}
        yield {"type": "punct", "value": " "}


def _clock(moment_s: float) -> str:
    whole = int(moment_s)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}"


def _moment(moment_s: float, mark: str) -> str:
    return f"{_clock(moment_s)}{mark}{round(moment_s * 1000) % 1000:03}"
