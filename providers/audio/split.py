"""Long audio into parts that a provider takes, each a file of its own, cut at pauses."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, groupby
from operator import itemgetter
from typing import TYPE_CHECKING

import av
import numpy as np

from providers.audio.cuts import cut
from providers.audio.decode import frames
from providers.audio.part_limit import MOST_HZ, PartLimit
from providers.audio.transcode import Recording, mono, watched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from av.audio.frame import AudioFrame

    from providers.audio.cuts import Block
    from providers.types import Audio, Container


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A stretch of an utterance, as an utterance of its own."""

    audio: Audio
    start_s: float  # in the whole


def split(
    audio: Audio,
    to: Container,
    *,
    limit: PartLimit,
    max_duration_s: float,
    directory: Path | None = None,
    is_abandoned: Callable[[], bool] = lambda: False,
) -> list[Part]:
    """Return the utterance in parts, in order: mono, 16-bit, of the whole's own sample rate or 48 kHz. Blocking.

    limit: of each part. directory: where they are kept, the system's folder for temporary files if None.
    is_abandoned: asked at each frame. The whole is never in memory.
    Raises UnreadableAudio, AudioTooLong, Abandoned; OSError where the disk is full. The caller closes the new contents.
    """
    decoded = watched(frames(audio.content, max_duration_s=max_duration_s), is_abandoned)
    first = next(decoded)  # `frames` raises rather than yield nothing
    rate_hz = min(first.sample_rate, MOST_HZ)
    blocks = (np.asarray(frame.to_ndarray()[0]) for frame in mono(chain((first,), decoded), rate_hz))
    parts: list[Part] = []
    try:
        start_s = 0.0
        for part in _recorded(cut(blocks, rate_hz, limit.seconds(rate_hz)), to, rate_hz, directory):
            parts.append(Part(audio=part, start_s=start_s))
            start_s += part.duration_s or 0.0
    except BaseException:
        for each in parts:
            each.audio.content.close()
        raise
    return parts


def _recorded(
    blocks: Iterable[tuple[Block, bool]], to: Container, rate_hz: int, directory: Path | None
) -> Iterator[Audio]:
    """Yield a file for each part."""
    for _, of_part in groupby(_numbered(blocks), itemgetter(0)):
        with Recording(to, rate_hz, directory) as part:
            for _, block in of_part:
                part.write(_framed(block, rate_hz))
            yield part.finished()


def _numbered(blocks: Iterable[tuple[Block, bool]]) -> Iterator[tuple[int, Block]]:
    """Yield each block with the number of its part."""
    number = 0
    for block, ends in blocks:
        yield number, block
        number += ends


def _framed(block: Block, rate_hz: int) -> AudioFrame:
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block[np.newaxis]), format="s16", layout="mono")
    frame.sample_rate = rate_hz
    return frame
