"""Routes for operators: health, metrics, the models there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import hdrs

from gateway.api.auth import admin_only
from gateway.api.hf import json_response
from gateway.api.response import Response
from gateway.problems import Problem, forbidden, not_found
from gateway.stores.usage import UsageUnusable
from gateway.stores.usage_query import as_document, in_order, read_by, read_period

if TYPE_CHECKING:
    from gateway.api.request import Request


async def live(request: Request) -> Response:
    """Answer while the event loop turns."""
    del request
    return json_response({"status": "alive"})


async def ready(request: Request) -> Response:
    """Answer 503 only while a model loads or the process drains: a lost dependency must not take every replica out."""
    status = request.site.status()
    return json_response({"status": status}, 503 if status in {"loading", "draining"} else 200)


async def status(request: Request) -> Response:
    """Answer what is known of every deployment, to an admin or at the admin port."""
    admin_only(request.caller)
    return json_response(await request.site.controls.status())


async def reload(request: Request) -> Response:
    """Answer `POST /admin/reload`, to an admin: what the new configuration cannot change, or why it was refused."""
    admin_only(request.caller)
    told = await request.site.controls.reload()
    if told.error is not None:
        raise Problem(status=422, type="bad-configuration", message=f"nothing was changed: {told.error}")
    return json_response({"status": "reloaded", "needs_restart": list(told.needs_restart)})


async def cache(request: Request) -> Response:
    """Answer how many answers are kept, to an admin."""
    admin_only(request.caller)
    return json_response(await request.site.controls.cache())


async def purge(request: Request) -> Response:
    """Answer `POST /admin/cache/purge`, to an admin: how many answers were forgotten."""
    admin_only(request.caller)
    return json_response({"purged": await request.site.controls.purge()})


async def usage(request: Request) -> Response:
    """Answer `GET /admin/usage?by=key,model&since=7d`, to an admin: sums of the ledger."""
    admin_only(request.caller)
    ledger, query = request.site.ledger, request.query
    if ledger is None:
        raise not_found("there is no ledger: usage.store is none")
    try:
        by = read_by(query.get("by", "key,model"))
        period = read_period(query.get("since", "7d"), query.get("until"), ledger.now())
    except ValueError as error:
        raise Problem(status=422, type="invalid-parameter", message=str(error)) from error
    try:
        sums = await ledger.store.sums(by, period)
    except UsageUnusable as error:
        raise Problem(status=503, type="usage-unusable", message=f"the ledger cannot be read: {error}") from error
    return json_response(as_document(in_order(sums, by), by, period))


async def metrics(request: Request) -> Response:
    """Answer in the text format of Prometheus or OpenMetrics, to an admin or at the admin port."""
    admin_only(request.caller)
    told = await request.site.controls.metrics(request.headers.get(hdrs.ACCEPT, ""))
    return Response(told.body, told.content_type)


async def openapi(request: Request) -> Response:
    """Answer the OpenAPI document of every route, to an admin."""
    admin_only(request.caller)
    return json_response(await request.site.document())


async def models(request: Request) -> Response:
    """Answer OpenAI's `GET /v1/models` with the models this caller may use, and what really answers for each."""
    return json_response({"object": "list", "data": [_model(request, name) for name in _allowed(request)]})


async def model(request: Request) -> Response:
    """Answer OpenAI's `GET /v1/models/{model}`."""
    name = request.place.variables["model"]
    if not request.caller.may_use(name):
        raise forbidden(f"this key may not use the model {name!r}", "model-not-allowed")
    return json_response(_model(request, name))


def _allowed(request: Request) -> list[str]:
    return [name for name in request.service.routes.models if request.caller.may_use(name)]


def _model(request: Request, name: str) -> dict[str, Any]:
    route = request.service.routes.resolve(name)
    deployments = [each.name for each in route.deployments]
    return {"id": name, "object": "model", "created": 0, "owned_by": "asr-gateway", "deployments": deployments}
