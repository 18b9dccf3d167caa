"""A local model that is loaded in another process, over a Unix socket."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import quote

import aiohttp

from providers.local.models import ModelMissing
from providers.local.provider import NAME
from providers.local.wire import ENGINE, Model, decoded
from providers.transport import HttpProvider
from providers.types import Account, Deployment

if TYPE_CHECKING:
    from pathlib import Path

    from providers.types import Capabilities, Moment, Transcript, TranscriptionJob

_HOST = "http://engine"  # a name for HTTP's sake: the socket's path says where
_ASK_AGAIN_S = 0.5


class EngineClient:
    """One process's way to the engine. Open it inside a running event loop."""

    def __init__(self, socket: Path) -> None:
        self.session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(str(socket), limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
        )
        self.provider = HttpProvider(ENGINE, self.session)

    async def model(self, name: str) -> Model:
        """Return what is known of a model once loading it was tried; waits for an engine that is coming up."""
        while True:
            try:
                async with self.session.get(f"{_HOST}/model?model={quote(name, safe='')}") as reply:
                    if reply.status == 200:
                        told: Model = decoded(await reply.read(), Model)
                        return told
            except (aiohttp.ClientError, OSError):
                pass  # it was ended, and is started again by whoever started it first
            await asyncio.sleep(_ASK_AGAIN_S)

    async def close(self) -> None:
        await self.provider.close()
        await self.session.close()


class RemoteModel:
    """What a LocalModel is to dispatch, with the work elsewhere."""

    def __init__(self, name: str, engine: EngineClient, *, made_for: object = None) -> None:
        """name: of its deployment, by which the engine knows it."""
        self.made_for = made_for
        self.missing: ModelMissing | None = None
        self.capabilities: Capabilities | None = None
        self.queued = None  # known where it runs
        self.waiting = 0  # jobs of this process that are queued or running there
        self._name = name
        self._engine = engine
        self._tried = asyncio.Event()
        account = Account(name=NAME, adapter=NAME, base_urls={"api": _HOST})
        self._to = Deployment(account=account, native_model=name)

    @property
    def ready(self) -> bool:
        return self.capabilities is not None

    async def load(self) -> None:
        """Return when the engine has loaded it, or knows that it cannot."""
        told = await self._engine.model(self._name)
        self.capabilities = told.capabilities
        self.missing = ModelMissing(told.missing) if told.missing is not None else None
        self._tried.set()

    async def wait_loaded(self) -> None:
        await self._tried.wait()

    async def transcribe(self, job: TranscriptionJob, to: Deployment, deadline: Moment) -> Transcript:
        """Return the transcript. Raises ProviderError only."""
        del to
        self.waiting += 1
        try:
            return await self._engine.provider.transcribe(job, self._to, deadline)
        finally:
            self.waiting -= 1

    def close(self) -> None:
        """Nothing to give back: the engine is told by whoever started it which models are still wanted."""
