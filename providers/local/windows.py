"""An utterance in pieces that a model hears at once: cut at pauses, long silence set apart.

A voice detector says where somebody speaks; models hear words in silence. Neighbouring speech stays together, as much
as fits, with the pauses in it: pieces cut at every pause cost words where speech is slow, and each piece costs Whisper
a whole window of 30 s.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from faster_whisper.vad import VadOptions, get_speech_timestamps

from providers.audio.cuts import quietest
from providers.audio.samples import MODEL_RATE_HZ, read_parts
from providers.local.engine import Piece

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from providers.audio.samples import Samples
    from providers.types import TranscriptionJob

WINDOW_S: Final = 30.0
"""What Whisper hears at once."""
PART_S: Final = 300.0
"""What is looked through at once: 20 MB."""
LONG_SILENCE_S: Final = 5.0
"""Is not listened to."""
AROUND_SPEECH_S: Final = 1.0
"""Of long silence is still listened to, at either end of speech."""
_PAUSE_MS: Final = 160  # between words there is less
_LATTER: Final = 2  # only the latter half of a piece is looked through for a place to cut


class Stretch(NamedTuple):
    """Samples from one to before another."""

    start: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.start


def windows(job: TranscriptionJob, *, max_duration_s: float, longest_s: float = WINDOW_S) -> Iterator[Piece]:
    """Yield pieces of at most longest_s seconds that together are the utterance, in order. Blocking.

    A silent piece may be as long as PART_S. Memory is bounded: an hour takes as much as five minutes.
    Raises UnreadableAudio, AudioTooLong, perhaps after some pieces.
    """
    start_s = 0.0
    for samples in read_parts(job.audio.content, max_duration_s=max_duration_s, longest_s=PART_S):
        for at, silent in _stretches(samples, round(longest_s * MODEL_RATE_HZ)):
            yield Piece(
                job=job,
                samples=samples[at.start : at.end],
                start_s=start_s + at.start / MODEL_RATE_HZ,
                language=job.language,
                silent=silent,
            )
        start_s += len(samples) / MODEL_RATE_HZ


def _stretches(samples: Samples, longest: int) -> Iterator[tuple[Stretch, bool]]:
    """Yield stretches that cover the samples, each with whether it is silent."""
    pauses = _pauses(samples)
    at = 0
    for silence in _long_silences(pauses, len(samples)):
        yield from ((each, False) for each in _cut(samples, Stretch(at, silence.start), pauses, longest))
        yield silence, True
        at = silence.end
    yield from ((each, False) for each in _cut(samples, Stretch(at, len(samples)), pauses, longest))


def _pauses(samples: Samples) -> list[Stretch]:
    """Return where nobody speaks, the beginning and the end among them."""
    # The detector pads what it finds; here the very pauses are wanted.
    options = VadOptions(min_silence_duration_ms=_PAUSE_MS, speech_pad_ms=0)
    spoken = [(each["start"], each["end"]) for each in get_speech_timestamps(samples, options)]
    bounds = [(0, 0), *spoken, (len(samples), len(samples))]
    return [Stretch(end, start) for (_, end), (start, _) in pairwise(bounds) if start > end]


def _long_silences(pauses: Sequence[Stretch], size: int) -> Iterator[Stretch]:
    """Yield what of the long pauses is not listened to: all of it at the samples' own ends."""
    kept = round(AROUND_SPEECH_S * MODEL_RATE_HZ)
    for pause in pauses:
        whole = pause.size == size
        if whole or pause.size > LONG_SILENCE_S * MODEL_RATE_HZ:
            start = pause.start + kept if pause.start > 0 else 0
            end = pause.end - kept if pause.end < size else size
            yield Stretch(start, end)


def _cut(samples: Samples, stretch: Stretch, pauses: Sequence[Stretch], longest: int) -> Iterator[Stretch]:
    """Yield the stretch in pieces of at most so many samples."""
    start = stretch.start
    while stretch.end - start > longest:
        end = _place(samples, Stretch(start + longest // _LATTER, start + longest), pauses)
        yield Stretch(start, end)
        start = end
    if stretch.end > start:
        yield Stretch(start, stretch.end)


def _place(samples: Samples, within: Stretch, pauses: Sequence[Stretch]) -> int:
    """Return where to cut: the middle of the longest pause, of equal ones the last."""
    inside = [Stretch(max(each.start, within.start), min(each.end, within.end)) for each in pauses]
    best = max((each for each in inside if each.size > 0), key=lambda each: (each.size, each.start), default=None)
    if best is None:  # nobody pauses
        return within.start + quietest(samples[within.start : within.end], MODEL_RATE_HZ)
    return (best.start + best.end) // 2
