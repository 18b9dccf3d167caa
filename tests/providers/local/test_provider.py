"""Local models as a provider: a queue that has an end, and workers that notice when nobody waits."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from providers.audio.unreadable import AudioTooLong, UnreadableAudio
from providers.emulators.ear import as_audio
from providers.errors import (
    AttemptTimedOut,
    JobRejected,
    JobUnsupported,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
)
from providers.local.engine import Abandoned, Piece
from providers.local.models import ModelMissing
from providers.local.provider import LocalModel
from providers.types import Account, Capabilities, Deployment, Moment, Transcript, TranscriptionJob
from tests.engines import Echo

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

TO = Deployment(account=Account(name="local", adapter="local", base_urls={}), native_model="m")
ROOM = 17  # one worker and what may wait for it


def job(name: str = "") -> TranscriptionJob:
    return TranscriptionJob(model=name, audio=as_audio(b""))


def soon(seconds: float = 60) -> Moment:
    return Moment(asyncio.get_running_loop().time() + seconds)


class Engine(Echo):
    """Hears a job's name, one window at a time: each waits until the test lets it pass."""

    def __init__(self, workers: int = 1, windows: int = 1) -> None:
        self.workers, self.windows, self.closed = workers, windows, False
        self.capabilities = Capabilities(prompt=True)
        self.begun: list[str] = []
        self.decoded: list[str] = []  # a name for each window
        self.passes = threading.Semaphore(0)
        self.idle = threading.Event()

    def said(self, piece: Piece, is_abandoned: Callable[[], bool]) -> Transcript:
        self.begun.append(piece.job.model)
        self.idle.clear()
        try:
            for _ in range(self.windows):
                self.passes.acquire()
                self.decoded.append(piece.job.model)
                if is_abandoned():
                    raise Abandoned
        finally:
            self.idle.set()
        return super().said(piece, is_abandoned)

    def let(self, windows: int) -> None:
        self.passes.release(windows)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
async def engine() -> Engine:
    return Engine()


@pytest.fixture
async def local(engine: Engine) -> AsyncIterator[LocalModel]:
    model = LocalModel("m", lambda _: engine)
    await model.load()
    yield model
    engine.let(1000)
    model.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what changes lives in a thread
            await asyncio.sleep(0.001)


async def test_answers_and_counts_what_waits(local: LocalModel, engine: Engine) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(local.transcribe(job(str(n)), TO, soon())) for n in range(3)]
        await until(lambda: len(engine.begun) == 1)
        assert local.waiting == 3
        engine.let(3)
    assert [task.result().text for task in tasks] == ["0", "1", "2"]
    assert sorted(engine.begun) == ["0", "1", "2"]
    assert local.waiting == 0


async def test_a_full_queue_says_when_to_come_back(local: LocalModel, engine: Engine) -> None:
    """When all that waits now is done: a second each until something better is known."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(local.transcribe(job(), TO, soon())) for _ in range(ROOM)]
        await until(lambda: local.waiting == ROOM)
        with pytest.raises(RateLimited, match="queue is full") as caught:
            await local.transcribe(job(), TO, soon())
        assert caught.value.retry_after_s == ROOM
        assert local.waiting == ROOM
        engine.let(ROOM)
    assert len([task.result() for task in tasks]) == ROOM


async def test_more_workers_have_more_room_and_are_sooner_done() -> None:
    engine = Engine(workers=4)
    local = LocalModel("m", lambda _: engine)
    await local.load()
    async with asyncio.TaskGroup() as group:
        for _ in range(4 * ROOM):
            group.create_task(local.transcribe(job(), TO, soon()))
        await until(lambda: local.waiting == 4 * ROOM)
        with pytest.raises(RateLimited) as caught:
            await local.transcribe(job(), TO, soon())
        assert caught.value.retry_after_s == ROOM
        await until(lambda: len(engine.begun) == 4)
        engine.let(4 * ROOM)
    local.close()


async def test_the_queue_may_be_as_long_as_its_owner_says(engine: Engine) -> None:
    local = LocalModel("m", lambda _: engine, max_queue=2)
    await local.load()
    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(local.transcribe(job(), TO, soon()))
        await until(lambda: local.waiting == 2)
        with pytest.raises(RateLimited):
            await local.transcribe(job(), TO, soon())
        engine.let(2)
    local.close()


async def test_a_few_long_recordings_are_a_full_queue_too(local: LocalModel, engine: Engine) -> None:
    """Not by their whole length: others take turns with them."""
    long = TranscriptionJob(model="long", audio=replace(as_audio(b""), duration_s=7200.0))
    async with asyncio.TaskGroup() as group:
        for _ in range(6):
            group.create_task(local.transcribe(long, TO, soon()))
        await until(lambda: local.waiting == 6)
        with pytest.raises(RateLimited) as caught:
            await local.transcribe(job(), TO, soon())
        assert caught.value.retry_after_s == 360.0
        engine.let(6)


async def test_jobs_are_heard_together_and_what_waits_is_told() -> None:
    batches: list[tuple[str, int, float]] = []
    engine = Engine()
    engine.max_rows = 8
    local = LocalModel("m", lambda _: engine, max_batch=4, max_wait_s=3600.0, on_batch=lambda *of: batches.append(of))
    await local.load()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(local.transcribe(job(str(n)), TO, soon())) for n in range(8)]
        await until(lambda: len(engine.begun) == 1)
        assert local.queued == ("m", 4)
        engine.let(8)
    assert [task.result().text for task in tasks] == [str(n) for n in range(8)]
    assert [(model, pieces) for model, pieces, _ in batches] == [("m", 4), ("m", 4)]
    assert 0 < batches[1][2] < 10, "the second waited for the first"
    local.close()


async def test_quick_jobs_shorten_the_wait_but_never_below_a_second(local: LocalModel, engine: Engine) -> None:
    engine.let(40)
    for _ in range(40):
        await local.transcribe(job(), TO, soon())
    async with asyncio.TaskGroup() as group:
        for _ in range(ROOM):
            group.create_task(local.transcribe(job(), TO, soon()))
        await until(lambda: local.waiting == ROOM)
        with pytest.raises(RateLimited) as caught:
            await local.transcribe(job(), TO, soon())
        assert caught.value.retry_after_s == 1.0
        engine.let(ROOM)


async def test_a_caller_who_leaves_the_queue_frees_the_place(local: LocalModel, engine: Engine) -> None:
    async with asyncio.TaskGroup() as group:
        first = group.create_task(local.transcribe(job("first"), TO, soon()))
        await until(lambda: engine.begun == ["first"])
        second = group.create_task(local.transcribe(job("second"), TO, soon()))
        third = group.create_task(local.transcribe(job("third"), TO, soon()))
        await until(lambda: local.waiting == 3)
        second.cancel()
        await until(second.done)
        assert local.waiting == 2
        engine.let(2)
    assert second.cancelled()
    assert (first.result().text, third.result().text) == ("first", "third")
    assert engine.begun == ["first", "third"]


async def test_a_caller_who_leaves_a_running_job_stops_it_after_the_window() -> None:
    engine = Engine(windows=100)
    local = LocalModel("m", lambda _: engine)
    await local.load()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(local.transcribe(job("long"), TO, soon()))
        engine.let(3)
        await until(lambda: len(engine.decoded) == 3)
        task.cancel()
        await until(task.done)
    assert local.waiting == 0
    engine.let(1)
    await asyncio.to_thread(engine.idle.wait, 10)
    assert engine.decoded == ["long"] * 4
    local.close()


async def test_a_job_not_done_at_the_deadline_is_a_timeout(local: LocalModel, engine: Engine) -> None:
    with pytest.raises(AttemptTimedOut):
        await local.transcribe(job(), TO, soon(0.05))

    assert local.waiting == 0
    engine.let(1)
    await asyncio.to_thread(engine.idle.wait, 10)
    with pytest.raises(AttemptTimedOut):
        await local.transcribe(job(), TO, soon(-1))


async def test_a_model_still_loading_is_unavailable(engine: Engine) -> None:
    local = LocalModel("m", lambda _: engine)

    assert not local.ready
    assert local.capabilities is None
    with pytest.raises(ProviderUnavailable, match="still loading"):
        await local.transcribe(job(), TO, soon())


async def test_a_model_that_is_missing_says_why_and_may_come_later() -> None:
    engines = iter([Engine()])
    there = False

    def load(_: str) -> Engine:
        if not there:
            raise ModelMissing("pip install it")
        return next(engines)

    local = LocalModel("m", load)
    await local.load()
    assert not local.ready
    assert str(local.missing) == "pip install it"
    with pytest.raises(ProviderUnavailable, match="local: pip install it"):
        await local.transcribe(job(), TO, soon())

    there = True
    await local.load()
    assert local.ready
    assert local.missing is None
    local.close()


async def test_waiting_for_a_model_ends_when_it_is_there_or_known_to_be_missing() -> None:
    def missing(_: str) -> Engine:
        raise ModelMissing("no")

    for load in (missing, lambda _: Engine()):
        local = LocalModel("m", load)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(local.wait_loaded())
            await asyncio.sleep(0)
            assert not waiting.done()
            await local.load()
        assert local.ready or local.missing
        local.close()


async def test_a_model_is_loaded_once() -> None:
    loaded: list[str] = []

    def load(native_model: str) -> Engine:
        loaded.append(native_model)
        return Engine()

    local = LocalModel("tiny.en", load)
    await asyncio.gather(*(local.load() for _ in range(5)))
    await local.load()

    assert loaded == ["tiny.en"]
    assert local.capabilities == Capabilities(prompt=True)
    local.close()


async def test_a_load_that_nobody_waits_for_any_more_holds_nothing_up() -> None:
    """SIGTERM comes while a model is being downloaded."""
    forever = threading.Event()

    def download(_: str) -> Engine:
        forever.wait(60)
        return Engine()

    model = LocalModel("m", download)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await model.load()
    assert not model.ready
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "asr-load")
    forever.set()


class Failing(Echo):
    def __init__(self, error: Exception) -> None:
        self._error = error

    def said(self, *_: object) -> Transcript:
        raise self._error


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (UnreadableAudio("no container known here"), JobRejected, "no container known here"),
        (AudioTooLong(60), JobUnsupported, "the audio is longer than 60 s"),
        (JobUnsupported("local", "too many tokens"), JobUnsupported, "too many tokens"),
        (ValueError("operands could not be broadcast"), ProviderUnavailable, "the local model failed"),
        (RuntimeError("CUDA out of memory"), ProviderUnavailable, "the local model failed"),
        (MemoryError(), ProviderUnavailable, "the device has no memory left for it"),
        (TimeoutError(), ProviderUnavailable, "the local model failed"),
    ],
)
async def test_a_fault_of_the_engine_is_not_called_the_callers(
    error: Exception, kind: type[ProviderError], reason: str
) -> None:
    local = LocalModel("m", lambda _: Failing(error))
    await local.load()
    with pytest.raises(ProviderError) as caught:
        await local.transcribe(job(), TO, soon())

    assert (type(caught.value), caught.value.reason) == (kind, reason)
    assert local.waiting == 0
    local.close()


async def test_closing_ends_what_runs_and_drops_what_waits(engine: Engine) -> None:
    local = LocalModel("m", lambda _: engine)
    await local.load()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(local.transcribe(job("running"), TO, soon()))
        await until(lambda: engine.begun == ["running"])
        waiting = group.create_task(unavailable(local))
        await until(lambda: local.waiting == 2)
        closing = group.create_task(asyncio.to_thread(local.close))
        assert "shutting down" in await waiting
        engine.let(1)
        await closing
    assert (running.result().text, running.result().model_version) == ("running", "m")
    assert engine.closed
    assert "shut down" in await unavailable(local)


async def unavailable(local: LocalModel) -> str:
    """Return why: nobody cancelled this task, so it must not look cancelled."""
    with pytest.raises(ProviderUnavailable) as caught:
        await local.transcribe(job("waiting"), TO, soon())
    return str(caught.value)
