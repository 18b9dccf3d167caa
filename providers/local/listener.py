"""One utterance's way through a loaded model: read in pieces, heard among those of others, put together again."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from providers.local.batcher import Batcher
from providers.local.engine import hears_languages, silence
from providers.stitch import stitched

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from providers.local.engine import Engine, Piece
    from providers.types import Transcript, TranscriptionJob

WINDOW_S = 30.0  # pieces at most
READERS = 2  # decoding takes a hundredth of hearing: a device never waits for it
MAX_AUDIO_S = 1800.0  # read and waiting: 115 MB of samples

_T = TypeVar("_T")


class Listener:
    """A loaded model for many callers. Make it inside the event loop that uses it."""

    def __init__(
        self,
        engine: Engine,
        *,
        max_batch: int,
        max_wait_s: float,
        on_batch: Callable[[int, float], None] = lambda *_: None,
    ) -> None:
        self.engine = engine
        self.batcher = Batcher(
            engine,
            max_rows=max_batch,
            max_wait_s=max_wait_s,
            max_audio_s=max(MAX_AUDIO_S, 2 * WINDOW_S * engine.workers * min(max_batch, engine.max_rows)),
            on_batch=on_batch,
        )
        # Pieces of one utterance: while every worker hears some of them, the next are read.
        self._ahead = (engine.workers + 1) * self.batcher.limit
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="asr-read")
        self._turn = asyncio.Semaphore(READERS)

    async def hear(self, job: TranscriptionJob) -> Transcript:
        """Return what was said. Raises as the engine does, and Closed."""
        parts: list[tuple[float, asyncio.Future[Transcript]]] = []
        try:
            pieces, lane, language = await self._in_reader(self._opened, job), object(), job.language
            unsure = language is None and hears_languages(self.engine)
            while part := await self._next(pieces, lane, language):
                parts.append(part)
                if unsure and (said := await part[1]).text:
                    unsure, language = False, said.language  # of the recording: the first who speaks says it
                elif len(parts) >= self._ahead:
                    await parts[-self._ahead][1]
            return stitched([(start_s, await answer) for start_s, answer in parts])
        finally:
            _let_go([answer for _, answer in parts])

    def close(self) -> None:
        """Let what is heard now end; drop the rest. Blocking, from any thread.

        The readers end when nobody asks any more: whose last piece was heard has still to learn that it was the last.
        """
        self.batcher.close()
        self.engine.close()

    def _opened(self, job: TranscriptionJob) -> Iterator[Piece]:
        self.engine.check(job)  # first: what cannot be done is refused for silence too
        return iter(self.engine.pieces(job))

    async def _next(
        self, pieces: Iterator[Piece], lane: Hashable, language: str | None
    ) -> tuple[float, asyncio.Future[Transcript]] | None:
        """Read a piece and let it wait to be heard. None: there was no more."""
        async with self._turn:  # first come, first served, and nobody reads while too much waits
            await self.batcher.room()
            piece = await self._in_reader(next, pieces, None)
            if piece is None:
                return None
            if piece.silent:
                said: asyncio.Future[Transcript] = asyncio.get_running_loop().create_future()
                said.set_result(silence(piece))
            else:
                said = self.batcher.submit(replace(piece, language=language or piece.language), lane)
            return piece.start_s, said

    async def _in_reader(self, work: Callable[..., _T], *args: object) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._readers, work, *args)


def _let_go(answers: list[asyncio.Future[Transcript]]) -> None:
    """Tell the batcher that nobody waits any more."""
    for each in answers:
        if not each.cancel() and not each.cancelled():
            each.exception()  # looked at: asyncio complains of those that nobody did
