"""How large a part of long audio may be: known without FFmpeg, which cuts it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MOST_HZ: Final = 48_000
"""Of a part: no speech model hears what is above 24 kHz, and so a part's size is known before it is written."""


_HEADER_BYTES: Final = 64 << 10
_BYTES_PER_SAMPLE: Final = 2 * 1.01  # what FLAC cannot make smaller it makes hardly larger


@dataclass(frozen=True, slots=True, kw_only=True)
class PartLimit:
    """What a part may be at most."""

    longest_s: float
    max_bytes: int | None = None  # None: any size

    def seconds(self, rate_hz: int = MOST_HZ) -> float:
        """Return how long one may be whose samples come at this rate."""
        if self.max_bytes is None:
            return self.longest_s
        return min(self.longest_s, (self.max_bytes - _HEADER_BYTES) / (rate_hz * _BYTES_PER_SAMPLE))
