"""What an upload sounds like, found out by children of its own: an upload's duration waits for none of it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from gateway.intake.threads import to_the_end
from providers.audio.demux import Demuxer
from providers.audio.unreadable import UnreadableAudio

if TYPE_CHECKING:
    from providers.types import Audio

_CHILDREN = 2  # and a thread for each


class SoundReader:
    """A process's. Close it when nothing is in flight any more."""

    def __init__(self, max_duration_s: float) -> None:
        self.max_duration_s = max_duration_s
        self._demuxer = Demuxer(_CHILDREN)
        self._threads = ThreadPoolExecutor(_CHILDREN, thread_name_prefix="asr-sound")

    async def digest(self, audio: Audio) -> str | None:
        """Return what tells the sound from any other; None where that cannot be told for certain.

        It ends within a tenth of a second when the caller leaves.
        """
        abandoned = threading.Event()
        read = partial(self._demuxer.sound, audio, max_duration_s=self.max_duration_s, is_abandoned=abandoned.is_set)
        try:
            return await to_the_end(read, on_cancel=abandoned.set, executor=self._threads)
        except (UnreadableAudio, OSError):
            return None

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._demuxer.close()
