"""Every metric, declared once. Base units; labels from closed sets only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from gateway.policies.breaker import Why

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from prometheus_client import Metric

    from gateway.dispatch.answers import Attempt
    from gateway.dispatch.health import Condition
    from gateway.observe import Observed
    from gateway.policies.limits import Denied
    from gateway.stores.kept import AnswerStore

_SECONDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
_BYTES = (1e4, 1e5, 1e6, 1e7, 1e8, 1e9)


class Metrics:
    """One process's numbers."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "asr_requests",
            "Requests answered, by front, configured model (else other) and status.",
            ("front", "model", "status"),
            registry=self.registry,
        )
        self._request_seconds = Histogram(
            "asr_request_seconds", "Time to answer.", ("front",), buckets=_SECONDS, registry=self.registry
        )
        self._attempts = Counter(
            "asr_attempts",
            "Calls to deployments, by outcome and by why they were made: first, retry, failover, hedge, doubt.",
            ("deployment", "outcome", "kind"),
            registry=self.registry,
        )
        self._attempt_seconds = Histogram(
            "asr_attempt_seconds", "Time of one call.", ("deployment",), buckets=_SECONDS, registry=self.registry
        )
        self._audio_seconds = Counter("asr_audio_seconds", "Audio transcribed.", ("model",), registry=self.registry)
        self._billed_seconds = Counter(
            "asr_billed_seconds",
            "Audio charged, as the deployment's price rounds it.",
            ("deployment",),
            registry=self.registry,
        )
        self._cost_usd = Counter(
            "asr_cost_usd", "US dollars charged, as far as prices are known.", ("deployment",), registry=self.registry
        )
        self._usage_dropped = Counter(
            "asr_usage_rows_dropped", "Rows of the usage ledger that could not be kept.", registry=self.registry
        )
        self._upload_bytes = Histogram("asr_upload_bytes", "Size of uploads.", buckets=_BYTES, registry=self.registry)
        self._problems = Counter(
            "asr_problems",
            "Requests that were told a problem, by its stable word: overloaded ones were shed.",
            ("type",),
            registry=self.registry,
        )
        self._cached = Counter(
            "asr_cache_answers",
            "Answers, by what the cache had to do with them: hit, miss, joined, stale, bypass.",
            ("state",),
            registry=self.registry,
        )
        self._cache_lookups = Counter(
            "asr_cache_lookups", "Looks into a store of answers.", ("store", "outcome"), registry=self.registry
        )
        self._limited = Counter(
            "asr_limited",
            "Requests refused by a limit or budget, by whose it is (gateway, key, model) and what it limits.",
            ("scope", "kind"),
            registry=self.registry,
        )
        self._reloads = Counter(
            "asr_config_reloads", "Changes of configuration, by outcome.", ("outcome",), registry=self.registry
        )
        self._reloaded = Gauge(
            "asr_config_last_reload_successful", "0 where the last reload was refused.", registry=self.registry
        )
        self._reloaded.set(1)
        self.in_flight = Gauge("asr_requests_in_flight", "Requests being answered.", registry=self.registry)
        self.spool_bytes = Gauge("asr_spool_bytes", "Uploads kept, by where.", ("where",), registry=self.registry)

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
        self.paid(observed)

    def paid(self, observed: Observed) -> None:
        """Count what was paid, by whom it goes to."""
        for label, charge in observed.charges:
            self._billed_seconds.labels(label).inc(charge.billed_s or 0.0)
            self._cost_usd.labels(label).inc(charge.cost_usd or 0.0)

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
        gauge = Gauge("asr_redis_up", "1 while the shared Redis answers, 0 while it is lost.", registry=self.registry)
        gauge.set_function(is_up)

    def watch_cache(self, store: AnswerStore) -> None:
        """Show how much is kept, and what had to go."""
        self.registry.register(_Answers(store))

    def watch_unsettled(self, count: Callable[[], float]) -> None:
        """Show how many corrections of limits and budgets were given up because the shared Redis was lost."""
        gauge = Gauge("asr_limits_unsettled", "Corrections of limits given up, Redis lost.", registry=self.registry)
        gauge.set_function(count)

    def watch_local(self, jobs: Callable[[], Mapping[str, int]]) -> None:
        """Show how many jobs each local model has."""
        self.registry.register(_LocalJobs(jobs))

    def watch_health(self, conditions: Callable[[], Sequence[Condition]]) -> None:
        """Show every deployment's condition as it is when it is scraped."""
        self.registry.register(_Conditions(conditions))


class _Conditions(Collector):
    """The health of deployments as gauges, read at each scrape: what changes with the clock has no event to count."""

    def __init__(self, conditions: Callable[[], Sequence[Condition]]) -> None:
        self._conditions = conditions

    def collect(self) -> Iterable[Metric]:
        state = GaugeMetricFamily(
            "asr_deployment_away",
            "1 where a deployment is left alone, by why: failing, slow, rate-limited, credentials, quota, limit.",
            labels=("deployment", "why"),
        )
        in_flight = GaugeMetricFamily("asr_deployment_in_flight", "Calls in progress.", labels=("deployment",))
        waiting = GaugeMetricFamily("asr_deployment_waiting", "Jobs waiting for a place.", labels=("deployment",))
        for each in self._conditions():
            for why in Why:
                state.add_metric((each.deployment, why), float(each.why == why))
            in_flight.add_metric((each.deployment,), each.in_flight)
            waiting.add_metric((each.deployment,), each.waiting)
        return (state, in_flight, waiting)


class _Answers(Collector):
    """A store of answers, read at each scrape: what expires has no event."""

    def __init__(self, store: AnswerStore) -> None:
        self._store = store

    def collect(self) -> Iterable[Metric]:
        size = GaugeMetricFamily("asr_cache_bytes", "Answers kept.", labels=("store",))
        evictions = CounterMetricFamily(
            "asr_cache_evictions", "Answers that went before their time, to make room.", labels=("store",)
        )
        size_bytes = self._store.size_bytes
        if size_bytes is not None:
            size.add_metric((self._store.name,), size_bytes)
            evictions.add_metric((self._store.name,), self._store.evictions)
        return (size, evictions)


class _LocalJobs(Collector):
    """The queues of local models, read at each scrape: models come and go with the configuration."""

    def __init__(self, jobs: Callable[[], Mapping[str, int]]) -> None:
        self._jobs = jobs

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily("asr_local_jobs", "Local jobs queued or running.", labels=("deployment",))
        for name, waiting in self._jobs().items():
            family.add_metric((name,), waiting)
        return (family,)
