"""Series fed without the checks that prometheus-client makes at each step: a third of what counting costs a request.

They find out whether a series lacks labels, or an amount is negative. Here every series has its labels from the start,
and only lengths and numbers are counted. The attributes are prometheus-client's own: where a release names them
anew, nothing is counted any more and every test of metrics says so.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from prometheus_client import Counter, Histogram


class Spread:
    """One series of a histogram."""

    __slots__ = ("_bounds", "_buckets", "_series", "_sum")

    def __init__(self, series: Histogram) -> None:
        self._series = series
        self._sum = series._sum  # noqa: SLF001 - see above
        self._bounds, self._buckets = series._upper_bounds, series._buckets  # noqa: SLF001

    def observe(self, amount: float, exemplar: Mapping[str, str] | None = None) -> None:
        """Count an amount. exemplar: leads to a trace."""
        if exemplar:
            self._series.observe(amount, dict(exemplar))
            return
        self._sum.inc(amount)
        self._buckets[bisect_left(self._bounds, amount)].inc(1)


def adding(counter: Counter) -> Callable[..., Callable[[float], None]]:
    """Return what gives, by labels, what adds to that series.

    It remembers each, which costs a tenth of prometheus-client's own look-up, and grows no further than the label sets.
    """
    return cache(lambda *labels: counter.labels(*labels)._value.inc)  # noqa: SLF001 - see above


def spreading(histogram: Histogram) -> Callable[..., Spread]:
    """Return what gives a histogram's series by labels, remembered as above."""
    return cache(lambda *labels: Spread(histogram.labels(*labels)))
