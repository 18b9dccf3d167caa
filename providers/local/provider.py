"""Local models as a provider: worker threads behind a queue that has an end."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from msgspec.structs import replace

from providers.audio.unreadable import AudioTooLong, UnreadableAudio
from providers.errors import (
    AttemptTimedOut,
    JobRejected,
    JobUnsupported,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
)
from providers.local.engine import heard
from providers.local.models import ModelMissing

if TYPE_CHECKING:
    from collections.abc import Callable

    from providers.exchange import Progress
    from providers.local.engine import Engine
    from providers.types import Capabilities, Deployment, Moment, Transcript, TranscriptionJob

NAME = "local"
_QUEUED_PER_WORKER = 16  # at a second a clip, a quarter of a minute's wait: beyond that, say so


class LocalModel:
    """A model that is loaded once and then answers, in threads of its own."""

    def __init__(
        self,
        native_model: str,
        load: Callable[[str], Engine],
        *,
        made_for: object = None,
        on_batch: Callable[[str, int], None] = lambda *_: None,
    ) -> None:
        """made_for: what load reads besides the name, so that its owner can tell whether it would do for another.

        on_batch: told the model and how many jobs it begins to work on together, in the thread that does.
        """
        self.made_for = made_for
        self._on_batch = on_batch
        self._native_model = native_model
        self._load = load
        self._engine: Engine | None = None
        self._executor: ThreadPoolExecutor | None = None
        self._waiting = 0
        self._room = 0
        self._job_s = 1.0  # what a job has lately taken a worker
        self._loading = asyncio.Lock()
        self._tried = asyncio.Event()
        self.missing: ModelMissing | None = None

    @property
    def ready(self) -> bool:
        return self._engine is not None

    @property
    def waiting(self) -> int:
        """Jobs queued or running now."""
        return self._waiting

    @property
    def queued(self) -> tuple[str, int]:
        """The model, and how many jobs wait for it to be free."""
        return self._native_model, max(0, self._waiting - (self._engine.workers if self._engine else 0))

    @property
    def capabilities(self) -> Capabilities | None:
        return self._engine.capabilities if self._engine else None

    async def load(self) -> None:
        """Load in a thread, once. A model that is missing is remembered, not raised: others may serve."""
        async with self._loading:
            if self._engine:
                return
            try:
                engine = await _in_a_daemon(self._load, self._native_model)
            except ModelMissing as error:
                self.missing = error
                return
            finally:
                self._tried.set()
            self._executor = ThreadPoolExecutor(engine.workers, thread_name_prefix="asr-local")
            self._room = engine.workers * (1 + _QUEUED_PER_WORKER)
            self._engine, self.missing = engine, None

    async def wait_loaded(self) -> None:
        """Return when the model is ready, or known to be missing."""
        await self._tried.wait()

    async def transcribe(
        self, job: TranscriptionJob, to: Deployment, deadline: Moment, progress: Progress | None = None
    ) -> Transcript:
        """Return the transcript. Raises ProviderError only."""
        del to, progress  # nobody bills it
        if self._engine is None or self._executor is None:
            raise ProviderUnavailable(NAME, str(self.missing or "the model is still loading"))
        if self._waiting >= self._room:
            raise RateLimited(NAME, "the local queue is full", retry_after_s=self._wait_s(self._engine))
        self._waiting += 1
        abandoned = threading.Event()
        try:
            async with asyncio.timeout_at(deadline):
                said, job_s = await self._in_a_worker(self._engine, self._executor, job, abandoned)
        except TimeoutError as error:
            raise AttemptTimedOut(NAME, "still working at the deadline") from error
        finally:
            abandoned.set()  # a worker that is still at it stops after its current window
            self._waiting -= 1
        self._job_s += 0.2 * (job_s - self._job_s)
        return replace(said, model_version=said.model_version or self._native_model)  # silence is heard by none

    def close(self) -> None:
        """Let running work end; drop what waits. Blocking."""
        engine, executor, self._executor, self._engine = self._engine, self._executor, None, None
        self.missing = ModelMissing("the local model is shut down")
        self._tried.set()
        if executor and engine:
            executor.shutdown(wait=True, cancel_futures=True)
            engine.close()

    async def _in_a_worker(
        self, engine: Engine, executor: ThreadPoolExecutor, job: TranscriptionJob, abandoned: threading.Event
    ) -> tuple[Transcript, float]:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(executor, self._begun, engine, job, abandoned)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task and task.cancelling():
                raise
            raise ProviderUnavailable(NAME, "shutting down") from error  # `close` dropped it, nobody cancelled us

    def _begun(self, engine: Engine, job: TranscriptionJob, abandoned: threading.Event) -> tuple[Transcript, float]:
        self._on_batch(self._native_model, 1)  # each by itself
        return _work(engine, job, abandoned)

    def _wait_s(self, engine: Engine) -> float:
        """Return when what waits now will be done."""
        return max(1.0, self._job_s * self._waiting / engine.workers)


async def _in_a_daemon(load: Callable[[str], Engine], native_model: str) -> Engine:
    """Load in a thread that does not keep the process alive: a download can take minutes, and SIGTERM must not wait."""
    loop = asyncio.get_running_loop()
    loaded: asyncio.Future[Engine] = loop.create_future()

    def settle(engine: Engine | None, error: BaseException | None) -> None:
        if loaded.done():
            return
        if engine is not None:
            loaded.set_result(engine)
        else:
            loaded.set_exception(error or RuntimeError("nothing was loaded"))

    def work() -> None:
        engine, failure = None, None
        try:
            engine = load(native_model)
        except BaseException as error:  # noqa: BLE001 - handed to whoever awaits
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
            loop.call_soon_threadsafe(settle, engine, failure)

    threading.Thread(target=work, name="asr-load", daemon=True).start()
    return await loaded


def _work(engine: Engine, job: TranscriptionJob, abandoned: threading.Event) -> tuple[Transcript, float]:
    """Return the transcript and the seconds it took. Raises ProviderError only."""
    started = time.monotonic()
    try:
        return heard(engine, job, abandoned.is_set), time.monotonic() - started
    except ProviderError:
        raise
    except UnreadableAudio as error:
        raise JobRejected(NAME, str(error)) from error
    except AudioTooLong as error:
        raise JobUnsupported(NAME, str(error)) from error
    except Exception as error:  # out of memory, or a fault in the engine: neither is the caller's, another may do it
        raise ProviderUnavailable(NAME, "the local model failed") from error
