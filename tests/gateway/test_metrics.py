"""Numbers have labels from closed sets: what callers write makes no new ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from config.limits import Limits
from gateway.dispatch.answers import Attempt, Kind
from gateway.dispatch.health import Condition
from gateway.metrics import Metrics
from gateway.observe import Observed
from gateway.policies.breaker import Why
from gateway.policies.limits import Denied, Rule, Scope, rules_of

if TYPE_CHECKING:
    from collections.abc import Mapping


def values(metrics: Metrics, name: str) -> Mapping[tuple[str, ...], float]:
    """Return a sample's values by its labels' values, in order."""
    return {
        tuple(each.labels.values()): each.value
        for family in metrics.registry.collect()
        for each in family.samples
        if each.name == name
    }


def observed(**more: Any) -> Observed:
    return Observed(request_id="id", started=0.0, **more)


def test_a_request_is_counted_by_front_model_and_status() -> None:
    metrics = Metrics()
    metrics.request(observed(front="hf", model="m", upload_bytes=10, audio_s=2.5), "200", 0.1)
    metrics.request(observed(front="hf", model="m", upload_bytes=10, audio_s=2.5), "502", 0.1)
    metrics.request(observed(front="hf"), "404", 0.1)
    metrics.request(observed(front="hf", model="m"), "cancelled", 0.1)
    assert values(metrics, "asr_requests_total") == {
        ("hf", "m", "200"): 1,
        ("hf", "m", "502"): 1,
        ("hf", "none", "404"): 1,
        ("hf", "m", "cancelled"): 1,
    }
    assert values(metrics, "asr_audio_seconds_total") == {("m",): 2.5}
    assert values(metrics, "asr_upload_bytes_count") == {(): 2}
    assert values(metrics, "asr_request_seconds_count") == {("hf",): 4}


def test_a_refusal_is_counted_by_whose_limit_it_was_and_of_what() -> None:
    metrics = Metrics()
    rules = rules_of(Scope.KEY, "newsroom", Limits(concurrent=1, usd_per_day=1))
    refused: list[Rule] = [*rules.places, *rules.places, *rules.budgets]
    for rule in refused:
        metrics.limited(Denied(rule=rule, retry_after_s=1.0))
    assert values(metrics, "asr_limited_total") == {("key", "concurrent"): 2, ("key", "usd"): 1}


def test_a_call_is_counted_by_deployment_outcome_and_kind() -> None:
    metrics = Metrics()
    for kind in (Kind.FIRST, Kind.RETRY, Kind.RETRY):
        metrics.attempt("hf/m", Attempt(deployment="hf/m", outcome="ok", seconds=0.1, kind=kind))
    assert values(metrics, "asr_attempts_total") == {("hf/m", "ok", "first"): 1, ("hf/m", "ok", "retry"): 2}
    assert values(metrics, "asr_attempt_seconds_count") == {("hf/m",): 3}


def test_deployments_are_shown_as_they_are_when_scraped() -> None:
    metrics = Metrics()
    told = Condition(deployment="hf/m", state="parked", why="quota", again_in_s=9.0, in_flight=2, waiting=3, pace=None)
    metrics.watch_health(lambda: [told])
    away = values(metrics, "asr_deployment_away")
    assert {labels: value for labels, value in away.items() if value} == {("hf/m", "quota"): 1}
    assert len(away) == len(Why)
    assert values(metrics, "asr_deployment_in_flight") == {("hf/m",): 2}
    assert values(metrics, "asr_deployment_waiting") == {("hf/m",): 3}


def test_two_processes_of_one_test_do_not_share_numbers() -> None:
    first, second = Metrics(), Metrics()
    first.request(observed(front="hf"), "200", 0.1)
    assert values(second, "asr_requests_total") == {}
