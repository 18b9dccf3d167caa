"""A model in another process: over a real Unix socket, with an engine that answers, hangs, breaks or is gone."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
import pytest
from aiohttp import web
from pydantic import SecretStr

from providers.emulators.ear import as_audio
from providers.errors import (
    AttemptTimedOut,
    CredentialsRejected,
    Interrupted,
    JobRejected,
    MalformedReply,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
)
from providers.local.models import ModelMissing
from providers.local.remote import Absence, EngineClient, EngineElsewhere, RemoteModel
from providers.local.wire import JOB_BYTES, JOBS, REFUSED, TIME_LEFT, Model, Written, refusal
from providers.transport import new_session
from providers.types import Account, Capabilities, Deployment, Moment, Transcript, TranscriptionJob
from tests.conftest import serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

NAME = "local/a b"  # of the deployment, by which the engine knows it
ELSEWHERE = Deployment(account=Account(name="local", adapter="local", base_urls={}), native_model="x")
CLIP = bytes(range(256)) * 5_000


def job() -> TranscriptionJob:
    return TranscriptionJob(model="m", audio=as_audio(CLIP), prompt="p")


def soon(seconds: float = 60) -> Moment:
    return Moment(asyncio.get_running_loop().time() + seconds)


class Engine:
    """The other side of the socket: answers as the test says."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.transcribe: Answer | None = None
        self.models: list[web.Response] = []  # what is said of the model, one answer after the other
        self.named: list[str] = []
        self.jobs = "7"  # what it says of its queue
        self.left = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application(client_max_size=0)
        app.router.add_post("/transcribe", self._transcribe)
        app.router.add_get("/model", self._model)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.UnixSite(self._runner, str(self.socket)).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        self._runner = None

    async def _transcribe(self, request: web.Request) -> web.StreamResponse:
        self.named.append(request.query["model"])
        assert self.transcribe is not None
        try:
            return await self.transcribe(request)
        except asyncio.CancelledError:
            self.left.set()
            raise

    async def _model(self, request: web.Request) -> web.Response:
        self.named.append(request.query["model"])
        return self.models.pop(0)


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    made = Engine(tmp_path / "e")
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def client(engine: Engine) -> AsyncIterator[EngineClient]:
    made = EngineClient(engine.socket)
    yield made
    await made.close()


@pytest.fixture
def remote(client: EngineClient) -> RemoteModel:
    return RemoteModel(NAME, client, made_for="its account")


def answered(value: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(value))


async def heard_as_sent(request: web.Request) -> web.Response:
    """Answer with what arrived: the job, and the audio behind it."""
    size = int(request.headers[JOB_BYTES])
    body = await request.read()
    read = msgspec.json.decode(body[:size], type=Written)
    assert 59 < float(request.headers[TIME_LEFT]) <= 60
    assert body[size:] == CLIP
    return answered(Transcript(text=f"{read.model} {read.prompt} {read.digest}", duration_s=1.5))


async def test_a_job_and_its_audio_go_there_and_a_transcript_comes_back(engine: Engine, remote: RemoteModel) -> None:
    """To the model that the object stands for, whatever deployment dispatch had in mind."""
    engine.transcribe = heard_as_sent
    heard = await remote.transcribe(job(), ELSEWHERE, soon())
    assert heard == Transcript(text=f"m p {job().audio.digest}", duration_s=1.5)
    assert engine.named == [NAME]
    assert remote.made_for == "its account"


async def test_what_waits_is_counted_until_it_is_over(engine: Engine, remote: RemoteModel) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def held(request: web.Request) -> web.Response:
        await request.read()
        begun.set()
        await go_on.wait()
        return answered(Transcript(text="a"))

    engine.transcribe = held
    async with asyncio.TaskGroup() as group:
        task = group.create_task(remote.transcribe(job(), ELSEWHERE, soon()))
        await begun.wait()
        assert remote.waiting == 1
        go_on.set()
    assert task.result().text == "a"
    assert remote.waiting == 0


@pytest.mark.parametrize(
    "raised", [JobRejected("local", "no audio"), RateLimited("local", "the queue is full", retry_after_s=4)]
)
async def test_what_the_model_raises_is_raised_here(engine: Engine, remote: RemoteModel, raised: ProviderError) -> None:
    async def refused(request: web.Request) -> web.Response:
        await request.read()
        return answered(refusal(raised), REFUSED)

    engine.transcribe = refused
    with pytest.raises(type(raised), match=raised.reason) as told:
        await remote.transcribe(job(), ELSEWHERE, soon())
    assert vars(told.value) == vars(raised)
    assert remote.waiting == 0


async def crashed(request: web.Request) -> web.Response:
    """Die of the job, as the kernel lets a process die: its sockets are closed."""
    await request.read()
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def crashed_unread(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def crashed_half_way(request: web.Request) -> web.StreamResponse:
    await request.read()
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"text":"half')
    assert request.transport is not None
    request.transport.abort()
    return response


async def in_trouble(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(status=500, text="Traceback")


async def guarded(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(status=401)


async def nonsense(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(body=b'{"text":"\xff')


async def nonsense_refused(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(body=b"{}", status=REFUSED)


@pytest.mark.parametrize(
    ("answer", "error", "asked_again"),
    [
        (crashed, Interrupted, True),
        (crashed_unread, Interrupted, True),
        (crashed_half_way, Interrupted, True),
        (in_trouble, Interrupted, True),
        (guarded, CredentialsRejected, False),
        (nonsense, MalformedReply, False),
        (nonsense_refused, MalformedReply, False),
    ],
)
async def test_an_engine_that_breaks_is_an_error_that_dispatch_knows(
    engine: Engine, remote: RemoteModel, answer: Answer, error: type[ProviderError], *, asked_again: bool
) -> None:
    """A job that is lost with its process costs nothing to send again; nobody bills it."""
    engine.transcribe = answer
    with pytest.raises(error) as told:
        await remote.transcribe(job(), ELSEWHERE, soon())
    assert told.value.retryable is asked_again
    assert told.value.failover
    assert told.value.provider == "local"
    assert "Traceback" not in str(told.value)
    assert remote.waiting == 0


async def test_an_engine_that_is_gone_is_unavailable_and_serves_again_when_it_is_back(
    engine: Engine, remote: RemoteModel
) -> None:
    engine.transcribe = heard_as_sent
    await remote.transcribe(job(), ELSEWHERE, soon())
    await engine.stop()
    with pytest.raises(ProviderUnavailable):
        await remote.transcribe(job(), ELSEWHERE, soon())
    await engine.start()
    assert (await remote.transcribe(job(), ELSEWHERE, soon())).text.startswith("m p")


async def hangs(request: web.Request) -> web.Response:
    await request.read()
    await asyncio.Event().wait()
    return web.Response()


async def test_an_engine_that_hangs_is_left_at_the_deadline(engine: Engine, remote: RemoteModel) -> None:
    """And notices: its work for a job that nobody waits for ends."""
    engine.transcribe = hangs
    with pytest.raises(AttemptTimedOut):
        await remote.transcribe(job(), ELSEWHERE, soon(0.1))
    await engine.left.wait()
    assert remote.waiting == 0


async def test_a_caller_who_leaves_ends_the_work_there(engine: Engine, remote: RemoteModel) -> None:
    begun = asyncio.Event()

    async def notices(request: web.Request) -> web.Response:
        begun.set()
        return await hangs(request)

    engine.transcribe = notices
    task = asyncio.get_running_loop().create_task(remote.transcribe(job(), ELSEWHERE, soon()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await engine.left.wait()
    assert remote.waiting == 0


async def test_a_model_is_ready_once_the_engine_says_what_it_can_do(engine: Engine, remote: RemoteModel) -> None:
    can = Capabilities(prompt=True, languages=frozenset({"en"}))
    engine.models = [answered(Model(capabilities=can))]
    assert not remote.ready
    await remote.load()
    await remote.wait_loaded()
    assert (remote.ready, remote.capabilities, remote.missing) == (True, can, None)
    assert engine.named == [NAME]


async def test_a_model_that_cannot_be_had_is_said_to_be_missing(engine: Engine, remote: RemoteModel) -> None:
    engine.models = [answered(Model(capabilities=None, missing="no such folder"))]
    await remote.load()
    await remote.wait_loaded()
    assert not remote.ready
    assert isinstance(remote.missing, ModelMissing)
    assert str(remote.missing) == "no such folder"


async def test_who_asks_before_the_engine_is_up_waits(tmp_path: Path) -> None:
    """No socket yet, then an engine that does not know the model, then one that does."""
    engine, client = Engine(tmp_path / "e"), EngineClient(tmp_path / "e")
    remote = RemoteModel(NAME, client)
    engine.models = [web.Response(status=404), answered(Model(capabilities=Capabilities()))]
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(remote.wait_loaded())
        group.create_task(remote.load())
        await asyncio.sleep(0)
        assert not waiting.done()
        await engine.start()
    assert remote.ready
    assert engine.models == []
    await client.close()
    await engine.stop()


async def test_what_an_engine_has_besides_our_own_is_known_for_a_while(engine: Engine, remote: RemoteModel) -> None:
    """It says with each answer how many it has; what is in flight from here is none of the others'."""

    async def busy(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=msgspec.json.encode(Transcript(text="a")), headers={JOBS: engine.jobs})

    engine.transcribe = busy
    assert remote.others == 0
    await remote.transcribe(job(), ELSEWHERE, soon())
    assert 5 < remote.others <= 7
    engine.jobs = "many"
    await remote.transcribe(job(), ELSEWHERE, soon())
    assert 5 < remote.others <= 7, "what is no number is not believed"
    engine.jobs = "0"
    await remote.transcribe(job(), ELSEWHERE, soon())
    assert remote.others == 0


# --- elsewhere


class Guarded:
    """An engine's `/model` over TCP, which answers as the test says."""

    def __init__(self, answer: web.Response) -> None:
        self.answer = answer
        self.headers: list[str] = []

    async def model(self, request: web.Request) -> web.Response:
        self.headers.append(request.headers.get("Authorization", ""))
        assert request.headers["serve-multiplexed-model-id"] == request.query["model"]
        return self.answer


@asynccontextmanager
async def asked(answer: web.Response) -> AsyncIterator[tuple[RemoteModel, Guarded]]:
    """Ask once; give what is known of the model then."""
    runners, guarded = list[web.AppRunner](), Guarded(answer)
    app = web.Application()
    app.router.add_get("/model", guarded.model)
    account = Account(
        name="gpu", adapter="engine", base_urls={"api": await serve(app, runners)}, api_key=SecretStr("k")
    )
    async with new_session() as session:
        model = RemoteModel("tiny.en", EngineElsewhere(session, account))
        await model.load()
        yield model, guarded
    await runners[0].cleanup()


@pytest.mark.parametrize(
    ("answer", "why", "absence"),
    [
        (web.Response(status=401), "refuses our key", Absence.KEY),
        (web.Response(status=404), "does not hold the model", Absence.NOT_HELD),
        (web.Response(status=302, headers={"Location": "http://elsewhere"}), "answered 302", Absence.STRANGE),
        (web.Response(status=503), "answered 503", Absence.UNREACHABLE),
        (web.Response(text="welcome"), "does not answer like an engine", Absence.STRANGE),
        (web.Response(body=b"{}" + b" " * (2 << 20)), "does not answer like an engine", Absence.STRANGE),
        (answered(Model(capabilities=None, missing="no such folder")), "no such folder", None),
    ],
)
async def test_why_a_model_elsewhere_cannot_be_had_is_said(
    answer: web.Response, why: str, absence: Absence | None
) -> None:
    async with asked(answer) as (model, guarded):
        await model.wait_loaded()
        assert not model.ready
        assert str(model.missing).endswith(why)
        assert model.absence is absence
        assert guarded.headers == ["Bearer k"]


async def test_what_a_model_elsewhere_can_do_is_kept_while_it_is_away() -> None:
    """Whether it answers is for each call to find out. What it says itself counts at once."""
    can = Capabilities(languages=frozenset({"en"}))
    async with asked(answered(Model(capabilities=can))) as (model, guarded):
        assert (model.capabilities, model.missing, model.is_in_doubt, model.is_away) == (can, None, False, False)
        guarded.answer = web.Response(status=503)
        await model.load()
        assert (model.capabilities, model.missing, model.is_in_doubt, model.is_away) == (can, None, True, True)
        guarded.answer = web.Response(status=404)
        await model.load()
        assert (model.ready, model.is_in_doubt) == (False, True)
