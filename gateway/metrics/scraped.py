"""What is read when it is scraped, because no event tells of it: health changes with the clock, answers expire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from prometheus_client.registry import Collector

from gateway.metrics import declared
from gateway.policies.breaker import Why

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from prometheus_client import Metric

    from gateway.dispatch.health import Condition
    from gateway.stores.kept import AnswerStore

_STATES: Final = ("closed", "open", "half-open", "parked")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """How much of a budget is gone."""

    scope: str
    name: str
    period: str
    ratio: float  # 0 to 1


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

    def __init__(self, store: AnswerStore) -> None:
        self._store = store

    def collect(self) -> Iterable[Metric]:
        size, evictions = declared.CACHE_BYTES.family(), declared.CACHE_EVICTIONS.family()
        size_bytes = self._store.size_bytes
        if size_bytes is not None:
            size.add_metric((self._store.name,), size_bytes)
            evictions.add_metric((self._store.name,), self._store.evictions)
        return (size, evictions)


class Budgets(Collector):
    """What is spent of each budget."""

    def __init__(self, spent: Callable[[], Sequence[Spent]]) -> None:
        self._spent = spent

    def collect(self) -> Iterable[Metric]:
        family = declared.BUDGET_SPENT_RATIO.family()
        for each in self._spent():
            family.add_metric((each.scope, each.name, each.period), each.ratio)
        return (family,)


class LocalJobs(Collector):
    """The queues of local models, which come and go with the configuration."""

    def __init__(self, jobs: Callable[[], Mapping[str, int]]) -> None:
        self._jobs = jobs

    def collect(self) -> Iterable[Metric]:
        family = declared.LOCAL_JOBS.family()
        for name, waiting in self._jobs().items():
            family.add_metric((name,), waiting)
        return (family,)
