"""One process's numbers, fed by what happens."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, disable_created_metrics

from gateway.dispatch.answers import Kind
from gateway.metrics import declared
from gateway.metrics.fed import Spread, adding, spreading
from gateway.metrics.local import LocalMetrics
from gateway.metrics.scraped import Answers, Budgets, Conditions, LocalJobs, Reloads, Ways
from gateway.stages import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from gateway.dispatch.answers import Attempt
    from gateway.dispatch.health import Condition
    from gateway.metrics.fed import Exemplar
    from gateway.observe import Observed
    from gateway.policies.limits import Denied
    from gateway.stores.kept import AnswerStore

MOST_CALLERS: Final = 200
"""Names of keys made while this runs that have series of their own; those that come later share one."""
OTHER: Final = "other"


class Metrics:
    """One process's numbers."""

    def __init__(self, exemplar: Exemplar | None = None) -> None:
        """exemplar: of the request that is being counted; None where nobody traces."""
        disable_created_metrics()  # type: ignore[no-untyped-call] # a second series for each, that nobody reads
        # What counts what has happened: in files that outlive the process, where several serve one port.
        self.counted = counted = CollectorRegistry()
        # What is so at the moment, which each process is asked for.
        self.shown = shown = CollectorRegistry()
        self.registry = CollectorRegistry()
        self.registry.register(counted)
        self.registry.register(shown)
        self.named_callers: frozenset[str] = frozenset()  # the keys that the configuration names
        self._later_callers: set[str] = set()

        self._requests = adding(declared.REQUESTS.build(counted))
        self._request_seconds = spreading(declared.REQUEST_SECONDS.build(counted), exemplar)
        stage_seconds = declared.STAGE_SECONDS.build(counted)
        # What counts the seconds of each step of a request.
        self.stages = {stage: Spread(stage_seconds.labels(stage), exemplar).observe for stage in Stage}
        self._problems = adding(declared.PROBLEMS.build(counted))
        self._upload_bytes = Spread(declared.UPLOAD_BYTES.build(counted))
        self._audio_seconds = adding(declared.AUDIO_SECONDS.build(counted))

        self._caller_requests = adding(declared.CALLER_REQUESTS.build(counted))
        self._caller_audio_seconds = adding(declared.CALLER_AUDIO_SECONDS.build(counted))
        self._caller_cost_usd = adding(declared.CALLER_COST_USD.build(counted))
        self._limited = adding(declared.LIMITED.build(counted))
        self.usage_dropped = declared.USAGE_ROWS_DROPPED.build(counted).inc

        self._attempts = adding(declared.ATTEMPTS.build(counted))
        self._attempt_seconds = spreading(declared.ATTEMPT_SECONDS.build(counted), exemplar)
        self._real_time_factor = spreading(declared.REAL_TIME_FACTOR.build(counted))
        self._failovers = adding(declared.FAILOVERS.build(counted))
        self._hedges = adding(declared.HEDGES.build(counted))
        self._billed_seconds = adding(declared.BILLED_SECONDS.build(counted))
        self._cost_usd = adding(declared.COST_USD.build(counted))

        self._cached = adding(declared.CACHE_ANSWERS.build(counted))
        self._cache_lookups = adding(declared.CACHE_LOOKUPS.build(counted))
        self._cache_evictions = declared.CACHE_EVICTIONS.build(counted)
        self._flights = adding(declared.FLIGHTS.build(counted))

        self.local = LocalMetrics(counted, shown)
        self.in_flight = 0  # requests
        declared.IN_FLIGHT.build(shown).set_function(lambda: self.in_flight)
        self.spool_bytes = declared.SPOOL_BYTES.build(shown)
        self.spool_limit_bytes = declared.SPOOL_LIMIT_BYTES.build(shown)
        self.tasks = declared.TASKS.build(shown)
        self._reloads = Reloads()
        shown.register(self._reloads)
        self._budgets = Budgets()
        shown.register(self._budgets)
        declared.BUILD_INFO.build(shown).labels(version("asr-gateway"), platform.python_version()).set(1)

    # --- what happens

    def request(self, observed: Observed, status: str, seconds: float) -> None:
        """Count a request at its end. status: a number, or "cancelled"."""
        self._requests(observed.front, observed.model or "none", status)(1)
        self._request_seconds(observed.front).observe(seconds)
        if observed.problem:
            self._problems(observed.problem)(1)
        if observed.upload_bytes:
            self._upload_bytes.observe(observed.upload_bytes)
        if observed.label:
            self._cached(observed.cache)(1)
        self.paid(observed)
        if observed.front != "ops":
            self._of_caller(observed, status)

    def paid(self, observed: Observed) -> None:
        """Count what was paid, by whom it goes to and whose key it is for."""
        for label, charge in observed.charges:
            self._billed_seconds(label)(charge.billed_s or 0.0)
            self._cost_usd(label)(charge.cost_usd or 0.0)
        if observed.charges and observed.caller:
            self._caller_cost_usd(self._caller(observed.caller))(observed.cost_usd or 0.0)

    def cache_lookup(self, store: str, found: bool) -> None:  # noqa: FBT001 - the cache's callback
        """Count a look for an answer."""
        self._cache_lookups(store, "hit" if found else "miss")(1)

    def flight(self, outcome: str) -> None:
        """Count a job that others could join, or that joined another. outcome: led, joined."""
        self._flights(outcome)(1)

    def limited(self, denied: Denied) -> None:
        """Count a request that a limit refused."""
        self._limited(denied.rule.scope, denied.rule.kind)(1)

    def reload(self, *, succeeded: bool) -> None:
        """Count a change of configuration."""
        self._reloads.note(succeeded=succeeded)

    def attempt(self, deployment: str, attempt: Attempt) -> None:
        """Count a call. deployment: a name from the configuration, whatever a wildcard route made of a caller's."""
        self._attempts(deployment, attempt.outcome, attempt.kind)(1)
        self._attempt_seconds(deployment).observe(attempt.seconds)
        # A check's half second is all overhead: it says nothing of how fast audio is worked through.
        if attempt.outcome == "ok" and attempt.audio_s and attempt.kind is not Kind.CHECK:
            self._real_time_factor(deployment).observe(attempt.seconds / attempt.audio_s)

    def failover(self, before: str, after: str, reason: str) -> None:
        """Count a job that went on to another deployment. before, after: names from the configuration."""
        self._failovers(before, after, reason)(1)

    def hedge(self, deployment: str, outcome: str) -> None:
        """Count a second call beside a slow first. outcome: won, lost."""
        self._hedges(deployment, outcome)(1)

    # --- what is read when it is asked for

    def watch_shared(self, is_up: Callable[[], bool]) -> None:
        """Show whether the shared Redis answers."""
        declared.REDIS_UP.build(self.shown).set_function(is_up)

    def watch_cache(self, store: AnswerStore, configured: str) -> None:
        """Show how much is kept, what had to go, and whether the store is the configured one."""
        self.shown.register(Answers(store, configured, self._cache_evictions))

    def watch_unsettled(self, count: Callable[[], float]) -> None:
        """Show how many corrections of limits and budgets were given up because the shared Redis was lost."""
        declared.LIMITS_UNSETTLED.build(self.shown).set_function(count)

    @property
    def budgets(self) -> Budgets:
        """What is told how much of each budget is left."""
        return self._budgets

    def watch_ways(self, ways: Callable[[], Iterable[tuple[str, str]]]) -> None:
        """Show which deployments a model may be asked of. ways: gives models with a deployment each."""
        self.shown.register(Ways(ways))

    def watch_local(self, jobs: Callable[[], Mapping[str, int]]) -> None:
        """Show how many jobs each local model has."""
        self.shown.register(LocalJobs(jobs))

    def watch_health(self, conditions: Callable[[], Sequence[Condition]]) -> None:
        """Show every deployment's condition as it is when it is scraped."""
        self.shown.register(Conditions(conditions))

    # ---

    def _of_caller(self, observed: Observed, status: str) -> None:
        caller = self._caller(observed.caller)
        outcome = _OUTCOMES.get(status[0], "refused")
        self._caller_requests(caller, outcome)(1)
        if observed.label and outcome == "ok":
            self._audio_seconds(observed.model)(observed.audio_s or 0.0)
            self._caller_audio_seconds(caller)(observed.audio_s or 0.0)

    def _caller(self, name: str) -> str:
        """Return a key's name, unless it is one too many."""
        if name in self.named_callers or name in self._later_callers:
            return name
        if len(self._later_callers) >= MOST_CALLERS:
            return OTHER
        self._later_callers.add(name)
        return name


_OUTCOMES: Final = {"2": "ok", "4": "refused", "5": "failed", "c": "cancelled"}
