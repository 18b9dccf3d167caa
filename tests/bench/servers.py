"""The processes a benchmark runs: an instant upstream, one that tells digests, a bare relay of the gateway's shape."""

from __future__ import annotations

import asyncio
import hashlib
import sys
import tempfile

import aiohttp
import pybase64
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


async def digest() -> web.Application:
    """Answer with the SHA-256 of the audio, which is the body or a form's file."""

    async def answer(request: web.Request) -> web.Response:
        if request.content_type.startswith("multipart/"):
            file = (await request.post())["file"]
            audio = file.file.read() if isinstance(file, web.FileField) else b""
        elif request.content_type == "application/json":
            audio = pybase64.b64decode((await request.json())["inputs"])
        else:
            audio = await request.read()
        return web.json_response({"text": hashlib.sha256(audio).hexdigest()})

    app = web.Application(client_max_size=_MAX_BYTES)
    app.router.add_post("/{path:.*}", answer)
    return app


async def relay(target: str) -> web.Application:
    """Read the body into memory, post it on, return the reply: the least a proxy that can retry must do."""
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    async def answer(request: web.Request) -> web.Response:
        body = await request.read()
        headers = {"Content-Type": request.headers["Content-Type"]}
        async with session.post(f"{target}{request.path}", data=body, headers=headers) as reply:
            return web.Response(body=await reply.read(), content_type="application/json")

    app = web.Application(client_max_size=_MAX_BYTES)
    app.router.add_post("/{path:.*}", answer)
    return app


async def spooling(target: str) -> web.Application:
    """Write the body to a file without a name, post that on, return the reply: the same for bodies of any size."""
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    async def answer(request: web.Request) -> web.Response:
        headers = {"Content-Type": request.headers["Content-Type"], "Content-Length": request.headers["Content-Length"]}
        with tempfile.TemporaryFile() as body:
            async for chunk in request.content.iter_any():
                body.write(chunk)
            body.seek(0)
            async with session.post(f"{target}{request.path}", data=body, headers=headers) as reply:
                return web.Response(body=await reply.read(), content_type="application/json")

    app = web.Application(client_max_size=_MAX_BYTES)
    app.router.add_post("/{path:.*}", answer)
    return app


_RELAYS = {"relay": relay, "spooling": spooling}


async def serve(kind: str, target: str | None) -> None:
    """Serve one of them; print the port."""
    app = await (_RELAYS[kind](target) if target else {"upstream": upstream, "digest": digest}[kind]())
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"{kind} listens on {runner.addresses[0][1]}", file=sys.stderr, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None))
