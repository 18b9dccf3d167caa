"""The outermost layer of every request: its id, its caller, its errors in the right shape, its line in the log."""

from __future__ import annotations

import asyncio
import re
from os import urandom
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web

from gateway.api.admission import is_small
from gateway.api.auth import check_origin, refuse_key_in_url
from gateway.api.hf import HuggingFace
from gateway.api.openai import OpenAI
from gateway.dispatch.answers import overloaded
from gateway.keyring import KEY_BEGINS
from gateway.lines import place_of
from gateway.logs import LOG, request_done
from gateway.observe import CURRENT, Observed
from gateway.problems import Problem
from gateway.stages import Stages, noted_in
from providers.types import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from config.auth import AuthMode
    from gateway.api.auth import Caller
    from gateway.api.request import Request, Site
    from gateway.api.response import Response
    from gateway.api.service import Service
    from gateway.drain import Drain
    from gateway.keyring import Keyring
    from gateway.metrics import Metrics
    from gateway.problems import ProblemType
    from gateway.tracing import Tracer

    Door = Callable[[web.BaseRequest, str, AuthMode, Keyring], Caller | None]

_REQUEST_ID = re.compile(r"[\w.:=;-]{1,128}", re.ASCII)
_EXPOSED = (
    "x-request-id, x-compute-time, x-audio-duration, retry-after, x-gateway-provider, x-gateway-model, "
    "x-gateway-attempts, x-gateway-cache, x-gateway-cost, x-gateway-parts, x-gateway-ignored-parameters, age, "
    "ratelimit, ratelimit-policy"
)
_KINDS: Final[Mapping[int, ProblemType]] = {404: "not-found", 405: "method-not-allowed", 413: "too-large"}
_ALLOWED = "authorization, content-type"  # where a preflight names none
_OTHERS_FORMS = ("/deepinfra/", "/together/")  # Hugging Face clients post these
_HF, _OPENAI = HuggingFace(), OpenAI(Task.TRANSCRIBE)


def not_noted(observed: Observed, status: str, seconds: float) -> None:
    """Keep no ledger."""
    del observed, status, seconds


class Edge:
    """One port's outermost layer."""

    def __init__(
        self,
        site: Site,
        service: Callable[[], Service],
        metrics: Metrics,
        drain: Drain,
        door: Door,
        on_end: Callable[[Observed, str, float], None] = not_noted,
        tracer: Tracer | None = None,
    ) -> None:
        """service: gives the present configuration's. on_end: told each request's status and seconds.

        door: says who asks, or turns them away; None where nobody need say.
        """
        self.site = site
        self._service = service
        self._metrics = metrics
        self._drain = drain
        self._on_end = on_end
        self._tracer = tracer
        self._door = door

    async def run(self, request: Request) -> web.StreamResponse:
        """Answer a request whatever happens, and count it."""
        request.site, request.place = self.site, await self.site.find(request)
        if request.headers.get(hdrs.EXPECT):  # an empty one expects nothing
            await request.place.expect(request)
        loop = asyncio.get_running_loop()
        stages = Stages(self._metrics.stages)
        observed = Observed(request_id=_request_id(request), started=loop.time(), stage_s=stages.seconds)
        if self._tracer is not None:
            observed.trace = self._tracer.begin(request.method, request.headers)
            stages.tracing = self._tracer.stages(observed.trace)
        request.observed = observed
        CURRENT.set(observed)
        request.service = service = self._service()
        route, status = request.place.route, "cancelled"
        self._metrics.in_flight += 1
        try:
            with service.used(), noted_in(stages):
                response = await self._answer(request, observed)
            self._add_headers(request, response, observed, loop.time() - observed.started)
            status = str(response.status)
            return response
        finally:
            self._metrics.in_flight -= 1
            seconds = loop.time() - observed.started
            if not status.startswith("2"):
                observed.failed()
            request_done(observed, status, seconds, route)
            if self._tracer is not None:
                self._tracer.request(observed, f"{request.method} {route}", status)
            self._metrics.request(observed, status, seconds)
            self._on_end(observed, status, seconds)

    async def _answer(self, request: Request, observed: Observed) -> web.StreamResponse:
        try:
            return await self._admitted(request, observed)
        except Problem as problem:
            return _told(request, problem, observed)
        except web.HTTPException as known:
            return _told(request, _http_problem(request, known), observed)
        except Exception as error:  # noqa: BLE001 - the one place where a mistake of ours becomes a 500, logged with its cause
            if isinstance(error, TimeoutError) and self._drain.is_cutting:
                return _told(request, _cut_off(), observed)
            LOG.exception("unexpected", extra={"fields": {"request_id": observed.request_id}})
            ours = Problem(status=500, type="internal", message="an error of the gateway's own", cause=place_of(error))
            return _told(request, ours, observed)

    async def _admitted(self, request: Request, observed: Observed) -> web.StreamResponse:
        service, place = request.service, request.place
        settings = service.settings
        check_origin(request, settings.server.cors_origins, settings.auth.mode)
        if request.method == hdrs.METH_OPTIONS:
            return web.Response(status=204)  # a preflight carries no key
        refuse_key_in_url(request)
        caller = self._door(request, place.route, settings.auth.mode, service.keyring)
        if caller is not None:
            request.caller = caller
            observed.caller = caller.name
        if place.is_work and self._drain.in_flight >= settings.server.max_in_flight:
            raise overloaded("the gateway is")
        with self._drain.cut():
            if place.is_work:
                return await place.handler(request)
            with self._drain.aside():
                return await place.handler(request)

    def _add_headers(self, request: Request, response: web.StreamResponse, observed: Observed, seconds: float) -> None:
        headers = response.headers
        headers["X-Request-Id"] = observed.request_id
        headers["X-Compute-Time"] = f"{seconds:.3f}"
        headers["Server"] = "asr-gateway"  # not which Python and which aiohttp
        if self._drain.is_draining:
            response.force_close()
        origin = request.headers.get(hdrs.ORIGIN)
        if origin and origin in request.service.settings.server.cors_origins:
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = _EXPOSED
            # A listed origin may send what it likes: SDKs add headers of their own.
            headers["Access-Control-Allow-Headers"] = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS, _ALLOWED)
            headers["Access-Control-Allow-Methods"] = "GET, POST, OPTIONS"
            headers["Vary"] = hdrs.ORIGIN


def _told(request: Request, problem: Problem, observed: Observed) -> Response:
    """Render a problem in the shape of the API it came through."""
    observed.refused(problem)
    front = _OPENAI if speaks_openai(request.path, request.place.route) else _HF
    response = front.render_problem(problem, observed.request_id)
    unread = request.can_read_body and not request.content.at_eof()  # it would be read for nothing
    if unread or hdrs.CONNECTION in problem.headers:
        response.force_close()
    if unread and problem.leaves_body and not is_small(request):
        _read_no_more(request)
    return response


def speaks_openai(path: str, route: str) -> bool:
    """Tell whether what is asked for there is answered as OpenAI would. route: the pattern that the path fits."""
    is_openai = path.rstrip("/").startswith("/v1/") or route.endswith("/v1/audio/transcriptions")
    return is_openai and not path.startswith(_OTHERS_FORMS)


def _read_no_more(request: Request) -> None:
    """Let the sender of a large body wait until the connection is closed, instead of taking it all for nothing.

    Who reads while it sends has its answer at once. aiohttp would read on to the end, and has no public way to be told.
    """
    request.protocol._pause_reading_for_buffer()  # noqa: SLF001 - see above


def _request_id(request: Request) -> str:
    """Return the caller's own id where it gave one that is safe to repeat."""
    for name in ("X-Request-Id", "X-Amzn-Trace-Id"):
        given = request.headers.get(name)
        if given and _REQUEST_ID.fullmatch(given) and KEY_BEGINS not in given:  # it is logged
            return given
    return urandom(16).hex()


def _http_problem(request: Request, known: web.HTTPException) -> Problem:
    headers = {"Allow": known.headers[hdrs.ALLOW]} if hdrs.ALLOW in known.headers else {}
    kind = _KINDS.get(known.status, "bad-request")
    message = f"{request.method} {request.path[:120]}: {known.reason}"
    return Problem(status=known.status, type=kind, message=message, headers=headers)


def _cut_off() -> Problem:
    return Problem(
        status=502,
        type="draining",
        message="the gateway is shutting down and could not wait any longer",
        headers={"Connection": "close"},
    )
