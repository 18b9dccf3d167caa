"""Pieces of many callers' utterances, heard together where a model can.

A batch leaves when it is full, or when its eldest has waited long enough and a worker is free; while the workers are
busy pieces pile up, at no cost. Everything here happens on the event loop but `Engine.hear`, which has threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from providers.local.engine import OutOfMemory
from providers.local.lanes import Lanes, Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from providers.local.engine import Engine, Piece
    from providers.local.lanes import Batch
    from providers.types import Transcript

_FIRST_RTF = 0.1  # until one was measured: of a small model on two cores
_NEW_PART = 0.2  # what the last batch counts in what is known of the real-time factor
_CLIP_S = 1.0  # a piece costs at least what so much audio does
_GROWS_AFTER = 8  # full batches in a row that fitted: the limit may be a row too low


class Closed(Exception):
    """The model is shut down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """What came of a batch: transcripts or an error, and how long it took a worker."""

    said: Sequence[Transcript] = ()
    error: BaseException | None = None
    took_s: float


class Batcher:
    """An engine's workers, and what waits for them. Make it inside the event loop that uses it."""

    def __init__(
        self,
        engine: Engine,
        *,
        max_rows: int,
        max_wait_s: float,
        max_audio_s: float,
        on_batch: Callable[[int, float], None] = lambda *_: None,
    ) -> None:
        """max_audio_s: what may wait before `room` does, too.

        on_batch: told how many pieces a worker begins to hear, and how long the eldest waited, in its thread.
        """
        self.rtf = _FIRST_RTF  # a worker's: seconds that it takes for a second of audio
        self.limit = min(max_rows, engine.max_rows)  # rows that a batch has at most, as the device's memory allows
        self._engine, self._on_batch = engine, on_batch
        self._most, self._max_wait_s, self._max_audio_s = self.limit, max_wait_s, max_audio_s
        self._lanes = Lanes()
        self.heard_now: list[Batch] = []  # by the workers
        self._fitted = 0
        self._loop = asyncio.get_running_loop()
        self._executor = ThreadPoolExecutor(engine.workers, thread_name_prefix="asr-local")
        self._timer: asyncio.TimerHandle | None = None
        self._moved = asyncio.Event()
        self.closed = False

    @property
    def utterances_heard(self) -> int:
        """Of how many utterances pieces are at the workers now."""
        return len({each.lane for batch in self.heard_now for each in batch.waiting})

    def submit(self, piece: Piece, lane: Hashable) -> asyncio.Future[Transcript]:
        """Let a piece wait. Cancel the future, and it is not heard any more.

        lane: of the utterance: its pieces come one at a turn. The future raises as Engine.hear does, and Closed.
        """
        if self.closed:
            raise Closed
        waiting = Waiting(
            piece=piece,
            lane=lane,
            key=self._engine.key(piece),
            rows=self._engine.rows(piece),
            since_s=self._loop.time(),
            answer=self._loop.create_future(),
        )
        self._lanes.add(waiting)
        self._depart()
        return waiting.answer

    async def room(self) -> None:
        """Return when there is room for more audio: what waits is in memory."""
        while self._lanes.audio_s >= self._max_audio_s and not self.closed:
            self._moved.clear()
            await self._moved.wait()

    def close(self) -> None:
        """Let what is at the workers end; drop what waits. Blocking, from any thread."""
        self.closed = True
        with contextlib.suppress(RuntimeError):  # the loop has ended, and everybody who waited with it
            self._loop.call_soon_threadsafe(self._drop)
        self._executor.shutdown(wait=True)

    def _drop(self) -> None:
        for each in self._lanes.clear():
            _settle(each, Closed())
        self._depart()

    def _depart(self) -> None:
        """Send off what may leave; look again when the next may."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        while len(self.heard_now) < self._engine.workers and (batch := self._ready()):
            self._lanes.take(batch, self._loop.time())
            self._send(batch)
        self._moved.set()

    def _ready(self) -> Batch | None:
        """Return the batch that may leave now. Where none may yet, a timer is set for the first that will."""
        now, leaves_s = self._loop.time(), []
        for batch in self._lanes.batches(self.limit):
            leaves_s.append(batch.since_s + self._max_wait_s)
            if batch.full or leaves_s[-1] <= now:
                return batch
        if leaves_s:
            self._timer = self._loop.call_at(min(leaves_s), self._depart)
        return None

    def _send(self, batch: Batch) -> None:
        batch.waiting.sort(key=lambda each: each.piece.duration_s)
        self.heard_now.append(batch)
        try:
            working = self._loop.run_in_executor(
                self._executor, self._work, batch.waiting, self._loop.time() - batch.since_s
            )
        except RuntimeError as error:  # no thread can be started, or none any more
            self._loop.call_soon(self._ended, batch, _Outcome(error=error, took_s=0.0))
        else:
            working.add_done_callback(lambda done: self._ended(batch, done.result()))

    def _work(self, waiting: Sequence[Waiting], waited_s: float) -> _Outcome:
        """Hear a batch, in a worker. Whatever is raised there is an outcome: a thread must never be lost by it."""
        started = time.monotonic()
        try:
            self._on_batch(len(waiting), waited_s)
            said = self._hear(waiting)
        except (OutOfMemory, MemoryError):
            return _Outcome(error=OutOfMemory(), took_s=0.0)  # without the frames, which hold what has filled it
        except BaseException as error:  # noqa: BLE001 - handed to whoever awaits
            return _Outcome(error=error, took_s=0.0)
        return _Outcome(said=said, took_s=time.monotonic() - started)

    def _hear(self, waiting: Sequence[Waiting]) -> Sequence[Transcript]:
        said = self._engine.hear([each.piece for each in waiting], lambda: all(each.answer.done() for each in waiting))
        if len(said) != len(waiting):
            raise ValueError(f"the engine heard {len(said)} of {len(waiting)} pieces")
        return said

    def _ended(self, batch: Batch, outcome: _Outcome) -> None:
        self.heard_now.remove(batch)
        if outcome.error is not None:
            self._failed(batch, outcome.error)
        else:
            self._measure(batch, outcome.took_s)
            for each, said in zip(batch.waiting, outcome.said, strict=True):
                _settle(each, said)
        self._depart()

    def _failed(self, batch: Batch, error: BaseException) -> None:
        """Answer a piece that was alone; let those of a batch be tried again, fewer at once or one by one."""
        if len(batch.waiting) == 1 or self.closed:
            for each in batch.waiting:
                _settle(each, error)
            return
        if isinstance(error, OutOfMemory):
            self.limit = max(1, min(self.limit, sum(each.rows for each in batch.waiting) // 2))
            self._fitted = 0
        else:
            for each in batch.waiting:
                each.alone = True
        self._lanes.put_back(batch.waiting)

    def _measure(self, batch: Batch, took_s: float) -> None:
        audio_s = sum(max(each.piece.duration_s, _CLIP_S) for each in batch.waiting)
        self.rtf += _NEW_PART * (took_s / audio_s - self.rtf)
        if not batch.full or self.limit >= self._most:
            return
        self._fitted += 1
        if self._fitted >= _GROWS_AFTER:
            self._fitted, self.limit = 0, self.limit + 1


def _settle(waiting: Waiting, outcome: Transcript | BaseException) -> None:
    """Answer whoever still waits."""
    if waiting.answer.done():
        return
    if not isinstance(outcome, BaseException):
        waiting.answer.set_result(outcome)
    elif isinstance(outcome, Exception) and not isinstance(outcome, StopIteration):
        waiting.answer.set_exception(outcome)
    else:  # what would end the event loop, or what a future refuses
        failure = RuntimeError("the engine's thread was ended")
        failure.__cause__ = outcome
        waiting.answer.set_exception(failure)
