"""Large uploads that are made while they are sent, and how much a gateway grew by meanwhile."""

from __future__ import annotations

import asyncio
import base64
import struct
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
from blake3 import blake3

from tests.asking import MODEL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from tests.program import Program

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


async def told(session: aiohttp.ClientSession, running: Program, clip: Clip, way: str) -> tuple[int, str]:
    """Upload a clip; return the answer's status, and its text or what was wrong."""
    path, content_type, body = WAYS[way]
    headers = {"Content-Type": content_type}
    async with session.post(running.url + path, data=body(clip), headers=headers) as reply:
        answer = await reply.json()
        return reply.status, str(answer.get("text", answer))


async def send(session: aiohttp.ClientSession, running: Program, clip: Clip, way: str) -> None:
    """Upload a clip; the right bytes arrived."""
    assert await told(session, running, clip, way) == (200, f"blake3 {clip.digest}")


async def growth(running: Program, clips: Sequence[Clip], way: str) -> tuple[int, int]:
    """Upload clips at once, and return by how much the process grew at most: in all, and without what maps files."""
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
            for clip in clips:
                tasks.create_task(send(session, running, clip, way))
        watching.cancel()
    return running.memory_bytes("VmHWM") - resident, max(highest) - anonymous
