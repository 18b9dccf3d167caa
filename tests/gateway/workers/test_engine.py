"""The models' own process: what reaches a model, what comes back, what it holds, and when it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from config.settings import AccountSettings, Settings
from gateway.hosting import Host
from gateway.intake.spool import SpoolBudget
from gateway.workers.channel import Channel
from providers.errors import (
    AttemptTimedOut,
    FateUnknown,
    JobRejected,
    JobUnsupported,
    MalformedReply,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    Temporary,
)
from providers.local.remote import EngineClient, RemoteModel
from providers.types import (
    Capabilities,
    Deployment,
    GenerationParameters,
    Moment,
    Segment,
    Task,
    Timestamps,
    Transcript,
    TranscriptionJob,
    Word,
)
from tests.asking import MODEL
from tests.conftest import sample_audio
from tests.serving import routed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from providers.exchange import Progress
    from providers.local.models import ModelMissing

HEARD = Transcript(
    text="and so",
    segments=(Segment(text="and so", start_s=0.0, end_s=1.5),),
    words=(Word(text="and", start_s=0.0, end_s=0.5), Word(text="so", start_s=0.5, end_s=1.5, confidence=0.25)),
    language="en",
    duration_s=1.5,
)
NAME = "here/x"
CAN = Capabilities(tasks=frozenset({Task.TRANSCRIBE}), languages=frozenset({"en"}), max_duration_s=60.0)


class Model:
    """Answers with what it is given: a transcript, an error to raise, or None to hang."""

    made_for: object = None
    missing: ModelMissing | None = None
    waiting = 0
    queued: tuple[str, int] | None = ("model", 0)
    ready = True
    capabilities: Capabilities | None = CAN

    def __init__(self, answer: Transcript | ProviderError | None = HEARD) -> None:
        self.answer = answer
        self.seen: list[tuple[TranscriptionJob, bytes]] = []
        self.time_left_s: list[float] = []
        self.called, self.left, self.loaded = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.loaded.set()

    async def load(self) -> None:
        return

    async def wait_loaded(self) -> None:
        await self.loaded.wait()

    async def transcribe(
        self, job: TranscriptionJob, to: Deployment, deadline: Moment, progress: Progress
    ) -> Transcript:
        del to, progress
        self.seen.append((job, b"".join(bytes(each) for each in job.audio.content.slices())))
        self.time_left_s.append(deadline - asyncio.get_running_loop().time())
        self.called.set()
        try:
            if self.answer is None:
                await asyncio.Event().wait()
        finally:
            self.left.set()
        if isinstance(self.answer, ProviderError):
            raise self.answer
        assert self.answer is not None
        return self.answer

    def close(self) -> None:
        return


def budget(*, memory_per_upload: int = 1 << 20, disk_total: int = 1 << 24) -> SpoolBudget:
    return SpoolBudget(memory_per_upload=memory_per_upload, memory_total=1 << 22, disk_total=disk_total)


@asynccontextmanager
async def hosting(host: Host, folder: Path) -> AsyncIterator[RemoteModel]:
    """Serve it on a socket, as the engine does; give what a worker has of its model."""
    runner = web.AppRunner(host.web_app(), access_log=None, handler_cancellation=True)
    await runner.setup()
    await web.UnixSite(runner, str(folder / "engine")).start()
    client = EngineClient(folder / "engine")
    try:
        yield RemoteModel(NAME, client)
    finally:
        await client.close()
        await runner.cleanup()
    assert (host.budget.memory_used, host.budget.disk_used) == (0, 0)


def host_of(model: Model | None, **limits: int) -> Host:
    host = Host(budget(**limits))
    host.models = {} if model is None else {NAME: model}
    return host


async def hear(remote: RemoteModel, job: TranscriptionJob | None = None, within_s: float = 30.0) -> Transcript:
    job = job or TranscriptionJob(model=MODEL, audio=sample_audio("slushy.wav"))
    until = Moment(asyncio.get_running_loop().time() + within_s)
    return await remote.transcribe(job, remote._to, until)


async def test_a_job_arrives_as_it_was_sent_and_so_does_its_answer(tmp_path: Path) -> None:
    model = Model()
    job = TranscriptionJob(
        model=MODEL,
        audio=sample_audio("slushy.wav"),
        task=Task.TRANSLATE,
        language="en",
        prompt="Dramatis personae: \u0141\u00f3d\u017a",
        timestamps=Timestamps.WORD,
        generation=GenerationParameters(temperature=0.5, num_beams=3),
        diarize=True,
    )
    async with hosting(host_of(model), tmp_path) as remote:
        assert await hear(remote, job) == HEARD
    ((got, content),) = model.seen
    sent = b"".join(bytes(each) for each in job.audio.content.slices())
    assert content == sent
    for name in ("model", "task", "language", "prompt", "timestamps", "generation", "diarize"):
        assert getattr(got, name) == getattr(job, name)
    for name in ("media_type", "container", "duration_s", "digest", "size_bytes"):
        assert getattr(got.audio, name) == getattr(job.audio, name)


@pytest.mark.parametrize(
    "error",
    [
        JobRejected("local", "no sound in it"),
        JobUnsupported("local", "too long"),
        RateLimited("local", "the queue is full", retry_after_s=2.5),
        ProviderUnavailable("local", "out of memory"),
        AttemptTimedOut("local", "still working"),
        MalformedReply("local", "nonsense"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_refusal_arrives_as_what_it_is(tmp_path: Path, error: ProviderError) -> None:
    async with hosting(host_of(Model(error)), tmp_path) as remote:
        with pytest.raises(ProviderError) as caught:
            await hear(remote)
    told = caught.value
    assert (type(told), told.reason) == (type(error), error.reason)
    if isinstance(error, Temporary):
        assert isinstance(told, Temporary)
        assert told.retry_after_s == error.retry_after_s


async def test_a_refusal_of_no_known_kind_may_be_tried_again(tmp_path: Path) -> None:
    async with hosting(host_of(Model(FateUnknown("local", "?"))), tmp_path) as remote:
        with pytest.raises(ProviderUnavailable) as caught:
            await hear(remote)
    assert caught.value.retryable


async def test_the_deadline_comes_along(tmp_path: Path) -> None:
    model = Model()
    async with hosting(host_of(model), tmp_path) as remote:
        await hear(remote, within_s=7.0)
    assert 5.0 < model.time_left_s[0] <= 7.0


async def test_who_leaves_leaves_nothing_running(tmp_path: Path) -> None:
    """Nor does its audio stay: see `hosting`."""
    model = Model(None)
    async with hosting(host_of(model), tmp_path) as remote:
        asked = asyncio.get_running_loop().create_task(hear(remote))
        await model.called.wait()
        assert remote.waiting == 1
        asked.cancel()
        await asyncio.wait((asked,))
        await model.left.wait()
        assert remote.waiting == 0


async def test_a_large_upload_waits_on_the_disk(tmp_path: Path) -> None:
    model, host = Model(None), host_of(None, memory_per_upload=1000)
    host.models = {NAME: model}
    async with hosting(host, tmp_path) as remote:
        asked = asyncio.get_running_loop().create_task(hear(remote))
        await model.called.wait()
        ((job, content),) = model.seen
        assert (host.budget.disk_used, len(content)) == (job.audio.size_bytes, job.audio.size_bytes)
        asked.cancel()
        await asyncio.wait((asked,))
        await model.left.wait()


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        (lambda: host_of(None), "not held here"),
        (lambda: host_of(Model(), memory_per_upload=1000, disk_total=1), "room"),
    ],
    ids=["no such model", "no room"],
)
async def test_what_cannot_be_done_here_may_be_done_elsewhere(tmp_path: Path, host: Any, reason: str) -> None:
    async with hosting(host(), tmp_path) as remote:
        with pytest.raises(ProviderUnavailable, match=reason):
            await hear(remote)


async def test_who_asks_while_it_loads_waits_as_long_as_it_may(tmp_path: Path) -> None:
    model = Model()
    model.loaded.clear()
    async with hosting(host_of(model), tmp_path) as remote:
        asked = asyncio.get_running_loop().create_task(hear(remote))
        with pytest.raises(ProviderError):
            await hear(remote, within_s=0.2)
        assert model.seen == []
        model.loaded.set()
        assert await asked == HEARD


async def test_what_is_no_job_is_refused(tmp_path: Path) -> None:
    """Nobody but our own workers can reach the socket: it need not be said well, only not to take the process along."""
    model = Model()
    async with hosting(host_of(model), tmp_path) as remote:
        session = remote._engine.session
        for headers in (
            {},
            {"x-job-bytes": "9999999999"},
            {"x-job-bytes": "2"},
            {"x-job-bytes": "2", "x-time-left": "y"},
        ):
            async with session.post(f"http://engine/transcribe?model={NAME}", headers=headers, data=b"{}") as reply:
                assert reply.status >= 400
        assert await hear(remote) == HEARD
    assert len(model.seen) == 1


async def test_a_worker_learns_what_a_model_can_do(tmp_path: Path) -> None:
    async with hosting(host_of(Model()), tmp_path) as remote:
        assert not remote.ready
        await remote.load()
        assert (remote.ready, remote.capabilities, remote.missing) == (True, CAN, None)


# --- models that come and go


def locally(*targets: str) -> Settings:
    return routed(MODEL, {"here": AccountSettings(adapter="local")}, *(f"here/{each}" for each in targets))


async def test_a_configuration_that_is_refused_changes_nothing_however_often() -> None:
    host = Host(budget())
    assert await host.begin(locally("tiny.en")) == []
    model = host.models["here/tiny.en"]
    for _ in range(2):
        assert len(await host.adopt(locally("tiny.en", "/nowhere"))) == 1
        await host.keep()
        assert host.models == {"here/tiny.en": model}
    assert model.ready
    await asyncio.to_thread(model.close)


async def test_what_no_configuration_names_goes_when_it_is_told_to() -> None:
    host = Host(budget())
    await host.begin(locally("tiny.en"))
    model = host.models["here/tiny.en"]
    await host.adopt(routed(MODEL, {"there": AccountSettings(adapter="local")}, "there/tiny.en"))
    assert sorted(host.models) == ["here/tiny.en", "there/tiny.en"]
    assert model.ready
    await host.keep()
    assert (sorted(host.models), model.ready) == (["there/tiny.en"], False)
    await asyncio.to_thread(host.models["there/tiny.en"].close)


def by_its_last_name(deployment: str) -> str:
    return deployment.rpartition("/")[2]


async def test_what_is_loaded_in_another_way_now_replaces_what_was_there() -> None:
    """Whatever name it is asked for by; the same model of the same account stays."""
    host = Host(budget(), known_as=by_its_last_name)
    await host.begin(locally("tiny.en"))
    model = host.models["tiny.en"]
    await host.adopt(locally("tiny.en"))
    assert host.models == {"tiny.en": model}
    await host.adopt(routed(MODEL, {"here": AccountSettings(adapter="local", max_batch=2)}, "here/tiny.en"))
    other = host.models["tiny.en"]
    assert (other is model, other.ready, model.ready) == (False, True, True)
    await host.keep()
    assert (host.models, model.ready) == ({"tiny.en": other}, False)
    await host.close()


# --- the process


@asynccontextmanager
async def process(
    settings: Settings, folder: Path, queue: int = 1
) -> AsyncIterator[tuple[asyncio.subprocess.Process, Channel]]:
    """Start an engine as the parent does, and be its parent."""
    ready = asyncio.Event()

    async def first(_: object) -> Settings:
        return settings

    async def is_ready(missing: list[str]) -> None:
        assert missing == []
        ready.set()

    async with AsyncExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        listener.bind(str(folder / "engine"))
        listener.listen(queue)
        ours, theirs = socket.socketpair()
        with theirs:
            descriptors = (theirs.fileno(), listener.fileno())
            started = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "gateway.workers.engine", *map(str, descriptors)), pass_fds=descriptors
            )
        channel = Channel({"settings": first, "ready": is_ready})
        await channel.open(ours)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        group.create_task(channel.serve())
        await ready.wait()
        yield started, channel
        channel.close()


async def test_it_serves_until_its_parent_is_gone_whatever_signal_comes(tmp_path: Path) -> None:
    """Workers that drain need it to their end; a terminal's signals are the parent's business."""
    async with process(locally("tiny.en"), tmp_path) as (started, channel):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(started.pid, number)
        client = EngineClient(tmp_path / "engine")
        remote = RemoteModel("here/tiny.en", client)
        await remote.load()
        assert "slushy" in (await hear(remote)).text.lower()
        await client.close()
        assert started.returncode is None
        channel.close()
        async with asyncio.timeout(30):
            assert await started.wait() == 0


async def test_who_asks_while_it_is_started_again_waits_in_its_queue(tmp_path: Path) -> None:
    """The socket is the parent's: it takes as many as it did before."""
    async with process(locally("tiny.en"), tmp_path, queue=1024) as (started, _):
        started.kill()
        await started.wait()
        with ExitStack() as stack:
            for _ in range(500):
                connection = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
                connection.settimeout(0)
                connection.connect(str(tmp_path / "engine"))  # at once, or it raises BlockingIOError
