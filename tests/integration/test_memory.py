"""Uploads pass through: what the process keeps of them is bounded, however they are sent and however large they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web

from tests.asking import MODEL, WAV
from tests.conftest import serve
from tests.heard import heard_of
from tests.large import MB, WAYS, Clip, growth, send
from tests.program import Program, configuration, program

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


async def hear(request: web.Request) -> web.Response:
    """Answer with the digest of the form's file, as it arrives."""
    heard = heard_of({"content-type": request.headers["Content-Type"]})
    async for chunk in request.content.iter_any():
        heard.update(chunk)
    return web.json_response({"text": f"blake3 {heard.hexdigest()}"})


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Program]:
    """Serve before an upstream that keeps nothing; every buffer that grows on first use has grown."""
    app = web.Application(client_max_size=1 << 40)
    app.router.add_post("/v1/audio/transcriptions", hear)
    runners: list[web.AppRunner] = []
    url = await serve(app, runners)
    server = {"max_upload": "400MB", "max_duration": "24h"}
    chosen = configuration({"up": f"{url}/v1"}, adapter="openai-compatible", model=MODEL, server=server)
    async with program(chosen, tmp_path) as running, aiohttp.ClientSession() as session:
        for way in WAYS:
            await send(session, running, Clip(5 * MB), way)
        async with session.post(f"{running.url}/models/{MODEL}", data=WAV) as reply:
            assert reply.status == 200
        yield running
    for runner in runners:
        await runner.cleanup()


@pytest.mark.parametrize("way", WAYS)
async def test_eight_large_uploads_at_once(way: str, gateway: Program) -> None:
    """192 MB in all; each may keep a MiB in memory, and a few buffers on its way in and out."""
    resident, anonymous = await growth(gateway, [Clip(24 * MB)] * 8, way)
    assert anonymous < 90 * MB
    assert "json" in way or resident < 90 * MB


@pytest.mark.parametrize("way", WAYS)
async def test_one_very_large_upload(way: str, gateway: Program) -> None:
    """A JSON document is mapped from its file to be read: pages the system may take back at any time."""
    size = 100 * MB if "json" in way else 300 * MB
    resident, anonymous = await growth(gateway, [Clip(size)], way)
    assert anonymous < 40 * MB
    assert "json" in way or resident < 40 * MB
