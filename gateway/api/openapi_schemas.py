"""What the OpenAPI document says in many places: parameters, problems, headers, from what requests are checked by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic.json_schema import models_json_schema

from gateway.api.parameters import GENERATION, GENERATION_NAMES, OTHERS, WITHOUT_EFFECT
from gateway.dispatch.answers import Cached
from gateway.problems import BY_STATUS
from providers.registry import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import BaseModel
    from pydantic.json_schema import JsonSchemaMode

Schema = dict[str, Any]
TEXT: Final[Schema] = {"type": "string"}
MODEL: Final[Schema] = {"type": "string", "minLength": 1, "examples": ["openai/whisper-large-v3"]}
NUMBER: Final[Schema] = {"type": "number"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_MAX_IN_QUERY: Final = 500  # characters: a request line has at most 8190 bytes, and each may take twelve
_REF: Final = "#/components/{}/{}"


def ref(name: str, kind: str = "schemas") -> Schema:
    """Point to a component."""
    return {"$ref": _REF.format(kind, name)}


def one_of(*words: str) -> Schema:
    """Return one of some words."""
    return {"enum": list(words)}


def optional(schema: Mapping[str, Any]) -> Schema:
    """Return what may also be null."""
    return {"anyOf": [dict(schema), {"type": "null"}]}


def record(fields: Mapping[str, Schema], *, required: Iterable[str] | None = None) -> Schema:
    """Return an object that has these fields and no other; all of them unless told."""
    names = list(fields if required is None else required)
    return {"type": "object", "properties": dict(fields), "required": names, "additionalProperties": False}


def listed(schema: Schema) -> Schema:
    """Return a list of it."""
    return {"type": "array", "items": schema}


def as_json(schema: Schema) -> Schema:
    """Return a body of JSON."""
    return {"application/json": {"schema": schema}}


# --- parameters


def parameter_fields() -> dict[str, Schema]:
    """Return every parameter of the specification, as it stands in a JSON object: null is like not given."""
    known = {**{name: dict(value.schema) for name, (_, value) in OTHERS.items()}}
    known |= {name: dict(value.schema) for name, value in GENERATION.items()}
    known["provider_options"] = ref("OptionsByProvider")
    known |= dict.fromkeys(GENERATION_NAMES, ref("GenerationParameters"))
    without_effect: Schema = {"description": "Accepted, and named in X-Gateway-Ignored-Parameters."}
    return {**{name: optional(known[name]) for name in known}, **dict.fromkeys(sorted(WITHOUT_EFFECT), without_effect)}


def query_parameters() -> dict[str, Schema]:
    """Return the parameters that a query may carry, each as the JSON it stands for or as text."""
    known = {**{name: value for name, (_, value) in OTHERS.items() if name != "provider_options"}, **GENERATION}
    schemas = {name: dict(value.schema) for name, value in known.items()}
    schemas["prompt"] |= {"maxLength": _MAX_IN_QUERY, "description": "A longer one belongs in the body."}
    return {name: {"name": name, "in": "query", "schema": schema} for name, schema in schemas.items()}


def _options() -> dict[str, Schema]:
    """Return each provider's allow-list, under its own name."""
    chosen: list[tuple[type[BaseModel], JsonSchemaMode]]
    chosen = [(each, "validation") for each in dict.fromkeys(one.options for one in PROVIDERS.values())]
    refs, found = models_json_schema(chosen, ref_template=_REF.format("schemas", "{model}"))
    by_provider = {name: refs[PROVIDERS[name].options, "validation"] for name in sorted(PROVIDERS)}
    return {**found["$defs"], "OptionsByProvider": record(by_provider, required=())}


# --- problems


def _shapes(words: Iterable[str]) -> dict[str, Schema]:
    """Return a problem as Hugging Face routes tell it, and as OpenAI's do."""
    stable = one_of(*words)
    own = record(
        {"error": TEXT, "type": stable, "request_id": TEXT, "param": TEXT}, required=("error", "type", "request_id")
    )
    kinds = one_of("invalid_request_error", "rate_limit_error", "server_error")
    inner = record({"message": TEXT, "type": kinds, "param": optional(TEXT), "code": stable, "request_id": TEXT})
    return {"Problem": own, "OpenAIProblem": record({"error": inner})}


_PROBLEM_HEADERS: Final[Mapping[int, tuple[str, ...]]] = {
    401: ("WWW-Authenticate",),
    405: ("Allow",),
    429: ("Retry-After", "RateLimit", "RateLimit-Policy", "x-should-retry"),
    502: ("Retry-After", "x-should-retry"),
    503: ("Retry-After",),
    504: ("Retry-After", "x-should-retry"),
}


def _problems() -> dict[str, Schema]:
    return {
        f"{shape}{status}": {
            "description": ", ".join(words),
            "headers": headers(*_PROBLEM_HEADERS.get(status, ())),
            "content": as_json(schema),
        }
        for status, words in BY_STATUS.items()
        for shape, schema in _shapes(words).items()
    }


# --- headers

_HEADERS: Final[Mapping[str, tuple[str, Schema]]] = {
    "X-Request-Id": (
        "The caller's own X-Request-Id or X-Amzn-Trace-Id where it is safe to repeat, else a new one.",
        TEXT,
    ),
    "X-Compute-Time": ("Seconds from the request's head to the answer.", NUMBER),
    "X-Audio-Duration": ("Seconds of audio, where they are known.", NUMBER),
    "X-Gateway-Provider": ("The account that answered.", TEXT),
    "X-Gateway-Model": ("The model that answered, by its provider's name.", TEXT),
    "X-Gateway-Attempts": ("Calls made for this answer.", COUNT),
    "X-Gateway-Parts": ("Parts that the audio was asked for in, where no target takes it whole.", COUNT),
    "X-Gateway-Cache": ("What the cache had to do with it.", one_of(*Cached)),
    "X-Gateway-Ignored-Parameters": ("Names of what had no effect, where anything had none.", TEXT),
    "Age": ("Seconds since a kept answer was new.", COUNT),
    "RateLimit": (
        "What is left of each quota, where the caller has any: draft-ietf-httpapi-ratelimit-headers-10.",
        TEXT,
    ),
    "RateLimit-Policy": ("Each quota and its window.", TEXT),
    "Retry-After": ("Whole seconds.", {"type": "integer", "minimum": 1}),
    "x-should-retry": ("false: asking again would buy the same once more.", one_of("false")),
    "WWW-Authenticate": ("Bearer.", one_of("Bearer")),
    "Allow": ("The methods there are.", TEXT),
    "Cache-Control": ("A secret is kept by nobody.", one_of("no-store")),
}
_ALWAYS: Final = ("X-Request-Id", "X-Compute-Time")
ANSWERS: Final = (
    "X-Gateway-Provider",
    "X-Gateway-Model",
    "X-Gateway-Attempts",
    "X-Gateway-Parts",
    "X-Gateway-Cache",
    "X-Gateway-Ignored-Parameters",
    "X-Audio-Duration",
    "Age",
    "RateLimit",
    "RateLimit-Policy",
)
"""What comes with a transcript."""


def headers(*names: str) -> Schema:
    """Return the headers of every answer, and these."""
    return {name: ref(name, "headers") for name in (*_ALWAYS, *names)}


def components() -> dict[str, Schema]:
    """Return everything above by its names."""
    told = {
        name: {"description": text, "schema": schema, **({"required": True} if name in _ALWAYS else {})}
        for name, (text, schema) in _HEADERS.items()
    }
    generation = {name: optional(value.schema) for name, value in GENERATION.items()}
    schemas = {
        "GenerationParameters": record(generation, required=()),
        "Parameters": record(parameter_fields(), required=()),
        **_options(),
    }
    return {"schemas": schemas, "parameters": query_parameters(), "responses": _problems(), "headers": told}
