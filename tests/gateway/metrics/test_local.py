"""The numbers of local models, where they run."""

from __future__ import annotations

from prometheus_client.registry import CollectorRegistry

from gateway.metrics import LocalMetrics


def test_models_of_one_name_are_one_series() -> None:
    """Two accounts may hold the same model, each for itself."""
    counted, shown = CollectorRegistry(), CollectorRegistry()
    local = LocalMetrics(counted, shown)
    local.watch(lambda: [("tiny.en", 2), ("tiny.en", 1), ("large-v3", 0)])
    local.batch("tiny.en", 1, 0.0)
    local.batch("tiny.en", 8, 0.5)

    assert shown.get_sample_value("asr_local_queue_depth", {"model": "tiny.en"}) == 3
    assert shown.get_sample_value("asr_local_queue_depth", {"model": "large-v3"}) == 0
    assert counted.get_sample_value("asr_local_batch_size_sum", {"model": "tiny.en"}) == 9
    assert counted.get_sample_value("asr_local_wait_seconds_sum", {"model": "tiny.en"}) == 0.5
    assert b'asr_local_queue_depth{model="tiny.en"} 3.0' in local.shown_now()
