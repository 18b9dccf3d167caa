"""What a process holds over time, and whether it grows."""

from __future__ import annotations

import asyncio
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.program import Program

_EVERY_S = 0.2
_T95 = 2.1  # Student's t at 95 % for about twenty blocks; fewer make it an underestimate, more hardly change it


@dataclass(frozen=True, slots=True)
class Held:
    """What it held at a moment of the event loop's clock."""

    at: float
    resident: int  # bytes
    anonymous: int  # bytes: without what is mapped from files
    descriptors: int


def held(served: Program, at: float) -> Held:
    return Held(at, served.memory_bytes("VmRSS"), served.memory_bytes("RssAnon"), len(descriptors(served)))


def descriptors(served: Program) -> list[str]:
    """Return what each open file descriptor is."""
    found = []
    for each in Path(f"/proc/{served.process.pid}/fd").iterdir():
        try:
            found.append(str(each.readlink()))
        except FileNotFoundError:  # closed meanwhile
            continue
    return found


@dataclass(slots=True)
class Watched:
    """Looks five times a second until it is cancelled."""

    served: Program
    log: list[Held] = field(default_factory=list)

    async def watch(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            self.log.append(held(self.served, clock()))
            await asyncio.sleep(_EVERY_S)

    def since(self, moment: float) -> list[Held]:
        return [each for each in self.log if each.at >= moment]


@dataclass(frozen=True, slots=True)
class Slope:
    """Growth by least squares, with half of its 95 % interval. Per hour."""

    per_hour: float
    give_or_take: float

    def in_megabytes(self) -> str:
        return f"{self.per_hour / 1e6:+.1f} ± {self.give_or_take / 1e6:.1f} MB/h"


def slope(at: Sequence[float], values: Sequence[float], blocks: int = 20) -> Slope:
    """Return the slope over blocks' means: samples next to each other tell the same, and would make it too sure."""
    size = max(1, len(at) // blocks)
    means = [
        (statistics.fmean(at[i : i + size]), statistics.fmean(values[i : i + size]))
        for i in range(0, len(at) - size + 1, size)
    ]
    x, y = [each[0] for each in means], [each[1] for each in means]
    line = statistics.linear_regression(x, y)
    left = sum((b - line.intercept - line.slope * a) ** 2 for a, b in means)
    spread = statistics.pvariance(x) * len(x)
    error = (left / max(1, len(x) - 2) / spread) ** 0.5
    return Slope(line.slope * 3600, _T95 * error * 3600)
