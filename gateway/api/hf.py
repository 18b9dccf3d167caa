"""The Hugging Face front: raw audio, or JSON `inputs` and `parameters`, to `{"text", "chunks"}`.

Source: @huggingface/tasks 0.21.54 (ASR specification), requests recorded from huggingface_hub 0.24 to 2.4 and
@huggingface/inference 2.8 to 4.13, huggingface-inference-toolkit for query parameters and aliases.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.api.front import Asked, endpoint
from gateway.api.parameters import NOTHING_ASKED, Parameters, from_fields, overridden, read_parameters
from gateway.api.response import Response
from gateway.intake.upload import Shape
from gateway.problems import Problem, bad_request, not_found, unknown_parameter
from providers.types import Timestamps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.api.request import Paths, Request
    from gateway.dispatch.answers import Answer
    from gateway.intake.upload import Upload
    from providers.types import Audio, Transcript

PIPELINE = "/pipeline/automatic-speech-recognition"
HF_INFERENCE = "hf-inference"
_JSON = msgspec.json.Encoder()
_BESIDE_THE_AUDIO = frozenset({"parameters", "options", "model", "provider_options"})
# Query parameters that are no parameter of the model; `_subdomain` is the router's own.
_NOT_PARAMETERS = frozenset({"_subdomain"})


class HuggingFace:
    """The specification's own dialect. adapter: whose token its path is called with. A path may pin an account."""

    name = "hf"
    shape = Shape(json_path=("inputs",), form_parts=("file", "audio", "inputs"))

    def __init__(self, *, adapter: str | None = None) -> None:
        self._adapter = adapter

    def named(self, request: Request) -> str:
        return _named(request.place.variables.get("model", ""))

    def read(self, request: Request, upload: Upload) -> Asked:
        for name, value in upload.document.items():
            if name not in _BESIDE_THE_AUDIO and value is not None:
                raise unknown_parameter(name, ("inputs", *sorted(_BESIDE_THE_AUDIO)))
        given = {**query_parameters(request), **from_fields(upload.fields), **upload.document}
        named = given.pop("model", None)
        return Asked(
            model=self.named(request) or _model(request, named),
            account=_account(request),
            native_adapter=self._adapter,
            parameters=_parameters(given) if given else NOTHING_ASKED,
        )

    def render(self, asked: Asked, audio: Audio, answer: Answer) -> Response:
        body: dict[str, Any] = {"text": answer.transcript.text}
        if asked.parameters.timestamps is not Timestamps.NONE:
            body["chunks"] = chunks(answer.transcript, asked.parameters.timestamps, audio)
        return json_response(body)

    def render_problem(self, problem: Problem, request_id: str) -> Response:
        body = {"error": problem.message, "type": problem.type, "request_id": request_id}
        if problem.param:
            body["param"] = problem.param
        return json_response(body, problem.status, problem.headers)


def chunks(transcript: Transcript, level: Timestamps, audio: Audio) -> list[dict[str, Any]]:
    """Return the specification's chunks; every end is a number, the audio's own where the model left it open."""
    last_s = transcript.duration_s or audio.duration_s or 0.0
    pieces = (transcript.words if level is Timestamps.WORD else ()) or transcript.segments
    if not pieces and transcript.text:
        return [{"text": transcript.text, "timestamp": [0.0, round(last_s, 3)]}]
    return [
        _chunk(each.text, each.start_s, each.end_s if each.end_s is not None else last_s, each.speaker)
        for each in pieces
    ]


def _chunk(text: str, start_s: float, end_s: float, speaker: str | None) -> dict[str, Any]:
    chunk: dict[str, Any] = {"text": text, "timestamp": [round(start_s, 3), round(end_s, 3)]}
    return {**chunk, "speaker": speaker} if speaker is not None else chunk


def json_response(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with JSON, labelled exactly as every client wants to see it."""
    return Response(_JSON.encode(body), "application/json", status, headers)


def as_object(value: object, name: str) -> dict[str, Any]:
    """Read a member that is an object, or not there. Raises Problem 400."""
    if value is not None and not isinstance(value, dict):
        raise bad_request(f"{name}: expected an object", param=name)
    return value or {}


def query_parameters(request: Request) -> dict[str, Any]:
    """Read `?return_timestamps=word`: the only channel a JS client has."""
    query = request.query
    return from_fields((name, value) for name, value in query.items() if name not in _NOT_PARAMETERS) if query else {}


@lru_cache(maxsize=256)
def _named(rest: str) -> str:
    """Return the model that the rest of a path names."""
    return rest.removesuffix("/").removesuffix(PIPELINE).strip("/")


def _parameters(given: dict[str, Any]) -> Parameters:
    given.pop("options", None)  # wait_for_model, use_cache: of a server that had to load its models
    nested = as_object(given.pop("parameters", None), "parameters")
    # The body's parameters win over the form's, and these over the query's: they are the most deliberate.
    return read_parameters(overridden(given, nested))


def _account(request: Request) -> str | None:
    """Return the account that the path pins. Raises Problem 404."""
    segment = request.place.variables.get("account")
    if segment is None:
        return None
    account = request.service.accounts.get(segment)
    if account is None:
        raise not_found(f"{segment[:80]!r} in the path is no account here")
    return account


def _model(request: Request, named: object) -> str:
    """Return the model of the body, or the default one. Raises Problem."""
    if named is not None and not isinstance(named, str):
        raise bad_request("model: expected a string", param="model")
    default = named or request.service.routes.default_model
    if default is None:
        raise not_found("the path names no model and there is no default_model: POST /models/{model}", "unknown-model")
    return str(default)


def pinned_paths(accounts: Mapping[str, str]) -> dict[str, str]:
    """Return path segment -> account: each by its own name, and by its adapter's where no other has that adapter.

    accounts: name -> adapter. `hf-inference` pins nothing: it is the path of every HF client that names no provider.
    """
    count = Counter(accounts.values())
    by_adapter = {adapter: name for name, adapter in accounts.items() if count[adapter] == 1}
    by_name = {name: name for name in accounts}
    return {segment: name for segment, name in (by_adapter | by_name).items() if segment != HF_INFERENCE}


def add_routes(router: Paths) -> None:
    """Add every path under which HF clients post audio."""
    router.add_post(f"/{HF_INFERENCE}/models/{{model:.+}}", endpoint(HuggingFace(adapter=HF_INFERENCE)))
    anywhere = endpoint(HuggingFace())
    for prefix in ("/models", PIPELINE):
        router.add_post(f"{prefix}/{{model:.+}}", anywhere)
    router.add_post("/{account}/models/{model:.+}", anywhere)
    for path in ("/", "/predict", "/predict/", "/v1", "/v1/"):  # a base_url may end in /v1: to speech it means nothing
        router.add_post(path, anywhere)
