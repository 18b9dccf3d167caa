"""Samples as a speech model wants them: float32 at 16 kHz, one channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import av
import numpy as np
import soxr

from providers.audio.cuts import cut
from providers.audio.decode import frames
from providers.audio.unreadable import UnreadableAudio

if TYPE_CHECKING:
    from collections.abc import Iterator

    from providers.audio.content import Content

MODEL_RATE_HZ = 16_000
Samples: TypeAlias = np.ndarray[tuple[int], np.dtype[np.float32]]


def read_samples(content: Content, *, max_duration_s: float) -> Samples:
    """Return (samples,) float32, mono, 16 kHz, finite, in -1 to 1 but for what the filter overshoots. Blocking.

    Resampled with soxr HQ: FFmpeg's default folds 26 dB of what is above 8 kHz back into speech.
    Raises UnreadableAudio, AudioTooLong.
    """
    whole: Samples = np.concatenate(list(_resampled(content, max_duration_s)))
    return whole


def read_parts(content: Content, *, max_duration_s: float, longest_s: float) -> Iterator[Samples]:
    """Yield the same samples in parts cut at pauses, none longer than longest_s; one at a time is in memory. Blocking.

    Raises as `read_samples` does, perhaps after some parts.
    """
    kept: list[Samples] = []
    for block, ends in cut(_resampled(content, max_duration_s), MODEL_RATE_HZ, longest_s):
        kept.append(block)
        if ends:
            yield np.concatenate(kept)
            kept = []
    if kept:
        yield np.concatenate(kept)


def _resampled(content: Content, max_duration_s: float) -> Iterator[Samples]:
    """Yield (samples,) float32 at 16 kHz, as they are decoded."""
    decoded = _mono(content, max_duration_s)
    first, rate_hz = next(decoded)
    resampler = soxr.ResampleStream(rate_hz, MODEL_RATE_HZ, 1, dtype="float32", quality="HQ")
    yield resampler.resample_chunk(first)
    for samples, rate in decoded:
        if rate != rate_hz:
            raise UnreadableAudio("the sample rate changes half way")
        yield resampler.resample_chunk(samples)
    yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


def _mono(content: Content, max_duration_s: float) -> Iterator[tuple[Samples, int]]:
    """Yield (samples,) float32 and their rate in Hz, frame by frame, channels mixed to one."""
    converter: av.AudioResampler | None = None
    for frame in frames(content, max_duration_s=max_duration_s):
        converter = converter or av.AudioResampler(format="flt")  # not planar: PyAV 18 reads past the eighth plane
        try:
            converted = converter.resample(frame)
        except ValueError as error:
            raise UnreadableAudio("the stream changes its format half way") from error
        for each in converted:
            # Mixed here: FFmpeg makes two loud channels of floats one that is too loud.
            mixed = each.to_ndarray().reshape(-1, each.layout.nb_channels).mean(axis=1)
            # A file of floats may hold anything: one NaN would silence the rest of the file in the filter.
            yield np.nan_to_num(mixed, posinf=0, neginf=0).clip(-1, 1), each.sample_rate
