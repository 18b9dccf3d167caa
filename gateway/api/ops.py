"""Routes for operators: health, metrics, the models there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import hdrs, web

from gateway.api.auth import CALLER, admin_only
from gateway.api.front import SERVICE
from gateway.api.hf import json_response
from gateway.problems import Problem, forbidden, not_found
from gateway.stores.usage import UsageUnusable
from gateway.stores.usage_query import as_document, in_order, read_by, read_period

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.ledger import Ledger
    from gateway.metrics import Exposition
    from gateway.reload import Reloaded

READINESS: web.AppKey[Callable[[], str]] = web.AppKey("readiness")
"""Gives "ready", "degraded", "loading" or "draining"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Controls:
    """What operators are answered with: by a process for itself, or for all that share its port."""

    reload: Callable[[], Awaitable[Reloaded]]  # reads the configuration again
    status: Callable[[], Awaitable[dict[str, Any]]]
    metrics: Callable[[str], Awaitable[Exposition]]  # in the form that an Accept header asks for
    cache: Callable[[], Awaitable[dict[str, Any]]]
    purge: Callable[[], Awaitable[int]]  # forgets every answer; returns how many there were


CONTROLS = web.AppKey("controls", Controls)
OPENAPI: web.AppKey[Callable[[], Awaitable[dict[str, Any]]]] = web.AppKey("openapi")
"""Gives the document. It is made when it is first asked for: most processes never are."""
LEDGER: web.AppKey[Ledger | None] = web.AppKey("ledger")


async def live(request: web.Request) -> web.Response:
    """Answer while the event loop turns."""
    del request
    return json_response({"status": "alive"})


async def ready(request: web.Request) -> web.Response:
    """Answer 503 only while a model loads or the process drains: a lost dependency must not take every replica out."""
    status = request.config_dict[READINESS]()
    return json_response({"status": status}, 503 if status in {"loading", "draining"} else 200)


async def status(request: web.Request) -> web.Response:
    """Answer what is known of every deployment, to an admin or at the admin port."""
    admin_only(request[CALLER])
    return json_response(await request.config_dict[CONTROLS].status())


async def reload(request: web.Request) -> web.Response:
    """Answer `POST /admin/reload`, to an admin: what the new configuration cannot change, or why it was refused."""
    admin_only(request[CALLER])
    told = await request.config_dict[CONTROLS].reload()
    if told.error is not None:
        raise Problem(status=422, type="bad-configuration", message=f"nothing was changed: {told.error}")
    return json_response({"status": "reloaded", "needs_restart": list(told.needs_restart)})


async def cache(request: web.Request) -> web.Response:
    """Answer how many answers are kept, to an admin."""
    admin_only(request[CALLER])
    return json_response(await request.config_dict[CONTROLS].cache())


async def purge(request: web.Request) -> web.Response:
    """Answer `POST /admin/cache/purge`, to an admin: how many answers were forgotten."""
    admin_only(request[CALLER])
    return json_response({"purged": await request.config_dict[CONTROLS].purge()})


async def usage(request: web.Request) -> web.Response:
    """Answer `GET /admin/usage?by=key,model&since=7d`, to an admin: sums of the ledger."""
    admin_only(request[CALLER])
    ledger, query = request.config_dict[LEDGER], request.query
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


async def metrics(request: web.Request) -> web.Response:
    """Answer in the text format of Prometheus or OpenMetrics, to an admin or at the admin port."""
    admin_only(request[CALLER])
    told = await request.config_dict[CONTROLS].metrics(request.headers.get(hdrs.ACCEPT, ""))
    return web.Response(body=told.body, headers={"Content-Type": told.content_type})


async def openapi(request: web.Request) -> web.Response:
    """Answer the OpenAPI document of every route, to an admin."""
    admin_only(request[CALLER])
    return json_response(await request.config_dict[OPENAPI]())


async def models(request: web.Request) -> web.Response:
    """Answer OpenAI's `GET /v1/models` with the models this caller may use, and what really answers for each."""
    return json_response({"object": "list", "data": [_model(request, name) for name in _allowed(request)]})


async def model(request: web.Request) -> web.Response:
    """Answer OpenAI's `GET /v1/models/{model}`."""
    name = request.match_info["model"]
    if not request[CALLER].may_use(name):
        raise forbidden(f"this key may not use the model {name!r}", "model-not-allowed")
    return json_response(_model(request, name))


def _allowed(request: web.Request) -> list[str]:
    return [name for name in request[SERVICE].routes.models if request[CALLER].may_use(name)]


def _model(request: web.Request, name: str) -> dict[str, Any]:
    route = request[SERVICE].routes.resolve(name)
    deployments = [each.name for each in route.deployments]
    return {"id": name, "object": "model", "created": 0, "owned_by": "asr-gateway", "deployments": deployments}
