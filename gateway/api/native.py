"""Fronts for the HF clients' `provider="..."` calls: each reads and answers one provider's own shape.

The job behind is routed like any other. Source: requests recorded from huggingface_hub 2.4.0 and
@huggingface/inference 4.13.30, each provider's own documents as its adapter names them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import uuid4

from gateway.api.front import CATALOG, SERVICE, Asked
from gateway.api.hf import HuggingFace, chunks, json_response, query_parameters
from gateway.api.parameters import Parameters, from_text, read_parameters
from gateway.intake.upload import Shape
from gateway.problems import Problem, bad_request, invalid_parameter
from providers.types import Timestamps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from gateway.dispatch.attempts import Answer
    from gateway.intake.upload import Upload
    from providers.types import Audio


class FalAi:
    """`POST /fal-ai/{id}`: JSON with a data URI in `audio_url`, flat fields or nested `parameters`."""

    name = "fal-ai"
    shape = Shape(json_path=("audio_url",), raw=False)
    # fal's own words for what the specification calls otherwise.
    _LEVELS: ClassVar = {"none": False, "segment": True, "word": "word"}
    _OWN = frozenset({"batch_size", "num_speakers", "version", "max_segment_len", "merge_chunks"})

    def read(self, request: web.Request, upload: Upload) -> Asked:
        fields = {**query_parameters(request), **upload.document}
        fields.update(_object(fields.pop("parameters", None), "parameters"))
        level = fields.pop("chunk_level", None)
        if level is not None:
            if level not in self._LEVELS:
                raise invalid_parameter("chunk_level", level, ", ".join(self._LEVELS))
            fields.setdefault("return_timestamps", self._LEVELS[level])
        options = {name: fields.pop(name) for name in self._OWN & fields.keys()}
        return _asked(request, self.name, request.match_info["model"], fields, options)

    def render(self, asked: Asked, audio: Audio, answer: Answer) -> web.Response:
        # fal returns chunks by default: a client that reads them must not find the field missing.
        wanted = asked.parameters
        heard = answer.transcript
        language = heard.language
        body = {
            "text": heard.text,
            "chunks": chunks(heard, wanted, audio) if wanted.timestamps is not Timestamps.NONE else [],
            "inferred_languages": [language] if language else [],
        }
        return json_response(body)

    def render_problem(self, problem: Problem, request_id: str) -> web.Response:
        """Answer as the specification does: the clients read `error`, not fal's `detail`."""
        return HuggingFace().render_problem(problem, request_id)


class Replicate:
    """`POST /replicate/v1/...predictions`: JSON with `input.audio`, answered when it is done."""

    name = "replicate"
    shape = Shape(json_path=("input", "audio"), raw=False)

    def read(self, request: web.Request, upload: Upload) -> Asked:
        fields = {**query_parameters(request), **upload.document}
        model = request.match_info.get("model") or fields.pop("version", None)
        if not isinstance(model, str):
            raise bad_request("version: missing; expected the model's version", param="version")
        for name in ("webhook", "webhook_events_filter", "stream"):
            if name in fields:
                raise invalid_parameter(name, "(value)", "nothing: the answer comes with this reply")
        if (translate := fields.pop("translate", None)) is not None:
            fields["task"] = "translate" if translate is True else "transcribe"
        fields.pop("version", None)
        return _asked(request, self.name, model, fields, {})

    def render(self, asked: Asked, audio: Audio, answer: Answer) -> web.Response:
        heard = answer.transcript
        output: dict[str, Any] = {"transcription": heard.text, "detected_language": heard.language}
        if asked.parameters.timestamps is not Timestamps.NONE:
            output["chunks"] = chunks(heard, asked.parameters, audio)
        body = {"id": uuid4().hex, "model": asked.model, "status": "succeeded", "error": None, "output": output}
        return json_response(body, 201)

    def render_problem(self, problem: Problem, request_id: str) -> web.Response:
        return HuggingFace().render_problem(problem, request_id)


class OpenAILike:
    """DeepInfra's and Together's transcription route: a form with `file` first and `model` last."""

    shape = Shape(json_path=None, raw=False)

    def __init__(self, name: str) -> None:
        self.name = name

    def read(self, request: web.Request, upload: Upload) -> Asked:
        fields: dict[str, Any] = {}
        for name, value in upload.fields:
            fields[name.removesuffix("[]")] = from_text(value)
        model = fields.pop("model", None)
        if not isinstance(model, str):
            raise bad_request("model: missing", param="model")
        wanted = fields.pop("timestamp_granularities", None)
        if fields.pop("response_format", "json") == "verbose_json" or wanted:
            fields.setdefault("return_timestamps", wanted or True)
        return _asked(request, self.name, model, fields, {})

    def render(self, asked: Asked, audio: Audio, answer: Answer) -> web.Response:
        body: dict[str, Any] = {"text": answer.transcript.text}
        if asked.parameters.timestamps is not Timestamps.NONE:
            pieces = chunks(answer.transcript, asked.parameters, audio)
            body["segments"] = [
                {"id": at, "text": each["text"], "start": each["timestamp"][0], "end": each["timestamp"][1]}
                for at, each in enumerate(pieces)
            ]
        return json_response(body)

    def render_problem(self, problem: Problem, request_id: str) -> web.Response:
        return HuggingFace().render_problem(problem, request_id)


def _asked(
    request: web.Request, adapter: str, native: str, fields: Mapping[str, Any], options: Mapping[str, Any]
) -> Asked:
    parameters = read_parameters(fields)
    if options:
        parameters = _with_options(parameters, adapter, options)
    return Asked(model=_canonical(request, adapter, native), parameters=parameters, native_adapter=adapter)


def _with_options(parameters: Parameters, adapter: str, options: Mapping[str, Any]) -> Parameters:
    return replace(parameters, provider_options={**parameters.provider_options, adapter: options})


def _canonical(request: web.Request, adapter: str, native: str) -> str:
    """Return the model meant by a provider's id: our own Hub look-alike hands out names, the real one native ids."""
    native = native.strip("/")
    routes = request.config_dict[SERVICE].routes
    if native in routes.by_model:
        return native
    return request.config_dict[CATALOG].canonical(adapter, native) or native


def _object(value: object, name: str) -> dict[str, Any]:
    if value is not None and not isinstance(value, dict):
        raise bad_request(f"{name}: expected an object", param=name)
    return value or {}
