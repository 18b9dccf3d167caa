"""The OpenAPI 3.1 document, made from the routes there are and from what their requests are checked by."""

from __future__ import annotations

import inspect
import re
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from aiohttp import hdrs

from gateway.api.auth import is_public
from gateway.api.edge import speaks_openai
from gateway.api.front import Endpoint
from gateway.api.openapi_fronts import SCHEMAS, body_of, of_front
from gateway.api.openapi_operating import OPERATIONS, schemas
from gateway.api.openapi_schemas import MODEL, TEXT, Schema, components, ref

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from aiohttp.abc import AbstractView
    from aiohttp.web import UrlDispatcher

    from gateway.api.front import Front

_ANYWHERE: Final = (400, 403, 500, 502)  # 502: cut off by a shutdown that could not wait longer
_KEYED: Final = (401, 429)
_TRANSCRIBING: Final[tuple[int, ...]] = (404, 408, 413, 415, 422, 504, 507)
_DESCRIPTION: Final = """One URL for speech recognition.

- `{model}` stands for the whole rest of the path: a model's name holds slashes, as they are or as `%2F`, which a
  template of OpenAPI cannot say. `/models/openai/whisper-large-v3` is one of its addresses.
- HEAD is answered wherever GET is, OPTIONS everywhere.
- A body is told from its bytes: Content-Type only says that it is a form, or that it is to be JSON and nothing else.
- Parameters may also stand in the query, the body's winning; on OpenAI's routes every field of the form may.
- What is no HTTP, and a request line or header of more than 8190 bytes, is 400 in plain text: no route is reached.
- With `auth.mode: none` (loopback only) no key is needed, and everybody may do what an admin may but make keys.
"""
_VARIABLES: Final[Mapping[str, Schema]] = {
    "file": {"type": "string", "description": "A file of the page, such as style.css."},
    "model": {**MODEL, "description": "A model's name, slashes and all."},
    "account": {**TEXT, "minLength": 1, "description": "An account of the configuration, or its adapter's name."},
    "name": {**TEXT, "description": "Of a key.", "pattern": "^[A-Za-z0-9_.-]{1,64}$"},
    "rest": {**TEXT, "minLength": 1},
}


def document(router: UrlDispatcher) -> dict[str, Any]:
    """Return the document of every route there is."""
    paths: dict[str, dict[str, Schema]] = {}
    bodies: dict[str, Schema] = {}
    for route in router.routes():
        if route.resource is not None and route.method != hdrs.METH_HEAD:
            path = route.resource.canonical
            if (front := _front(route.handler)) is not None:
                bodies.setdefault(front.name, body_of(front))
            paths.setdefault(path, {})[route.method.lower()] = _operation(route.method, path, route.handler)
    shared = components()
    return {
        "openapi": "3.1.0",
        "info": {"title": "asr-gateway", "version": version("asr-gateway"), "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            **shared,
            "requestBodies": bodies,
            "schemas": {**shared["schemas"], **SCHEMAS, **schemas()},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(method: str, path: str, handler: Callable[..., Any] | type[AbstractView]) -> Schema:
    if (front := _front(handler)) is not None:
        told, own, tag = of_front(front), _TRANSCRIBING, front.name
    else:
        told, own = _operating(handler)
        tag = "operators and look-ups"
    keyed = () if is_public(method, path) else _KEYED
    return {
        "operationId": _identifier(method, path),
        "tags": [tag],
        **told,
        "parameters": [*_variables(path), *told.get("parameters", ())],
        "responses": {**_problems(path, {*_ANYWHERE, *keyed, *own}), **told["responses"]},
        **({"security": []} if is_public(method, path) else {}),
    }


def _front(handler: object) -> Front | None:
    """Return the front that a handler speaks, if it transcribes."""
    endpoint = getattr(handler, "__self__", None)
    return endpoint.front if isinstance(endpoint, Endpoint) else None


def _operating(handler: Callable[..., Any]) -> tuple[Schema, tuple[int, ...]]:
    told, own = OPERATIONS[handler]
    return {"summary": (inspect.getdoc(handler) or "").partition("\n")[0], **told}, own


def _identifier(method: str, path: str) -> str:
    """Return a name like no other: two paths may differ in their last slash alone."""
    words = "_".join(re.findall(r"[\w-]+", path)) or "root"
    return f"{method.lower()}_{words}{'_' if path.endswith('/') and len(path) > 1 else ''}"


def _variables(path: str) -> list[Schema]:
    return [
        {"name": name, "in": "path", "required": True, "schema": _VARIABLES[name]}
        for name in re.findall(r"{(\w+)}", path)
    ]


def _problems(path: str, statuses: Iterable[int]) -> dict[str, Schema]:
    shape = "OpenAIProblem" if speaks_openai(path, path) else "Problem"
    return {str(status): ref(f"{shape}{status}", "responses") for status in sorted(statuses)}
