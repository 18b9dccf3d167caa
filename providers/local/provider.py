"""Local models as a provider: loaded once, behind a queue that has an end."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from functools import partial
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
from providers.local.batcher import Closed
from providers.local.engine import OutOfMemory
from providers.local.listener import Listener
from providers.local.models import ModelMissing

if TYPE_CHECKING:
    from collections.abc import Callable

    from providers.exchange import Progress
    from providers.local.engine import Engine
    from providers.types import Capabilities, Deployment, Moment, Transcript, TranscriptionJob

NAME = "local"
MAX_BATCH = 16  # rows: what large-v3 needs 5 GB of a device for
MAX_WAIT_S = 0.02  # nobody notices it beside the model's own time

_QUEUED_PER_WORKER = 16  # at a second a clip, a quarter of a minute's wait: beyond that, say so
_QUEUED_BATCHES = 4  # where a worker hears many at once
_QUEUED_AUDIO_S = 3600.0  # likewise for each worker, at thirty times real time two minutes
_CLIP_S = 10.0  # of audio that nobody has measured
_LONG_S = 600.0  # more of one job does not stand before others, who take turns with it


class LocalModel:
    """A model that is loaded once and then answers, in threads of its own."""

    def __init__(
        self,
        native_model: str,
        load: Callable[[str], Engine],
        *,
        made_for: object = None,
        max_batch: int = MAX_BATCH,
        max_wait_s: float = MAX_WAIT_S,
        max_queue: int | None = None,
        on_batch: Callable[[str, int, float], None] = lambda *_: None,
    ) -> None:
        """made_for: what load reads besides the name, so that its owner can tell whether it would do for another.

        max_batch: rows heard at once; fewer where the engine says so. max_wait_s: for a batch to fill.
        max_queue: jobs queued or running; None: some batches for each worker.
        on_batch: told the model, how many pieces of utterances it begins to hear together and for how many seconds the
        eldest waited, in the thread that hears them.
        """
        self.made_for = made_for
        self._max_batch, self._max_wait_s, self._max_queue = max_batch, max_wait_s, max_queue
        self._on_batch = on_batch
        self._native_model = native_model
        self._load = load
        self._listener: Listener | None = None
        self._waiting = 0
        self._waiting_s = 0.0  # of audio
        self._loading = asyncio.Lock()
        self._tried = asyncio.Event()
        self.missing: ModelMissing | None = None

    @property
    def ready(self) -> bool:
        return self._listener is not None

    @property
    def waiting(self) -> int:
        """Jobs queued or running now."""
        return self._waiting

    @property
    def queued(self) -> tuple[str, int]:
        """The model, and how many jobs wait for it to be free."""
        heard = self._listener.batcher.utterances_heard if self._listener else 0
        return self._native_model, max(0, self._waiting - heard)

    @property
    def capabilities(self) -> Capabilities | None:
        return self._listener.engine.capabilities if self._listener else None

    @property
    def size_bytes(self) -> int:
        """Memory that it takes; 0 while it is not loaded."""
        return self._listener.engine.size_bytes if self._listener else 0

    async def load(self) -> None:
        """Load in a thread, once. A model that is missing is remembered, not raised: others may serve."""
        async with self._loading:
            if self._listener:
                return
            try:
                engine = await _in_a_daemon(self._load, self._native_model)
            except ModelMissing as error:
                self.missing = error
                return
            finally:
                self._tried.set()
            self._listener, self.missing = self._begun(engine), None

    async def wait_loaded(self) -> None:
        """Return when the model is ready, or known to be missing."""
        await self._tried.wait()

    async def transcribe(
        self, job: TranscriptionJob, to: Deployment, deadline: Moment, progress: Progress | None = None
    ) -> Transcript:
        """Return the transcript. Raises ProviderError only."""
        del to, progress  # nobody bills it
        if self._listener is None:
            raise ProviderUnavailable(NAME, str(self.missing or "the model is still loading"))
        audio_s = min(_CLIP_S if job.audio.duration_s is None else job.audio.duration_s, _LONG_S)
        self._admit(self._listener)
        self._waiting, self._waiting_s = self._waiting + 1, self._waiting_s + audio_s
        try:
            async with asyncio.timeout_at(deadline):
                said = await _heard(self._listener, job)
        except TimeoutError as error:
            raise AttemptTimedOut(NAME, "still working at the deadline") from error
        finally:
            self._waiting, self._waiting_s = self._waiting - 1, self._waiting_s - audio_s
        return replace(said, model_version=said.model_version or self._native_model)  # silence is heard by none

    def close(self) -> None:
        """Let what is heard now end; drop what waits. Blocking."""
        listener, self._listener = self._listener, None
        self.missing = ModelMissing("the local model is shut down")
        self._tried.set()
        if listener:
            listener.close()

    def _begun(self, engine: Engine) -> Listener:
        on_batch = partial(self._on_batch, self._native_model)
        return Listener(engine, max_batch=self._max_batch, max_wait_s=self._max_wait_s, on_batch=on_batch)

    def _admit(self, listener: Listener) -> None:
        """Raise RateLimited where too much waits; it says when that will be done."""
        workers, rows = listener.engine.workers, min(self._max_batch, listener.engine.max_rows)
        room = self._max_queue or workers * (rows + max(_QUEUED_PER_WORKER, _QUEUED_BATCHES * rows))
        if self._waiting >= room or self._waiting_s >= workers * _QUEUED_AUDIO_S:
            wait_s = self._waiting_s * listener.batcher.rtf / workers
            raise RateLimited(NAME, "the local queue is full", retry_after_s=max(1.0, wait_s))


async def _heard(listener: Listener, job: TranscriptionJob) -> Transcript:
    """Return what was said. Raises ProviderError only."""
    try:
        return await listener.hear(job)
    except ProviderError:
        raise
    except UnreadableAudio as error:
        raise JobRejected(NAME, str(error)) from error
    except AudioTooLong as error:
        raise JobUnsupported(NAME, str(error)) from error
    except Closed as error:
        raise ProviderUnavailable(NAME, "shutting down") from error
    except OutOfMemory as error:
        raise ProviderUnavailable(NAME, "the device has no memory left for it") from error
    except Exception as error:  # a fault in the engine: not the caller's, another may do it
        raise ProviderUnavailable(NAME, "the local model failed") from error


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
