"""The page for people: files, the same for everybody. What they show the browser asks for, with a key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import ETag, web

from gateway.problems import not_found

if TYPE_CHECKING:
    from gateway.api.request import Paths, Request

_PAGE: Final = "index.html"
# Nothing inline, nothing from elsewhere, no frame around it. blob: is the recording that the person chose.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",  # kept, and asked for again by its tag: another release is seen at once
}


async def page(request: Request) -> web.Response:
    """Answer `GET /`."""
    return _answer(request, _PAGE)


async def file(request: Request) -> web.Response:
    """Answer `GET /console/{file}`."""
    return _answer(request, request.place.variables["file"])


def add_routes(router: Paths) -> None:
    """Add the page and its files."""
    router.add_get("/", page)
    router.add_get("/console/{file}", file)


def _answer(request: Request, name: str) -> web.Response:
    """Answer with a file, or 304 where the browser has it."""
    found = request.site.files.get(name)
    if found is None:
        raise not_found(f"{request.path[:120]} is not served here")
    etag = ETag(value=found.etag)
    if etag in (request.if_none_match or ()):
        answer = web.Response(status=304, headers=_HEADERS)
    else:
        answer = web.Response(body=found.body, content_type=found.media_type, charset=found.charset, headers=_HEADERS)
    answer.etag = etag
    return answer
