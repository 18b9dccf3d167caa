"""What is read when it is scraped."""

from __future__ import annotations

from gateway.dispatch.health import Condition
from gateway.metrics import Metrics
from gateway.metrics.scraped import MOST_BUDGETS, Budgets
from gateway.policies.breaker import Why
from gateway.policies.limits import Budget, Scope, Standing
from gateway.policies.spend import Period
from gateway.stores.kept import Extent, Kept
from tests.gateway.metrics.test_counted import values


def test_deployments_are_shown_as_they_are_when_scraped() -> None:
    metrics = Metrics()
    told = Condition(deployment="hf/m", state="parked", why="quota", again_in_s=9.0, in_flight=2, waiting=3, pace=None)
    metrics.watch_health(lambda: [told])
    away = values(metrics, "asr_deployment_away")
    assert {labels: value for labels, value in away.items() if value} == {("hf/m", "quota"): 1}
    assert len(away) == len(Why)
    states = values(metrics, "asr_breaker_state")
    assert states == {("hf/m", each): each == "parked" for each in ("closed", "open", "half-open", "parked")}
    assert values(metrics, "asr_deployment_in_flight") == {("hf/m",): 2}
    assert values(metrics, "asr_deployment_waiting") == {("hf/m",): 3}


def spent(name: str, usd: float, of_usd: float, *, reset_s: float = 60.0, scope: Scope = Scope.KEY) -> Standing:
    rule = Budget(name=f"{scope}:{name}:usd:day", scope=scope, period=Period.DAY, usd=of_usd)
    return Standing(rule=rule, left=of_usd - usd, reset_s=reset_s, window_s=86_400)


def shown(budgets: Budgets) -> dict[tuple[str, ...], float]:
    return {tuple(each.labels.values()): each.value for family in budgets.collect() for each in family.samples}


def test_a_budget_is_shown_as_it_was_last_told_until_its_day_is_over() -> None:
    """A name may hold what separates the parts of a counter's name."""
    now = 1000.0
    budgets = Budgets(lambda: now)
    budgets.note([spent("news:room", 1.0, 4.0, reset_s=60.0), spent("all", 9.0, 4.0, scope=Scope.GATEWAY)])
    budgets.note([spent("news:room", 2.0, 4.0, reset_s=60.0)])
    assert shown(budgets) == {("key", "news:room", "day"): 0.5, ("gateway", "all", "day"): 1.0}
    now += 61
    assert shown(budgets)["key", "news:room", "day"] == 0


def test_a_budget_of_nothing_is_spent() -> None:
    budgets = Budgets()
    budgets.note([spent("nobody", 0.0, 0.0)])
    assert shown(budgets) == {("key", "nobody", "day"): 1.0}


def test_no_more_budgets_are_shown_than_there_may_be_series() -> None:
    budgets = Budgets()
    budgets.note([spent(f"made-{each}", 1.0, 2.0) for each in range(MOST_BUDGETS + 1)])
    assert len(shown(budgets)) == MOST_BUDGETS


class Store:
    """A store of answers that has evicted some."""

    name = "memory"
    evictions = 2
    size_bytes: int | None = 7

    async def get(self, key: str) -> Kept | None: ...
    async def put(self, key: str, value: bytes, keep_s: float) -> None: ...
    async def purge(self) -> int:
        return 0

    async def extent(self) -> Extent:
        return Extent(entries=0, size_bytes=0)

    async def close(self) -> None: ...


def test_evictions_are_counted_once_however_often_it_is_scraped() -> None:
    """They are counted where they outlive the process, from a number that does not."""
    metrics, store = Metrics(), Store()
    metrics.watch_cache(store, "memory")
    list(metrics.shown.collect())
    store.evictions = 5
    list(metrics.shown.collect())
    assert values(metrics, "asr_cache_bytes") == {("memory",): 7}
    assert values(metrics, "asr_cache_evictions_total") == {("memory",): 5}


def test_a_store_that_counts_for_itself_is_not_shown() -> None:
    metrics, store = Metrics(), Store()
    store.size_bytes = None
    metrics.watch_cache(store, "memory")
    assert values(metrics, "asr_cache_bytes") == {}


def test_every_reload_is_counted_and_the_last_is_told() -> None:
    metrics = Metrics()
    metrics.reload(succeeded=True)
    metrics.reload(succeeded=False)
    assert values(metrics, "asr_config_reloads_total") == {("done",): 1, ("refused",): 1}
    assert values(metrics, "asr_config_last_reload_successful") == {(): 0}
