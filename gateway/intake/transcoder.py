"""Uploads into containers that providers take, in threads of their own: a long file must not hold up short work."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from gateway.intake.threads import to_the_end

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from providers.audio.part_limit import PartLimit
    from providers.types import Audio, Container

_THREADS = 2


class Transcoder:
    """A process's transcoding. Close it when nothing is in flight any more."""

    def __init__(self, *, max_duration_s: float, directory: Path | None = None) -> None:
        """directory: where copies are kept; the system's folder for temporary files if None."""
        self.max_duration_s = max_duration_s
        self._directory = directory
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="asr-transcode")

    async def run(self, audio: Audio, to: Container) -> Audio:
        """Return the copy; its content is the caller's to close. It ends at its next frame when the caller leaves.

        Raises UnreadableAudio, AudioTooLong; OSError where the disk is full.
        """
        (copy,) = await self._made(lambda is_abandoned: [self._copy(audio, to, is_abandoned)])
        return copy

    async def split(self, audio: Audio, to: Container, limit: PartLimit) -> list[Audio]:
        """Return the audio in parts, in order, none beyond the limit. All else is as in `run`."""
        return await self._made(lambda is_abandoned: self._parts(audio, to, limit, is_abandoned))

    def _copy(self, audio: Audio, to: Container, is_abandoned: Callable[[], bool]) -> Audio:
        # In the thread: FFmpeg is 15 MB, and most processes never transcode.
        from providers.audio.transcode import transcode  # noqa: PLC0415 - see above

        return transcode(
            audio, to, max_duration_s=self.max_duration_s, directory=self._directory, is_abandoned=is_abandoned
        )

    def _parts(self, audio: Audio, to: Container, limit: PartLimit, is_abandoned: Callable[[], bool]) -> list[Audio]:
        from providers.audio.split import split  # noqa: PLC0415 - as above

        parts = split(
            audio,
            to,
            limit=limit,
            max_duration_s=self.max_duration_s,
            directory=self._directory,
            is_abandoned=is_abandoned,
        )
        return [part.audio for part in parts]

    async def _made(self, make: Callable[[Callable[[], bool]], list[Audio]]) -> list[Audio]:
        """Make files in a thread, and none for a caller who has left."""
        abandoned = threading.Event()
        made: list[Audio] = []

        def work() -> None:
            made.extend(make(abandoned.is_set))

        try:
            await to_the_end(work, on_cancel=abandoned.set, executor=self._threads)
        except BaseException:
            for file in made:  # finished just as its caller left
                file.content.close()
            raise
        return made

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
