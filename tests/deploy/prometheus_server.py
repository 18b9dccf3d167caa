"""A real Prometheus: the committed configuration and rules, each second, asked through its API."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from tests.deploy.expressions import PROMETHEUS

EVERY_S = 1.0  # scraped and evaluated, instead of each 15 s
SLOW = ('le="30.0"', 'le="1.0"')  # nobody waits 30 s here for a slow request


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running one."""

    url: str
    session: aiohttp.ClientSession

    async def get(self, path: str, **parameters: str | float) -> Any:
        """Return the data of an answer. Raises AssertionError with Prometheus' own words."""
        asked = {name: str(value) for name, value in parameters.items()}
        async with self.session.get(f"{self.url}/api/v1/{path}", params=asked) as reply:
            told = await reply.json()
        assert told["status"] == "success", told
        return told["data"]

    async def over(self, expression: str, began: float, ended: float) -> list[dict[str, Any]]:
        """Return the series of an expression, evaluated for each second between two moments (UNIX)."""
        data = await self.get("query_range", query=expression, start=began, end=ended, step=EVERY_S)
        return list(data["result"])

    async def until(self, expression: str) -> None:
        """Return when an expression has a result; pytest's own limit ends the wait."""
        while not (await self.get("query", query=expression))["result"]:  # noqa: ASYNC110 - what it scrapes has no event
            await asyncio.sleep(0.1)

    async def scrapes(self, count: int) -> None:
        """Return when it has come by so many times from now on."""
        now = float((await self.get("query", query="time()"))["result"][1])
        await self.until(f'max(timestamp(up{{job="asr-gateway"}})) > {now + (count - 1) * EVERY_S}')

    async def values(self, metric: str, label: str) -> list[str]:
        """Return the values that a metric's label has had."""
        return list(await self.get(f"label/{label}/values", **{"match[]": metric}))


def configured(folder: Path, gateway: str, key: str) -> Path:
    """Write the committed configuration and rules, with this gateway as target and all of it each second."""
    document = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    document["global"] = {"scrape_interval": f"{EVERY_S:g}s", "evaluation_interval": f"{EVERY_S:g}s"}
    (job,) = document["scrape_configs"]
    job["static_configs"] = [{"targets": [gateway.removeprefix("http://")]}]
    job["authorization"]["credentials_file"] = str(folder / "key")
    (folder / "key").write_text(key)
    for name in document["rule_files"]:
        text = (PROMETHEUS / name).read_text()
        (folder / name).write_text(text.replace(*SLOW))
    (folder / "prometheus.yml").write_text(yaml.safe_dump(document))
    return folder / "prometheus.yml"


@asynccontextmanager
async def prometheus(folder: Path, gateway: str, key: str) -> AsyncIterator[Prometheus]:
    """Run one on a free port; it ends with the test, and all that it knows with it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    file = configured(folder, gateway, key)
    checked = await asyncio.create_subprocess_exec("promtool", "check", "config", str(file), stdout=-3, stderr=-3)
    assert await checked.wait() == 0, "promtool check config"
    process = await asyncio.create_subprocess_exec(
        *("prometheus", f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}"),
        *(f"--web.listen-address={address}", "--log.level=error"),
    )
    try:
        async with aiohttp.ClientSession() as session:
            server = Prometheus(f"http://{address}", session)
            await _ready(server)
            yield server
    finally:
        if process.returncode is None:
            process.kill()  # nothing of it is kept
        await process.wait()


async def _ready(server: Prometheus) -> None:
    while True:
        try:
            async with server.session.get(f"{server.url}/-/ready") as reply:
                if reply.status == 200:
                    return
        except aiohttp.ClientConnectionError:
            pass
        await asyncio.sleep(0.1)
