"""A gateway in the test's own loop, a client that sends anything, and the operator's view of it."""

from __future__ import annotations

import asyncio
import hashlib
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import aiohttp

from config.auth import Auth, Key
from config.reliability import Reliability
from config.settings import AccountSettings, Route, Server, Settings, Target
from tests.conftest import KEY, sample
from tests.program import OPERATORS_KEY
from tests.serving import NOT_KEPT, running
from tests.watching import is_at_rest, log_lines

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from gateway.app import Gateway

WAV = sample("slushy.wav")
MODEL = "openai/whisper-large-v3"
MAX_UPLOAD = 2_000_000


@dataclass(frozen=True, slots=True)
class Told:
    """One answer."""

    status: int
    headers: Mapping[str, str]
    body: dict[str, Any]

    @property
    def type(self) -> str:
        """The stable word, wherever the dialect has it."""
        error = self.body["error"]
        return str(error["code"] if isinstance(error, dict) else self.body["type"])

    @property
    def message(self) -> str:
        error = self.body["error"]
        return str(error["message"] if isinstance(error, dict) else error)

    @property
    def param(self) -> str | None:
        error = self.body["error"]
        found: str | None = error["param"] if isinstance(error, dict) else self.body.get("param")
        return found


@dataclass(slots=True)
class Served:
    """A running gateway, a client of it, and the operator's view."""

    url: str
    gateway: Gateway
    session: aiohttp.ClientSession
    lines: list[dict[str, Any]]

    async def post(self, path: str = f"/models/{MODEL}", body: Any = WAV, **headers: str) -> Told:
        """Send a body as it is."""
        async with self.session.post(self.url + path, data=body, headers=headers) as reply:
            return Told(reply.status, reply.headers, await reply.json())

    async def hf(self, document: object, path: str = f"/models/{MODEL}") -> Told:
        """Send JSON to the Hugging Face front."""
        return await self.post(path, json.dumps(document), **{"Content-Type": "application/json"})

    async def openai(self, file: bytes | None = WAV, model: str = MODEL, **fields: str) -> Told:
        """Send a form to the OpenAI front."""
        form = aiohttp.FormData({"model": model, **fields}, default_to_multipart=True)
        if file is not None:
            form.add_field("file", BytesIO(file), filename="audio.mp3")
        return await self.post("/v1/audio/transcriptions", form)

    def line_of(self, told: Told) -> dict[str, Any]:
        """Return the log line with the answer's request id."""
        (line,) = [each for each in self.lines if each.get("request_id") == told.headers["X-Request-Id"]]
        return line

    async def at_rest(self) -> None:
        """Return when nothing is kept and nobody is served; pytest's own limit ends the wait."""
        while not is_at_rest(self.gateway):  # noqa: ASYNC110 - gauges have no event to wait for
            await asyncio.sleep(0.01)


def settings(urls: Mapping[str, str], *, auth: Auth | None = None, **server: Any) -> Settings:
    """Return a route with one target at each URL, in order."""
    accounts = {name: AccountSettings(adapter="hf-inference", base_url=url, api_key=KEY) for name, url in urls.items()}
    limits = {"max_upload": MAX_UPLOAD, "port": 0, "deadline": {"base": 20.0, "per_audio_second": 0}, **server}
    return Settings(
        server=Server.model_validate(limits),
        auth=auth or Auth.model_validate({"keys": [OPERATORS_KEY]}),
        providers=accounts,
        models={MODEL: Route(targets=tuple(Target(target=f"{name}/whisper", substitute=True) for name in urls))},
        default_model=MODEL,
        cache=NOT_KEPT,
        # Asking one deployment again has tests of its own; here an error is told at once.
        reliability=Reliability.model_validate({"retries": {"limit": 0}}),
    )


@asynccontextmanager
async def serving(chosen: Settings, **headers: str) -> AsyncIterator[Served]:
    """Serve; afterwards nothing is left behind, whatever the test did."""
    async with running(chosen) as (url, gateway), aiohttp.ClientSession(headers=headers) as session:
        with log_lines() as lines:
            served = Served(url, gateway, session, lines)
            yield served
            await served.at_rest()


def key(name: str, secret: str, **more: Any) -> Key:
    return Key(name=name, hash=f"sha256:{hashlib.sha256(secret.encode()).hexdigest()}", **more)


KEYS = Auth.model_validate(
    {"mode": "keys", "keys": [key("newsroom", "hf_gw_newsroom"), key("other", "hf_gw_other", models=["groq/*"])]}
)
