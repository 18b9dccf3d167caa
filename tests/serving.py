"""Real gateways on loopback for tests: one in the test's own loop, or one in a thread for clients that block."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from config.catalog import load_catalog
from config.settings import AccountSettings, Route, Settings, Target
from config.settings import Server as ServerSettings
from gateway.app import Gateway
from gateway.defaults import demonstration
from gateway.serve import Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


def demo_settings(**server: object) -> Settings:
    """Return what `serve --demo` runs with, on a free port."""
    return demonstration(settings_with(**server), load_catalog())


def settings_with(**server: object) -> Settings:
    """Return settings that name no provider, on a free port, with changes to `server`."""
    return Settings(server=ServerSettings.model_validate({"port": 0, **server}))


def routed(model: str, accounts: dict[str, AccountSettings], *targets: str, **server: object) -> Settings:
    """Return settings with one model on the targets, in order."""
    return Settings(
        server=ServerSettings.model_validate({"port": 0, **server}),
        providers=accounts,
        models={model: Route(targets=tuple(Target(target=each) for each in targets))},
        default_model=model,
    )


@asynccontextmanager
async def running(settings: Settings, *, drain_s: float = 1.0) -> AsyncIterator[tuple[str, Gateway]]:
    """Serve in this event loop; give the URL and the gateway."""
    gateway = Gateway(settings)
    server = Server(gateway)
    port = await server.start()
    try:
        await gateway.fleet.load()
        yield f"http://127.0.0.1:{port}", gateway
    finally:
        await server.stop(drain_s)


@contextmanager
def running_in_a_thread(settings: Settings) -> Iterator[str]:
    """Serve in a thread; give the URL. For SDKs that block, and for programs started by a test."""
    ready: list[str] = []
    started = threading.Event()
    stop: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def main() -> None:
        async with running(settings) as (url, _):
            ready.append(url)
            asked = asyncio.Event()
            stop.append((asyncio.get_running_loop(), asked))
            started.set()
            await asked.wait()

    thread = threading.Thread(target=asyncio.run, args=(main(),), name="gateway")
    thread.start()
    if not started.wait(60):
        raise RuntimeError("the gateway did not start")
    try:
        yield ready[0]
    finally:
        loop, asked = stop[0]
        loop.call_soon_threadsafe(asked.set)
        thread.join(30)
