"""A process's numbers as text, in the form that a scraper asks for."""

from __future__ import annotations

import asyncio
from typing import Final

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from gateway.metrics import Metrics, exposed, shown_now
from gateway.stages import Stage
from tests.gateway.metrics.test_counted import observed

# As Prometheus 3 asks.
OPENMETRICS: Final = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=1.0.0;q=0.5,*/*;q=0.1"


async def test_openmetrics_points_from_times_to_traces() -> None:
    """With the trace that is current as the number is counted; the plain text has no place for it."""
    metrics = Metrics(lambda: {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"})
    metrics.stages[Stage.PROBE](0.25)
    metrics.request(observed(front="hf"), "200", 0.1)
    told = await exposed(metrics, OPENMETRICS)

    assert told.content_type.startswith("application/openmetrics-text; version=1.0.0")
    families = {each.name: each for each in parse_openmetrics(told.body.decode())}  # type: ignore[no-untyped-call]
    for name in ("asr_stage_seconds", "asr_request_seconds"):
        traces = [each.exemplar.labels for each in families[name].samples if each.exemplar]
        assert traces == [{"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}]
    assert b"trace_id" not in (await exposed(metrics, "")).body


async def test_without_a_trace_there_is_no_exemplar() -> None:
    metrics = Metrics()
    metrics.stages[Stage.PROBE](0.25)
    told = await exposed(metrics, OPENMETRICS)
    assert b" # {" not in told.body
    assert told.body.endswith(b"# EOF\n")


@pytest.mark.parametrize("accept", ["", "*/*", "text/plain", "text/html,application/xhtml+xml"])
async def test_whoever_asks_for_nothing_else_is_told_in_plain_text(accept: str) -> None:
    told = await exposed(Metrics(), accept)
    assert told.content_type.startswith("text/plain")
    assert list(text_string_to_metric_families(told.body.decode()))


def test_what_is_shown_holds_nothing_that_is_counted() -> None:
    """That is in files already where several serve one port: it would be counted twice."""
    metrics = Metrics()
    metrics.stages[Stage.PROBE](0.25)
    shown = {each.name for each in text_string_to_metric_families(shown_now(metrics).decode())}
    assert "asr_requests_in_flight" in shown
    assert shown.isdisjoint(each.name for each in metrics.counted.collect())


async def test_a_scrape_of_many_series_does_not_stop_the_requests() -> None:
    """While thousands of lines are written, the event loop goes on: it was once held up from the first to the last."""
    metrics = Metrics()
    for model in range(400):
        for status in ("200", "429", "502"):
            metrics.request(observed(front="hf", caller=f"key-{model}", model=f"m-{model}"), status, 0.1)
        metrics.failover(f"a/{model}", f"b/{model}", "timeout")
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async with asyncio.TaskGroup() as group:
        turning = group.create_task(turn())
        told = await exposed(metrics, "")
        turning.cancel()
    assert told.body.count(b"\n") > 2000
    assert turns > 1, "it came to nothing else"
