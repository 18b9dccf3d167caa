"""Real gateways on loopback for tests: one in the test's own loop, or one in a thread for clients that block."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from pydantic import SecretStr

from config.cache import Cache, CacheStore
from config.catalog import load_catalog
from config.settings import AccountSettings, Route, Settings, Target
from config.settings import Server as ServerSettings
from gateway.app import Gateway
from gateway.defaults import demonstration
from gateway.intake.fetch import new_session
from gateway.serve import Server
from providers.emulators.ear import DigestEar, Emulation
from providers.local.models import EMBEDDED
from providers.registry import emulated_options, emulated_urls, emulator_of
from tests.conftest import KEY, serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from aiohttp import ClientSession
    from aiohttp.web import AppRunner

NOT_KEPT = Cache(store=CacheStore.NONE)  # the same recording is sent again and again, and each time counts


def demo_settings(**server: object) -> Settings:
    """Return what `serve --demo` runs with where [demo] is installed, on a free port."""
    return demonstration(settings_with(**server), load_catalog(), {EMBEDDED})


def settings_with(**server: object) -> Settings:
    """Return settings that name no provider, on a free port, with changes to `server`."""
    return Settings(server=ServerSettings.model_validate({"port": 0, **server}), cache=NOT_KEPT)


def routed(model: str, accounts: dict[str, AccountSettings], *targets: str, **server: object) -> Settings:
    """Return settings with one model on the targets, in order."""
    return Settings(
        server=ServerSettings.model_validate({"port": 0, **server}),
        providers=accounts,
        # substitute: a test may call its model what it likes.
        models={model: Route(targets=tuple(Target(target=each, substitute=True) for each in targets))},
        default_model=model,
        cache=NOT_KEPT,
    )


def emulated_account(adapter: str, root: str, *, key: str = KEY, **options: str) -> AccountSettings:
    """Return an account at the adapter's emulator, which runs at root."""
    urls = dict(emulated_urls(adapter, root))
    return AccountSettings(
        adapter=adapter,
        api_key=SecretStr(key),
        base_url=urls.pop("api"),
        base_urls=urls,
        options={**emulated_options(adapter), **options},
    )


@asynccontextmanager
async def running(
    settings: Settings, *, drain_s: float = 1.0, make_fetching: Callable[[], ClientSession] = new_session
) -> AsyncIterator[tuple[str, Gateway]]:
    """Serve in this event loop; give the URL and the gateway."""
    gateway = Gateway(settings, make_fetching=make_fetching)
    server = Server(gateway)
    ports = await server.start()
    beside = asyncio.get_running_loop().create_task(gateway.background())
    try:
        await gateway.fleet.load()
        yield f"http://127.0.0.1:{ports.callers}", gateway
    finally:
        await server.stop(drain_s)
        await beside


@asynccontextmanager
async def digesting(model: str, **server: object) -> AsyncIterator[str]:
    """Serve a model that answers with the audio's digest: for what is about the audio's way, not about hearing."""
    runners: list[AppRunner] = []
    emulator = emulator_of("hf-inference")(Emulation(ear=DigestEar(), key=KEY))
    hub = emulated_account("hf-inference", await serve(emulator, runners))
    try:
        async with running(routed(model, {"hub": hub}, f"hub/{model}", **server)) as (url, _):
            yield url
    finally:
        await runners[0].cleanup()


@asynccontextmanager
async def _url_of(settings: Settings) -> AsyncIterator[str]:
    async with running(settings) as (url, _):
        yield url


def running_in_a_thread(settings: Settings) -> AbstractContextManager[str]:
    """Serve in a thread; give the URL. For SDKs that block, and for programs started by a test."""
    return in_a_thread(lambda: _url_of(settings))


@contextmanager
def in_a_thread(serving: Callable[[], AbstractAsyncContextManager[str]]) -> Iterator[str]:
    """Serve in a thread whatever gives its URL."""
    ready: list[str] = []
    started = threading.Event()
    stop: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def main() -> None:
        async with serving() as url:
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
