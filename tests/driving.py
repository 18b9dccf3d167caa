"""Driving an exchange by hand: every request is answered in turn, everything else is granted."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any

import aiohttp
from pydantic import SecretStr

from providers.emulators.ear import as_audio
from providers.exchange import HttpReply, HttpRequest
from providers.registry import PROVIDERS, emulated_options, emulated_urls
from providers.transport import HttpProvider, new_session
from providers.types import Account, Deployment, Moment, Transcript, TranscriptionJob
from tests.conftest import KEY, sample

if TYPE_CHECKING:
    from providers.exchange import Exchange, Step


def answer(status: int = 200, /, **body: Any) -> HttpReply:
    return HttpReply(status=status, body=json.dumps(body).encode())


def steps_of(exchange: Exchange[Any], *answers: HttpReply) -> tuple[list[Step], Any]:
    """Return every step, and what comes of it; None where the answers are used up before."""
    steps: list[Step] = []
    waiting = list(answers)
    step = next(exchange)
    try:
        while True:
            steps.append(step)
            if isinstance(step, HttpRequest) and not waiting:
                return steps, None
            step = exchange.send(waiting.pop(0) if isinstance(step, HttpRequest) else None)
    except StopIteration as returned:
        return steps, returned.value


def requests(steps: list[Step]) -> list[HttpRequest]:
    return [each for each in steps if isinstance(each, HttpRequest)]


def asked(steps: list[Step]) -> list[tuple[str, str]]:
    """Return method and address of each request."""
    return [(each.method, each.url) for each in requests(steps)]


def document(request: HttpRequest) -> dict[str, Any]:
    """Return the JSON of a body without audio."""
    fields: dict[str, Any] = json.loads(b"".join(piece for piece in request.body if isinstance(piece, bytes)))
    return fields


def text_parts(request: HttpRequest) -> dict[str, list[str]]:
    """Return the parts of a form that are sent before the audio."""
    head = request.body[0]
    assert isinstance(head, bytes)
    sent: dict[str, list[str]] = {}
    for part in head.decode().split("--")[1:]:
        named, _, value = part.partition("\r\n\r\n")
        if "filename=" not in named:
            sent.setdefault(named.split('name="')[1].rstrip('"'), []).append(value.rstrip("\r\n"))
    return sent


def form_parts(request: HttpRequest) -> list[tuple[str, str]]:
    """Return a form's text parts, in order."""
    head = request.body[0]
    assert isinstance(head, bytes)
    return re.findall(r'name="([^"]+)"\r\n\r\n(.*?)\r\n--', head.decode(), re.DOTALL)


def first_request(to: Deployment, **wanted: Any) -> HttpRequest:
    """Return what an adapter sends first for a short recording. Raises what it refuses before."""
    job = TranscriptionJob(model="m", audio=as_audio(sample("sb_spk2_snt1.flac")), **wanted)
    step = next(PROVIDERS[to.account.adapter].transcribe(job, to))
    assert isinstance(step, HttpRequest)
    return step


def at(name: str, native_model: str, url: str | None = None, *, key: str = KEY, **options: str) -> Deployment:
    """Return a model of a provider, or of its emulator at a URL."""
    urls = emulated_urls(name, url) if url else PROVIDERS[name].base_urls
    wanted = {**emulated_options(name), **options}
    account = Account(name="a", adapter=name, base_urls=urls, api_key=SecretStr(key), options=wanted)
    return Deployment(account=account, native_model=native_model)


async def hear(to: Deployment, audio: bytes | None = None, *, within_s: float = 60.0, **wanted: Any) -> Transcript:
    """Have an emulator transcribe, errands and all."""
    job = TranscriptionJob(model="m", audio=as_audio(sample("slushy.mp3") if audio is None else audio), **wanted)
    async with new_session() as session:
        client = HttpProvider(PROVIDERS[to.account.adapter], session)
        try:
            return await client.transcribe(job, to, Moment(asyncio.get_running_loop().time() + within_s))
        finally:
            await client.close()


async def state(url: str) -> dict[str, Any]:
    """Return what an emulator tells of its jobs and files."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/emulator/state") as response:
        told: dict[str, Any] = await response.json()
        return told
