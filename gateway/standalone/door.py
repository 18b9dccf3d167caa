"""The way in to an engine by itself: who may ask, how it is, what it counts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from gateway.hearing import lets_in
from providers.local.wire import Condition, Health, State

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pydantic import SecretStr

    from gateway.drain import Drain
    from gateway.fleet import LocalBackend
    from gateway.hosting import Host

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_HEALTH = "/health"
_LOOK_EVERY_S: Final = 0.1
_SERVES = frozenset({"ready", "degraded"})


class Door:
    """Serves a host's models to whoever has the key."""

    def __init__(self, host: Host, drain: Drain, key: SecretStr | None) -> None:
        self.key = key
        self._host = host
        self._drain = drain
        self._inside: set[object] = set()  # a mark for each request

    def web_app(self) -> web.Application:
        app = self._host.web_app()
        app.middlewares.append(self._enter())
        app.router.add_get(_HEALTH, self._health)
        app.router.add_get("/metrics", self._metrics)
        return app

    def status(self) -> str:
        """Say in a word whether it wants requests."""
        models = self._host.models.values()
        if self._drain.is_draining:
            return "draining"
        if not models or any(_state(each) is State.LOADING for each in models):
            return "loading"
        if not any(each.ready for each in models):
            return "missing"
        return "ready" if all(each.ready for each in models) else "degraded"

    async def left(self) -> None:
        """Return when nobody is inside any more of those who are now."""
        now = set(self._inside)
        while now & self._inside:  # noqa: ASYNC110 - a set has no event
            await asyncio.sleep(_LOOK_EVERY_S)

    def _may_enter(self, request: web.Request) -> bool:
        return lets_in(self.key, request.headers.get("Authorization", ""))

    def _enter(self) -> Any:  # noqa: ANN401 - aiohttp's own type
        @web.middleware
        async def enter(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path == _HEALTH:
                return await handler(request)
            if not self._may_enter(request):
                return web.json_response({"error": "this engine wants a key"}, status=401)
            mark = object()
            self._inside.add(mark)
            try:
                with self._drain.cut():
                    return await handler(request)
            except TimeoutError:
                return web.Response(status=503)  # cut off at the end of the drain
            finally:
                self._inside.discard(mark)

        return enter

    async def _health(self, request: web.Request) -> web.Response:
        """Say how it is; to a probe, which has no key, the word alone."""
        models = {name: _condition(each) for name, each in self._host.models.items()}
        told = Health(status=self.status(), models=models if self._may_enter(request) else None)
        code = 200 if told.status in _SERVES else 503
        return web.Response(status=code, body=msgspec.json.encode(told), content_type="application/json")

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=self._host.metrics.shown_now(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _state(model: LocalBackend) -> State:
    return State.READY if model.ready else State.LOADING if model.missing is None else State.MISSING


def _condition(model: LocalBackend) -> Condition:
    queued = model.queued[1] if model.queued is not None else 0
    return Condition(
        state=_state(model),
        why=str(model.missing) if model.missing is not None and not model.ready else None,
        running=model.waiting - queued,
        queued=queued,
    )
