"""The door of an emulated service: who is let in, and how a refusal is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

STATE: Final = "/emulator/state"
"""The route, without a key, that tells what became of jobs and files."""


class Refused(Exception):
    """A request that ends in an error reply."""

    def __init__(self, status: int, said: str, **more: object) -> None:
        """more: what one service's form of errors has besides."""
        super().__init__(said)
        self.status = status
        self.said = said
        self.more = more


def guard(
    let_in: Callable[[web.Request], None], answer: Callable[[Refused], web.Response]
) -> Callable[..., Awaitable[web.StreamResponse]]:
    """Return a middleware that asks for the credential first, and gives every refusal the service's form."""

    @web.middleware
    async def middleware(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            if request.path != STATE:
                let_in(request)
            return await handler(request)
        except Refused as refused:
            return answer(refused)
        except web.HTTPException as error:
            return answer(Refused(error.status, error.reason))

    return middleware


async def json_object(request: web.Request) -> dict[str, Any]:
    """Read a body. Raises Refused."""
    try:
        body = await request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Refused(400, "The body is no JSON object")
    return body
