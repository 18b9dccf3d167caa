"""A local model that is loaded in another process: over a Unix socket on this machine, or at an engine elsewhere."""

from __future__ import annotations

import asyncio
import math
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import quote

import aiohttp

from providers.errors import AttemptTimedOut, CredentialsRejected, JobUnsupported, MalformedReply, ProviderUnavailable
from providers.local.models import ModelMissing
from providers.local.provider import NAME
from providers.local.wire import ENGINE, JOBS, MODEL, Health, Model, bearer, decoded, multiplexed_id
from providers.transport import UNWATCHED, HttpProvider, Watch, read_capped
from providers.types import Account, Deployment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from providers.exchange import Progress
    from providers.types import Capabilities, Moment, Transcript, TranscriptionJob

_HOST = "http://engine"  # a name for HTTP's sake: the socket's path says where
_ASK_AGAIN_S: Final = 0.5
_ANSWER_S: Final = 5.0  # for an engine elsewhere to say what it knows of a model
_ANSWER_BYTES: Final = 1 << 20
_HEALTHY_OR_NOT: Final = frozenset({200, 503})
_HALF_LIFE_S: Final = 2.0  # of what an engine said of its queue: that of a few short jobs


class Absence(StrEnum):
    """Why a model elsewhere cannot be had: the words of attempts, and one more."""

    UNREACHABLE = ProviderUnavailable.outcome  # nobody listens there, or whoever does wants no requests now
    SILENT = AttemptTimedOut.outcome  # it may be loading
    KEY = CredentialsRejected.outcome
    NOT_HELD = "not_held"  # the engine is there, and has no such model
    STRANGE = MalformedReply.outcome  # what answers is no engine


_WHY: Final = {
    401: (Absence.KEY, "refuses our key"),
    403: (Absence.KEY, "refuses our key"),
    404: (Absence.NOT_HELD, "does not hold the model"),
}


class Away(Exception):
    """An engine did not say what it knows of a model."""

    def __init__(self, reason: str, why: Absence) -> None:
        super().__init__(reason)
        self.why = why

    @property
    def is_loading(self) -> bool:
        """Tell whether it may be at it."""
        return self.why is Absence.SILENT

    @property
    def is_certain(self) -> bool:
        """Tell whether it is there, and does not give us the model."""
        return self.why in {Absence.KEY, Absence.NOT_HELD}


class Engine(Protocol):
    """A process that holds models."""

    session: aiohttp.ClientSession
    account: Account
    watch: Watch

    async def model(self, name: str) -> Model:
        """Return what is known of a model once loading it was tried. Raises Away where it may be away."""
        ...


class EngineClient:
    """One process's way to the engine on this machine, which is always coming up. Open it inside an event loop."""

    def __init__(self, socket: Path, watch: Watch = UNWATCHED) -> None:
        self.session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(str(socket), limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
        )
        self.account = Account(name=NAME, adapter=NAME, base_urls={"api": _HOST})
        self.watch = watch

    async def model(self, name: str) -> Model:
        """Return what is known of a model once loading it was tried; waits for an engine that is coming up."""
        while True:
            try:
                async with self.session.get(_address(self.account, name)) as reply:
                    if reply.status == 200:
                        told: Model = decoded(await reply.read(), Model)
                        return told
            except (aiohttp.ClientError, OSError):
                pass  # it was ended, and is started again by whoever started it first
            await asyncio.sleep(_ASK_AGAIN_S)

    async def close(self) -> None:
        await self.session.close()


class EngineElsewhere:
    """The way to an engine on another machine, which may be away."""

    def __init__(self, session: aiohttp.ClientSession, account: Account, watch: Watch = UNWATCHED) -> None:
        """Keep the session open for as long as models are asked here."""
        self.session = session
        self.account = account
        self.watch = watch

    async def model(self, name: str) -> Model:
        """Ask once. Raises Away."""
        told: Model = await self._asked(_address(self.account, name), Model, {MODEL: multiplexed_id(name)})
        return told

    async def health(self) -> Health:
        """Ask how it is, and its models where it tells. Raises Away."""
        try:
            told: Health = await self._asked(f"{self.account.base_urls['api']}/health", Health, {}, _HEALTHY_OR_NOT)
        except Away as away:
            if away.why is Absence.NOT_HELD:  # each engine has one
                raise self._strange() from away
            raise
        return told

    async def _asked(
        self, url: str, kind: type[Any], headers: Mapping[str, str], statuses: frozenset[int] = frozenset({200})
    ) -> Any:  # noqa: ANN401 - what kind says
        """Return what it answers with one of the statuses. Raises Away."""
        try:
            async with asyncio.timeout(_ANSWER_S):
                return decoded(await self._told(url, headers, statuses), kind)
        except TimeoutError as error:
            raise Away(self._says("has not answered yet"), Absence.SILENT) from error
        except (aiohttp.ClientError, OSError) as error:
            raise Away(self._says("cannot be reached"), Absence.UNREACHABLE) from error
        except (MalformedReply, ValueError) as error:
            raise self._strange() from error

    async def _told(self, url: str, headers: Mapping[str, str], statuses: frozenset[int]) -> bytes:
        key = self.account.api_key
        headers = {**headers, **(bearer(key) if key is not None else {})}
        async with self.session.get(url, headers=headers, allow_redirects=False) as reply:
            if reply.status in statuses:
                return await read_capped(reply, NAME, _ANSWER_BYTES)
            raise self._refused(reply.status)

    def _refused(self, status: int) -> Away:
        absence = Absence.UNREACHABLE if status >= 500 else Absence.STRANGE
        why, what = _WHY.get(status, (absence, f"answered {status}"))
        return Away(self._says(what), why)

    def _strange(self) -> Away:
        return Away(self._says("does not answer like an engine"), Absence.STRANGE)

    def _says(self, what: str) -> str:
        return f"{self.account.name}: the engine at {self.account.base_urls['api']} {what}"


class RemoteModel:
    """What a LocalModel is to dispatch, with the work elsewhere."""

    def __init__(self, name: str, engine: Engine, *, made_for: object = None) -> None:
        """name: by which the engine knows it."""
        self.made_for = made_for
        self.missing: ModelMissing | None = None
        self.capabilities: Capabilities | None = None
        self.queued = None  # known where it runs
        self.waiting = 0  # jobs of this process that are queued or running there
        self.is_in_doubt = False  # it could not be had just now: what it can do may have changed
        self.absence: Absence | None = None  # why its engine did not say what it knows of it, when it was last asked
        self._others, self._others_at = 0, -math.inf
        self._name = name
        self._engine = engine
        self._tried = asyncio.Event()
        self._to = Deployment(account=engine.account, native_model=name)
        self._provider = HttpProvider(ENGINE, engine.session, watch=_Told(engine.watch, self._note_jobs))

    @property
    def ready(self) -> bool:
        return self.capabilities is not None

    @property
    def is_away(self) -> bool:
        """Tell whether it did not answer when it was asked, and not for being busy."""
        return self.absence not in {None, Absence.SILENT}

    @property
    def may_be_away(self) -> bool:
        """Tell whether nobody here can do anything about it: a gateway serves without it."""
        return isinstance(self._engine, EngineElsewhere)

    @property
    def others(self) -> float:
        """How many jobs that are not of this process the engine has: what it said last, less and less of it."""
        age_s = asyncio.get_running_loop().time() - self._others_at
        return self._others * math.exp2(-age_s / _HALF_LIFE_S)

    async def load(self) -> None:
        """Return when the engine has loaded it, or knows that it cannot, or is away."""
        try:
            told = await self._engine.model(self._name)
        except Away as away:
            self._note_absence(away)
            return
        self.capabilities, self.is_in_doubt, self.absence = told.capabilities, False, None
        self.missing = ModelMissing(told.missing) if told.missing is not None else None
        self._tried.set()

    def _note_absence(self, away: Away) -> None:
        """Keep what it can do, once that is known: whether it answers is for each call to find out."""
        self.is_in_doubt, self.absence = True, away.why
        if away.is_certain:
            self.capabilities = None
        if self.capabilities is None:
            self.missing = ModelMissing(str(away))
        if not away.is_loading:
            self._tried.set()

    async def wait_loaded(self) -> None:
        await self._tried.wait()

    async def transcribe(
        self, job: TranscriptionJob, to: Deployment, deadline: Moment, progress: Progress | None = None
    ) -> Transcript:
        """Return the transcript. Raises ProviderError only."""
        del to, progress  # nobody bills it
        self.waiting += 1
        try:
            return await self._provider.transcribe(job, self._to, deadline)
        except (ProviderUnavailable, JobUnsupported):  # it is away, or can less than it once was thought to
            self.is_in_doubt = True
            raise
        finally:
            self.waiting -= 1

    def close(self) -> None:
        """Nothing to give back: the engine is told by whoever started it which models are still wanted."""

    def _note_jobs(self, told: str) -> None:
        if told.isascii() and told.isdecimal() and len(told) < 10:
            self._others = max(0, int(told) - (self.waiting - 1))  # the one that is answered is not among them
            self._others_at = asyncio.get_running_loop().time()


class _Told:
    """A watch that hears besides what an engine says of its queue."""

    def __init__(self, watch: Watch, on_jobs: Callable[[str], None]) -> None:
        self._watch = watch
        self._on_jobs = on_jobs

    def headers(self, account: Account) -> Mapping[str, str]:
        return self._watch.headers(account)

    def replied(self, status: int, headers: Mapping[str, str]) -> None:
        if (jobs := headers.get(JOBS)) is not None:
            self._on_jobs(jobs)
        self._watch.replied(status, headers)


def _address(account: Account, name: str) -> str:
    return f"{account.base_urls['api']}/model?model={quote(name, safe='')}"
