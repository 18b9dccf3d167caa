"""hf-inference as its clients see it: raw bytes or the specification's JSON, `{"error": "..."}` on failure.

Source: huggingface-inference-toolkit `webservice_starlette.py` and `serialization/base.py` (2025-08-25); error bodies as
recorded from huggingface_hub and @huggingface/inference clients.
"""

from __future__ import annotations

import binascii
import json
from typing import TYPE_CHECKING, Any

import pybase64
from aiohttp import web

from providers.audio.decode import UnreadableAudio

if TYPE_CHECKING:
    from providers.emulators.ear import Emulation
    from providers.types import Transcript

_MAX_BYTES = 25 * 1024 * 1024


def build_app(emulation: Emulation) -> web.Application:
    """Return the service under `/models/{model}`, and a dedicated endpoint at `/`."""

    async def transcribe(request: web.Request) -> web.Response:
        if request.headers.get("authorization") != f"Bearer {emulation.key}":
            return _error(401, "Invalid username or password.")
        body = await request.read()
        try:
            audio, parameters = _read(body, request.content_type)
            heard = await emulation.ear.hear(audio, language=_generation(parameters).get("language"))
        except (ValueError, binascii.Error) as error:
            reason = "Malformed soundfile" if isinstance(error, UnreadableAudio) else str(error)
            return _error(400, reason)
        return web.json_response(_answer(heard, parameters.get("return_timestamps", False)))

    app = web.Application(client_max_size=_MAX_BYTES * 4 // 3)
    app.router.add_post("/models/{model:.+}", transcribe)
    app.router.add_post("/", transcribe)
    return app


def _read(body: bytes, content_type: str) -> tuple[bytes, dict[str, Any]]:
    """Return audio and parameters. Raises ValueError with the service's words."""
    if content_type != "application/json":
        return body, {}
    document = json.loads(body)
    if "inputs" not in document:
        raise ValueError("Body needs to provide a inputs key")
    return pybase64.b64decode(document["inputs"], validate=True), document.get("parameters") or {}


def _generation(parameters: dict[str, Any]) -> dict[str, Any]:
    generation: dict[str, Any] = parameters.get("generation_parameters") or {}
    return generation


def _answer(heard: Transcript, timestamps: bool | str) -> dict[str, Any]:
    answer: dict[str, Any] = {"text": f" {heard.text}"}
    if timestamps == "word":
        answer["chunks"] = [{"text": f" {w.text}", "timestamp": [w.start_s, w.end_s]} for w in heard.words]
    elif timestamps:
        answer["chunks"] = [{"text": s.text, "timestamp": [s.start_s, s.end_s]} for s in heard.segments]
    return answer


def _error(status: int, reason: str) -> web.Response:
    return web.json_response({"error": reason}, status=status, headers={"x-request-id": "emulated"})
