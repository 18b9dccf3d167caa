"""Replicate as its SDK sees it: predictions that take their time, uploaded files, one route for each kind of model.

Source: replicate 1.0.7 `prediction.py`, `file.py`, `version.py`; replicate.com API pages of the models, its docs
"Prediction lifecycle" (2026), its changelog "Prediction deadlines" (2025-10-16). `GET /emulator/state` tells what was
cancelled and which files are left.

Longer than other files: predictions, files and models are one service over one state.
"""

from __future__ import annotations

import asyncio
import binascii
import json
import math
import re
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import pybase64
from aiohttp import web
from blake3 import blake3

from providers.audio.unreadable import UnreadableAudio
from providers.emulators.ear import container_of
from providers.languages import NAMES, code_of, name_of
from providers.types import Container

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from providers.emulators.ear import Ear, Emulation
    from providers.types import Transcript

_MAX_BYTES = 100 * 1024 * 1024
_MAX_HOLD_S = 60
_STARTING_SHARE = 0.3  # of a run's time it waits for a machine
_DATE = "2026-11-01T10:00:00.123Z"
_WAIT = re.compile(r"wait(?:=(\d+))?")
_CANCEL_AFTER = re.compile(r"(?:(?P<h>\d+)h)?(?:(?P<m>\d+)m)?(?:(?P<s>\d+)s)?")
_VERSION = re.compile(r"(?:(?P<name>[\w.-]+/[\w.-]+):)?(?P<hash>[0-9a-f]{64})")

# The model takes what OpenAI does; the others take what FFmpeg decodes.
_OPENAI_TAKES: Final = frozenset(
    {
        Container.FLAC,
        Container.MP3,
        Container.MP4,
        Container.OGG,
        Container.WAV,
        Container.WEBM,
    }
)


def base_urls(root: str) -> dict[str, str]:
    """Return an account's base URLs where this runs at the root URL."""
    return {"api": f"{root}/v1"}


def version_of(model: str) -> str:
    """Return the version under which a community's model is known here when its name is not given with it."""
    return blake3(model.encode()).hexdigest()


def build_app(emulation: Emulation) -> web.Application:
    """Return the service under `/v1`."""
    service = _Service(emulation)
    app = web.Application(client_max_size=_MAX_BYTES, middlewares=[_refusals])
    app.router.add_get("/emulator/state", service.state)
    app.router.add_post("/v1/predictions", service.create_version)
    app.router.add_post("/v1/models/{owner}/{name}/predictions", service.create_official)
    app.router.add_get("/v1/models/{owner}/{name}/versions/{version}", service.version)
    app.router.add_get("/v1/predictions/{id}", service.get)
    app.router.add_post("/v1/predictions/{id}/cancel", service.cancel)
    app.router.add_post("/v1/files", service.upload)
    app.router.add_get("/v1/files", service.files)
    app.router.add_get("/v1/files/{id}", service.file)
    app.router.add_delete("/v1/files/{id}", service.delete)
    return app


class _Refused(Exception):
    """A problem (RFC 7807), raised where its cause is found."""

    def __init__(self, status: int, title: str, detail: str) -> None:
        super().__init__(status)
        self.status = status
        self.problem = {"title": title, "detail": detail, "status": status}


class _RunFailed(Exception):
    """What a model's own code ends with: no HTTP error, a prediction that says `failed`."""


@web.middleware
async def _refusals(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except _Refused as refused:
        return web.json_response(refused.problem, status=refused.status, content_type="application/problem+json")


@dataclass(slots=True, kw_only=True)
class _Run:
    id: str
    model: str
    version: str
    given: dict[str, Any]
    started: float  # on the loop's clock
    lives_s: float  # until its deadline
    output: Any = None
    error: str | None = None
    asked_after: bool = False
    cancelled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    name: str
    content: bytes
    content_type: str


class _Service:
    """Predictions and files."""

    def __init__(self, emulation: Emulation) -> None:
        self._emulation = emulation
        self._runs: dict[str, _Run] = {}
        self._files: dict[str, _File] = {}
        self._numbers = count(1)

    # --- predictions

    async def create_version(self, request: web.Request) -> web.Response:
        self._let_in(request)
        body = await _json(request)
        named = _VERSION.fullmatch(str(body.get("version", "")))
        model = named and (named["name"] or _BY_VERSION.get(named["hash"]))
        if named is None or model not in _COMMUNITY:
            raise _Refused(422, "Invalid version or not permitted", "The specified version does not exist.")
        return await self._create(request, body, str(model), named["hash"])

    async def create_official(self, request: web.Request) -> web.Response:
        self._let_in(request)
        model = "{owner}/{name}".format(**request.match_info)
        if model not in _OFFICIAL:
            raise _Refused(404, "Not found", "The requested resource could not be found.")
        return await self._create(request, await _json(request), model, "hidden")

    async def _create(self, request: web.Request, body: dict[str, Any], model: str, version: str) -> web.Response:
        given = body.get("input")
        if not isinstance(given, dict):
            raise _Refused(422, "Input validation failed", "- input is required\n")
        schema = {**_COMMUNITY, **_OFFICIAL}[model]
        audio = self._audio(given, schema.audio)
        schema.check(given)
        run = _Run(
            id=f"prediction{next(self._numbers)}",
            model=model,
            version=version,
            given=given,
            started=asyncio.get_running_loop().time(),
            lives_s=_lives_s(request.headers.get("cancel-after")),
        )
        try:
            run.output = await schema.answer(self._emulation.ear, audio, given)
        except UnreadableAudio as error:
            run.error = f"Failed to load audio: Invalid data found when processing input ({error})"
        except _RunFailed as error:
            run.error = str(error)
        self._runs[run.id] = run
        hold_s = _hold_s(request.headers.get("prefer", ""))
        left_s = run.started + self._emulation.job_s - asyncio.get_running_loop().time()
        await asyncio.sleep(max(0.0, min(hold_s, left_s)))
        return self._respond(run, request, status=201 if self._status(run) in _OVER or not hold_s else 202)

    def _audio(self, given: dict[str, Any], name: str) -> bytes:
        """Read a data URI or one of the files here. Nothing is fetched from elsewhere."""
        url = given.get(name)
        if not isinstance(url, str):
            raise _invalid(name, f"{name} is required")
        if url.startswith("data:"):
            try:
                return pybase64.b64decode(url.partition(",")[2], validate=True)
            except binascii.Error as error:
                raise _invalid(name, "Invalid base64") from error
        stored = self._files.get(url.rpartition("/")[2])
        if stored is None:
            raise _invalid(name, "Does not match format 'uri'")
        return stored.content

    async def get(self, request: web.Request) -> web.Response:
        self._let_in(request)
        run = self._run(request)
        run.asked_after = True
        return self._respond(run, request)

    async def cancel(self, request: web.Request) -> web.Response:
        self._let_in(request)
        run = self._run(request)
        run.cancelled = run.cancelled or self._status(run) not in _OVER
        return self._respond(run, request)

    def _run(self, request: web.Request) -> _Run:
        run = self._runs.get(request.match_info["id"])
        if run is None:
            raise _Refused(404, "Not found", "The requested resource could not be found.")
        return run

    def _status(self, run: _Run) -> str:
        worked_s = asyncio.get_running_loop().time() - run.started
        if run.cancelled:
            return "canceled"
        starting_s = _STARTING_SHARE * self._emulation.job_s
        if worked_s >= run.lives_s < self._emulation.job_s:
            return "aborted" if run.lives_s < starting_s else "canceled"
        if worked_s >= self._emulation.job_s:
            return "failed" if run.error else "succeeded"
        return "starting" if worked_s < starting_s else "processing"

    def _respond(self, run: _Run, request: web.Request, *, status: int = 200) -> web.Response:
        state = self._status(run)
        url = f"{request.url.origin()}/v1/predictions/{run.id}"
        body = {
            "id": run.id,
            "model": run.model,
            "version": run.version,
            "input": run.given,
            "logs": "",
            "output": run.output if state == "succeeded" else None,
            "error": run.error if state == "failed" else None,
            "data_removed": False,
            "status": state,
            "created_at": _DATE,
            "started_at": None if state == "starting" else _DATE,
            "completed_at": _DATE if state in _OVER else None,
            "metrics": {"predict_time": self._emulation.job_s} if state in _OVER else {},
            "urls": {"get": url, "cancel": f"{url}/cancel", "web": f"https://replicate.com/p/{run.id}"},
        }
        return web.json_response(body, status=status)

    async def version(self, request: web.Request) -> web.Response:
        """Describe a version as far as `replicate.run` reads it."""
        self._let_in(request)
        output = {"components": {"schemas": {"Output": {"type": "object"}}}}
        version = request.match_info["version"]
        return web.json_response({"id": version, "created_at": _DATE, "cog_version": "0.9.4", "openapi_schema": output})

    # --- files

    async def upload(self, request: web.Request) -> web.Response:
        self._let_in(request)
        content = (await request.post()).get("content")
        if not isinstance(content, web.FileField):
            raise _Refused(400, "Bad request", "Missing content")
        identity = f"file{next(self._numbers)}"
        self._files[identity] = _File(
            name=content.filename, content=content.file.read(), content_type=content.content_type
        )
        content.file.close()
        return web.json_response(self._described(identity, request), status=201)

    async def files(self, request: web.Request) -> web.Response:
        self._let_in(request)
        return web.json_response({"results": [self._described(each, request) for each in self._files]})

    async def file(self, request: web.Request) -> web.Response:
        self._let_in(request)
        return web.json_response(self._described(self._stored(request), request))

    async def delete(self, request: web.Request) -> web.Response:
        self._let_in(request)
        del self._files[self._stored(request)]
        return web.Response(status=204)

    def _stored(self, request: web.Request) -> str:
        identity = request.match_info["id"]
        if identity not in self._files:
            raise _Refused(404, "Not found", "The requested resource could not be found.")
        return identity

    def _described(self, identity: str, request: web.Request) -> dict[str, Any]:
        stored = self._files[identity]
        digest = blake3(stored.content).hexdigest()
        return {
            "id": identity,
            "name": stored.name,
            "content_type": stored.content_type,
            "size": len(stored.content),
            "etag": digest,
            "checksums": {"blake3": digest},
            "metadata": {},
            "created_at": _DATE,
            "expires_at": None,
            "urls": {"get": f"{request.url.origin()}/v1/files/{identity}"},
        }

    # --- both

    def _let_in(self, request: web.Request) -> None:
        if request.headers.get("authorization") not in {
            f"Bearer {self._emulation.key}",
            f"Token {self._emulation.key}",
        }:
            raise _Refused(401, "Unauthenticated", "You did not pass a valid authentication token")

    async def state(self, _: web.Request) -> web.Response:
        """Tell a test what reached us."""
        return web.json_response(
            {
                "jobs": {run.id: self._status(run) for run in self._runs.values()},
                "asked_after": [run.id for run in self._runs.values() if run.asked_after],
                "cancelled": [run.id for run in self._runs.values() if run.cancelled],
                "files": list(self._files),
            }
        )


_OVER: Final = frozenset({"succeeded", "failed", "canceled", "aborted"})


async def _json(request: web.Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.read())
    except ValueError as error:
        raise _Refused(400, "Bad request", "The request body is not valid JSON") from error
    if not isinstance(body, dict):
        raise _Refused(422, "Input validation failed", "- the body must be an object\n")
    return body


def _hold_s(prefer: str) -> float:
    """Return for how long a create holds its answer back."""
    asked = _WAIT.fullmatch(prefer.strip())
    if asked is None:
        return 0.0
    return min(_MAX_HOLD_S, float(asked[1] or _MAX_HOLD_S))


_UNITS_S: Final = (("h", 3600), ("m", 60), ("s", 1))


def _lives_s(cancel_after: str | None) -> float:
    """Return the seconds until the run's deadline, `1h`, `1m30s` or `90s`; for ever where it has none."""
    if cancel_after is None:
        return math.inf
    asked = _CANCEL_AFTER.fullmatch(cancel_after)
    lives_s = sum(int(asked[unit] or 0) * each_s for unit, each_s in _UNITS_S) if asked else 0
    if lives_s == 0:
        raise _Refused(422, "Input validation failed", "- Cancel-After: is no duration\n")
    return lives_s


def _invalid(name: str, what: str) -> _Refused:
    return _Refused(422, "Input validation failed", f"- input.{name}: {what}\n")


# --- the models: input as their schemas have it, output as they give it


def _takes_anything(given: dict[str, Any]) -> None:
    """Accept the rest of the input: unknown fields are ignored."""


def _takes_codes(given: dict[str, Any]) -> None:
    language = given.get("language")
    if language not in {None, "auto", *NAMES, *(name.title() for name in NAMES.values())}:
        raise _invalid("language", f"{language!r} is not one of the enum values")


def _takes_names(given: dict[str, Any]) -> None:
    if given.get("language", "None") not in {"None", *NAMES.values()}:
        raise _invalid("language", f"{given['language']!r} is not one of the enum values")
    if given.get("timestamp", "chunk") not in {"chunk", "word"}:
        raise _invalid("timestamp", "is not one of the enum values")
    if given.get("task", "transcribe") not in {"transcribe", "translate"}:
        raise _invalid("task", "is not one of the enum values")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Schema:
    audio: str
    answer: Callable[[Ear, bytes, dict[str, Any]], Awaitable[Any]]
    check: Callable[[dict[str, Any]], None] = _takes_anything


async def _whisper(ear: Ear, audio: bytes, given: dict[str, Any]) -> dict[str, Any]:
    language = given.get("language")
    heard = await ear.hear(audio, language=code_of(language) if language else None, prompt=given.get("initial_prompt"))
    translated = await ear.hear(audio, translate=True) if given.get("translate") else None
    return {
        "detected_language": name_of(heard.language or "en"),
        "transcription": f" {heard.text}",
        "segments": [{"id": i, **_span(heard, i)} for i in range(len(heard.segments))],
        "translation": translated and f" {translated.text}",
        "txt_file": None,
        "srt_file": None,
    }


async def _fast_whisper(ear: Ear, audio: bytes, given: dict[str, Any]) -> dict[str, Any]:
    language = given.get("language", "None")
    heard = await ear.hear(
        audio,
        language=None if language == "None" else code_of(language),
        translate=given.get("task") == "translate",
    )
    pieces = heard.words if given.get("timestamp") == "word" else heard.segments
    chunks = [{"text": f" {each.text.strip()}", "timestamp": [each.start_s, each.end_s]} for each in pieces]
    return {"text": f" {heard.text}", "chunks": chunks}


async def _gpt_4o(ear: Ear, audio: bytes, given: dict[str, Any]) -> list[str]:
    if container_of(audio) not in _OPENAI_TAKES:
        raise _RunFailed("Error code: 400 - Audio file might be corrupted or unsupported")
    heard = await ear.hear(audio, language=given.get("language"), prompt=given.get("prompt"))
    return re.findall(r"\s*\S+", heard.text)


async def _diarization(ear: Ear, audio: bytes, given: dict[str, Any]) -> dict[str, Any]:
    heard = await ear.hear(audio, language=given.get("language"), prompt=given.get("prompt"))
    segments = [
        {**_span(heard, i), "speaker": "SPEAKER_00", "words": _words(heard, i, "probability")}
        for i in range(len(heard.segments))
    ]
    return {"segments": segments, "language": heard.language, "num_speakers": 1}


async def _whisperx(ear: Ear, audio: bytes, given: dict[str, Any]) -> dict[str, Any]:
    heard = await ear.hear(audio, language=given.get("language"), prompt=given.get("initial_prompt"))
    aligned = bool(given.get("align_output"))
    segments = [
        {**_span(heard, i), **({"words": _words(heard, i, "score")} if aligned else {})}
        for i in range(len(heard.segments))
    ]
    return {"segments": segments, "detected_language": heard.language}


def _span(heard: Transcript, i: int) -> dict[str, Any]:
    segment = heard.segments[i]
    return {"start": segment.start_s, "end": segment.end_s, "text": f" {segment.text.strip()}"}


def _words(heard: Transcript, i: int, confidence: str) -> list[dict[str, Any]]:
    """Return the words that begin inside a segment."""
    segment = heard.segments[i]
    end_s = segment.end_s if segment.end_s is not None else heard.duration_s or 0.0
    return [
        {"word": f" {word.text}", "start": word.start_s, "end": word.end_s, confidence: 0.9}
        for word in heard.words
        if segment.start_s <= word.start_s < end_s
    ]


_COMMUNITY: Final = {
    "openai/whisper": _Schema(audio="audio", answer=_whisper, check=_takes_codes),
    "vaibhavs10/incredibly-fast-whisper": _Schema(audio="audio", answer=_fast_whisper, check=_takes_names),
    "thomasmol/whisper-diarization": _Schema(audio="file", answer=_diarization),
    "victor-upmeet/whisperx": _Schema(audio="audio_file", answer=_whisperx),
}
_OFFICIAL: Final = {
    "openai/gpt-4o-transcribe": _Schema(audio="audio_file", answer=_gpt_4o),
    "openai/gpt-4o-mini-transcribe": _Schema(audio="audio_file", answer=_gpt_4o),
}
_BY_VERSION: Final = {version_of(model): model for model in _COMMUNITY}
