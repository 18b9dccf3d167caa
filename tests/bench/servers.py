"""The processes a benchmark runs: an instant upstream, and a bare relay of the gateway's own shape."""

from __future__ import annotations

import asyncio
import sys

import aiohttp
import uvloop
from aiohttp import web

ANSWER = b'{"text": "instant"}'
_MAX_BYTES = 64 << 20


async def upstream() -> web.Application:
    """Read the whole body, answer at once: what a service costs that does nothing."""

    async def answer(request: web.Request) -> web.Response:
        async for _ in request.content.iter_any():
            pass
        return web.Response(body=ANSWER, content_type="application/json")

    app = web.Application(client_max_size=_MAX_BYTES)
    app.router.add_post("/{path:.*}", answer)
    return app


async def relay(target: str) -> web.Application:
    """Read the body into memory, post it on, return the reply: the least a proxy that can retry must do."""
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    async def answer(request: web.Request) -> web.Response:
        body = await request.read()
        async with session.post(f"{target}{request.path}", data=body) as reply:
            return web.Response(body=await reply.read(), content_type="application/json")

    app = web.Application(client_max_size=_MAX_BYTES)
    app.router.add_post("/{path:.*}", answer)
    return app


async def serve(kind: str, target: str | None) -> None:
    """Serve one of them; print the port."""
    app = await (relay(target) if target else upstream())
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"{kind} listens on {runner.addresses[0][1]}", file=sys.stderr, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None))
