"""Services whose jobs are submitted and asked after: whatever fails on the way, no job is started twice or left alone.

Each is its emulator over a real socket, behind something that breaks what the test says.
"""

from __future__ import annotations

import asyncio
import io
import json
import wave
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from blake3 import blake3

from providers.emulators.ear import DigestEar, Emulation, as_audio
from providers.emulators.replicate import version_of
from providers.errors import (
    AttemptTimedOut,
    FateUnknown,
    JobUnsupported,
    MalformedReply,
    ProviderUnavailable,
    RateLimited,
)
from providers.exchange import Progress
from providers.registry import PROVIDERS, emulator_of
from providers.transport import HttpProvider, new_session
from providers.types import Moment, TranscriptionJob
from tests.conftest import KEY, serve
from tests.driving import at
from tests.faulty import refused

if TYPE_CHECKING:
    from providers.types import Transcript

Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]
Fault = Callable[[web.Request, Handle], Awaitable[web.StreamResponse]]
Start = Callable[..., Awaitable["Service"]]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What is peculiar to a service's jobs, as its documents have it."""

    model: str
    start: str  # how the address ends at which jobs are started
    job: str  # what stands in the address of each job
    uploads: bool = True  # before the job: a failed upload is no submission
    undoes: bool = False  # what may be left of an upload that was lost: until it is stored it can be called off
    stops: bool = True  # a job that runs; False: it is kept until it is over
    deletes: bool = True  # a job, so that nothing is left of it
    withdrawals: int = 1  # requests that stop a job and have it deleted
    options: Mapping[str, str] = field(default_factory=dict)  # of the account
    purposes: Mapping[str, str] | None = None  # by what a header says, where one address serves for all


SUBMIT, READ, CANCEL, OTHER = "submit", "read", "cancel", "other"
KINDS = {
    "fal-ai": Kind(
        model="fal-ai/whisper", start="/queue/fal-ai/whisper", job="/requests/", uploads=False, deletes=False
    ),
    "replicate": Kind(
        model=f"openai/whisper:{version_of('openai/whisper')}",
        start="/predictions",
        job="/v1/predictions/",
        deletes=False,
    ),
    "aws-transcribe": Kind(
        model="standard",
        start="/",
        job="",
        undoes=True,
        stops=False,
        purposes={
            "Transcribe.StartTranscriptionJob": SUBMIT,
            "Transcribe.GetTranscriptionJob": READ,
            "Transcribe.DeleteTranscriptionJob": CANCEL,
        },
    ),
    "google-stt": Kind(
        model="chirp_2",
        start="/recognizers/_:batchRecognize",
        job="/operations/",
        undoes=True,
        withdrawals=2,
        options={"bucket": "emulated-bucket"},
    ),
    "assemblyai": Kind(model="universal-2", start="/v2/transcript", job="/v2/transcript/", stops=False),
    "revai": Kind(
        model="machine", start="/speechtotext/v1/jobs", job="/speechtotext/v1/jobs/", uploads=False, stops=False
    ),
    "soniox": Kind(model="stt-async-v5", start="/v1/transcriptions", job="/v1/transcriptions/", stops=False),
    "speechmatics": Kind(model="enhanced", start="/v2/jobs", job="/v2/jobs/", uploads=False),
    "gladia": Kind(model="solaria-1", start="/v2/pre-recorded", job="/v2/pre-recorded/", stops=False),
}
STOPPING = sorted(name for name, kind in KINDS.items() if kind.stops)
KEEPING = sorted(KINDS.keys() - STOPPING)


def silence(seconds: int) -> bytes:
    """Return a WAV that is too large to be sent in one call, and says nothing."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(16_000)
        writer.writeframes(bytes(32_000 * seconds))
    return file.getvalue()


LONG = silence(80)  # 2.5 MB: fal's queue takes it whole, Replicate wants it as a file


# --- what breaks


async def cut_off(request: web.Request, handle: Handle) -> web.StreamResponse:
    """Take the whole request in, then hang up without a word."""
    await request.read()
    assert request.transport
    request.transport.abort()
    return web.Response()


async def cut_off_when_done(request: web.Request, handle: Handle) -> web.StreamResponse:
    """Do what was asked, then hang up: nobody hears of it."""
    await handle(request)
    return await cut_off(request, handle)


async def half_a_reply(request: web.Request, handle: Handle) -> web.StreamResponse:
    whole = await handle(request)
    assert isinstance(whole, web.Response)
    assert isinstance(whole.body, bytes)
    response = web.StreamResponse(headers={"content-length": str(len(whole.body))})
    await response.prepare(request)
    await response.write(whole.body[:9])
    return await cut_off(request, handle)


def answers(status: int, text: str = "", **headers: str) -> Fault:
    async def answer(request: web.Request, _: Handle) -> web.StreamResponse:
        await request.read()
        return web.Response(status=status, text=text, headers={k.replace("_", "-"): v for k, v in headers.items()})

    return answer


@dataclass
class Service:
    """An emulator, and what was asked of it."""

    name: str
    url: str = ""
    asked: Counter[str] = field(default_factory=Counter)
    reading: asyncio.Event = field(default_factory=asyncio.Event)  # somebody has asked how the job is

    async def hear(self, audio: bytes = LONG, **how: Any) -> Transcript:
        """Have it transcribe, its errands done."""
        async with self.client() as client:
            return await self.heard_by(client, audio, **how)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[HttpProvider]:
        """Yield a client whose pauses take no time; its errands are done at the end."""
        async with new_session() as session:
            client = HttpProvider(PROVIDERS[self.name], session, sleep=lambda _: asyncio.sleep(0.01))
            try:
                yield client
            finally:
                await client.close()

    async def heard_by(
        self,
        client: HttpProvider,
        audio: bytes = LONG,
        *,
        url: str | None = None,
        progress: Progress | None = None,
        within_s: float = 60.0,
    ) -> Transcript:
        deadline = Moment(asyncio.get_running_loop().time() + within_s)
        job = TranscriptionJob(model="m", audio=as_audio(audio))
        kind = KINDS[self.name]
        return await client.transcribe(
            job, at(self.name, kind.model, url or self.url, **kind.options), deadline, progress
        )

    async def state(self) -> dict[str, Any]:
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/emulator/state") as response:
            told: dict[str, Any] = json.loads(await response.read())
            return told

    async def ends_alone(self) -> None:
        """Check that one job was begun, and stopped or at least its deletion asked for, and no file is left."""
        jobs, stopped, files = await self.left_behind()
        assert (jobs, files) == (1, 0)
        assert stopped == KINDS[self.name].stops
        assert self.asked[CANCEL] >= 1

    async def left_behind(self) -> tuple[int, int, int]:
        """Return how many jobs were started, how many of them cancelled, and how many files nobody deletes are left."""
        state = await self.state()
        files = state["files"]
        kept = [each for each in files if not (isinstance(files, dict) and files[each])]
        return len(state["jobs"]), len(state["cancelled"]), len(kept)


def purpose(request: web.Request, kind: Kind) -> str:
    """Tell what a request is for, by the paths that the service's documents give."""
    if kind.purposes is not None:
        return kind.purposes.get(request.headers.get("x-amz-target", ""), OTHER)
    if kind.job in request.path:
        return CANCEL if request.path.endswith("cancel") or request.method == "DELETE" else READ
    return SUBMIT if request.path.endswith(kind.start) and request.method == "POST" else OTHER


@pytest.fixture(params=sorted(KINDS))
async def start(request: pytest.FixtureRequest) -> AsyncIterator[Start]:
    """Return a function that starts the service. faults: for each purpose, what befalls the first requests for it."""
    name: str = request.param
    runners: list[web.AppRunner] = []

    async def started(job_s: float = 0.05, **faults: list[Fault]) -> Service:
        service = Service(name)

        @web.middleware
        async def meddle(request: web.Request, handler: Handle) -> web.StreamResponse:
            what = purpose(request, KINDS[name])
            service.asked[what] += 1
            if what == READ:
                service.reading.set()
            waiting = faults.get(what)
            return await waiting.pop(0)(request, handler) if waiting else await handler(request)

        app = emulator_of(service.name)(Emulation(ear=DigestEar(), key=KEY, job_s=job_s))
        app.middlewares.insert(0, meddle)
        service.url = await serve(app, runners)
        return service

    yield started
    for runner in runners:
        await runner.cleanup()


# --- submitted


@pytest.mark.parametrize(
    ("fault", "jobs"),
    [(cut_off, 0), (cut_off_when_done, 1), (answers(500), 0), (answers(502, "<html>"), 0), (answers(504), 0)],
)
async def test_a_job_that_may_have_begun_is_not_submitted_again(start: Start, fault: Fault, jobs: int) -> None:
    """Another provider may have it; this one would bill it twice."""
    service = await start(submit=[fault])
    with pytest.raises(FateUnknown) as caught:
        await service.hear()

    assert (caught.value.retryable, caught.value.failover) == (False, True)
    assert service.asked[SUBMIT] == 1
    assert await service.left_behind() == (jobs, 0, 0)


@pytest.mark.parametrize("fault", [answers(200, "<html>"), answers(201, "{}"), half_a_reply])
async def test_a_submission_with_an_answer_that_is_none_is_not_made_again(start: Start, fault: Fault) -> None:
    service = await start(submit=[fault])
    with pytest.raises(MalformedReply) as caught:
        await service.hear()

    assert not caught.value.retryable
    assert service.asked[SUBMIT] == 1


async def test_a_refused_submission_may_be_made_again(start: Start) -> None:
    service = await start(submit=[answers(429, "slow down", retry_after="7")])
    with pytest.raises(RateLimited) as caught:
        await service.hear()

    assert (caught.value.retryable, caught.value.retry_after_s) == (True, 7.0)
    assert await service.left_behind() == (0, 0, 0)


async def test_where_nobody_listens_nothing_was_submitted(start: Start) -> None:
    service = await start()
    with pytest.raises(ProviderUnavailable) as caught:
        await service.hear(url=await refused())

    assert caught.value.retryable


# --- accepted


@pytest.mark.parametrize(
    "faults",
    [
        [cut_off],
        [half_a_reply],
        [answers(502, "<html>"), answers(503), cut_off],
        [answers(429, retry_after="1"), answers(504), cut_off, answers(500)],
    ],
)
async def test_an_accepted_job_is_asked_after_again_where_asking_failed(start: Start, faults: list[Fault]) -> None:
    service = await start(read=faults)
    heard = await service.hear()

    assert heard.text == f"blake3 {blake3(LONG).hexdigest()}"
    assert service.asked[SUBMIT] == 1
    assert await service.left_behind() == (1, 0, 0)


@pytest.mark.parametrize("fault", [cut_off, answers(503), answers(429)])
async def test_a_job_that_is_lost_sight_of_is_cancelled(start: Start, fault: Fault) -> None:
    service = await start(job_s=3600, read=[fault] * 100)
    with pytest.raises(FateUnknown) as caught:
        await service.hear()

    assert not caught.value.retryable
    assert (service.asked[SUBMIT], service.asked[CANCEL]) == (1, KINDS[service.name].withdrawals)
    await service.ends_alone()


@pytest.mark.parametrize("fault", [answers(200, "<html>"), answers(200, "{}")])
async def test_a_job_whose_state_makes_no_sense_is_cancelled(start: Start, fault: Fault) -> None:
    service = await start(job_s=3600, read=[fault])
    with pytest.raises(MalformedReply):
        await service.hear()

    await service.ends_alone()


async def test_a_job_that_failed_leaves_nothing_behind(start: Start) -> None:
    service = await start()
    with pytest.raises(JobUnsupported):
        await service.hear(b"RIFF\x10\0\0\0WAVE" + bytes(3_000_000))

    assert await service.left_behind() == (1, 0, 0)
    if KINDS[service.name].deletes:
        assert list((await service.state())["jobs"].values()) == ["deleted"]


async def test_a_slow_job_runs_out_of_time(start: Start) -> None:
    service = await start(job_s=3600)
    with pytest.raises(AttemptTimedOut):
        await service.hear(within_s=1.0)

    await service.ends_alone()


async def test_a_caller_who_leaves_leaves_nothing_behind(start: Start) -> None:
    service = await start(job_s=3600)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(service.hear())
        await service.reading.wait()
        waiting.cancel()

    assert waiting.cancelled()
    await service.ends_alone()


async def test_a_job_is_sunk_while_nothing_can_cancel_it(start: Start) -> None:
    """From its submission until the service has given it a name, and once it is over."""
    progress, told, submitted = Progress(), list[bool](), list[bool]()
    progress.on_revocable = lambda: told.append(progress.is_sunk)

    async def look(request: web.Request, handle: Handle) -> web.StreamResponse:
        await (request.post() if request.content_type.startswith("multipart/") else request.read())
        await asyncio.sleep(0.02)  # all of it has been sent
        submitted.append(progress.is_sunk)
        return await handle(request)

    service = await start(job_s=0.1, submit=[look])
    await service.hear(progress=progress)

    kind = KINDS[service.name]
    revocable = [False] * (kind.stops + kind.undoes)
    assert (submitted, told, progress.is_sunk) == ([True], revocable, True)


async def test_a_cancelling_that_fails_hides_nothing(start: Start) -> None:
    service = await start(job_s=3600, read=[cut_off] * 100, cancel=[cut_off] * 100)
    with pytest.raises(FateUnknown, match="lost sight"):
        await service.hear()

    assert await service.left_behind() == (1, 0, 0)


@pytest.mark.parametrize("start", KEEPING, indirect=True)
async def test_a_job_that_is_kept_while_it_runs_is_deleted_when_it_is_over(start: Start) -> None:
    """Its caller left long before: nobody waits for it, and it is asked for again."""
    service = await start(job_s=0.6)
    async with service.client() as client, asyncio.TaskGroup() as group:
        waiting = group.create_task(service.heard_by(client))
        await service.reading.wait()
        waiting.cancel()
        await waiting_for(service, deleted=1)

    assert service.asked[CANCEL] >= 2
    assert await service.left_behind() == (1, 0, 0)


async def waiting_for(service: Service, *, deleted: int) -> None:
    async with asyncio.timeout(20):
        while list((await service.state())["jobs"].values()).count("deleted") < deleted:
            pass


async def test_an_upload_that_failed_is_no_submission(start: Start) -> None:
    """It may be made again: nothing runs yet, and nothing is billed. A PUT, aiohttp itself sends again."""

    async def cut_off_each(request: web.Request, handle: Handle) -> web.StreamResponse:
        faults.append(cut_off_each)
        return await (handle(request) if request.method == "GET" else cut_off(request, handle))

    faults: list[Fault] = [cut_off_each]
    service = await start(other=faults, submit=[cut_off])
    with pytest.raises(ProviderUnavailable) as caught:
        await service.hear()

    assert caught.value.retryable == KINDS[service.name].uploads  # else the submission took it whole
    assert await service.left_behind() == (0, 0, 0)
