"""What a loaded model is to whoever drives it: pieces of utterances go in, transcripts of them come out.

`LocalModel` drives one for many callers at once, `heard` for one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import msgspec
from msgspec.structs import replace

from providers.stitch import stitched
from providers.types import Transcript

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence

    from providers.audio.samples import Samples
    from providers.types import Capabilities, TranscriptionJob

RATE_HZ: Final = 16_000  # as MODEL_RATE_HZ, whose module brings FFmpeg and numpy along


class OutOfMemory(Exception):
    """The device has no room for so many rows: fewer may fit."""


class Abandoned(Exception):
    """Nobody waits for any piece of the batch any more."""


class Piece(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A stretch of an utterance, short enough to be heard at once."""

    job: TranscriptionJob  # what is asked of the utterance
    samples: Samples  # (n,) float32, mono, 16 kHz
    start_s: float  # in the utterance
    language: str | None = None  # as asked, or as the first piece was heard to be in; None: the engine listens for it
    silent: bool = False  # nobody speaks: no engine is asked

    @property
    def duration_s(self) -> float:
        return len(self.samples) / RATE_HZ


class Engine(Protocol):
    """One loaded model. Its methods block; `hear` runs in at most `workers` threads at once, `pieces` in others."""

    workers: int  # batches at once
    max_rows: int  # rows of a batch at most; 1: pieces are heard one by one
    size_bytes: int  # memory that the loaded model takes

    @property
    def capabilities(self) -> Capabilities: ...

    def check(self, job: TranscriptionJob) -> None:
        """Raise JobUnsupported or JobRejected where it cannot be done, before any audio is decoded."""

    def pieces(self, job: TranscriptionJob) -> Iterator[Piece]:
        """Yield the whole utterance in order; memory for a few of them. Raises UnreadableAudio, AudioTooLong.

        Each step may come in another thread, and there may be no last one.
        """

    def key(self, piece: Piece) -> Hashable:
        """Return what is equal in pieces that may be heard together: one call has one configuration. Does not block."""

    def rows(self, piece: Piece) -> int:
        """Return how many rows of a batch it takes: its beams, or the candidates of a search. Does not block."""

    def hear(self, pieces: Sequence[Piece], is_abandoned: Callable[[], bool]) -> list[Transcript]:
        """Return what is said in each, times from the piece's own start.

        pieces: of one key, none silent, the shortest first. is_abandoned: whether nobody waits for any of them now.
        Raises OutOfMemory, Abandoned, JobUnsupported; and whatever the libraries below raise.
        """

    def close(self) -> None:
        """Give the memory back: nothing is asked any more."""


def hears_languages(engine: Engine) -> bool:
    """Tell whether there is a choice, so that the first who speaks decides it for the rest of the recording."""
    can = engine.capabilities
    return can.language_hint and (can.languages is None or len(can.languages) > 1)


def silence(piece: Piece) -> Transcript:
    """Return what is heard where nobody speaks."""
    return Transcript(text="", duration_s=piece.duration_s)


def heard(engine: Engine, job: TranscriptionJob, is_abandoned: Callable[[], bool] = lambda: False) -> Transcript:
    """Return what was said, from an engine that nobody else drives: piece after piece. Blocking. Raises as it does."""
    engine.check(job)  # first: what cannot be done is refused for silence too
    parts: list[tuple[float, Transcript]] = []
    language = job.language
    for piece in engine.pieces(job):
        asked = replace(piece, language=language or piece.language)
        said = silence(piece) if piece.silent else _alone(engine, asked, is_abandoned)
        parts.append((piece.start_s, said))
        language = language or (said.language if said.text else None)  # of the recording: the first who speaks says it
    return stitched(parts)


def _alone(engine: Engine, piece: Piece, is_abandoned: Callable[[], bool]) -> Transcript:
    (said,) = engine.hear([piece], is_abandoned)
    return said
