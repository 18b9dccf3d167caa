"""Samples as a speech model wants them: float32 at 16 kHz, one channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import av
import numpy as np
import soxr

from providers.audio.decode import UnreadableAudio, frames

if TYPE_CHECKING:
    from collections.abc import Iterator

    from providers.audio.content import Content

MODEL_RATE_HZ = 16_000


def read_samples(content: Content, *, max_duration_s: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Return (samples,) float32 in -1 to 1, mono, 16 kHz. Blocking.

    Resampled with soxr HQ: FFmpeg's default folds 26 dB of what is above 8 kHz back into speech.
    Raises UnreadableAudio, AudioTooLong.
    """
    decoded = _mono(content, max_duration_s)
    first, rate_hz = next(decoded)
    resampler = soxr.ResampleStream(rate_hz, MODEL_RATE_HZ, 1, dtype="float32", quality="HQ")
    pieces = [resampler.resample_chunk(first)]
    for samples, rate in decoded:
        if rate != rate_hz:
            raise UnreadableAudio("the sample rate changes half way")
        pieces.append(resampler.resample_chunk(samples))
    pieces.append(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
    return np.nan_to_num(np.concatenate(pieces), copy=False)


def _mono(content: Content, max_duration_s: float) -> Iterator[tuple[np.ndarray[Any, np.dtype[np.float32]], int]]:
    """Yield (samples,) float32 and their rate in Hz, frame by frame, channels mixed to one."""
    mixer: av.AudioResampler | None = None
    for frame in frames(content, max_duration_s=max_duration_s):
        mixer = mixer or av.AudioResampler(format="flt", layout="mono", rate=frame.sample_rate)
        try:
            mixed = mixer.resample(frame)
        except ValueError as error:
            raise UnreadableAudio("the stream changes its format half way") from error
        for each in mixed:
            yield each.to_ndarray()[0], each.sample_rate
