"""What many tests share: real speech, a real model, real servers on loopback."""

from __future__ import annotations

import functools
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import av
import numpy as np
import pytest
from aiohttp import web

from providers.emulators.ear import DigestEar, Emulation, LocalEar, as_audio
from providers.local.faster_whisper import FasterWhisper
from providers.registry import emulator_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

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


def tone(seconds: float, rate_hz: int, *, hz: float = 440.0, channels: int = 1) -> np.ndarray[Any, np.dtype[np.int16]]:
    """Return (channels, samples) int16 at half of full scale."""
    wave = np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)
    return np.tile((16_384 * wave).astype(np.int16), (channels, 1))


def encoded(
    samples: np.ndarray[Any, np.dtype[np.int16]],
    rate_hz: int,
    form: str,
    codec: str,
    *,
    bit_rate: int | None = None,
    options: dict[str, str] | None = None,
) -> bytes:
    """Return (channels, samples) int16 as a file, made by FFmpeg. form: of the muxer."""
    file = io.BytesIO()
    layout = av.AudioLayout({1: "mono", 2: "stereo", 3: "2.1", 8: "7.1"}[len(samples)])
    with av.open(file, "w", format=form, options=options or {}) as output:
        stream = output.add_stream(codec, rate=rate_hz)
        assert isinstance(stream, av.AudioStream)
        stream.codec_context.layout = layout
        if bit_rate:
            stream.codec_context.bit_rate = bit_rate
        for start in range(0, samples.shape[1], rate_hz):
            part = np.ascontiguousarray(samples[:, start : start + rate_hz])
            frame = av.AudioFrame.from_ndarray(part, format="s16p", layout=layout.name)
            frame.sample_rate = rate_hz
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue()


@pytest.fixture(autouse=True, scope="session")
def own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what gateways write down unless told away from whoever runs the tests."""
    shared = tmp_path_factory.getbasetemp().parent / "cache"  # by all test processes: a joined model is 145 MB
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        patch.setenv("XDG_CACHE_HOME", str(shared))
        yield


@pytest.fixture(autouse=True)
def own_ledger(monkeypatch: pytest.MonkeyPatch, own_state: None) -> None:
    """Begin with an empty one: budgets go on where the ledger says that they were left."""
    monkeypatch.setenv("XDG_STATE_HOME", f"{os.environ['XDG_STATE_HOME']}/{uuid4().hex}")


@functools.cache
def whisper() -> FasterWhisper:
    """Return the embedded model, loaded once in a test process."""
    return FasterWhisper("tiny.en")


@functools.cache
def whisper_base() -> FasterWhisper:
    """Return the embedded model of 99 languages, likewise."""
    return FasterWhisper("base")


@pytest.fixture
def local_ear() -> LocalEar:
    return LocalEar(whisper())


Emulate = "Callable[[str, Ear], Awaitable[str]]"


@pytest.fixture
async def emulate() -> AsyncIterator[Callable[..., Awaitable[str]]]:
    """Return a function that starts a provider's emulator and gives its base URL."""
    runners: list[web.AppRunner] = []

    async def start(name: str, ear: Ear | None = None, **settings: float) -> str:
        app = emulator_of(name)(Emulation(ear=ear or DigestEar(), key=KEY, **settings))
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
