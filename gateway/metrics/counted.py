"""One process's numbers, fed by what happens."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry

from gateway.metrics import declared
from gateway.metrics.scraped import Answers, Budgets, Conditions, LocalJobs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gateway.dispatch.answers import Attempt
    from gateway.dispatch.health import Condition
    from gateway.metrics.scraped import Spent
    from gateway.observe import Observed
    from gateway.policies.limits import Denied
    from gateway.stages import Stage
    from gateway.stores.kept import AnswerStore

MOST_CALLERS: Final = 200
"""Names of keys that have series of their own; those that come later share one: keys can be made while this runs."""
OTHER: Final = "other"


def no_exemplar() -> dict[str, str] | None:
    """Return what points from a number to a trace of one of those that made it: nothing, where nobody traces."""
    return None


class Metrics:
    """One process's numbers."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.exemplar: Callable[[], dict[str, str] | None] = no_exemplar  # of the request that is being counted
        self._requests = declared.REQUESTS.build(registry)
        self._request_seconds = declared.REQUEST_SECONDS.build(registry)
        self._stage_seconds = declared.STAGE_SECONDS.build(registry)
        self._attempts = declared.ATTEMPTS.build(registry)
        self._attempt_seconds = declared.ATTEMPT_SECONDS.build(registry)
        self._real_time_factor = declared.REAL_TIME_FACTOR.build(registry)
        self._failovers = declared.FAILOVERS.build(registry)
        self._hedges = declared.HEDGES.build(registry)
        self._flights = declared.FLIGHTS.build(registry)
        self._audio_seconds = declared.AUDIO_SECONDS.build(registry)
        self._billed_seconds = declared.BILLED_SECONDS.build(registry)
        self._cost_usd = declared.COST_USD.build(registry)
        self._caller_requests = declared.CALLER_REQUESTS.build(registry)
        self._caller_audio_seconds = declared.CALLER_AUDIO_SECONDS.build(registry)
        self._caller_cost_usd = declared.CALLER_COST_USD.build(registry)
        self._usage_dropped = declared.USAGE_ROWS_DROPPED.build(registry)
        self._upload_bytes = declared.UPLOAD_BYTES.build(registry)
        self._problems = declared.PROBLEMS.build(registry)
        self._cached = declared.CACHE_ANSWERS.build(registry)
        self._cache_lookups = declared.CACHE_LOOKUPS.build(registry)
        self._limited = declared.LIMITED.build(registry)
        self._reloads = declared.CONFIG_RELOADS.build(registry)
        self._reloaded = declared.CONFIG_RELOADED.build(registry)
        self._reloaded.set(1)
        self._local_batch_size = declared.LOCAL_BATCH_SIZE.build(registry)
        self.in_flight = declared.IN_FLIGHT.build(registry)
        self.spool_bytes = declared.SPOOL_BYTES.build(registry)
        declared.BUILD_INFO.build(registry).labels(version("asr-gateway"), platform.python_version()).set(1)

    def request(self, observed: Observed, status: str, seconds: float) -> None:
        """Count a request at its end. status: a number, or "cancelled"."""
        self._requests.labels(observed.front, observed.model or "none", status).inc()
        self._request_seconds.labels(observed.front).observe(seconds)
        if observed.upload_bytes:
            self._upload_bytes.observe(observed.upload_bytes)
        if observed.deployment:
            self._cached.labels(observed.cache).inc()
        if status.startswith("2") and observed.audio_s:
            self._audio_seconds.labels(observed.model).inc(observed.audio_s)
        if observed.label:
            self._billed_seconds.labels(observed.label).inc(observed.billed_s or 0.0)
            self._cost_usd.labels(observed.label).inc(observed.cost_usd or 0.0)

    def stage(self, stage: Stage, seconds: float) -> None:
        """Count a step of a request."""
        self._stage_seconds.labels(stage).observe(seconds)

    def usage_dropped(self, rows: int) -> None:
        """Count what the ledger lost."""
        self._usage_dropped.inc(rows)

    def problem(self, kind: str) -> None:
        """Count what a request was told instead of a transcript, if anything."""
        if kind:
            self._problems.labels(kind).inc()

    def cache_lookup(self, store: str, found: bool) -> None:  # noqa: FBT001 - the cache's callback
        """Count a look for an answer."""
        self._cache_lookups.labels(store, "hit" if found else "miss").inc()

    def limited(self, denied: Denied) -> None:
        """Count a request that a limit refused."""
        self._limited.labels(denied.rule.scope, denied.rule.kind).inc()

    def reload(self, *, succeeded: bool) -> None:
        """Count a change of configuration."""
        self._reloads.labels("done" if succeeded else "refused").inc()
        self._reloaded.set(succeeded)

    def attempt(self, deployment: str, attempt: Attempt) -> None:
        """Count a call. deployment: a name from the configuration, whatever a wildcard route made of a caller's."""
        self._attempts.labels(deployment, attempt.outcome, attempt.kind).inc()
        self._attempt_seconds.labels(deployment).observe(attempt.seconds)

    def watch_shared(self, is_up: Callable[[], bool]) -> None:
        """Show whether the shared Redis answers."""
        declared.REDIS_UP.build(self.registry).set_function(is_up)

    def watch_cache(self, store: AnswerStore) -> None:
        """Show how much is kept, and what had to go."""
        self.registry.register(Answers(store))

    def watch_unsettled(self, count: Callable[[], float]) -> None:
        """Show how many corrections of limits and budgets were given up because the shared Redis was lost."""
        declared.LIMITS_UNSETTLED.build(self.registry).set_function(count)

    def watch_budgets(self, spent: Callable[[], Sequence[Spent]]) -> None:
        """Show what is spent of each budget."""
        self.registry.register(Budgets(spent))

    def watch_local(self, jobs: Callable[[], Mapping[str, int]]) -> None:
        """Show how many jobs each local model has."""
        self.registry.register(LocalJobs(jobs))

    def watch_health(self, conditions: Callable[[], Sequence[Condition]]) -> None:
        """Show every deployment's condition as it is when it is scraped."""
        self.registry.register(Conditions(conditions))
