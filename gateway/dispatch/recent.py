"""What came of a deployment's calls in the last minute, in bounded room however many there are."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from statistics import median
from typing import Final

_SPAN_S: Final = 60.0
_SLICE_S: Final = 5.0
_SLICES: Final = int(_SPAN_S / _SLICE_S)
_TIMED: Final = 200  # answered calls whose time is remembered


@dataclass(frozen=True, slots=True, kw_only=True)
class LastMinute:
    """As operators read it."""

    calls: int = 0  # that ended
    errors: int = 0  # that the deployment is to blame for
    median_s: float | None = None  # to an answer; None where there was none


QUIET: Final = LastMinute()


@dataclass(slots=True)
class _Slice:
    begins: float
    calls: int = 0
    errors: int = 0


class Recent:
    """Counts calls in slices of time, of which the oldest goes when a new one comes."""

    def __init__(self) -> None:
        self._slices: deque[_Slice] = deque(maxlen=_SLICES)
        self._times: deque[tuple[float, float]] = deque(maxlen=_TIMED)  # when it ended, and the seconds it took

    def errored(self, now: float) -> None:
        """Count a call that failed by the deployment's fault."""
        ended = self._slice(now)
        ended.calls += 1
        ended.errors += 1

    def answered(self, now: float, seconds: float) -> None:
        """Count a call that was answered."""
        self._slice(now).calls += 1
        self._times.append((now, seconds))

    def neither(self, now: float) -> None:
        """Count a call that says nothing of the deployment: it was cancelled, or what was asked was wrong."""
        self._slice(now).calls += 1

    def told(self, now: float) -> LastMinute:
        """Return the sums of the last minute, to the slice."""
        slices = [each for each in self._slices if each.begins > now - _SPAN_S]
        times = [seconds for ended, seconds in self._times if ended > now - _SPAN_S]
        return LastMinute(
            calls=sum(each.calls for each in slices),
            errors=sum(each.errors for each in slices),
            median_s=median(times) if times else None,
        )

    def _slice(self, now: float) -> _Slice:
        begins = now // _SLICE_S * _SLICE_S
        if not self._slices or self._slices[-1].begins < begins:
            self._slices.append(_Slice(begins))
        return self._slices[-1]
