"""Uploads pass through: what the process keeps of them is bounded, however they are sent and however large they are."""

from __future__ import annotations

import asyncio
import base64
import struct
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web
from blake3 import blake3

from tests.asking import MODEL, WAV
from tests.conftest import serve
from tests.heard import heard_of
from tests.program import Program, configuration, program

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

MB = 1_000_000
BLOCK = bytes(range(256)) * 2_304  # 576 kB, a multiple of 3
FORM = (
    f'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n{MODEL}\r\n'
    '--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
).encode()
FORM_END = b"\r\n--b--\r\n"


@dataclass(slots=True)
class Clip:
    """A wav of stereo at 48 kHz, made while it is sent: the test holds none of it."""

    size: int
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        hashed = blake3()
        for block in self.blocks():
            hashed.update(block)
        self.digest = hashed.hexdigest()

    def blocks(self) -> list[bytes]:
        """Return the blocks; all but the ends are one object."""
        form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 2, 48_000, 192_000, 4, 16)
        head = (
            struct.pack("<4sI4s", b"RIFF", self.size - 8, b"WAVE") + form + struct.pack("<4sI", b"data", self.size - 44)
        )
        whole, rest = divmod(self.size - 44, len(BLOCK))
        first = head + BLOCK[: 3 - len(head) % 3]
        return [first, BLOCK[len(first) - len(head) :], *[BLOCK] * (whole - 1), BLOCK[:rest]]


async def as_raw(clip: Clip) -> AsyncIterator[bytes]:
    for block in clip.blocks():
        yield block


async def as_form(clip: Clip) -> AsyncIterator[bytes]:
    yield FORM
    for block in clip.blocks():
        yield block
    yield FORM_END


async def as_json(clip: Clip, *, escaped: bool = False) -> AsyncIterator[bytes]:
    yield b'{"inputs": "'
    rest = b""
    for block in clip.blocks():
        whole = rest + block
        end = len(whole) // 3 * 3
        rest = whole[end:]
        text = base64.b64encode(whole[:end])
        yield text.replace(b"/", b"\\/") if escaped else text
    yield base64.b64encode(rest) + b'"}'


WAYS: dict[str, tuple[str, str, Callable[[Clip], AsyncIterator[bytes]]]] = {
    "raw": (f"/models/{MODEL}", "audio/wav", as_raw),
    "form": ("/v1/audio/transcriptions", "multipart/form-data; boundary=b", as_form),
    "json": (f"/models/{MODEL}", "application/json", as_json),
    "escaped json": (f"/models/{MODEL}", "application/json", partial(as_json, escaped=True)),
}


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


async def send(session: aiohttp.ClientSession, running: Program, clip: Clip, way: str) -> None:
    """Upload a clip; the right bytes arrived."""
    path, content_type, body = WAYS[way]
    headers = {"Content-Type": content_type}
    async with session.post(running.url + path, data=body(clip), headers=headers) as reply:
        told = await reply.json()
        assert (reply.status, told.get("text")) == (200, f"blake3 {clip.digest}"), told


async def growth(running: Program, clip: Clip, way: str, times: int) -> tuple[int, int]:
    """Return by how much the process grew at most, in bytes: in all, and without what it only maps from files."""
    resident, anonymous = running.memory_bytes("VmRSS"), running.memory_bytes("RssAnon")
    Path(f"/proc/{running.process.pid}/clear_refs").write_text("5")  # noqa: ASYNC240 - the highest begins anew
    highest = [anonymous]

    async def watch() -> None:
        while True:
            highest.append(running.memory_bytes("RssAnon"))
            await asyncio.sleep(0.01)

    async with aiohttp.ClientSession() as session:
        watching = asyncio.get_running_loop().create_task(watch())
        async with asyncio.TaskGroup() as tasks:
            for _ in range(times):
                tasks.create_task(send(session, running, clip, way))
        watching.cancel()
    return running.memory_bytes("VmHWM") - resident, max(highest) - anonymous


@pytest.mark.parametrize("way", WAYS)
async def test_eight_large_uploads_at_once(way: str, gateway: Program) -> None:
    """192 MB in all; each may keep a MiB in memory, and a few buffers on its way in and out."""
    resident, anonymous = await growth(gateway, Clip(24 * MB), way, times=8)
    assert anonymous < 90 * MB
    assert "json" in way or resident < 90 * MB


@pytest.mark.parametrize("way", WAYS)
async def test_one_very_large_upload(way: str, gateway: Program) -> None:
    """A JSON document is mapped from its file to be read: pages the system may take back at any time."""
    size = 100 * MB if "json" in way else 300 * MB
    resident, anonymous = await growth(gateway, Clip(size), way, times=1)
    assert anonymous < 40 * MB
    assert "json" in way or resident < 40 * MB
