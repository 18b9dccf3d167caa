"""The Hugging Face front: raw audio, or JSON `inputs` and `parameters`, to `{"text", "chunks"}`.

Source: @huggingface/tasks 0.21.54 (ASR specification), requests recorded from huggingface_hub 0.24 to 2.4 and
@huggingface/inference 2.8 to 4.13, huggingface-inference-toolkit for query parameters and aliases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from gateway.api.front import SERVICE, Asked
from gateway.api.parameters import Parameters, from_text, read_parameters
from gateway.intake.upload import Shape
from gateway.problems import Problem, bad_request, invalid_parameter, not_found
from providers.types import Timestamps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.dispatch.attempts import Answer
    from gateway.intake.upload import Upload
    from providers.types import Audio, Transcript

PIPELINE = "/pipeline/automatic-speech-recognition"
_JSON = msgspec.json.Encoder()
# Query parameters that are no parameter of the model; `_subdomain` is the router's own.
_NOT_PARAMETERS = frozenset({"_subdomain"})
_CREDENTIAL_NAMES = frozenset({"api_key", "apikey", "key", "token", "access_token", "authorization", "hf_token"})


class HuggingFace:
    """The specification's own dialect."""

    name = "hf"
    shape = Shape(json_path=("inputs",), form_parts=("file", "audio", "inputs"))

    def read(self, request: web.Request, upload: Upload) -> Asked:
        document = upload.document
        unknown = set(document) - {"parameters", "options", "model", "provider_options"}
        if unknown:
            name = min(unknown)
            raise invalid_parameter(name, document[name], "inputs, parameters and options only")
        return Asked(
            model=_model(request, document.get("model")),
            account=request.match_info.get("account"),
            parameters=read_parameters(_given(request, upload)),
        )

    def render(self, asked: Asked, audio: Audio, answer: Answer) -> web.Response:
        body: dict[str, Any] = {"text": answer.transcript.text}
        if asked.parameters.timestamps is not Timestamps.NONE:
            body["chunks"] = chunks(answer.transcript, asked.parameters, audio)
        return json_response(body)

    def render_problem(self, problem: Problem, request_id: str) -> web.Response:
        body = {"error": problem.message, "type": problem.type, "request_id": request_id}
        if problem.param:
            body["param"] = problem.param
        return json_response(body, problem.status, problem.headers)


def chunks(transcript: Transcript, wanted: Parameters, audio: Audio) -> list[dict[str, Any]]:
    """Return the specification's chunks; every end is a number, the audio's own where the model left it open."""
    last_s = transcript.duration_s or audio.duration_s or 0.0
    pieces = transcript.words if wanted.timestamps is Timestamps.WORD else transcript.segments
    if not pieces and transcript.text and wanted.timestamps is Timestamps.SEGMENT:
        return [{"text": transcript.text, "timestamp": [0.0, last_s]}]
    return [
        _chunk(each.text, each.start_s, each.end_s if each.end_s is not None else last_s, each.speaker)
        for each in pieces
    ]


def _chunk(text: str, start_s: float, end_s: float, speaker: str | None) -> dict[str, Any]:
    chunk: dict[str, Any] = {"text": text, "timestamp": [round(start_s, 3), round(end_s, 3)]}
    return {**chunk, "speaker": speaker} if speaker is not None else chunk


def json_response(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Answer with JSON, labelled exactly as every client wants to see it."""
    return web.Response(body=_JSON.encode(body), status=status, headers=headers, content_type="application/json")


def _given(request: web.Request, upload: Upload) -> dict[str, Any]:
    """Join parameters from the body, the form and the query, the body's winning: it is the most deliberate."""
    parameters = upload.document.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise bad_request("parameters: expected an object", param="parameters")
    form = {name: from_text(value) for name, value in upload.fields if name != "model"}
    return {**query_parameters(request), **form, **parameters}


def query_parameters(request: web.Request) -> dict[str, Any]:
    """Read `?return_timestamps=word`: the only channel a JS client has. Raises Problem 400 for a key in a URL."""
    for name in request.query:
        if name.lower() in _CREDENTIAL_NAMES:
            raise bad_request(f"{name}: a credential does not belong in a URL, where logs keep it", param=name)
    return {name: from_text(value) for name, value in request.query.items() if name not in _NOT_PARAMETERS}


def _model(request: web.Request, named: object) -> str:
    """Return the model of the path, of the body, or the default one."""
    model = request.match_info.get("model", "").removesuffix("/").removesuffix(PIPELINE).strip("/")
    if model or isinstance(named, str):
        return model or str(named)
    default = request.config_dict[SERVICE].routes.default_model
    if default is None:
        raise not_found("the path names no model and there is no default_model: POST /models/{model}", "unknown-model")
    return str(default)


def add_routes(router: web.UrlDispatcher, handler: Any, accounts: Mapping[str, str]) -> None:  # noqa: ANN401
    """Add every path under which HF clients post audio. accounts: path segment -> account name."""
    for segment in accounts:
        router.add_post(f"/{{account:{segment}}}/models/{{model:.+}}", handler)
    for prefix in ("/models", "/hf-inference/models", PIPELINE):
        router.add_post(f"{prefix}/{{model:.+}}", handler)
    for path in ("/", "/predict", "/predict/"):
        router.add_post(path, handler)
