"""A health check's exit code: as /health/ready, and quick."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from config.settings import Server
from gateway import probe
from tests.conftest import serve
from tests.engine import ENGINE_KEY, engine_program
from tests.serving import demo_settings, running_in_a_thread

if TYPE_CHECKING:
    from pathlib import Path

PROBE = (sys.executable, "-P", "-m", "gateway.probe")


def test_a_gateway_that_is_ready(tmp_path: Path) -> None:
    """Told the port as the gateway itself is told it; no key is needed, and no folder matters."""
    with running_in_a_thread(demo_settings()) as url:
        environ = {**os.environ, "ASR_GATEWAY_SERVER__PORT": url.rpartition(":")[2]}
        done = subprocess.run(PROBE, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=30, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert subprocess.run((*PROBE, url), timeout=30, check=False).returncode == 0


async def test_one_that_is_not() -> None:
    """503 while it loads or drains; and whatever is no gateway."""
    runners: list[web.AppRunner] = []
    app = web.Application()
    app.router.add_get("/health/ready", _draining)
    url = await serve(app, runners)
    assert await asked(url) == f"{url} is not ready (503)"
    await runners[0].cleanup()
    assert await asked(url) == f"{url} does not answer (ConnectionRefusedError)"


async def test_an_engine_by_itself_is_asked_elsewhere() -> None:
    async with engine_program("--model", "tiny.en", key=ENGINE_KEY) as engine:
        assert await asked(f"{engine.url}/health") is None
        assert await asked(engine.url) == f"{engine.url} is not ready (401)"


async def _draining(request: web.Request) -> web.Response:
    return web.json_response({"status": "draining"}, status=503)


async def asked(url: str) -> str | None:
    return await asyncio.to_thread(probe.probe, url)


def test_its_usual_port_is_the_gateways() -> None:
    assert str(Server().port) == probe._USUAL_PORT


@pytest.mark.parametrize("module", ["aiohttp", "pydantic", "click"])
def test_it_imports_nothing_heavy(module: str) -> None:
    """It is run every few seconds beside the gateway, on the same cores."""
    ask = f"import gateway.probe, sys; sys.exit({module!r} in sys.modules)"
    assert subprocess.run((sys.executable, "-c", ask), timeout=30, check=False).returncode == 0
