"""What many tests share: real speech, a real model, real servers on loopback."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from providers.emulators.ear import DigestEar, Emulation, LocalEar, as_audio
from providers.local.faster_whisper import FasterWhisper
from providers.registry import emulator_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from providers.emulators.ear import Ear
    from providers.types import Audio

AUDIO = Path(__file__).parent / "audio"
KEY = "emulated-key"


def sample(name: str) -> bytes:
    """Return a bundled recording; tests/audio/manifest.json says what is said in it."""
    return (AUDIO / name).read_bytes()


def sample_audio(name: str) -> Audio:
    """Return a bundled recording as dispatch would pass it on."""
    return as_audio(sample(name))


@functools.cache
def whisper() -> FasterWhisper:
    """Return the embedded model, loaded once in a test process."""
    return FasterWhisper("tiny.en")


@pytest.fixture
def local_ear() -> LocalEar:
    return LocalEar(whisper().transcribe)


Emulate = "Callable[[str, Ear], Awaitable[str]]"


@pytest.fixture
async def emulate() -> AsyncIterator[Callable[..., Awaitable[str]]]:
    """Return a function that starts a provider's emulator and gives its base URL."""
    runners: list[web.AppRunner] = []

    async def start(name: str, ear: Ear | None = None, **settings: float) -> str:
        app = emulator_of(name)(Emulation(ear=ear or DigestEar(), key=KEY, **settings))  # type: ignore[arg-type]
        return await serve(app, runners)

    yield start
    for runner in runners:
        await runner.cleanup()


async def serve(app: web.Application, runners: list[web.AppRunner]) -> str:
    """Serve an application on a free loopback port; return its URL."""
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    runners.append(runner)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    return f"http://{host}:{port}"
