"""fal.ai as its SDK sees it: synchronous runs, the queue and the storage, four hosts behind one root URL.

Source: fal-client 1.0.3 `client.py`, fal.ai/docs "Queue", "Cancel a request", "Model errors" and "Common parameters"
(2026), @fal-ai/client 1.10.1 `types/endpoints.d.ts`. The queue answers under `/queue/` and, as through the Hugging Face
router, wherever the query says `_subdomain=queue`. `GET /emulator/state` tells what was cancelled and what is stored.

Longer than other files: four hosts of one service, whose state (jobs, files) they share.
"""

from __future__ import annotations

import asyncio
import binascii
import json
import re
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import pybase64
from aiohttp import web

from providers.audio.unreadable import UnreadableAudio
from providers.languages import NAMES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from providers.emulators.ear import Ear, Emulation
    from providers.types import Transcript

_MAX_BYTES = 110 * 1024 * 1024
_QUEUED_SHARE = 0.3  # of a job's time it waits in the queue, for the rest it runs
_CDN_TOKEN = "emulated-cdn-token"  # noqa: S105 - invented
_NEVER = "2099-01-01T00:00:00+00:00"
_QUEUED = re.compile(r"(?P<id>.+)/requests/(?P<job>[\w-]+)(?:/(?P<what>status|cancel))?")

# What the service knows a file type for; not so audio/wav, audio/webm, audio/mp4, audio/flac, audio/ogg.
_LABELS: Final = frozenset(
    ["audio/mpeg", "audio/mp3", "audio/x-wav", "audio/m4a", "audio/x-m4a", "video/mp4", "video/mpeg", "video/webm"]
)


def base_urls(root: str) -> dict[str, str]:
    """Return an account's base URLs where this runs at the root URL."""
    return {"api": root, "queue": f"{root}/queue", "storage": root, "cdn": root}


def build_app(emulation: Emulation) -> web.Application:
    """Return the service: any path that is not storage is an endpoint's."""
    service = _Service(emulation)
    app = web.Application(client_max_size=_MAX_BYTES, middlewares=[_refusals])
    app.router.add_get("/emulator/state", service.state)
    app.router.add_post("/storage/auth/token", service.token)
    app.router.add_post("/storage/upload/initiate", service.initiate)
    app.router.add_put("/storage/gcs/{name}", service.put)
    app.router.add_post("/files/upload", service.upload)
    app.router.add_post("/files/upload/multipart", service.upload_in_parts)
    app.router.add_put("/files/{name}/multipart/{upload}/{part}", service.part)
    app.router.add_post("/files/{name}/multipart/{upload}/complete", service.complete)
    app.router.add_get("/files/{name}", service.file)
    app.router.add_route("*", "/queue/{path:.+}", service.queue)
    app.router.add_route("*", "/{path:.+}", service.run)
    return app


@dataclass(frozen=True, slots=True)
class _Answer:
    """A reply as a value: a queued job keeps it until it is fetched."""

    body: dict[str, Any]
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


_NOT_STARTED: Final = _Answer(
    {"detail": "Request timed out", "error_type": "request_timeout"},
    504,
    {"x-fal-error-type": "request_timeout", "x-fal-request-timeout-type": "user"},
)


class _Refused(Exception):
    """An error reply, raised where its cause is found."""

    def __init__(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        super().__init__(status)
        self.answer = _Answer(body, status, headers or {})


@web.middleware
async def _refusals(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except _Refused as refused:
        return _respond(refused.answer)


def _respond(answer: _Answer, request_id: str = "emulated-request") -> web.Response:
    headers = {"x-fal-request-id": request_id, **answer.headers}
    return web.json_response(answer.body, status=answer.status, headers=headers)


@dataclass(slots=True, kw_only=True)
class _Job:
    endpoint: str
    answer: _Answer  # what fetching it gives once it is due
    submitted: float  # on the loop's clock
    due_s: float  # how long it takes to its end, good or bad
    asked_after: bool = False
    cancelled: bool = False


@dataclass(slots=True, kw_only=True)
class _File:
    content: bytes
    lifecycle: str | None  # JSON that says when it expires; None: never
    parts: dict[int, bytes] = field(default_factory=dict)


class _Service:
    """What the four hosts share: jobs and files."""

    def __init__(self, emulation: Emulation) -> None:
        self._emulation = emulation
        self._jobs: dict[str, _Job] = {}
        self._files: dict[str, _File] = {}
        self._numbers = count(1)

    # --- runs

    async def run(self, request: web.Request) -> web.Response:
        """Answer a synchronous run, or what the router sends on to the queue."""
        if request.query.get("_subdomain") == "queue":
            return await self.queue(request)
        self._let_in(request)
        if request.method != "POST":
            raise _Refused(405, {"detail": "Method Not Allowed"})
        return _respond(await self._outcome(request.match_info["path"], await request.read()))

    async def _outcome(self, endpoint: str, body: bytes) -> _Answer:
        """Return what the run comes to: an output, or the model's complaint."""
        known = _ENDPOINTS.get(endpoint)
        if known is None:
            raise _Refused(404, {"detail": f"Application {endpoint!r} not found"})
        try:
            given = json.loads(body)
            audio = self._audio(given.get("audio_url"))
            return _Answer(await known(self._emulation.ear, audio, given))
        except UnreadableAudio as error:
            return _complaint("unsupported_audio_format", str(error), "audio_url").answer
        except _Refused as refused:
            return refused.answer
        except (ValueError, AttributeError):
            return _complaint("json_invalid", "JSON decode error", "body").answer

    def _audio(self, url: object) -> bytes:
        """Read a data URI or one of the files here. Nothing is fetched from elsewhere."""
        if not isinstance(url, str):
            raise _complaint("missing", "Field required", "audio_url")
        if url.startswith("data:"):
            return _decoded(url)
        stored = self._files.get(urlsplit(url).path.rpartition("/")[2])
        if stored is None:
            raise _complaint("file_download_error", "Failed to download the file", "audio_url")
        return stored.content

    # --- the queue

    async def queue(self, request: web.Request) -> web.Response:
        """Submit, status, result and cancel: told apart by path and method."""
        self._let_in(request)
        if asked := _QUEUED.fullmatch(request.match_info["path"]):
            return self._asked(asked["job"], asked["what"], request)
        if request.method != "POST":
            raise _Refused(405, {"detail": "Method Not Allowed"})
        number, job = f"request-{next(self._numbers)}", await self._submitted(request)
        self._jobs[number] = job
        return web.json_response({"status": "IN_QUEUE", "queue_position": 0, **_urls(number, job, request)})

    async def _submitted(self, request: web.Request) -> _Job:
        """Return the job: one that would wait longer than it may ends by then."""
        endpoint, now = request.match_info["path"], asyncio.get_running_loop().time()
        start_by_s = float(request.headers.get("x-fal-request-timeout", "inf"))
        if start_by_s < _QUEUED_SHARE * self._emulation.job_s:
            return _Job(endpoint=endpoint, answer=_NOT_STARTED, submitted=now, due_s=start_by_s)
        answer = await self._outcome(endpoint, await request.read())
        return _Job(endpoint=endpoint, answer=answer, submitted=now, due_s=self._emulation.job_s)

    def _asked(self, number: str, what: str | None, request: web.Request) -> web.Response:
        job = self._jobs.get(number)
        if job is None:
            raise _Refused(404, {"status": "NOT_FOUND"} if what == "cancel" else {"detail": "Request not found"})
        status = self._status(job)
        match what:
            case "cancel" if request.method == "PUT":
                return _cancel(job, status)
            case "status":
                job.asked_after = True
                details = {"logs": None, "queue_position": 0, "metrics": {"inference_time": self._emulation.job_s}}
                body = {"status": status, **details, **_urls(number, job, request)}
                return web.json_response(body, status=200 if status == "COMPLETED" else 202)
        if status != "COMPLETED":
            raise _Refused(400, {"detail": "Request is still in progress"})
        return _respond(job.answer, number)

    def _status(self, job: _Job) -> str:
        worked_s = asyncio.get_running_loop().time() - job.submitted
        if job.cancelled or worked_s >= job.due_s:
            return "COMPLETED"
        return "IN_QUEUE" if worked_s < _QUEUED_SHARE * self._emulation.job_s else "IN_PROGRESS"

    # --- storage

    async def token(self, request: web.Request) -> web.Response:
        self._let_in(request)
        return web.json_response(
            {
                "token": _CDN_TOKEN,
                "token_type": "Bearer",
                "base_url": str(request.url.origin()),
                "expires_at": _NEVER,
            }
        )

    async def upload(self, request: web.Request) -> web.Response:
        _let_into_cdn(request)
        name = self._store(request, await request.read())
        return web.json_response({"access_url": f"{request.url.origin()}/files/{name}"})

    async def upload_in_parts(self, request: web.Request) -> web.Response:
        _let_into_cdn(request)
        name = self._store(request, b"")
        return web.json_response({"access_url": f"{request.url.origin()}/files/{name}", "uploadId": "1"})

    async def part(self, request: web.Request) -> web.Response:
        _let_into_cdn(request)
        number = int(request.match_info["part"])
        self._files[request.match_info["name"]].parts[number] = await request.read()
        return web.Response(headers={"etag": f'"{number}"'})

    async def complete(self, request: web.Request) -> web.Response:
        _let_into_cdn(request)
        stored = self._files[request.match_info["name"]]
        order = [part["partNumber"] for part in (await request.json())["parts"]]
        stored.content = b"".join(stored.parts[number] for number in sorted(order))
        return web.json_response({})

    async def initiate(self, request: web.Request) -> web.Response:
        """Give the two URLs of the older storage, the SDK's fallback."""
        self._let_in(request)
        name, root = self._store(request, b""), request.url.origin()
        return web.json_response({"upload_url": f"{root}/storage/gcs/{name}", "file_url": f"{root}/files/{name}"})

    async def put(self, request: web.Request) -> web.Response:
        self._files[request.match_info["name"]].content = await request.read()
        return web.Response()

    async def file(self, request: web.Request) -> web.Response:
        """Give a file to anybody who knows its URL."""
        return web.Response(body=self._files[request.match_info["name"]].content)

    def _store(self, request: web.Request, content: bytes) -> str:
        name = f"{next(self._numbers)}-{request.headers.get('x-fal-file-name', 'upload.bin')}"
        self._files[name] = _File(content=content, lifecycle=request.headers.get("x-fal-object-lifecycle"))
        return name

    # --- both

    def _let_in(self, request: web.Request) -> None:
        key = self._emulation.key
        if request.headers.get("authorization") != (f"Bearer {key}" if key.startswith("hf_") else f"Key {key}"):
            raise _Refused(401, {"detail": "Cannot access application. Authentication is required to access it."})

    async def state(self, _: web.Request) -> web.Response:
        """Tell a test what reached us."""
        return web.json_response(
            {
                "jobs": {number: self._status(job) for number, job in self._jobs.items()},
                "asked_after": [number for number, job in self._jobs.items() if job.asked_after],
                "cancelled": [number for number, job in self._jobs.items() if job.cancelled],
                "files": {name: stored.lifecycle for name, stored in self._files.items()},
            }
        )


def _let_into_cdn(request: web.Request) -> None:
    if request.headers.get("authorization") != f"Bearer {_CDN_TOKEN}":
        raise _Refused(401, {"detail": "Unauthorized"})


def _cancel(job: _Job, status: str) -> web.Response:
    if status == "COMPLETED":
        raise _Refused(400, {"status": "ALREADY_COMPLETED"})
    job.cancelled = True
    job.answer = _Answer({"detail": "Request was cancelled"}, 400)
    return web.json_response({"status": "CANCELLATION_REQUESTED"}, status=202)


def _urls(number: str, job: _Job, request: web.Request) -> dict[str, str]:
    """Return where the job is: under owner and alias alone, whatever follows them in the endpoint's id."""
    owner_and_alias = "/".join(job.endpoint.split("/")[:2])
    prefix = "/queue" if request.path.startswith("/queue/") else ""
    url = f"{request.url.origin()}{prefix}/{owner_and_alias}/requests/{number}"
    return {
        "request_id": number,
        "response_url": url,
        "status_url": f"{url}/status",
        "cancel_url": f"{url}/cancel",
    }


def _decoded(url: str) -> bytes:
    head, _, payload = url.removeprefix("data:").partition(",")
    label, _, encoding = head.partition(";")
    if label not in _LABELS or encoding != "base64":
        raise _complaint("unsupported_audio_format", f"Unsupported data URI {label!r}", "audio_url")
    try:
        return pybase64.b64decode(payload, validate=True)
    except binascii.Error as error:
        raise _complaint("file_download_error", "Invalid base64", "audio_url") from error


def _complaint(kind: str, message: str, where: str) -> _Refused:
    detail = {"loc": ["body", where], "msg": message, "type": kind, "url": f"https://docs.fal.ai/errors#{kind}"}
    return _Refused(422, {"detail": [detail]}, {"x-fal-retryable": "false"})


# --- the endpoints: input as their schemas have it, output as they give it


def _one_of(given: dict[str, Any], name: str, allowed: Sequence[str | None], default: str | None) -> Any:  # noqa: ANN401 - JSON
    value = given.get(name, default)
    if value not in allowed:
        raise _complaint("literal_error", f"Input should be one of {allowed}", name)
    return value


async def _whisper(ear: Ear, audio: bytes, given: dict[str, Any]) -> dict[str, Any]:
    level = _one_of(given, "chunk_level", ("none", "segment", "word"), "segment")
    heard = await _heard_by_whisper(ear, audio, given, language=None)
    chunks = [_chunk(f" {heard.text}", 0.0, heard.duration_s)]
    if level == "segment":
        chunks = [_chunk(each.text, each.start_s, each.end_s) for each in heard.segments]
    elif level == "word":
        chunks = [_chunk(f" {each.text}", each.start_s, each.end_s) for each in heard.words]
    speakers = [{"speaker": "SPEAKER_00", "timestamp": [0.0, heard.duration_s]}] if given.get("diarize") else []
    for chunk in chunks:
        chunk["speaker"] = "SPEAKER_00" if speakers else None
    return {
        "text": f" {heard.text}",
        "chunks": chunks,
        "inferred_languages": [heard.language],
        "diarization_segments": speakers,
    }


async def _wizper(ear: Ear, audio: bytes, given: dict[str, Any]) -> dict[str, Any]:
    _one_of(given, "chunk_level", ("segment",), "segment")
    heard = await _heard_by_whisper(ear, audio, given, language="en")
    chunks = [_chunk(each.text, each.start_s, each.end_s) for each in heard.segments]
    return {"text": f" {heard.text}", "chunks": chunks, "languages": [heard.language]}


async def _heard_by_whisper(ear: Ear, audio: bytes, given: dict[str, Any], *, language: str | None) -> Transcript:
    return await ear.hear(
        audio,
        language=_one_of(given, "language", (None, *NAMES), language),
        translate=_one_of(given, "task", ("transcribe", "translate"), "transcribe") == "translate",
        prompt=given.get("prompt") or None,
    )


def _chunk(text: str, start_s: float, end_s: float | None) -> dict[str, Any]:
    return {"text": text, "timestamp": [start_s, end_s]}


async def _scribe(ear: Ear, audio: bytes, given: dict[str, Any]) -> dict[str, Any]:
    """Words with the spaces between them; speakers and audio events unless they are declined."""
    heard = await ear.hear(audio, language=given.get("language_code"))
    speaker = "speaker_0" if given.get("diarize", True) else None
    items: list[dict[str, Any]] = []
    for word in heard.words:
        times = {"start": word.start_s, "end": word.end_s, "speaker_id": speaker}
        items += [{"text": " ", "type": "spacing"}] if items else []
        items.append({"text": word.text, "type": "word", **times})
    text = heard.text
    if given.get("tag_audio_events", True):
        text = f"{text} (silence)"
        items.append({"text": "(silence)", "type": "audio_event", "speaker_id": speaker})
    return {"text": text, "words": items, "language_code": heard.language, "language_probability": 0.98}


async def _plain(ear: Ear, audio: bytes, given: dict[str, Any]) -> dict[str, Any]:
    return {"output": (await ear.hear(audio)).text, "partial": False}


_ENDPOINTS: Final[dict[str, Callable[[Ear, bytes, dict[str, Any]], Awaitable[dict[str, Any]]]]] = {
    "fal-ai/whisper": _whisper,
    "fal-ai/wizper": _wizper,
    "fal-ai/elevenlabs/speech-to-text": _scribe,
    "fal-ai/elevenlabs/speech-to-text/scribe-v2": _scribe,
    "fal-ai/speech-to-text": _plain,
    "fal-ai/speech-to-text/turbo": _plain,
    "fal-ai/nemotron/asr": _plain,
}
