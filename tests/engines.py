"""Engines of the tests' own making: no model, but devices that do what a test wants of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from providers.local.engine import Piece
from providers.types import Capabilities, Transcript

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence

    from providers.types import TranscriptionJob


class Echo:
    """Hears the model that a job names, in one piece that lasts no time."""

    workers = 1
    max_rows = 1
    size_bytes = 0
    capabilities = Capabilities()

    def check(self, job: TranscriptionJob) -> None:
        """Take any job."""

    def pieces(self, job: TranscriptionJob) -> Iterator[Piece]:
        yield Piece(job=job, samples=np.zeros(0, np.float32), start_s=0.0, language=job.language)

    def key(self, piece: Piece) -> Hashable:
        del piece
        return None

    def rows(self, piece: Piece) -> int:
        del piece
        return 1

    def hear(self, pieces: Sequence[Piece], is_abandoned: Callable[[], bool]) -> list[Transcript]:
        return [self.said(piece, is_abandoned) for piece in pieces]

    def said(self, piece: Piece, is_abandoned: Callable[[], bool]) -> Transcript:
        del is_abandoned
        return Transcript(text=piece.job.model, language=piece.language, duration_s=piece.duration_s)

    def close(self) -> None:
        """Nothing was loaded."""
