"""Numbers have labels from closed sets: what callers write makes no new ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from config.limits import Limits
from gateway.dispatch.answers import Attempt, Kind
from gateway.dispatch.charge import Charge
from gateway.metrics import Metrics
from gateway.metrics.counted import MOST_CALLERS
from gateway.observe import Observed
from gateway.policies.limits import Denied, Rule, Scope, rules_of
from gateway.stages import Stage

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
    metrics.request(observed(front="hf", model="m", label="a/m", upload_bytes=10, audio_s=2.5), "200", 0.1)
    metrics.request(observed(front="hf", model="m", upload_bytes=10, audio_s=2.5, problem="all-failed"), "502", 0.1)
    metrics.request(observed(front="hf", problem="not-found"), "404", 0.1)
    metrics.request(observed(front="hf", model="m"), "cancelled", 0.1)
    assert values(metrics, "asr_requests_total") == {
        ("hf", "m", "200"): 1,
        ("hf", "m", "502"): 1,
        ("hf", "none", "404"): 1,
        ("hf", "m", "cancelled"): 1,
    }
    assert values(metrics, "asr_problems_total") == {("all-failed",): 1, ("not-found",): 1}
    assert values(metrics, "asr_audio_seconds_total") == {("m",): 2.5}
    assert values(metrics, "asr_upload_bytes_count") == {(): 2}
    assert values(metrics, "asr_request_seconds_count") == {("hf",): 4}


def test_a_plan_that_nobody_carried_out_transcribed_nothing() -> None:
    metrics = Metrics()
    metrics.request(observed(front="hf", caller="newsroom", model="m", upload_bytes=10, audio_s=2.5), "200", 0.1)
    assert values(metrics, "asr_audio_seconds_total") == {}
    assert values(metrics, "asr_caller_audio_seconds_total") == {}


def test_a_caller_has_its_requests_audio_and_costs() -> None:
    metrics = Metrics()
    for status in ("200", "200", "429", "502", "cancelled"):
        ended = observed(front="hf", caller="newsroom", model="m", label="a/m", audio_s=2.0)
        if status == "200":
            ended.cost_usd, ended.charges = 0.5, (("a/m", Charge(billed_s=2.0, cost_usd=0.5)),)
        metrics.request(ended, status, 0.1)
    metrics.request(observed(front="ops", caller="newsroom"), "200", 0.1)
    assert values(metrics, "asr_caller_requests_total") == {
        ("newsroom", "ok"): 2,
        ("newsroom", "refused"): 1,
        ("newsroom", "failed"): 1,
        ("newsroom", "cancelled"): 1,
    }
    assert values(metrics, "asr_caller_audio_seconds_total") == {("newsroom",): 4.0}
    assert values(metrics, "asr_caller_cost_usd_total") == {("newsroom",): 1.0}


def test_keys_beyond_a_bound_share_a_series_but_for_those_in_the_configuration() -> None:
    """Keys can be made, and forgotten, while it runs."""
    metrics = Metrics()
    metrics.named_callers = frozenset({"newsroom"})
    for name in (*(f"made-{each}" for each in range(MOST_CALLERS + 50)), "newsroom", "made-0"):
        metrics.request(observed(front="hf", caller=name), "200", 0.1)
    counted = values(metrics, "asr_caller_requests_total")
    assert len(counted) == MOST_CALLERS + 2
    assert (counted["other", "ok"], counted["newsroom", "ok"], counted["made-0", "ok"]) == (50, 1, 2)


def test_a_step_is_counted_by_its_name() -> None:
    metrics = Metrics()
    metrics.stages[Stage.PROBE](0.25)
    metrics.stages[Stage.PROBE](0.5)
    assert values(metrics, "asr_stage_seconds_sum")["probe",] == 0.75
    assert {stage for (stage,) in values(metrics, "asr_stage_seconds_count")} == {each.value for each in Stage}


def test_an_answered_call_says_how_fast_its_deployment_is() -> None:
    """One that failed says nothing of it, nor does a check, which is all overhead."""
    metrics = Metrics()
    for outcome, kind in (("ok", Kind.FIRST), ("timeout", Kind.FIRST), ("ok", Kind.CHECK)):
        call = Attempt(deployment="hf/m", outcome=outcome, seconds=1.0, kind=kind, audio_s=4.0)
        metrics.attempt("hf/m", call)
    metrics.attempt("hf/m", Attempt(deployment="hf/m", outcome="ok", seconds=1.0))
    assert values(metrics, "asr_real_time_factor_sum") == {("hf/m",): 0.25}
    assert values(metrics, "asr_real_time_factor_count") == {("hf/m",): 1}


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


def test_two_processes_of_one_test_do_not_share_numbers() -> None:
    first, second = Metrics(), Metrics()
    first.request(observed(front="hf"), "200", 0.1)
    assert values(second, "asr_requests_total") == {}
