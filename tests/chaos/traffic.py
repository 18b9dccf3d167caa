"""Callers of every kind at once, and whether each was answered for what it sent."""

from __future__ import annotations

import asyncio
import base64
import json
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Final, TypeAlias

import aiohttp
from blake3 import blake3

from tests.chaos.load import MODEL, utterance

if TYPE_CHECKING:
    from random import Random

FRAIL: Final = "openai/whisper-frail"  # served by the upstream that breaks, and by no other
CALLER, LIMITED, STRANGER = "hf_gw_planted_caller", "hf_gw_planted_limited", "hf_gw_planted_stranger"
SIZES: Final = {8_000: 30, 32_000: 40, 150_000: 20, 600_000: 8, 2_000_000: 2}  # with how often; the last go to disk
_BOUNDARY: Final = "planted-boundary"


@dataclass(frozen=True, slots=True)
class Sent:
    """One request with a body."""

    path: str
    body: bytes
    content_type: str


Way: TypeAlias = Callable[[bytes, str], Sent]


def as_raw(audio: bytes, model: str = MODEL) -> Sent:
    return Sent(f"/models/{model}", audio, "audio/wav")


def as_json(audio: bytes, model: str = MODEL) -> Sent:
    document = {"inputs": base64.b64encode(audio).decode(), "parameters": {"return_timestamps": False}}
    return Sent(f"/models/{model}", json.dumps(document).encode(), "application/json")


def as_form(audio: bytes, model: str = MODEL) -> Sent:
    part = f"--{_BOUNDARY}\r\nContent-Disposition: form-data; name="
    head = f'{part}"model"\r\n\r\n{model}\r\n{part}"file"; filename="planted.wav"\r\n\r\n'
    body = head.encode() + audio + f"\r\n--{_BOUNDARY}--\r\n".encode()
    return Sent("/v1/audio/transcriptions", body, f"multipart/form-data; boundary={_BOUNDARY}")


WAYS: Final[dict[str, Way]] = {"HF raw": as_raw, "HF JSON": as_json, "OpenAI form": as_form}


def hostile() -> dict[str, Sent]:
    """Return bodies that are refused, by what is wrong with them."""
    audio, json_type = utterance(8000), "application/json"
    form = as_form(audio)
    return {
        "broken JSON": Sent(f"/models/{MODEL}", b'{"inputs": "planted', json_type),
        "no base64": Sent(f"/models/{MODEL}", b'{"inputs": "planted$$$$"}', json_type),
        "deep JSON": Sent(f"/models/{MODEL}", b'{"inputs":' + b"[" * 20_000, json_type),
        "no audio": Sent(f"/models/{MODEL}", b"\x00\x01planted" * 500, "audio/wav"),
        "an address": Sent(f"/models/{MODEL}", b"https://planted.example/a.wav", "text/plain"),
        "nothing": Sent(f"/models/{MODEL}", b"", "audio/wav"),
        "no such model": Sent("/models/planted/model", audio, "audio/wav"),
        "no such path": Sent("/planted/path", audio, "audio/wav"),
        "half a form": Sent(form.path, form.body[:4000], form.content_type),
        "two files": Sent(form.path, form.body[: -len(_BOUNDARY) - 8] + b"\r\n" + form.body, form.content_type),
        "too large": Sent(f"/models/{MODEL}", utterance(5_000_000), "audio/wav"),
    }


@dataclass(slots=True)
class Traffic:
    """Sends what chance says and judges every answer. `wrong` must stay empty."""

    url: str
    session: aiohttp.ClientSession
    chance: Random
    counts: Counter[tuple[str, object]] = field(default_factory=Counter)  # by kind of caller and what became of it
    wrong: list[str] = field(default_factory=list)
    unserved: int = 0  # of those for whom there is a deployment that works: every attempt met a fault, or took too long
    failed: set[str] = field(default_factory=set)  # request ids of 5xx
    _recent: deque[bytes] = field(default_factory=lambda: deque(maxlen=40))
    _hostile: dict[str, Sent] = field(default_factory=hostile)

    async def at_rate(self, per_s: float, seconds: float) -> None:
        """Send at a rate whatever comes back, and return when everybody is answered."""
        clock = asyncio.get_running_loop().time
        start = clock()
        async with asyncio.TaskGroup() as group:
            for at in range(int(per_s * seconds)):
                await asyncio.sleep(max(0.0, start + at / per_s - clock()))
                group.create_task(self.one())

    async def one(self) -> None:
        """Be one caller."""
        kinds = {"new": 70, "again": 10, "frail": 5, "limited": 3, "leaves": 6, "hostile": 6}
        (kind,) = self.chance.choices(list(kinds), list(kinds.values()))
        match kind:
            case "leaves":
                await self._leaves()
            case "hostile":
                await self._harms()
            case _:
                await self._asks(kind)

    async def _asks(self, kind: str) -> None:
        is_again = kind == "again" and self._recent
        audio = self.chance.choice(self._recent) if is_again else utterance(self._size())
        name = self.chance.choice(list(WAYS))
        sent = WAYS[name](audio, FRAIL if kind == "frail" else MODEL)
        status, text = await self._sent(f"{kind}, {name}", sent, LIMITED if kind == "limited" else CALLER)
        if status == 200:
            if text.strip() != f"blake3 {blake3(audio).hexdigest()} planted":
                self.wrong.append(f"{kind}, {name}, {len(audio)} bytes: {text!r} is of other audio")
            self._recent.append(audio)
        elif status in {502, 504}:
            self.unserved += kind != "frail"
        elif status != 429:
            self.wrong.append(f"{kind}, {name}, {len(audio)} bytes: {status}")

    async def _harms(self) -> None:
        name = self.chance.choice([*self._hostile, "a wrong key"])
        sent, secret = self._hostile.get(name, as_raw(utterance(8000))), CALLER
        if name == "a wrong key":
            secret = STRANGER
        status, _ = await self._sent(f"hostile, {name}", sent, secret)
        if not 400 <= status < 500:
            self.wrong.append(f"hostile, {name}: {status}")

    async def _leaves(self) -> None:
        """Hang up somewhere within the upload, or while the answer is waited for."""
        sent = self.chance.choice(list(WAYS.values()))(utterance(self._size()), MODEL)
        part, stays_s = min(1.0, self.chance.random() * 1.5), self.chance.random() * 0.1
        _, writer = await asyncio.open_connection("127.0.0.1", int(self.url.rpartition(":")[2]))
        head = f"POST {sent.path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {CALLER}\r\n"
        head += f"Content-Type: {sent.content_type}\r\nContent-Length: {len(sent.body)}\r\n\r\n"
        with suppress(ConnectionError):
            writer.write(head.encode() + sent.body[: int(len(sent.body) * part)])
            await writer.drain()
            await asyncio.sleep(stays_s)
        writer.transport.abort()
        self.counts["leaves", "left"] += 1

    async def _sent(self, kind: str, sent: Sent, secret: str) -> tuple[int, str]:
        """Return the status and the text; 0 where there was no answer."""
        headers = {"Authorization": f"Bearer {secret}", "Content-Type": sent.content_type}
        try:
            async with self.session.post(self.url + sent.path, data=BytesIO(sent.body), headers=headers) as reply:
                answer, status = await reply.json(), reply.status
                if status >= 500:
                    self.failed.add(reply.headers["X-Request-Id"])
                outcome = f"{status} {reply.headers.get('X-Gateway-Cache', '')}".strip()
        except (aiohttp.ClientError, TimeoutError) as error:
            answer, status, outcome = {}, 0, type(error).__name__
        self.counts[kind, outcome] += 1
        return status, str(answer.get("text", ""))

    def _size(self) -> int:
        (size,) = self.chance.choices(list(SIZES), list(SIZES.values()))
        return size + self.chance.randrange(0, 200, 2)
