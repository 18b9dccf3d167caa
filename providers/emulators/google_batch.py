"""The part of Cloud Storage that longer audio needs, and batches of Cloud Speech-to-Text: one bucket, operations.

Source: google-cloud-storage 3.17.1, google-cloud-speech 2.41.0 over REST, google.longrunning's proto (2026). That an
operation which runs is not deleted is unconfirmed, and that a cancelled one stops at once. Left out: several files in a
batch, results in a bucket, dynamic batching, resumable uploads.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from providers.emulators.door import Refused
from providers.emulators.google_form import nested
from providers.emulators.jobs import Run, Runs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from providers.emulators.ear import Emulation
    from providers.types import Transcript

BUCKET: Final = "emulated-bucket"
_OBJECT: Final = "/storage/v1/b/{bucket}/o"
_OPERATION: Final = "/v2/projects/{project}/locations/{location}/operations/{id}"
_INVALID, _NOT_FOUND, _CANCELLED = 3, 5, 1  # google.rpc.Code


class Bucket:
    """What lies in it, by name."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def add_to(self, app: web.Application) -> None:
        app.router.add_post(f"/upload{_OBJECT}", self.upload)
        app.router.add_get(f"{_OBJECT}/{{name}}", self.describe)
        app.router.add_delete(f"{_OBJECT}/{{name}}", self.delete)

    async def upload(self, request: web.Request) -> web.StreamResponse:
        """Take an object, bare or behind its description."""
        _check_bucket(request)
        name = request.query.get("name", "")
        if request.query.get("uploadType") == "multipart":
            described, body = [await part.read() async for part in await request.multipart()]  # type: ignore[union-attr]
            name = str(json.loads(described)["name"])
        else:
            body = await request.read()
        self.objects[name] = bytes(body)
        return web.json_response(_described(name, body))

    async def describe(self, request: web.Request) -> web.StreamResponse:
        name = self._name(request)
        return web.json_response(_described(name, self.objects[name]))

    async def delete(self, request: web.Request) -> web.StreamResponse:
        del self.objects[self._name(request)]
        return web.Response(status=204)

    def _name(self, request: web.Request) -> str:
        _check_bucket(request)
        name = request.match_info["name"]
        if name not in self.objects:
            raise Refused(404, f"No such object: {BUCKET}/{name}")
        return name


def _check_bucket(request: web.Request) -> None:
    if request.match_info["bucket"] != BUCKET:
        raise Refused(404, "The specified bucket does not exist.")


def _described(name: str, body: bytes) -> dict[str, object]:
    return {"kind": "storage#object", "name": name, "bucket": BUCKET, "generation": "1", "size": str(len(body))}


class Operations:
    """Batches that take their time."""

    def __init__(self, emulation: Emulation, bucket: Bucket, answer: Callable[..., dict[str, Any]]) -> None:
        """Answer: makes the results and the metadata of what was heard with a configuration."""
        self._runs = Runs(emulation)
        self._bucket = bucket
        self._answer = answer

    def add_to(self, app: web.Application) -> None:
        app.router.add_get(_OPERATION, self.get)
        app.router.add_delete(_OPERATION, self.delete)
        app.router.add_post(_OPERATION.replace("{id}", "{id:[^:/]+}:cancel"), self.cancel)

    def state(self) -> dict[str, Any]:
        return self._runs.state()

    async def begin(self, asked: Mapping[str, Any], place: str, **how: Any) -> web.StreamResponse:  # noqa: ANN401 - as Runs takes it
        files = asked.get("files") or []
        if len(files) != 1 or "inline_response_config" not in nested(asked, "recognition_output_config"):
            raise Refused(400, "Exactly one file, and where its results go, must be set.")
        name = str(files[0].get("uri", "")).removeprefix(f"gs://{BUCKET}/")
        run = await self._runs.begin({**asked, "place": place}, self._bucket.objects.get(name), **how)
        return web.json_response(self._told(run))

    async def get(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self._told(self._known(request)))

    async def delete(self, request: web.Request) -> web.StreamResponse:
        run = self._known(request)
        if not run.is_over:
            raise Refused(400, "The operation is not done.")
        run.delete()
        return web.json_response({})

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        self._known(request).stop()
        return web.json_response({})

    def _known(self, request: web.Request) -> Run:
        run = self._runs.find(request.match_info["id"])
        if run is None:
            raise Refused(404, "Operation not found.")
        return run

    def _told(self, run: Run) -> dict[str, Any]:
        told: dict[str, Any] = {"name": f"{run.asked['place']}/operations/{run.id}", "done": run.is_over}
        if not run.is_over:
            return told
        if run.stopped:
            return {**told, "error": {"code": _CANCELLED, "message": "The operation was cancelled."}}
        kind = "type.googleapis.com/google.cloud.speech.v2.BatchRecognizeResponse"
        results = {run.asked["files"][0]["uri"]: self._result(run, run.translated or run.heard)}
        return {**told, "response": {"@type": kind, "results": results}}

    def _result(self, run: Run, heard: Transcript | None) -> dict[str, Any]:
        if heard is None:
            return {"error": {"code": _INVALID if run.audio else _NOT_FOUND, "message": run.fault}}
        answered = self._answer(heard, nested(run.asked, "config"))
        metadata = answered.pop("metadata")
        return {"inlineResult": {"transcript": answered}, "metadata": metadata}
