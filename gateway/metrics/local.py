"""The numbers of local models, kept by the process that they run in: the gateway's own, or one for all workers."""

from __future__ import annotations

from collections import Counter as Sums
from functools import cache
from typing import TYPE_CHECKING

from prometheus_client import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from gateway.metrics import declared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client import Metric

    from providers.local.loading import Download


class LocalMetrics:
    """One process's."""

    def __init__(self, counted: CollectorRegistry, shown: CollectorRegistry) -> None:
        self._batch_size = cache(declared.LOCAL_BATCH_SIZE.build(counted).labels)
        self._wait_s = cache(declared.LOCAL_WAIT_SECONDS.build(counted).labels)
        self._shown = shown
        self._downloads = _Downloads()
        shown.register(self._downloads)

    def batch(self, model: str, pieces: int, waited_s: float) -> None:
        """Count the pieces of jobs that a model begins to hear together, and how long the eldest waited.

        From any thread.
        """
        self._batch_size(model).observe(pieces)
        self._wait_s(model).observe(waited_s)

    def download(self, model: str, now: Download | None) -> None:
        """Show how far a model's download is, until told None. From any thread."""
        if now is None:
            self._downloads.shares.pop(model, None)
        else:
            self._downloads.shares[model] = now.share

    def watch(self, queued: Callable[[], Iterable[tuple[str, int]]]) -> None:
        """Show how many jobs wait for each model."""
        self._shown.register(_Queues(queued))

    def shown_now(self) -> bytes:
        """Return what is so at the moment, in Prometheus' text format."""
        return generate_latest(self._shown)


class _Queues(Collector):
    """Models come and go with the configuration."""

    def __init__(self, queued: Callable[[], Iterable[tuple[str, int]]]) -> None:
        self._queued = queued

    def collect(self) -> Iterable[Metric]:
        family, whole = declared.LOCAL_QUEUE_DEPTH.family(), Sums[str]()
        for model, jobs in self._queued():
            whole[model] += jobs
        for model, jobs in whole.items():
            family.add_metric((model,), jobs)
        return (family,)


class _Downloads(Collector):
    """There are hardly ever any."""

    def __init__(self) -> None:
        self.shares: dict[str, float] = {}

    def collect(self) -> Iterable[Metric]:
        family = declared.LOCAL_DOWNLOAD.family()
        for model, share in tuple(self.shares.items()):  # they change in other threads
            family.add_metric((model,), share)
        return (family,)
