"""Fronts for the HF clients' `provider="..."` calls: each reads and answers one provider's own shape.

The job behind is routed like any other. Source: requests recorded from huggingface_hub 2.4.0 and
@huggingface/inference 4.13.30, each provider's own documents as its adapter names them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from msgspec.structs import replace

from gateway.api.front import Asked
from gateway.api.hf import HuggingFace, as_object, chunks, json_response, query_parameters
from gateway.api.parameters import from_fields, read_parameters
from gateway.api.values import BOOLEAN, word
from gateway.intake.upload import Shape
from gateway.problems import Problem, bad_request, invalid_parameter
from providers.registry import PROVIDERS
from providers.types import Timestamps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.api.request import Request
    from gateway.api.response import Response
    from gateway.dispatch.answers import Answer
    from gateway.intake.upload import Upload
    from providers.types import Audio


# The providers' own words for what the specification calls otherwise.
FAL_LEVEL: Final = word({"none": False, "segment": True, "word": "word"})
REPLICATE_LEVEL: Final = word({"chunk": True, "word": "word"})
IS_VERBOSE: Final = word({"json": False, "verbose_json": True})
LEVEL: Final = word({"segment": True, "word": "word"})


class FalAi:
    """`POST /fal-ai/{id}`: JSON with a data URI in `audio_url`, flat fields or nested `parameters`."""

    name = "fal-ai"
    shape = Shape(json_path=("audio_url",), raw=False)

    def named(self, request: Request) -> str:
        return _named(request, self.name)

    def read(self, request: Request, upload: Upload) -> Asked:
        fields = {**query_parameters(request), **upload.document}
        fields.update(as_object(fields.pop("parameters", None), "parameters"))
        if (level := fields.pop("chunk_level", None)) is not None:
            fields.setdefault("return_timestamps", FAL_LEVEL("chunk_level", level))
        return _asked(request, self.name, request.place.variables["model"], fields)

    def render(self, asked: Asked, audio: Audio, answer: Answer) -> Response:
        level, heard = asked.parameters.timestamps, answer.transcript
        body = {
            "text": heard.text,
            # Always there, as from fal: a client that reads them must not find the field missing.
            "chunks": chunks(heard, level, audio) if level is not Timestamps.NONE else [],
            "inferred_languages": [heard.language] if heard.language else [],
        }
        return json_response(body)

    def render_problem(self, problem: Problem, request_id: str) -> Response:
        """Answer as the specification does: the clients read `error`, not fal's `detail`."""
        return HuggingFace().render_problem(problem, request_id)


class Replicate:
    """`POST /replicate/v1/...predictions`: JSON with `input.audio`, answered when it is done."""

    name = "replicate"
    shape = Shape(json_path=("input", "audio"), raw=False)

    def named(self, request: Request) -> str:
        return _named(request, self.name)

    def read(self, request: Request, upload: Upload) -> Asked:
        fields = {**query_parameters(request), **upload.document}
        version = fields.pop("version", None)
        model = request.place.variables.get("model") or version
        if not isinstance(model, str):
            raise bad_request("version: missing; expected the model's version", param="version")
        for name in ("webhook", "webhook_events_filter", "stream"):
            if fields.pop(name, None):
                raise invalid_parameter(name, "(value)", "nothing: the answer comes with this reply")
        return _asked(request, self.name, model, _without_replicates_words(fields))

    def render(self, asked: Asked, audio: Audio, answer: Answer) -> Response:
        heard = answer.transcript
        output: dict[str, Any] = {"transcription": heard.text, "detected_language": heard.language}
        if asked.parameters.timestamps is not Timestamps.NONE:
            output["chunks"] = chunks(heard, asked.parameters.timestamps, audio)
        body = {"id": uuid4().hex, "model": asked.model, "status": "succeeded", "error": None, "output": output}
        return json_response(body, 201)

    def render_problem(self, problem: Problem, request_id: str) -> Response:
        return HuggingFace().render_problem(problem, request_id)


class OpenAILike:
    """DeepInfra's and Together's transcription route: a form with `file` first and `model` last."""

    shape = Shape(json_path=None, raw=False)

    def __init__(self, name: str) -> None:
        self.name = name

    def named(self, request: Request) -> str:
        del request
        return ""

    def read(self, request: Request, upload: Upload) -> Asked:
        fields = {**query_parameters(request), **from_fields(upload.fields)}
        model = fields.pop("model", None)
        if not isinstance(model, str):
            raise bad_request("model: missing", param="model")
        wanted = _granularities(fields.pop("timestamp_granularities", None))
        if IS_VERBOSE("response_format", fields.pop("response_format", "json")) or wanted:
            fields.setdefault("return_timestamps", "word" if "word" in wanted else True)
        return replace(_asked(request, self.name, model, fields), rendering={"words": "word" in wanted})

    def render(self, asked: Asked, audio: Audio, answer: Answer) -> Response:
        """Answer with `segments` when times were asked for, which the HF clients call chunks.

        `return_timestamps="word"` makes each of them a word; `timestamp_granularities` with "word" adds `words`.
        """
        heard, level = answer.transcript, asked.parameters.timestamps
        body: dict[str, Any] = {"text": heard.text}
        if asked.rendering["words"]:
            level = Timestamps.SEGMENT
            body["words"] = [{"word": each.text, "start": each.start_s, "end": each.end_s} for each in heard.words]
        if level is not Timestamps.NONE:
            body["segments"] = [
                {"id": at, "text": each["text"], "start": each["timestamp"][0], "end": each["timestamp"][1]}
                for at, each in enumerate(chunks(heard, level, audio))
            ]
        return json_response(body)

    def render_problem(self, problem: Problem, request_id: str) -> Response:
        return HuggingFace().render_problem(problem, request_id)


def _granularities(value: object) -> Sequence[str]:
    """Read one name, or a list of them. Raises Problem 422."""
    names: list[Any] = value if isinstance(value, list) else [] if value is None else [value]
    for name in names:
        LEVEL("timestamp_granularities", name)
    return names


def _without_replicates_words(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Call inputs of the Whisper models there what the specification calls them. Raises Problem 422."""
    renamed = {name: value for name, value in fields.items() if value is not None}
    if (translate := renamed.pop("translate", None)) is not None:
        renamed["task"] = "translate" if BOOLEAN("translate", translate) else "transcribe"
    if (level := renamed.pop("timestamp", None)) is not None:
        renamed.setdefault("return_timestamps", REPLICATE_LEVEL("timestamp", level))
    if (diarize := renamed.pop("diarise_audio", None)) is not None:
        renamed["diarize"] = diarize
    return renamed


def _asked(request: Request, adapter: str, native: str, fields: Mapping[str, Any]) -> Asked:
    """Read the fields: parameters of the specification, and options that only this provider knows."""
    own = PROVIDERS[adapter].options.model_fields.keys() & fields.keys()
    parameters = read_parameters({name: value for name, value in fields.items() if name not in own})
    if own:
        nested = parameters.provider_options.get(adapter, {})
        options = {adapter: _merged(nested, {name: fields[name] for name in own})}
        parameters = replace(parameters, provider_options={**parameters.provider_options, **options})
    return Asked(model=_canonical(request, adapter, native), parameters=parameters, native_adapter=adapter)


def _named(request: Request, adapter: str) -> str:
    native = request.place.variables.get("model")
    return _canonical(request, adapter, native) if native else ""


def _merged(nested: Mapping[str, Any], flat: Mapping[str, Any]) -> dict[str, Any]:
    """Join a provider's options under `provider_options` with those beside it. Raises Problem 422."""
    for name in nested.keys() & flat.keys():
        if nested[name] != flat[name]:
            raise invalid_parameter(name, flat[name], f"one value: {nested[name]!r} was given too")
    return {**nested, **flat}


def _canonical(request: Request, adapter: str, native: str) -> str:
    """Return the model meant by a provider's id: our own Hub look-alike hands out names, the real one native ids."""
    native = native.strip("/")
    if native in request.service.routes.by_model:
        return native
    known = request.site.catalog.canonical
    # fal's own paths begin with `fal-ai/`: whoever replaces its origin by ours sends what follows.
    return known(adapter, native) or known(adapter, f"{adapter}/{native}") or native
