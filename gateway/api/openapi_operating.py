"""How the OpenAPI document describes the routes for operators, for look-ups and for lists of models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import TypeAdapter

from config.auth import Key
from gateway.api import console, hub, keys, ops
from gateway.api.openapi_schemas import COUNT, TEXT, Schema, as_json, headers, listed, one_of, optional, record, ref
from gateway.api.page_files import TYPES
from gateway.dispatch.health import Condition
from gateway.stores.usage import By, Sum

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def _answer(schema: Schema, *more: str, status: str = "200", said: str = "As asked.") -> dict[str, Schema]:
    return {status: {"description": said, "headers": headers(*more), "content": as_json(schema)}}


def _file(*media: str) -> dict[str, Schema]:
    return {
        "200": {"description": "As asked.", "headers": headers(), "content": {each: {} for each in media}},
        "304": {"description": "The browser has it.", "headers": headers()},
    }


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
_TOLD: Final = {"created": optional(TEXT), "expired": {"type": "boolean"}, "old_secret_until": optional(TEXT)}
_NAMED: Final = "#/components/schemas/{model}"
_STORED: Final = (404, 409, 503)

# Of each handler: parameters, body and answers; and which problems only it has, by status.
OPERATIONS: Final[Mapping[Callable[..., Any], tuple[Schema, tuple[int, ...]]]] = {
    console.page: ({"responses": _file("text/html")}, ()),
    console.file: ({"responses": _file(*sorted(set(TYPES.values())))}, (404,)),
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
    keys.rotate: (
        {
            "requestBody": {"required": False, "content": as_json(ref("Rotation"))},
            "responses": _answer(
                record({"name": TEXT, "key": _SECRET, "old_secret_until": optional(TEXT)}), "Cache-Control"
            ),
        },
        (400, 408, 413, 422, *_STORED),
    ),
    keys.revoke: ({"responses": {"204": {"description": "It is forgotten.", "headers": headers()}}}, _STORED),
}


def schemas() -> dict[str, Schema]:
    """Return the schemas that the operations name."""
    key = Key.model_json_schema(ref_template=_NAMED)
    condition = TypeAdapter(Condition).json_schema(ref_template=_NAMED)
    defs, wanted = key.pop("$defs"), _without_hash(key)
    defs.pop("OldSecret")
    defs |= condition.pop("$defs")
    figures = TypeAdapter(Sum).json_schema()["properties"]
    figures.pop("names")
    by = {each.value: TEXT for each in By}
    usage = {"since": TEXT, "until": TEXT, "by": listed(one_of(*By)), "sums": listed(ref("Sum"))}
    model = {"id": TEXT, "object": one_of("model"), "created": COUNT, "owned_by": TEXT, "deployments": listed(TEXT)}
    return {
        **defs,
        "KeyWanted": wanted,
        "Rotation": keys.Rotation.model_json_schema(),
        "KeyShown": _with(wanted, **_TOLD, kept_in=one_of("file", "store")),
        "KeyMade": _with(wanted, **_TOLD, key=_SECRET),
        "Model": record(model),
        "Usage": record(usage),
        "Sum": record({**figures, **by}, required=figures),
        "Status": _status(condition),
    }


def _status(condition: Schema) -> Schema:
    """Return what `/status` says: more than this, where several processes share the port."""
    fields: dict[str, Schema] = {
        "status": one_of("ready", "degraded", "loading", "draining"),
        "in_flight": COUNT,
        "missing": listed(TEXT),
        "reload_error": optional(TEXT),
        "redis": optional(one_of("ready", "lost")),
        "deployments": listed(condition),
    }
    return record(fields) | {"additionalProperties": True}


def _without_hash(schema: Schema) -> Schema:
    """Return a key's schema as it stands here: the gateway makes the secret, and tells nobody its hash."""
    fields = {name: each for name, each in schema["properties"].items() if name not in keys.OUR_OWN}
    required = [name for name in schema["required"] if name not in keys.OUR_OWN]
    return {**schema, "properties": fields, "required": required}


def _with(schema: Schema, **more: Schema) -> Schema:
    return {**schema, "properties": {**schema["properties"], **more}, "required": [*schema["required"], *more]}
