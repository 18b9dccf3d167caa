"""A process's numbers as text."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import generate_latest
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Metric

    from gateway.metrics.counted import Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposition:
    """What a scraper is answered."""

    body: bytes
    content_type: str


async def exposed(metrics: Metrics, accept: str) -> Exposition:
    """Return all of one process's numbers, in the form that a scraper asks for: OpenMetrics has exemplars.

    What is shown is read here, where nothing changes meanwhile. What is counted has locks of its own, and is most of
    the work: a thread does that, or every scrape would stop the requests for some 20 ms.
    """
    encode, content_type = choose_encoder(accept)
    families = _Families(metrics.counted, list(metrics.shown.collect()))
    return Exposition(body=await asyncio.to_thread(encode, families), content_type=content_type)


def shown_now(metrics: Metrics) -> bytes:
    """Return what is so at the moment, for whoever adds up several processes."""
    return generate_latest(metrics.shown)


class _Families(Collector):
    def __init__(self, counted: Collector, shown: list[Metric]) -> None:
        self._counted = counted
        self._shown = shown

    def collect(self) -> Iterable[Metric]:
        yield from self._counted.collect()
        yield from self._shown
