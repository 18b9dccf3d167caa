"""A request with what becomes known of it on its way, and the table of paths that says where it goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec
from aiohttp import hdrs, web

from gateway.api.auth import is_admins

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from config.catalog import Catalog
    from gateway.api.auth import Caller
    from gateway.api.controls import Controls
    from gateway.api.page_files import File
    from gateway.api.service import Service
    from gateway.ledger import Ledger
    from gateway.observe import Observed

MOST_PATHS: Final = 256
"""That are remembered: callers may make up any number, and long ones."""


class Request(web.BaseRequest):
    """One request. The edge says all of this before a handler sees it, the caller only where one is known."""

    site: Site
    place: Place
    service: Service  # the configuration that it goes by
    observed: Observed
    caller: Caller


class Place(msgspec.Struct, frozen=True):
    """Where a path leads."""

    handler: Handler
    route: str  # its pattern, never the path: that may hold anything a caller writes. "none" where there is none
    variables: Mapping[str, str]  # of the pattern
    is_work: bool  # audio, which there may be too much of; health and metrics are always answered
    expect: Callable[[Any], Awaitable[web.StreamResponse | None]]  # answers `Expect: 100-continue`


Handler: TypeAlias = "Callable[[Request], Awaitable[web.StreamResponse]]"


class Paths(web.UrlDispatcher):
    """aiohttp's table of paths, for handlers that take our requests."""

    def add_get(self, path: str, handler: Handler) -> web.AbstractRoute:  # type: ignore[override] # ours
        return super().add_get(path, handler)  # type: ignore[arg-type] # nobody else asks it

    def add_post(self, path: str, handler: Handler) -> web.AbstractRoute:  # type: ignore[override] # ours
        return super().add_post(path, handler)  # type: ignore[arg-type] # nobody else asks it

    def add_delete(self, path: str, handler: Handler) -> web.AbstractRoute:  # type: ignore[override] # ours
        return super().add_delete(path, handler)  # type: ignore[arg-type] # nobody else asks it


class Site(msgspec.Struct, kw_only=True, eq=False):
    """What is answered at one port: its paths, and what their handlers need of the process.

    In the place of aiohttp's Application, which does more: it costs each request four hundred instructions.
    """

    paths: Paths
    catalog: Catalog
    status: Callable[[], str]  # gives "ready", "degraded", "loading" or "draining"
    controls: Controls
    ledger: Ledger | None
    document: Callable[[], Awaitable[dict[str, Any]]]  # of OpenAPI, made when it is first asked for
    files: Mapping[str, File]  # of the page for people, by name
    remembered: dict[tuple[str, str], Place] = msgspec.field(default_factory=dict)

    async def find(self, request: Request) -> Place:
        """Return where a request's path leads: where nothing is, to a handler that raises HTTPException."""
        key = request.method, request.rel_url.raw_path
        return self.remembered.get(key) or await self._sought(request, key)

    async def _sought(self, request: Request, key: tuple[str, str]) -> Place:
        found = await self.paths.resolve(request)  # type: ignore[arg-type] # it reads what every request has
        resource = found.route.resource
        route = resource.canonical if resource is not None else "none"
        is_work = request.method == hdrs.METH_POST and not is_admins(route)
        place = Place(found.handler, route, dict(found), is_work, found.expect_handler)  # type: ignore[arg-type] # ours take ours
        if resource is not None:
            if len(self.remembered) >= MOST_PATHS:
                self.remembered.clear()
            self.remembered[key] = place
        return place
