"""Every metric, declared once: its name, what it says, its labels. docs/metrics.md is made from this.

Base units. Labels come from closed sets: enums of ours, or names that the configuration has, never what callers write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

Across: TypeAlias = Callable[[Iterable[float]], float]
"""Makes one process's number of what several say: `sum`, but of what they share or agree on `max` or `min`."""


@dataclass(frozen=True, slots=True)
class DeclaredCounter:
    """What only grows. Scrapers see it as NAME_total."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    across: Across = field(default=sum, kw_only=True)

    def across_processes(self, labels: Mapping[str, str]) -> Across:
        """Return what makes one number of those of several processes."""
        del labels
        return self.across

    def build(self, registry: CollectorRegistry) -> Counter:
        return Counter(self.name, self.help, self.labels, registry=registry)

    def family(self) -> CounterMetricFamily:
        """Return it for a collector, which reads its numbers when it is scraped."""
        return CounterMetricFamily(self.name, self.help, labels=self.labels)


@dataclass(frozen=True, slots=True)
class DeclaredGauge:
    """What is so now."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    across: Across = field(default=sum, kw_only=True)
    shared: Mapping[str, str] = field(
        default_factory=dict, kw_only=True
    )  # where it has these labels, it is one for all

    def across_processes(self, labels: Mapping[str, str]) -> Across:
        """Return what makes one number of those of several processes."""
        return max if self.shared and self.shared.items() <= labels.items() else self.across

    def build(self, registry: CollectorRegistry) -> Gauge:
        return Gauge(self.name, self.help, self.labels, registry=registry)

    def family(self) -> GaugeMetricFamily:
        """Return it for a collector, which reads its numbers when it is scraped."""
        return GaugeMetricFamily(self.name, self.help, labels=self.labels)


@dataclass(frozen=True, slots=True)
class DeclaredHistogram:
    """How things are spread. Scrapers see NAME_bucket, NAME_sum and NAME_count."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = field(kw_only=True)

    def build(self, registry: CollectorRegistry) -> Histogram:
        return Histogram(self.name, self.help, self.labels, buckets=self.buckets, registry=registry)


Declared: TypeAlias = DeclaredCounter | DeclaredGauge | DeclaredHistogram

_SECONDS: Final = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
_STAGE_SECONDS: Final = (0.0001, 0.0005, 0.002, 0.01, 0.05, 0.25, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
_BYTES: Final = (1e4, 1e5, 1e6, 1e7, 1e8, 1e9)
_PACES: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_JOBS: Final = (1, 2, 4, 8, 16, 32)

# --- requests

REQUESTS: Final = DeclaredCounter(
    "asr_requests",
    "Requests answered, by front, configured model (else other) and status.",
    ("front", "model", "status"),
)
REQUEST_SECONDS: Final = DeclaredHistogram("asr_request_seconds", "Time to answer.", ("front",), buckets=_SECONDS)
STAGE_SECONDS: Final = DeclaredHistogram(
    "asr_stage_seconds",
    "Time of one step of a request: receive, fetch, probe, limits, cache, join (waiting for another's call), queue, "
    "backoff, attempt, render. Only requests that come to a step are in it.",
    ("stage",),
    buckets=_STAGE_SECONDS,
)
IN_FLIGHT: Final = DeclaredGauge("asr_requests_in_flight", "Requests being answered.")
PROBLEMS: Final = DeclaredCounter(
    "asr_problems",
    "Requests that were told a problem, by its stable word: overloaded ones were shed.",
    ("type",),
)
UPLOAD_BYTES: Final = DeclaredHistogram("asr_upload_bytes", "Size of uploads.", buckets=_BYTES)
SPOOL_BYTES: Final = DeclaredGauge("asr_spool_bytes", "Uploads kept, by where: memory, disk.", ("where",))
SPOOL_LIMIT_BYTES: Final = DeclaredGauge(
    "asr_spool_limit_bytes", "Uploads that may be kept together, by where: memory, disk.", ("where",)
)
AUDIO_SECONDS: Final = DeclaredCounter("asr_audio_seconds", "Audio transcribed.", ("model",))

# --- callers

CALLER_REQUESTS: Final = DeclaredCounter(
    "asr_caller_requests",
    "Requests with audio, by key (anonymous, passthrough, or other beyond 200 names) and outcome: ok, refused (4xx), "
    "failed (5xx), cancelled.",
    ("caller", "outcome"),
)
CALLER_AUDIO_SECONDS: Final = DeclaredCounter("asr_caller_audio_seconds", "Audio transcribed, by key.", ("caller",))
CALLER_COST_USD: Final = DeclaredCounter(
    "asr_caller_cost_usd", "US dollars charged, by key, as far as prices are known.", ("caller",)
)
LIMITED: Final = DeclaredCounter(
    "asr_limited",
    "Requests refused by a limit or budget, by whose it is (gateway, key, model) and what it limits.",
    ("scope", "kind"),
)
BUDGET_SPENT_RATIO: Final = DeclaredGauge(
    "asr_budget_spent_ratio",
    "Part of a budget that is spent, 0 to 1: by whose it is (gateway, key, model), its name, and day or month. "
    "Shown from its first charge on.",
    ("scope", "name", "period"),
    across=max,  # one that is shared is known best to whoever looked last; a memory's is one worker's
)
LIMITS_UNSETTLED: Final = DeclaredGauge("asr_limits_unsettled", "Corrections of limits given up, Redis lost.")
USAGE_ROWS_DROPPED: Final = DeclaredCounter(
    "asr_usage_rows_dropped", "Rows of the usage ledger that could not be kept."
)

# --- deployments

ATTEMPTS: Final = DeclaredCounter(
    "asr_attempts",
    "Calls to deployments, by outcome and by why they were made: first, retry, failover, hedge, doubt.",
    ("deployment", "outcome", "kind"),
)
ATTEMPT_SECONDS: Final = DeclaredHistogram(
    "asr_attempt_seconds", "Time of one call.", ("deployment",), buckets=_SECONDS
)
REAL_TIME_FACTOR: Final = DeclaredHistogram(
    "asr_real_time_factor",
    "Time of an answered call for each second of its audio.",
    ("deployment",),
    buckets=_PACES,
)
FAILOVERS: Final = DeclaredCounter(
    "asr_failovers",
    "Jobs that went on to another deployment, by what had come of the one before (an attempt's outcome), or why that "
    "was not asked at all: failing, slow, rate-limited, credentials, quota, limit, busy.",
    ("from", "to", "reason"),
)
HEDGES: Final = DeclaredCounter(
    "asr_hedges",
    "Second calls beside a slow first, by the deployment of the second and whether its answer was used: won, lost.",
    ("deployment", "outcome"),
)
BILLED_SECONDS: Final = DeclaredCounter(
    "asr_billed_seconds", "Audio charged, as the deployment's price rounds it.", ("deployment",)
)
COST_USD: Final = DeclaredCounter("asr_cost_usd", "US dollars charged, as far as prices are known.", ("deployment",))
DEPLOYMENT_AWAY: Final = DeclaredGauge(
    "asr_deployment_away",
    "1 where a deployment is left alone, by why: failing, slow, rate-limited, credentials, quota, limit.",
    ("deployment", "why"),
    across=max,
)
MODEL_DEPLOYMENT: Final = DeclaredGauge(
    "asr_model_deployment",
    "1 for each deployment that a model may be asked of: to tell of a model what others tell of deployments.",
    ("model", "deployment"),
    across=max,
)
BREAKER_STATE: Final = DeclaredGauge(
    "asr_breaker_state",
    "1 for the state that a deployment's breaker is in, 0 for the others: closed, open, half-open, parked (it answers, "
    "and says no). Several workers may see it in several states.",
    ("deployment", "state"),
    across=max,
)
DEPLOYMENT_IN_FLIGHT: Final = DeclaredGauge("asr_deployment_in_flight", "Calls in progress.", ("deployment",))
DEPLOYMENT_WAITING: Final = DeclaredGauge("asr_deployment_waiting", "Jobs waiting for a place.", ("deployment",))

# --- the cache

CACHE_ANSWERS: Final = DeclaredCounter(
    "asr_cache_answers",
    "Answers, by what the cache had to do with them: hit, miss, joined, stale, bypass.",
    ("state",),
)
CACHE_LOOKUPS: Final = DeclaredCounter(
    "asr_cache_lookups", "Looks into a store of answers, by outcome: hit, miss.", ("store", "outcome")
)
CACHE_BYTES: Final = DeclaredGauge("asr_cache_bytes", "Answers kept.", ("store",), shared={"store": "sqlite"})
CACHE_STORE_UP: Final = DeclaredGauge(
    "asr_cache_store_up",
    "1 while answers are kept in the store that is configured, 0 while in the process's own memory instead.",
    ("store",),
    across=min,
)
CACHE_EVICTIONS: Final = DeclaredCounter(
    "asr_cache_evictions", "Answers that went before their time, to make room.", ("store",)
)
FLIGHTS: Final = DeclaredCounter(
    "asr_flights",
    "Jobs that could be shared with others who ask for the same at the same time: led (a call of its own), joined.",
    ("outcome",),
)

# --- local models

LOCAL_JOBS: Final = DeclaredGauge("asr_local_jobs", "Local jobs queued or running.", ("deployment",))
LOCAL_QUEUE_DEPTH: Final = DeclaredGauge(
    "asr_local_queue_depth", "Jobs that wait for a local model to be free.", ("model",)
)
LOCAL_DOWNLOAD: Final = DeclaredGauge(
    "asr_local_download_ratio",
    "How much of a local model is downloaded, of 1, while it is being loaded.",
    ("model",),
    across=min,
)
LOCAL_BATCH_SIZE: Final = DeclaredHistogram(
    "asr_local_batch_size",
    "Pieces of jobs that a local model hears together, each time it begins.",
    ("model",),
    buckets=_JOBS,
)
LOCAL_WAIT_SECONDS: Final = DeclaredHistogram(
    "asr_local_wait_seconds",
    "Time that the eldest piece of a batch waited for a local model, each time it begins.",
    ("model",),
    buckets=_SECONDS,
)

# --- the process

TASKS: Final = DeclaredGauge(
    "asr_tasks", "Tasks of the event loop: one for each connection, more while a request is answered."
)
REDIS_UP: Final = DeclaredGauge("asr_redis_up", "1 while the shared Redis answers, 0 while it is lost.", across=min)
CONFIG_RELOADS: Final = DeclaredCounter(
    "asr_config_reloads", "Changes of configuration, by outcome: done, refused.", ("outcome",), across=max
)
CONFIG_RELOADED: Final = DeclaredGauge(
    "asr_config_last_reload_successful", "0 where the last reload was refused.", across=min
)
BUILD_INFO: Final = DeclaredGauge("asr_build_info", "1, by what runs.", ("version", "python"), across=max)

ALL: Final[tuple[Declared, ...]] = tuple(each for each in list(globals().values()) if isinstance(each, Declared))
