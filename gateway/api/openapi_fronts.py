"""How the OpenAPI document describes each front: what it takes, in which media types, and what it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.api.hf import HuggingFace
from gateway.api.native import FAL_LEVEL, IS_VERBOSE, LEVEL, REPLICATE_LEVEL, FalAi, OpenAILike, Replicate
from gateway.api.openai import FORMATS, GRANULARITIES, OWN_OPTIONS, PARAMETERS, TRANSLATION_FORMATS, OpenAI
from gateway.api.openapi_schemas import (
    ANSWERS,
    COUNT,
    MODEL,
    NUMBER,
    TEXT,
    Schema,
    as_json,
    headers,
    listed,
    one_of,
    optional,
    parameter_fields,
    query_parameters,
    record,
    ref,
)
from gateway.api.terms import DRY_RUN, TIMEOUT
from gateway.api.values import BOOLEAN, LANGUAGE, PROMPT
from providers.openai import OpenAIOptions
from providers.registry import PROVIDERS
from providers.types import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.api.front import Front
    from gateway.intake.upload import Shape

_FILE: Final[Schema] = {"type": "string", "format": "binary"}
_ENCODED: Final[Schema] = {
    "type": "string",
    "format": "audio",
    "contentEncoding": "base64",
    "description": "Audio as base64 or as a data URI; an https address where `fetch` allows its host.",
}
_TERMS: Final[Mapping[str, Schema]] = {
    TIMEOUT: {
        "type": "string",
        "description": "The time the caller allows, up to a day: 30s, 2m; without a unit, seconds.",
        "pattern": r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)?$",
        "examples": ["30s"],
    },
    DRY_RUN: {**one_of("true", "false"), "description": "true, with an admin's key: answer only who would be asked."},
    "Cache-Control": {"type": "string", "description": "no-cache, no-store, max-age=60, only-if-cached."},
}
# --- what is taken


def _hugging_face(front: HuggingFace) -> Schema:
    del front
    beside = {"parameters": optional(ref("Parameters")), "options": {}, "model": optional(TEXT)}
    own = optional(ref("OptionsByProvider"))
    document = record({"inputs": _ENCODED, **beside, "provider_options": own}, required=("inputs",))
    return _content(HuggingFace.shape, document, {**parameter_fields(), **beside})


def _fal(front: FalAi) -> Schema:
    fields = {**parameter_fields(), "chunk_level": optional(FAL_LEVEL.schema), **_own_options(front.name)}
    nested = {"parameters": optional(record(fields, required=()))}
    return _content(FalAi.shape, record({"audio_url": _ENCODED, **fields, **nested}, required=("audio_url",)), {})


def _replicate(front: Replicate) -> Schema:
    words = {"translate": optional(BOOLEAN.schema), "timestamp": optional(REPLICATE_LEVEL.schema)}
    own = {**words, "diarise_audio": optional(BOOLEAN.schema), **_own_options(front.name)}
    given = record({"audio": _ENCODED, **parameter_fields(), **own}, required=("audio",))
    document = record({"version": MODEL, "input": given, "stream": optional({"const": False})}, required=("input",))
    return _content(Replicate.shape, document, {})


def _openai_like(front: OpenAILike) -> Schema:
    own = {"model": MODEL, "response_format": dict(IS_VERBOSE.schema)}
    times = {"timestamp_granularities": listed(dict(LEVEL.schema))}
    fields = {**parameter_fields(), **own, **times, **_own_options(front.name)}
    return _content(OpenAILike.shape, None, fields, required=("model",))


def _openai(front: OpenAI) -> Schema:
    own = OpenAIOptions.model_json_schema()["properties"]
    fields: dict[str, Schema] = {
        "model": MODEL,
        "response_format": one_of(*(FORMATS if front.task is Task.TRANSCRIBE else TRANSLATION_FORMATS)),
        "timestamp_granularities": listed(one_of(*GRANULARITIES)),
        "prompt": dict(PROMPT.schema),
        "diarize": dict(BOOLEAN.schema),
        "stream": {"const": False},
        "chunking_strategy": {"anyOf": [one_of("auto"), ref("ServerVad")]},
        **{name: _without_null(own[name]) for name in OWN_OPTIONS},
        **{name: dict(value.schema) for name, value in PARAMETERS.items()},
    }
    if front.task is Task.TRANSCRIBE:
        fields["language"] = dict(LANGUAGE.schema)
    return _content(OpenAI.shape, None, fields, required=("model",))


def _own_options(adapter: str) -> dict[str, Schema]:
    """Return the options that only this provider knows, which its own front takes beside the parameters."""
    schema: Schema = PROVIDERS[adapter].options.model_json_schema()
    return dict(schema.get("properties", {}))


def _without_null(schema: Schema) -> Schema:
    return dict(next(each for each in schema["anyOf"] if each.get("type") != "null"))


def _content(
    shape: Shape, document: Schema | None, fields: Mapping[str, Schema], required: tuple[str, ...] = ()
) -> Schema:
    """Return the media types of a body. The first part of a form that is audio will do, under any of its names."""
    content: Schema = as_json(document) if document else {}
    if fields:
        parts = dict.fromkeys(shape.form_parts, _FILE)
        form = record({**fields, **parts}, required=required)
        content["multipart/form-data"] = {"schema": form | _one_of_parts(shape.form_parts, required)}
    if shape.raw:
        raw = {"description": "Audio; Content-Type is not looked at.", **_FILE}
        content |= {"application/octet-stream": {"schema": raw}, "audio/*": {"schema": raw}}
        content["text/plain"] = {"schema": _ENCODED}
    return content


def _one_of_parts(parts: tuple[str, ...], required: tuple[str, ...]) -> Schema:
    if len(parts) == 1:
        return {"required": [*parts, *required]}
    return {"oneOf": [{"required": [part]} for part in parts]}


# --- what is answered

_SPAN: Final[Schema] = {"type": "array", "items": NUMBER, "minItems": 2, "maxItems": 2}
_CHUNK: Final = record({"text": TEXT, "timestamp": _SPAN, "speaker": TEXT}, required=("text", "timestamp"))
_WORD: Final = record({"word": TEXT, "start": NUMBER, "end": NUMBER})
_SEGMENT: Final = record({"id": COUNT, "text": TEXT, "start": NUMBER, "end": NUMBER})
_USAGE: Final = record({"type": one_of("duration"), "seconds": COUNT})
_DECODER: Final = ("temperature", "avg_logprob", "compression_ratio", "no_speech_prob")
_FULL_SEGMENT: Final = record(
    {**_SEGMENT["properties"], "seek": COUNT, "tokens": listed(COUNT), **dict.fromkeys(_DECODER, NUMBER)}
)
_SPOKEN: Final = record(
    {
        "type": one_of("transcript.text.segment"),
        "id": TEXT,
        "start": NUMBER,
        "end": NUMBER,
        "text": TEXT,
        "speaker": TEXT,
    }
)
_TASK: Final = one_of(*Task)
_VERBOSE: Final[Mapping[str, Schema]] = {"task": _TASK, "language": TEXT, "duration": NUMBER, "text": TEXT}
_DIARIZED: Final[Mapping[str, Schema]] = {"task": _TASK, "duration": NUMBER, "text": TEXT, "segments": listed(_SPOKEN)}
_OUTPUT: Final = {"transcription": TEXT, "detected_language": optional(TEXT), "chunks": listed(_CHUNK)}
_PREDICTION: Final[Mapping[str, Schema]] = {
    "id": TEXT,
    "model": TEXT,
    "status": one_of("succeeded"),
    "error": {"type": "null"},
    "output": record(_OUTPUT, required=("transcription", "detected_language")),
}
_SUBTITLES: Final = {media: {"schema": TEXT} for media in ("text/plain", "application/x-subrip", "text/vtt")}

SCHEMAS: Final[Mapping[str, Schema]] = {
    "Transcription": record({"text": TEXT, "chunks": listed(_CHUNK)}, required=("text",)),
    "FalTranscription": record({"text": TEXT, "chunks": listed(_CHUNK), "inferred_languages": listed(TEXT)}),
    "Prediction": record(_PREDICTION),
    "TimedTranscription": record(
        {"text": TEXT, "words": listed(_WORD), "segments": listed(_SEGMENT)}, required=("text",)
    ),
    "OpenAITranscription": record({"text": TEXT, "usage": _USAGE}, required=("text",)),
    "OpenAIVerbose": record(
        {**_VERBOSE, "segments": listed(_FULL_SEGMENT), "words": listed(_WORD), "usage": _USAGE}, required=_VERBOSE
    ),
    "OpenAIDiarized": record({**_DIARIZED, "usage": _USAGE}, required=_DIARIZED),
    "Plan": {
        "type": "object",
        "description": "Who would be asked, in which order, and why the others would not.",
        "properties": {
            "model": TEXT,
            "audio": {"type": "object"},
            "strategy": TEXT,
            "parts_of_s": {"type": ["number", "null"]},
            "candidates": listed({"type": "object"}),
            "passed_over": listed({"type": "object"}),
        },
        "required": ["model", "audio", "strategy", "parts_of_s", "candidates", "passed_over"],
    },
}
_TAKEN: Final[Mapping[type[Any], Callable[[Any], Schema]]] = {
    HuggingFace: _hugging_face,
    FalAi: _fal,
    Replicate: _replicate,
    OpenAILike: _openai_like,
    OpenAI: _openai,
}
_ANSWERED: Final[Mapping[type[Any], tuple[str, ...]]] = {
    HuggingFace: ("Transcription",),
    FalAi: ("FalTranscription",),
    Replicate: ("Prediction",),
    OpenAILike: ("TimedTranscription",),
    OpenAI: ("OpenAITranscription", "OpenAIVerbose", "OpenAIDiarized"),
}


def of_front(front: Front) -> Schema:
    """Return the operation of a route that transcribes, without what its path says."""
    in_query = () if isinstance(front, OpenAI) else query_parameters()
    terms = [{"name": name, "in": "header", "schema": schema} for name, schema in _TERMS.items()]
    return {
        "summary": (type(front).__doc__ or "").strip().partition("\n")[0],
        "parameters": [*terms, *(ref(name, "parameters") for name in in_query)],
        "requestBody": ref(front.name, "requestBodies"),
        "responses": _answers(front),
    }


def body_of(front: Front) -> Schema:
    """Return what it takes, which stands once for all its routes."""
    return {"required": True, "content": _TAKEN[type(front)](front)}


def _answers(front: Front) -> dict[str, Schema]:
    schemas = [ref(name) for name in _ANSWERED[type(front)]]
    if isinstance(front, Replicate):
        plan = {"description": "The plan.", "headers": headers(), "content": as_json(ref("Plan"))}
        return {"200": plan, "201": _transcript(as_json(*schemas))}
    content = as_json({"anyOf": [*schemas, ref("Plan")]})
    return {"200": _transcript({**content, **(_SUBTITLES if isinstance(front, OpenAI) else {})})}


def _transcript(content: Schema) -> Schema:
    return {"description": "The transcript.", "headers": headers(*ANSWERS), "content": content}
