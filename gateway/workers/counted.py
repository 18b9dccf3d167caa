"""What workers have counted, of those too that are gone or do not answer: a total that fell would look like a restart.

Prometheus takes a counter that goes down for one that began at 0 again: of two workers with a million requests each,
the death of one, or one scrape that it was too busy to answer, would be seen as a million requests at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.workers import merge

if TYPE_CHECKING:
    from collections.abc import Hashable


class Counted:
    """Each worker's latest numbers, and the sum of what those that ended had counted when they were last asked."""

    def __init__(self) -> None:
        self._latest: dict[Hashable, bytes] = {}
        self._of_ended = b""

    def note(self, worker: Hashable, text: bytes) -> None:
        """Keep what a worker says, in Prometheus' text format."""
        self._latest[worker] = text

    def end(self, worker: Hashable) -> None:
        """Keep what it has counted; what it was just doing is over."""
        text = self._latest.pop(worker, b"")
        self._of_ended = merge.metrics([self._of_ended, merge.counts(text)])

    def texts(self) -> list[bytes]:
        """Return everything there is to merge."""
        return [*self._latest.values(), self._of_ended]
