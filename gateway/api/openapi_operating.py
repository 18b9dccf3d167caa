"""How the OpenAPI document describes the routes for operators, for look-ups and for lists of models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import TypeAdapter

from config.settings import Key
from gateway.api import hub, keys, ops
from gateway.api.openapi_schemas import COUNT, TEXT, Schema, as_json, headers, listed, one_of, optional, record, ref
from gateway.dispatch.health import Condition
from gateway.stores.usage import By, Sum

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def _answer(schema: Schema, *more: str, status: str = "200", said: str = "As asked.") -> dict[str, Schema]:
    return {status: {"description": said, "headers": headers(*more), "content": as_json(schema)}}


def _given(name: str, text: str) -> Schema:
    return {"name": name, "in": "query", "description": text, "schema": TEXT}


_SECRET: Final[Schema] = {"type": "string", "description": "The key, told this once.", "pattern": "^hf_gw_"}
_HEALTH: Final = record({"status": one_of("ready", "degraded")})
_NOT_READY: Final = record({"status": one_of("loading", "draining")})
_TASKS: Final[Schema] = {"type": "object", "additionalProperties": {"type": "object"}}
_METRICS: Final = {media: {"schema": TEXT} for media in ("text/plain", "application/openmetrics-text")}
_READY: Final = {
    **_answer(_HEALTH, said="It serves."),
    **_answer(_NOT_READY, status="503", said="A local model loads, or it drains."),
}
_EXTENT: Final = record({"store": TEXT, "entries": COUNT, "bytes": COUNT, "evictions": COUNT})
_RELOADED: Final = record({"status": one_of("reloaded"), "needs_restart": listed(TEXT)})
_PERIOD: Final = (
    _given("by", f"Names with commas between: {', '.join(By)}. key,model unless told."),
    _given("since", "A date, a date and time, or how long ago: 2026-11-01, 7d. 7d unless told."),
    _given("until", "The same; now unless told."),
)
_STORED: Final = (404, 409, 503)

# Of each handler: parameters, body and answers; and which problems only it has, by status.
OPERATIONS: Final[Mapping[Callable[..., Any], tuple[Schema, tuple[int, ...]]]] = {
    ops.live: ({"responses": _answer(record({"status": one_of("alive")}))}, ()),
    ops.ready: ({"responses": _READY}, ()),
    ops.status: ({"responses": _answer(ref("Status"))}, ()),
    ops.metrics: ({"responses": {"200": {"description": "As asked.", "headers": headers(), "content": _METRICS}}}, ()),
    ops.openapi: ({"responses": _answer({"type": "object", "required": ["openapi", "paths"]})}, ()),
    ops.reload: ({"responses": _answer(_RELOADED)}, (422,)),
    ops.cache: ({"responses": _answer(_EXTENT)}, ()),
    ops.purge: ({"responses": _answer(record({"purged": COUNT}))}, ()),
    ops.usage: ({"parameters": list(_PERIOD), "responses": _answer(ref("Usage"))}, (404, 422, 503)),
    ops.models: ({"responses": _answer(record({"object": one_of("list"), "data": listed(ref("Model"))}))}, ()),
    ops.model: ({"responses": _answer(ref("Model"))}, (404,)),
    hub.tasks: ({"responses": _answer(_TASKS)}, ()),
    hub.model_info: ({"responses": _answer({"type": "object", "required": ["id", "pipeline_tag"]})}, (404,)),
    hub.nothing_else: ({"responses": {}}, (404,)),
    keys.show: ({"responses": _answer(record({"keys": listed(ref("KeyShown"))}))}, ()),
    keys.make: (
        {
            "requestBody": {"required": True, "content": as_json(ref("KeyWanted"))},
            "responses": _answer(ref("KeyMade"), "Cache-Control", status="201"),
        },
        (408, 409, 413, 422, 503),
    ),
    keys.rotate: ({"responses": _answer(record({"name": TEXT, "key": _SECRET}), "Cache-Control")}, _STORED),
    keys.revoke: ({"responses": {"204": {"description": "It is forgotten.", "headers": headers()}}}, _STORED),
}


def schemas() -> dict[str, Schema]:
    """Return the schemas that the operations name."""
    key = Key.model_json_schema(ref_template="#/components/schemas/{model}")
    defs, wanted = key.pop("$defs"), _without_hash(key)
    figures = TypeAdapter(Sum).json_schema()["properties"]
    figures.pop("names")
    by = {each.value: TEXT for each in By}
    usage = {"since": TEXT, "until": TEXT, "by": listed(one_of(*By)), "sums": listed(ref("Sum"))}
    model = {"id": TEXT, "object": one_of("model"), "created": COUNT, "owned_by": TEXT, "deployments": listed(TEXT)}
    return {
        **defs,
        "KeyWanted": wanted,
        "KeyShown": _with(wanted, kept_in=one_of("file", "store")),
        "KeyMade": _with(wanted, key=_SECRET),
        "Model": record(model),
        "Usage": record(usage),
        "Sum": record({**figures, **by}, required=figures),
        "Status": _status(),
    }


def _status() -> Schema:
    """Return what `/status` says: more than this, where several processes share the port."""
    fields: dict[str, Schema] = {
        "status": one_of("ready", "degraded", "loading", "draining"),
        "in_flight": COUNT,
        "missing": listed(TEXT),
        "reload_error": optional(TEXT),
        "redis": optional(one_of("ready", "lost")),
        "deployments": listed(TypeAdapter(Condition).json_schema()),
    }
    return record(fields) | {"additionalProperties": True}


def _without_hash(schema: Schema) -> Schema:
    """Return a key's schema as it stands here: the gateway makes the secret, and tells nobody its hash."""
    fields = {name: each for name, each in schema["properties"].items() if name != "hash"}
    return {**schema, "properties": fields, "required": [name for name in schema["required"] if name != "hash"]}


def _with(schema: Schema, **more: Schema) -> Schema:
    return {**schema, "properties": {**schema["properties"], **more}, "required": [*schema["required"], *more]}
