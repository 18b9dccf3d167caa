"""Series fed without the checks that prometheus-client makes at each step: a third of what counting costs a request.

They find out whether a series lacks labels, or an amount is negative. Here every series has its labels from the start,
and only lengths and numbers are counted. Nor is there a lock: all of it is fed by the event loop's thread, and whoever
scrapes finds a number as it was before or is after. The attributes are prometheus-client's own: where a release names
them anew, nothing is counted any more and every test of metrics says so.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from prometheus_client import Counter, Histogram


Exemplar: TypeAlias = Callable[[], dict[str, str] | None]
"""Gives the labels that lead from what is counted now to its trace, where that is kept."""


class Spread:
    """One series of a histogram."""

    __slots__ = ("_add_to_bucket", "_add_to_sum", "_bounds", "_exemplar", "_series")

    def __init__(self, series: Histogram, exemplar: Exemplar | None = None) -> None:
        self._series = series
        self._exemplar = exemplar
        self._bounds = series._upper_bounds  # noqa: SLF001 - see above
        self._add_to_sum = _adds_to(series._sum)  # noqa: SLF001
        self._add_to_bucket = [_adds_to(each) for each in series._buckets]  # noqa: SLF001

    def observe(self, amount: float) -> None:
        """Count an amount."""
        if self._exemplar is not None and (labels := self._exemplar()):
            self._series.observe(amount, labels)
            return
        self._add_to_sum(amount)
        self._add_to_bucket[bisect_left(self._bounds, amount)](1)


def adding(counter: Counter) -> Callable[..., Callable[[float], None]]:
    """Return what gives, by labels, what adds to that series.

    It remembers each, which costs a tenth of prometheus-client's own look-up, and grows no further than the label sets.
    """
    return cache(lambda *labels: _adds_to(counter.labels(*labels)._value))  # noqa: SLF001 - see above


def spreading(histogram: Histogram, exemplar: Exemplar | None = None) -> Callable[..., Spread]:
    """Return what gives a histogram's series by labels, remembered as above."""
    return cache(lambda *labels: Spread(histogram.labels(*labels), exemplar))


def _adds_to(value: Any) -> Callable[[float], None]:  # noqa: ANN401 - of one of prometheus-client's two kinds
    if value._multiprocess:  # noqa: SLF001 - it is written to a file of this process's
        written: Callable[[float], None] = value.inc
        return written

    def add(amount: float) -> None:
        value._value += amount  # noqa: SLF001

    return add
