"""What is read when it is scraped, because no event tells of it: health changes with the clock, answers expire."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final

from prometheus_client.registry import Collector

from gateway.metrics import declared
from gateway.policies.breaker import Why
from gateway.policies.limits import Budget

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from prometheus_client import Counter, Metric

    from gateway.dispatch.health import Condition
    from gateway.policies.limits import Standing
    from gateway.stores.kept import AnswerStore

MOST_BUDGETS: Final = 600
"""Budgets that are shown: those of as many callers as have series, by day and month, and some of models."""
_STATES: Final = ("closed", "open", "half-open", "parked")


class Conditions(Collector):
    """The health of deployments."""

    def __init__(self, conditions: Callable[[], Sequence[Condition]]) -> None:
        self._conditions = conditions

    def collect(self) -> Iterable[Metric]:
        away, states = declared.DEPLOYMENT_AWAY.family(), declared.BREAKER_STATE.family()
        in_flight, waiting = declared.DEPLOYMENT_IN_FLIGHT.family(), declared.DEPLOYMENT_WAITING.family()
        for each in self._conditions():
            for why in Why:
                away.add_metric((each.deployment, why), float(each.why == why))
            for state in _STATES:
                states.add_metric((each.deployment, state), float(each.state == state))
            in_flight.add_metric((each.deployment,), each.in_flight)
            waiting.add_metric((each.deployment,), each.waiting)
        return (away, states, in_flight, waiting)


class Answers(Collector):
    """A store of answers."""

    def __init__(self, store: AnswerStore, configured: str, evictions: Counter) -> None:
        """Show a store. configured: the name of the one that it should be.

        evictions: brought up to the store's own count at each scrape, so that it outlives the process.
        """
        self._store = store
        self._configured = configured
        self._evictions = evictions
        self._told = 0

    def collect(self) -> Iterable[Metric]:
        size, up = declared.CACHE_BYTES.family(), declared.CACHE_STORE_UP.family()
        up.add_metric((self._configured,), float(self._store.name == self._configured))
        size_bytes = self._store.size_bytes
        if size_bytes is not None:
            size.add_metric((self._store.name,), size_bytes)
            told, self._told = self._told, self._store.evictions
            self._evictions.labels(self._store.name).inc(self._told - told)
        return (size, up)


class Ways(Collector):
    """Which deployments a model may be asked of, as configured."""

    def __init__(self, ways: Callable[[], Iterable[tuple[str, str]]]) -> None:
        """ways: gives models with a deployment each, by their names in the configuration."""
        self._ways = ways

    def collect(self) -> Iterable[Metric]:
        family = declared.MODEL_DEPLOYMENT.family()
        for way in dict.fromkeys(self._ways()):  # two ids behind a wildcard are one deployment here
            family.add_metric(way, 1.0)
        return (family,)


class Budgets(Collector):
    """How much is spent of each budget, as the request that last asked was told."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._known: dict[str, tuple[Budget, float, float]] = {}  # with USD spent, and until when that counts

    def note(self, standings: Iterable[Standing]) -> None:
        """Keep what is left of budgets; of no more of them than there may be series."""
        for each in standings:
            if isinstance(each.rule, Budget):
                self._note(each.rule, each)

    def collect(self) -> Iterable[Metric]:
        family, now = declared.BUDGET_SPENT_RATIO.family(), self._clock()
        for budget, spent_usd, until in self._known.values():
            owner = budget.name.removeprefix(f"{budget.scope}:").removesuffix(f":{budget.kind}:{budget.period}")
            ratio = min(1.0, spent_usd / budget.usd) if budget.usd else 1.0
            family.add_metric((budget.scope, owner, budget.period), ratio if now < until else 0.0)
        return (family,)

    def _note(self, budget: Budget, standing: Standing) -> None:
        if budget.name in self._known or len(self._known) < MOST_BUDGETS:
            self._known[budget.name] = (budget, budget.usd - standing.left, self._clock() + standing.reset_s)


class Reloads(Collector):
    """Changes of configuration: every process that serves a port makes each of them, so that they are no sum."""

    def __init__(self) -> None:
        self._counts = {"done": 0, "refused": 0}
        self._last = True

    def note(self, *, succeeded: bool) -> None:
        """Count one."""
        self._counts["done" if succeeded else "refused"] += 1
        self._last = succeeded

    def collect(self) -> Iterable[Metric]:
        counts, last = declared.CONFIG_RELOADS.family(), declared.CONFIG_RELOADED.family()
        for outcome, count in self._counts.items():
            counts.add_metric((outcome,), count)
        last.add_metric((), float(self._last))
        return (counts, last)


class LocalJobs(Collector):
    """The queues of local models, which come and go with the configuration."""

    def __init__(self, jobs: Callable[[], Mapping[str, int]]) -> None:
        self._jobs = jobs

    def collect(self) -> Iterable[Metric]:
        family = declared.LOCAL_JOBS.family()
        for name, waiting in self._jobs().items():
            family.add_metric((name,), waiting)
        return (family,)
