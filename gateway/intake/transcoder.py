"""Uploads into containers that providers take, in threads of their own: a long file must not hold up short work."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from gateway.intake.threads import to_the_end
from providers.audio.transcode import transcode

if TYPE_CHECKING:
    from pathlib import Path

    from providers.types import Audio, Container

_THREADS = 2


class Transcoder:
    """A process's transcoding. Close it when nothing is in flight any more."""

    def __init__(self, *, max_duration_s: float, directory: Path | None = None) -> None:
        """directory: where copies are kept; the system's folder for temporary files if None."""
        self.max_duration_s = max_duration_s
        self._make = partial(transcode, directory=directory)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="asr-transcode")

    async def run(self, audio: Audio, to: Container) -> Audio:
        """Return the copy; its content is the caller's to close. It ends at its next frame when the caller leaves.

        Raises UnreadableAudio, AudioTooLong; OSError where the disk is full.
        """
        abandoned = threading.Event()
        made: list[Audio] = []
        limit_s = self.max_duration_s

        def work() -> None:
            made.append(self._make(audio, to, max_duration_s=limit_s, is_abandoned=abandoned.is_set))

        try:
            await to_the_end(work, on_cancel=abandoned.set, executor=self._threads)
        except BaseException:
            for copy in made:  # finished just as its caller left
                copy.content.close()
            raise
        return made[0]

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
