"""Whether anybody speaks in an upload, found out in a thread of its own: it is asked for rarely, and takes a while."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from gateway.intake.threads import to_the_end
from providers.audio.unreadable import UnreadableAudio

if TYPE_CHECKING:
    from providers.types import Audio

_THREADS = 1


class SpeechDetector:
    """A process's. Close it when nothing is in flight any more."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="asr-speech")

    async def speech_at_least(self, audio: Audio, seconds: float) -> bool:
        """Tell whether there are so many seconds of speech. It ends within a frame when the caller leaves."""
        if audio.duration_s is not None and audio.duration_s < seconds:
            return False
        abandoned = threading.Event()

        def listen() -> bool:
            # In this thread: FFmpeg and the detector are 16 MB, and few answers are empty.
            from providers.audio.vad import speech_at_least  # noqa: PLC0415 - see above

            try:
                return speech_at_least(audio.content, seconds, is_abandoned=abandoned.is_set)
            except (UnreadableAudio, OSError):
                return False  # nothing was heard: the answer stands as it is

        return await to_the_end(listen, on_cancel=abandoned.set, executor=self._threads)

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
