"""What a process keeps from start to end, whatever is configured meanwhile: answers, counts, keys, the ledger."""

from __future__ import annotations

import logging
import os
import time
from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING, Any

from config.cache import CacheStore
from config.limits import LimitStore
from gateway.dispatch.relay import Relay
from gateway.keyring import Keyring
from gateway.ledger import Ledger, usage_store
from gateway.logs import event
from gateway.stores.keys import key_store
from gateway.stores.limits_memory import MemoryLimits
from gateway.stores.limits_redis import SharedLimits
from gateway.stores.limits_seeded import SeededLimits
from gateway.stores.memory_cache import MemoryCache
from gateway.stores.redis_cache import RedisCache
from gateway.stores.shared import shared_store
from gateway.stores.sqlite_cache import SqliteCache
from gateway.tracing import Tracer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from config.limits import WhenLost
    from config.settings import Settings
    from config.tracing import Tracing
    from gateway.metrics import Metrics
    from gateway.stores.kept import AnswerStore


class State:
    """One process's, of the settings at its start: where each of these is kept, only a restart changes."""

    def __init__(
        self, settings: Settings, metrics: Metrics, clock: Callable[[], float], when_lost: Callable[[], WhenLost]
    ) -> None:
        """clock: the event loop's. when_lost: what the present configuration says of budgets without Redis."""
        self._clock = clock
        self.shared = shared_store(settings.redis, _shared_changed)
        self.answers = self._answer_store(settings)
        self._configured_cache = settings.cache.store.value
        self.counters = self._counters(settings, when_lost)
        self.ledger = self._ledger(settings, metrics)
        self.tracer = begin_tracing(settings.tracing, "gateway")
        self.keyring = Keyring(key_store(settings.auth, self.shared), now=lambda: datetime.now(UTC))

    @property
    def relay(self) -> Relay | None:
        """Return what one process asks with for all, where answers are shared."""
        return Relay(self.answers, self._clock) if isinstance(self.answers, RedisCache) else None

    @property
    def is_alone(self) -> bool:
        """Tell whether something that is shared with others is lost."""
        return self.keyring.is_lost or (self.shared is not None and self.shared.is_lost)

    def work(self) -> Iterator[Coroutine[Any, Any, None]]:
        """Yield what is done beside the requests."""
        yield self.keyring.watch()
        if isinstance(self.answers, SqliteCache):
            yield self.answers.open()
        if self.shared is not None:
            yield self.shared.watch()
        if not isinstance(self.counters, MemoryLimits):
            yield self.counters.carry()
        if self.ledger is not None:
            yield self.ledger.carry()

    def watch(self, metrics: Metrics) -> None:
        """Let the gauges read what they show when they are scraped."""
        shared, counters = self.shared, self.counters
        if shared is not None:
            metrics.watch_shared(lambda: not shared.is_lost)
        if self.answers is not None:
            metrics.watch_cache(self.answers, self._configured_cache)
        if isinstance(counters, SharedLimits):
            metrics.watch_unsettled(lambda: counters.unsettled)

    async def close(self) -> None:
        """Give everything back. What is done beside the requests has ended."""
        if self.tracer is not None:
            await self.tracer.sink.close()
        if self.answers is not None:
            await self.answers.close()
        if isinstance(self.counters, SharedLimits):
            await self.counters.close()
        await self.keyring.close()
        if self.shared is not None:
            await self.shared.close()

    def _answer_store(self, settings: Settings) -> AnswerStore | None:
        """Return where answers are kept; what another process keeps of them too, with the means to fall back on."""
        cache = settings.cache
        if cache.store is CacheStore.NONE:
            return None
        memory = MemoryCache(cache.max_bytes, self._clock)
        if cache.store is CacheStore.REDIS and self.shared is not None:
            return RedisCache(self.shared, memory)
        if cache.path is not None and cache.store is CacheStore.SQLITE:
            return SqliteCache(cache.path, cache.max_bytes, memory, unix_s, _cache_file_changed)
        return memory

    def _counters(
        self, settings: Settings, when_lost: Callable[[], WhenLost]
    ) -> MemoryLimits | SeededLimits | SharedLimits:
        """Return where limits are counted; what is shared, with the means to count alone."""
        memory = MemoryLimits(self._clock, unix_s)
        if settings.limits.store is LimitStore.REDIS and self.shared is not None:
            return SharedLimits(self.shared, memory, unix_s, when_lost)
        spent = usage_store(settings.usage, self.shared, os.environ)  # one of its own: it is closed once it was read
        if spent is None:
            return memory
        seeded = SeededLimits(memory, spent, unix_s, when_lost, _budgets_known)
        of_keys, of_models = settings.auth.keys, settings.models.values()
        limits = (settings.limits, *(each.limits for each in of_keys), *(each.limits for each in of_models))
        if settings.auth.store != "none" or any(each.has_budget for each in limits):
            seeded.begin()
        return seeded

    def _ledger(self, settings: Settings, metrics: Metrics) -> Ledger | None:
        store = usage_store(settings.usage, self.shared, os.environ)
        if store is None:
            return None
        return Ledger(store, keep_s=settings.usage.keep, now=unix_s, on_dropped=metrics.usage_dropped)


def begin_tracing(settings: Tracing, process: str) -> Tracer | None:
    """Return a process's tracer; None where nothing is traced. process: what it is, in a word."""
    if settings.endpoint is None or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    from gateway.otlp import Collector  # noqa: PLC0415 - an optional extra, and half a second of imports

    return Tracer(
        Collector(settings, process),
        settings.sample,
        time.perf_counter_ns,
        time.time_ns,
        Random(),  # noqa: S311 - ids keep no secret
    )


def unix_s() -> float:
    """Return Unix time: what days and months are told by, and nothing else."""
    return datetime.now(UTC).timestamp()


def _shared_changed(lost: bool) -> None:  # noqa: FBT001 - the store's callback
    event("redis_lost" if lost else "redis_back", logging.WARNING)


def _budgets_known(lost: str | None) -> None:
    if lost is None:
        event("budgets_known", logging.WARNING)
    else:
        event("budgets_unknown", logging.ERROR, reason=lost)


def _cache_file_changed(lost: str | None) -> None:
    if lost is None:
        event("cache_file_back", logging.WARNING)
    else:
        event("cache_file_lost", logging.ERROR, reason=lost)
