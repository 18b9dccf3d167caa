"""Several workers' words as one."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gateway.workers import merge


def deployment(name: str, state: str = "closed", **more: Any) -> dict[str, Any]:
    why = None if state == "closed" else "failing"
    return {"deployment": name, "state": state, "why": why, "again_in_s": None} | {
        "in_flight": 1,
        "waiting": 2,
        "pace": None,
        "last_minute": {"calls": 0, "errors": 0, "median_s": None},
        **more,
    }


def status(word: str, *deployments: dict[str, Any]) -> dict[str, Any]:
    shared: dict[str, Any] = {"missing": [], "reload_error": None, "redis": None}
    return {"status": word, "in_flight": 3, **shared, "deployments": list(deployments)}


def test_a_deployment_is_as_bad_as_the_worst_sees_it() -> None:
    told = merge.statuses(
        [
            status("ready", deployment("a", pace=0.1), deployment("b")),
            status("degraded", deployment("a", "open", pace=0.3), deployment("b", "parked")),
        ],
        2,
    )

    assert (told["status"], told["in_flight"], told["workers"]) == ("degraded", 6, 2)
    a, b = told["deployments"]
    assert (a["state"], a["why"], a["in_flight"], a["waiting"], a["pace"]) == ("open", "failing", 2, 4, 0.2)
    assert (b["state"], b["pace"]) == ("parked", None)


def test_the_last_minute_is_everybodys() -> None:
    """Whoever had more calls says more of how long they took."""
    minutes = [
        {"calls": 10, "errors": 1, "median_s": 0.5},
        {"calls": 90, "errors": 2, "median_s": 1.5},
        {"calls": 3, "errors": 3, "median_s": None},
    ]
    told = merge.statuses([status("ready", deployment("a", last_minute=each)) for each in minutes], 3)

    assert told["deployments"][0]["last_minute"] == {"calls": 103, "errors": 6, "median_s": 1.5}


def test_what_one_worker_lacks_is_said_of_all() -> None:
    """A degraded status comes with its reason, whichever worker has it."""
    first = {**status("ready"), "redis": "ready"}
    second = {**status("degraded"), "redis": "lost", "reload_error": "no", "missing": ["no model"]}
    told = merge.statuses([first, second, second], 3)

    assert (told["status"], told["redis"], told["reload_error"]) == ("degraded", "lost", "no")
    assert told["missing"] == ["no model"]


@pytest.mark.parametrize(
    ("told", "word"),
    [(["ready", "ready"], "ready"), (["ready"], "degraded"), (["draining"], "draining"), ([], "degraded")],
)
def test_a_worker_that_does_not_answer_is_not_passed_over(told: list[str], word: str) -> None:
    whole = merge.statuses([status(each, deployment("a")) for each in told], 2)

    assert (whole["status"], whole["workers"]) == (word, len(told))
    assert len(whole["deployments"]) == min(1, len(told))


def exposition(shown: int, *, up: int, label: str = 'a "b"\\c\nd') -> bytes:
    registry = CollectorRegistry()
    waiting = Gauge("asr_deployment_waiting", "Waiting.", ("deployment",), registry=registry)
    waiting.labels(label).set(shown)
    Gauge("asr_requests_in_flight", "Now.", registry=registry).set(shown)
    Gauge("asr_redis_up", "Up.", registry=registry).set(up)
    Counter("asr_config_reloads", "Reloads.", registry=registry).inc(shown)
    return generate_latest(registry)


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_what_is_shown_is_added_and_what_is_shared_is_not() -> None:
    whole = samples(merge.metrics([exposition(2, up=1), exposition(3, up=0)]))

    assert whole["asr_deployment_waiting", (("deployment", 'a "b"\\c\nd'),)] == 5
    assert whole["asr_requests_in_flight", ()] == 5
    assert whole["asr_redis_up", ()] == 0
    assert whole["asr_config_reloads_total", ()] == 3, "each of them made every one"


def test_one_processs_text_comes_through_as_it_was() -> None:
    """Names, types and help too: whoever scrapes sees no difference."""
    text = exposition(2, up=1)

    assert sorted(merge.metrics([text]).decode().splitlines()) == sorted(text.decode().splitlines())


def cache(store: str, number: int) -> dict[str, Any]:
    return {"store": store, "entries": number, "bytes": 10 * number, "evictions": 1}


def test_memories_are_added_and_a_store_that_is_shared_is_one() -> None:
    assert merge.caches([cache("memory", 1), cache("memory", 2)]) == {**cache("memory", 3), "evictions": 2}
    assert merge.caches([cache("sqlite", 2), cache("sqlite", 2)]) == {**cache("sqlite", 2), "evictions": 2}


def test_one_file_is_not_counted_by_each_who_uses_it() -> None:
    registry = CollectorRegistry()
    size = Gauge("asr_cache_bytes", "Kept.", ("store",), registry=registry)
    size.labels("sqlite").set(5)
    size.labels("memory").set(7)
    text = generate_latest(registry)
    assert samples(merge.metrics([text, text])) == {
        ("asr_cache_bytes", (("store", "sqlite"),)): 5,
        ("asr_cache_bytes", (("store", "memory"),)): 14,
    }
