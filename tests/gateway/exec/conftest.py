"""A gateway and a Hub that write down what reaches them, a proxy that catches the rest, and programs below `exec`."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from tests.conftest import AUDIO, serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp.typedefs import Handler

HEARD = "And so, my fellow Americans."
OLDER_HUB = Path(sys.prefix) / "huggingface_hub-0.36"  # where `make install` puts the last release of the 0.x line
VERSIONS = {"newest": (), "0.36": (str(OLDER_HUB),)}  # what to put on PYTHONPATH
LISTENING = "automatic-speech-recognition"
TASKS = {"org/chat": "conversational", "org/paint": "text-to-image"}  # any other model listens
PROVIDERS = ("fal-ai", "replicate", "deepinfra", "together", "groq", "hf-inference")
HUB_FILE = b"a file on the Hub"
HUB_COMMIT = "0123456789abcdef0123456789abcdef01234567"

# What the command line does, without the rest of the command line.
EXEC = "import os, sys; from gateway.exec.launch import run; sys.exit(run(sys.argv[1], sys.argv[2:], os.environ))"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One request as it came."""

    method: str
    path: str  # with its query
    authorization: str | None
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A program that has ended."""

    code: int
    out: str
    err: str


@dataclass(slots=True, kw_only=True)
class World:
    """Everywhere a program can reach, and what it did there."""

    folder: Path
    gateway_url: str = ""
    hub_url: str = ""
    proxy_url: str = ""
    gateway: list[Seen] = field(default_factory=list)
    hub: list[Seen] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)  # first lines of requests for any other host

    def environ(self, *pythonpath: str, **more: str) -> dict[str, str]:
        """Return an environment without this machine's tokens, proxies and caches."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "HF_HOME": str(self.folder / "hf"),
            "HF_ENDPOINT": self.hub_url,
            "HTTPS_PROXY": self.proxy_url,
            "HTTP_PROXY": self.proxy_url,
            "NO_PROXY": "127.0.0.1",
            "PYTHONPATH": os.pathsep.join(pythonpath),
            **more,
        }

    async def run(self, *command: str, pythonpath: tuple[str, ...] = (), **more: str) -> Finished:
        """Run a command below `exec`."""
        return await self.run_plain(
            sys.executable, "-c", EXEC, self.gateway_url, *command, pythonpath=pythonpath, **more
        )

    async def run_app(self, source: str, *, pythonpath: tuple[str, ...] = (), **more: str) -> Finished:
        """Run `python app.py` below `exec`."""
        (self.folder / "app.py").write_text(source)
        return await self.run(sys.executable, "app.py", pythonpath=pythonpath, **more)

    async def run_plain(self, *command: str, pythonpath: tuple[str, ...] = (), **more: str) -> Finished:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=self.folder,
            env=self.environ(*pythonpath, **more),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return Finished(code=process.returncode or 0, out=out.decode(), err=err.decode())


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Return servers on loopback and a folder holding the snippet's sample1.flac."""
    shutil.copy(AUDIO / "jfk.flac", tmp_path / "sample1.flac")
    world = World(folder=tmp_path)
    runners: list[web.AppRunner] = []
    world.gateway_url = await serve(_gateway(world.gateway), runners)
    world.hub_url = await serve(_hub(world.hub), runners)

    async def catch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        world.elsewhere.append((await reader.readline()).decode().strip())
        writer.close()

    proxy = await asyncio.start_server(catch, "127.0.0.1", 0)
    world.proxy_url = f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
    yield world
    proxy.close()
    for runner in runners:
        await runner.cleanup()


def _recorder(seen: list[Seen]) -> web.Application:
    @web.middleware
    async def record(request: web.Request, handler: Handler) -> web.StreamResponse:
        seen.append(
            Seen(
                method=request.method,
                path=request.path_qs,
                authorization=request.headers.get("authorization"),
                body=await request.read(),
            )
        )
        return await handler(request)

    return web.Application(client_max_size=2**24, middlewares=[record])


def model_info(name: str, task: str) -> dict[str, object]:
    """Return what a look-up is answered, in the form every release reads."""
    entry = {"providerId": name, "status": "live", "task": task}
    return {"id": name, "pipeline_tag": task, "inferenceProviderMapping": dict.fromkeys(PROVIDERS, entry)}


def _gateway(seen: list[Seen]) -> web.Application:
    """Answer as the gateway's fronts do; the routes the gateway has not are 404."""

    async def model(request: web.Request) -> web.Response:
        name = request.match_info["model"]
        return web.json_response(model_info(name, TASKS.get(name, LISTENING)))

    async def tasks(_: web.Request) -> web.Response:
        return web.json_response({LISTENING: {"widgetModels": ["openai/whisper-large-v3"]}})

    async def text(_: web.Request) -> web.Response:
        return web.json_response({"text": HEARD})

    async def prediction(_: web.Request) -> web.Response:
        return web.json_response({"output": {"transcription": HEARD}})

    async def unknown(_: web.Request) -> web.Response:
        return web.json_response({"error": "the gateway has no such route"}, status=404)

    app = _recorder(seen)
    app.router.add_get("/api/models/{model:.+}", model)
    app.router.add_get("/api/tasks", tasks)
    app.router.add_post("/replicate/v1/models/openai/{name}/predictions", prediction)
    app.router.add_post("/deepinfra/v1/openai/audio/transcriptions", text)
    app.router.add_post("/hf-inference/models/openai/{name}", text)
    app.router.add_post("/fal-ai/openai/{name}", text)
    app.router.add_route("*", "/{path:.*}", unknown)
    return app


def _hub(seen: list[Seen]) -> web.Application:
    """Answer as the Hub does for one file, and for every model in words of its own."""

    async def model(request: web.Request) -> web.Response:
        info = model_info(request.match_info["model"], LISTENING)
        return web.json_response({**info, "pipeline_tag": "from-the-hub"})

    async def file(_: web.Request) -> web.Response:
        return web.Response(body=HUB_FILE, headers={"ETag": '"1234"', "X-Repo-Commit": HUB_COMMIT})

    app = _recorder(seen)
    app.router.add_get("/api/models/{model:.+}", model)
    app.router.add_get("/{repo:.+}/resolve/{revision}/{file}", file)
    return app
