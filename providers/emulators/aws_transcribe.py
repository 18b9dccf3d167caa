"""Amazon Transcribe and the part of S3 that it needs, as botocore sees them: one bucket, jobs, and their results.

Source: botocore 1.44.8 (service models of transcribe and s3), docs.aws.amazon.com (2026). The wording of errors is
unconfirmed, and so is that a job which runs is not deleted. Left out: results in a bucket, subtitles, channels,
redaction, streaming, throttling. Signatures are checked by making them again. Speakers are made up: two take turns.
`GET /emulator/state` tells what became of jobs, and which objects are left.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING, Any, Final
from xml.sax.saxutils import escape

from aiohttp import web

from providers.emulators.door import STATE, Refused, guard, json_object
from providers.emulators.ear import container_of
from providers.emulators.jobs import Run, Runs
from providers.emulators.turns import turns
from providers.types import Container

if TYPE_CHECKING:
    from collections.abc import Mapping

    from providers.emulators.ear import Emulation
    from providers.types import Transcript, Word

OPTIONS: Final = {"region": "us-east-1", "bucket": "emulated-bucket", "access_key_id": "AKIDEMULATED"}
"""What an account at the emulator has."""
_BUCKET: Final = OPTIONS["bucket"]
_MAX_BYTES = 100 * 1024 * 1024  # of 2 GB possible
_FORMATS: Final = {
    "wav": Container.WAV,
    "flac": Container.FLAC,
    "mp3": Container.MP3,
    "mp4": Container.MP4,
    "m4a": Container.MP4,
    "ogg": Container.OGG,
    "webm": Container.WEBM,
    "amr": Container.AMR,
}
_LANGUAGE: Final = re.compile(r"[a-z]{2,3}-[A-Za-z]{2}")


def base_urls(root: str) -> Mapping[str, str]:
    """Return where an account finds the service, the bucket, and the results."""
    return {"api": root, "bucket": f"{root}/{_BUCKET}", "results": root}


def build_app(emulation: Emulation) -> web.Application:
    """Return both services: one answers `POST /`, the other has the bucket under its name."""
    service = _Service(emulation)
    app = web.Application(client_max_size=_MAX_BYTES, middlewares=[guard(lambda _: None, _answer)])
    app.router.add_get(STATE, service.state)
    app.router.add_get("/results/{name}", service.result)
    app.router.add_post("/", service.call)
    app.router.add_put(f"/{_BUCKET}/{{key:.+}}", service.put)
    app.router.add_get(f"/{_BUCKET}/{{key:.+}}", service.get)
    app.router.add_delete(f"/{_BUCKET}/{{key:.+}}", service.delete_object)
    return app


def _answer(refused: Refused) -> web.Response:
    """Return a refusal as JSON of Transcribe, or as XML of S3."""
    kind = str(refused.more.get("kind", "BadRequestException"))
    if refused.more.get("s3"):
        text = f"<?xml version='1.0'?><Error><Code>{kind}</Code><Message>{escape(refused.said)}</Message></Error>"
        return web.Response(text=text, status=refused.status, content_type="application/xml")
    body = {"__type": f"com.amazonaws.transcribe#{kind}", "Message": refused.said}
    return web.json_response(body, status=refused.status, content_type="application/x-amz-json-1.1")


class _Service:
    """Objects and jobs."""

    def __init__(self, emulation: Emulation) -> None:
        self._key = emulation.key
        self._runs = Runs(emulation)
        self._by_name: dict[str, Run] = {}
        self._objects: dict[str, bytes] = {}

    async def state(self, _: web.Request) -> web.StreamResponse:
        return web.json_response({**self._runs.state(), "files": sorted(self._objects)})

    # --- S3

    async def put(self, request: web.Request) -> web.StreamResponse:
        await _let_in(request, self._key, "s3")
        self._objects[request.match_info["key"]] = await request.read()
        return web.Response(headers={"etag": '"0"'})

    async def get(self, request: web.Request) -> web.StreamResponse:
        await _let_in(request, self._key, "s3")
        if request.match_info["key"] not in self._objects:
            raise Refused(404, "The specified key does not exist.", s3=True, kind="NoSuchKey")
        return web.Response(body=self._objects[request.match_info["key"]])

    async def delete_object(self, request: web.Request) -> web.StreamResponse:
        """Delete an object; one that is not there is deleted too."""
        await _let_in(request, self._key, "s3")
        self._objects.pop(request.match_info["key"], None)
        return web.Response(status=204)

    # --- Transcribe

    async def call(self, request: web.Request) -> web.StreamResponse:
        await _let_in(request, self._key, "transcribe")
        operations = {
            "Transcribe.StartTranscriptionJob": self._start,
            "Transcribe.GetTranscriptionJob": self._describe,
            "Transcribe.DeleteTranscriptionJob": self._delete,
        }
        operation = operations.get(request.headers.get("x-amz-target", ""))
        if operation is None:
            raise Refused(400, "", kind="UnknownOperationException")
        told = await operation(await json_object(request), str(request.url.origin()))
        return web.json_response(told, content_type="application/x-amz-json-1.1")

    async def _start(self, asked: Mapping[str, Any], root: str) -> dict[str, Any]:
        name = str(asked.get("TranscriptionJobName", ""))
        if not re.fullmatch(r"[0-9A-Za-z._-]{1,200}", name):
            raise Refused(400, "1 validation error detected: Value at 'transcriptionJobName' failed.")
        if name in self._by_name and not self._by_name[name].deleted:
            raise Refused(400, "The requested job name already exists.", kind="ConflictException")
        key = str((asked.get("Media") or {}).get("MediaFileUri", "")).removeprefix(f"s3://{_BUCKET}/")
        if key not in self._objects:
            raise Refused(
                400, "The S3 URI that you provided can't be accessed. Make sure that you have read permission."
            )
        audio = self._objects[key]
        run = await self._runs.begin({**asked, "name": name}, audio, language=_language(asked))
        wanted = asked.get("MediaFormat")
        if wanted and _FORMATS.get(wanted) is not container_of(audio):
            run.fault = "The media format that you specified doesn't match the detected media format."
        self._by_name[name] = run
        return _described(run, root)

    async def _describe(self, asked: Mapping[str, Any], root: str) -> dict[str, Any]:
        return _described(self._known(asked), root)

    async def _delete(self, asked: Mapping[str, Any], _: str) -> dict[str, Any]:
        run = self._known(asked, "BadRequestException")  # it has no error of its own for a job that is none
        if not run.is_over:
            raise Refused(400, "The requested job couldn't be deleted: it is IN_PROGRESS.")
        run.delete()
        return {}

    def _known(self, asked: Mapping[str, Any], kind: str = "NotFoundException") -> Run:
        run = self._by_name.get(str(asked.get("TranscriptionJobName")))
        if run is None or run.deleted:
            raise Refused(400, "The requested job couldn't be found.", kind=kind)
        run.asked_after = True
        return run

    async def result(self, request: web.Request) -> web.StreamResponse:
        """Give a result to whoever has its address."""
        run = self._by_name.get(request.match_info["name"])
        if run is None or run.heard is None or request.query.get("X-Amz-Signature") != run.id:
            raise Refused(403, "Request has expired", s3=True, kind="AccessDenied")
        return web.json_response(_result(run, run.heard))


def _language(asked: Mapping[str, Any]) -> str | None:
    """Return the language that is named; None where it is to be found out. Raises Refused."""
    code, detect = asked.get("LanguageCode"), asked.get("IdentifyLanguage") is True
    if bool(code) == detect:
        raise Refused(400, "You must include exactly one of LanguageCode and IdentifyLanguage.")
    if code and not _LANGUAGE.fullmatch(str(code)):
        raise Refused(400, "1 validation error detected: Value at 'languageCode' failed to satisfy constraint.")
    return str(code).split("-")[0] if code else None


# --- signatures


async def _let_in(request: web.Request, secret: str, service: str) -> None:
    """Make the signature again, as Signature Version 4 has it. Raises Refused."""
    s3 = service == "s3"
    given = dict(re.findall(r"(\w+)=([^,\s]+)", request.headers.get("authorization", "")))
    scope = given.get("Credential", "").split("/")
    if len(scope) != 5 or scope[2:] != [OPTIONS["region"], service, "aws4_request"]:
        kind = "AccessDenied" if s3 else "MissingAuthenticationTokenException"
        raise Refused(403, "Missing Authentication Token", s3=s3, kind=kind)
    if scope[0] != OPTIONS["access_key_id"]:
        kind = "InvalidAccessKeyId" if s3 else "UnrecognizedClientException"
        raise Refused(403 if s3 else 400, "The security token included in the request is invalid.", s3=s3, kind=kind)
    if not hmac.compare_digest(await _signature(request, given["SignedHeaders"], scope, secret), given["Signature"]):
        kind = "SignatureDoesNotMatch" if s3 else "InvalidSignatureException"
        raise Refused(403 if s3 else 400, "The request signature we calculated does not match.", s3=s3, kind=kind)


async def _signature(request: web.Request, signed: str, scope: list[str], secret: str) -> str:
    payload = request.headers.get("x-amz-content-sha256") or hashlib.sha256(await request.read()).hexdigest()
    headers = [f"{name}:{' '.join(request.headers.get(name, '').split())}\n" for name in signed.split(";")]
    query = "&".join(sorted(request.rel_url.raw_query_string.split("&")))
    asked = "\n".join((request.method, request.rel_url.raw_path, query, "".join(headers), signed, payload))
    digest = hashlib.sha256(asked.encode()).hexdigest()
    text = "\n".join(("AWS4-HMAC-SHA256", request.headers.get("x-amz-date", ""), "/".join(scope[1:]), digest))
    key = f"AWS4{secret}".encode()
    for part in scope[1:]:
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


# --- what is answered


def _described(run: Run, root: str) -> dict[str, Any]:
    job: dict[str, Any] = {
        "TranscriptionJobName": run.asked["name"],
        "TranscriptionJobStatus": "QUEUED" if run.is_waiting else "IN_PROGRESS",
        "Media": run.asked["Media"],
        "CreationTime": 1767607200.1,
    }
    if run.is_over and run.fault:
        job |= {"TranscriptionJobStatus": "FAILED", "FailureReason": run.fault}
    elif run.is_over and run.heard:
        uri = f"{root}/results/{run.asked['name']}?X-Amz-Signature={run.id}"
        job |= {"TranscriptionJobStatus": "COMPLETED", "Transcript": {"TranscriptFileUri": uri}}
        job["LanguageCode"] = f"{run.heard.language or 'en'}-US"
    return {"TranscriptionJob": job}


def _result(run: Run, heard: Transcript) -> dict[str, Any]:
    told = bool((run.asked.get("Settings") or {}).get("ShowSpeakerLabels"))
    items: list[dict[str, Any]] = []
    spans = []
    for turn in turns(heard, 2):
        label = {"speaker_label": f"spk_{turn.speaker}"} if told else {}
        spoken = [item for each in turn.words for item in _items(each, label)]
        numbers = list(range(len(items), len(items) + len(spoken)))
        items += spoken
        times = {"start_time": str(turn.start_s), "end_time": str(turn.end_s)}
        spans.append({"id": turn.number, "transcript": turn.text, **times, "items": numbers, **label})
    return {
        "jobName": run.asked["name"],
        "accountId": "123456789012",
        "status": "COMPLETED",
        "results": {
            "language_code": f"{heard.language or 'en'}-US",
            "transcripts": [{"transcript": heard.text}],
            "items": [{"id": number, **each} for number, each in enumerate(items)],
            "audio_segments": spans,
        },
    }


def _items(each: Word, label: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return a word, and its punctuation as an item of its own."""
    text = each.text.rstrip(".,?!")
    times = {"start_time": str(each.start_s), "end_time": str(each.end_s)}
    spoken = {"type": "pronunciation", "alternatives": [{"confidence": "0.998", "content": text}], **times, **label}
    if text == each.text:
        return [spoken]
    mark = {"type": "punctuation", "alternatives": [{"confidence": "0.0", "content": each.text[len(text) :]}], **label}
    return [spoken, mark]
