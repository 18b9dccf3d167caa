"""Numbers have labels from closed sets: what callers write makes no new ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.dispatch.attempts import Attempt
from gateway.metrics import Metrics
from gateway.observe import Observed
from providers.types import Account, Deployment

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


def test_a_deployment_made_of_a_callers_words_is_other() -> None:
    metrics = Metrics()
    account = Account(name="hf", adapter="hf-inference", base_urls={})
    for number in range(50):
        to = Deployment(account=account, native_model=f"junk/{number}")
        metrics.attempt(to, Attempt(deployment=to.name, outcome="ok", seconds=0.1), configured=False)
    configured = Deployment(account=account, native_model="known")
    metrics.attempt(configured, Attempt(deployment=configured.name, outcome="timeout", seconds=9.0), configured=True)
    assert values(metrics, "asr_attempts_total") == {("hf/other", "ok"): 50, ("hf/known", "timeout"): 1}


def test_two_processes_of_one_test_do_not_share_numbers() -> None:
    first, second = Metrics(), Metrics()
    first.request(observed(front="hf"), "200", 0.1)
    assert values(second, "asr_requests_total") == {}
