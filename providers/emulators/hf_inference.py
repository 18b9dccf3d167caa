"""hf-inference as its clients see it: raw bytes or the specification's JSON, `{"error": "..."}` on failure.

Source: huggingface-inference-toolkit `webservice_starlette.py`, `serialization/base.py` and `utils.py` (2025-08-25; of
its branches, the one with the serverless service's switches); error bodies as recorded from huggingface_hub and
@huggingface/inference clients.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pybase64
from aiohttp import web

from providers.audio.unreadable import AudioTooLong, UnreadableAudio
from providers.types import GENERATION_NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from providers.emulators.ear import Ear, Emulation
    from providers.types import Transcript

LOADING: Final = "emulated/loading"
"""A model that is for ever being loaded, unless a request waits for it with `x-wait-for-model: true`."""

_MAX_BYTES = 25 * 1024 * 1024
_SUBTYPES = "x-flac flac mpeg x-mpeg-3 wave wav x-wav ogg x-audio webm amr amr-wb amr-wb+ m4a x-m4a"
_TYPES: Final = ("application/json", *(f"audio/{subtype}" for subtype in _SUBTYPES.split()))
_GENERATION_NAMES: Final = ("generation_parameters", "generate_kwargs", "generate")
_PARAMETERS: Final = {"return_timestamps", "return_language", "chunk_length_s", "stride_length_s", *_GENERATION_NAMES}
_GENERATION: Final = {*GENERATION_NAMES, "language", "task"}


class _Refused(ValueError):
    """A request that ends in a 400; the words are the service's."""


def build_app(emulation: Emulation) -> web.Application:
    """Return the service under `/models/{model}`, open to callers without a key; a dedicated endpoint at `/`."""
    own = f"Bearer {emulation.key}"

    async def hosted(request: web.Request) -> web.Response:
        if request.headers.get("authorization", own) != own:
            return _error(401, "Invalid username or password.")
        model = request.match_info["model"]
        if model == LOADING and request.headers.get("x-wait-for-model") != "true":
            return _error(503, f"Model {model} is currently loading", estimated_time=20.0)
        return await _transcribe(request, emulation.ear)

    async def dedicated(request: web.Request) -> web.Response:
        if request.headers.get("authorization") != own:
            return _error(401, "Invalid username or password.")
        return await _transcribe(request, emulation.ear)

    app = web.Application(client_max_size=_MAX_BYTES * 4 // 3 + 64 * 1024)  # base64, and the JSON around it
    app.router.add_post("/models/{model:.+}", hosted)
    for path in ("/", "/predict"):
        app.router.add_post(path, dedicated)
    return app


async def _transcribe(request: web.Request, ear: Ear) -> web.Response:
    try:
        audio, parameters = _read(await request.read(), request.content_type, request.query)
        if len(audio) > _MAX_BYTES:
            return _error(413, "Payload Too Large")
        generation = _generation(parameters)
        heard = await ear.hear(
            audio, language=generation.get("language"), translate=generation.get("task") == "translate"
        )
        return web.json_response(_answer(heard, parameters))
    except web.HTTPRequestEntityTooLarge:
        return _error(413, "Payload Too Large")
    except (UnreadableAudio, AudioTooLong):
        return _error(400, "Malformed soundfile")
    except _Refused as refused:
        return _error(400, str(refused))


def _read(body: bytes, content_type: str, query: Mapping[str, str]) -> tuple[bytes, dict[str, Any]]:
    """Return audio and parameters; the query's count where the body has none. Raises _Refused.

    No Content-Type at all is octet-stream to aiohttp, and audio here: huggingface_hub sends bytes so.
    """
    asked = {name: _value(text) for name, text in query.items()}
    if content_type == "application/octet-stream":
        return body, _checked(asked)
    if content_type not in _TYPES:
        listed = ", ".join(_TYPES)
        raise _Refused(f'Content type "{content_type}" not supported. Supported content types are: {listed}')
    if content_type != "application/json":
        return body, _checked(asked)
    inputs, parameters = _read_json(body)
    return inputs, _checked(parameters or asked)


def _read_json(body: bytes) -> tuple[bytes, dict[str, Any]]:
    try:
        document = json.loads(body)
    except ValueError as error:
        raise _Refused(f"Body is not JSON: {error}") from None
    if not isinstance(document, dict) or not isinstance(document.get("inputs"), str):
        raise _Refused("Body needs to provide a inputs key")
    parameters = document.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise _Refused("parameters must be an object")
    try:
        return pybase64.b64decode(document["inputs"], validate=True), parameters
    except ValueError:
        raise _Refused("inputs is not valid base64") from None


def _value(text: str) -> bool | int | str:
    """Read a query parameter as the toolkit does: digits are a number, true and false are truth."""
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    return int(text) if text.isdecimal() else text


def _checked(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters where the pipeline and the model know them all. Raises _Refused."""
    for name in parameters:
        if name not in _PARAMETERS:
            raise _Refused(f"_sanitize_parameters() got an unexpected keyword argument '{name}'")
    if parameters.get("return_timestamps", False) not in (True, False, "word"):
        raise _Refused("Whisper cannot return such timestamps, use `return_timestamps=True` or 'word'.")
    if unknown := [name for name in _generation(parameters) if name not in _GENERATION]:
        raise _Refused(f"The following `model_kwargs` are not used by the model: {unknown}")
    return parameters


def _generation(parameters: dict[str, Any]) -> dict[str, Any]:
    given: object = next((parameters[name] for name in _GENERATION_NAMES if name in parameters), {})
    if not isinstance(given, dict):
        raise _Refused("generation_parameters must be an object")
    return given


def _answer(heard: Transcript, parameters: dict[str, Any]) -> dict[str, Any]:
    timestamps = parameters.get("return_timestamps")
    answer: dict[str, Any] = {"text": f" {heard.text}"}
    if timestamps == "word":
        answer["chunks"] = [{"text": f" {w.text}", "timestamp": [w.start_s, w.end_s]} for w in heard.words]
    elif timestamps:
        answer["chunks"] = [{"text": s.text, "timestamp": [s.start_s, s.end_s]} for s in heard.segments]
    return answer


def _error(status: int, reason: str, **more: float) -> web.Response:
    return web.json_response({"error": reason, **more}, status=status, headers={"x-request-id": "emulated"})
