from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from gateway.metrics.fed import Spread, adding, spreading

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BUCKETS = (0.1, 0.5, 2.0)


def histogram() -> tuple[Histogram, Callable[[], str]]:
    registry = CollectorRegistry()
    made = Histogram("took_seconds", "How long.", ("front",), buckets=BUCKETS, registry=registry)
    return made, lambda: generate_latest(registry).decode()


@given(st.lists(st.sampled_from(BUCKETS) | st.floats(0, 1e6), max_size=20))
def test_a_histogram_shows_what_it_would_have_shown_fed_by_its_own_way(amounts: list[float]) -> None:
    (ours, shown), (theirs, expected) = histogram(), histogram()
    spread = Spread(ours.labels("hf"))
    theirs.labels("hf")
    for each in amounts:
        spread.observe(each)
        theirs.labels("hf").observe(each)
    assert _without_times(shown()) == _without_times(expected())


def test_an_exemplar_goes_the_usual_way() -> None:
    made, shown = histogram()
    spreading(made, lambda: {"trace_id": "a"})("hf").observe(0.3)
    assert 'took_seconds_bucket{front="hf",le="0.5"} 1.0' in shown()


def test_a_series_is_looked_up_once() -> None:
    registry = CollectorRegistry()
    add = adding(Counter("jobs", "How many.", ("front",), registry=registry))
    assert add("hf") is not add("openai")
    for _ in range(2):
        add("hf")(1.5)
    assert 'jobs_total{front="hf"} 3.0' in generate_latest(registry).decode()


IN_FILES = """
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from gateway.metrics.fed import Spread, adding

registry, read = CollectorRegistry(), CollectorRegistry()
adding(Counter("jobs", "How many.", ("front",), registry=registry))("hf")(1.5)
Spread(Histogram("took_seconds", "How long.", buckets=(1.0,), registry=registry)).observe(0.5)
MultiProcessCollector(read)
print(generate_latest(read).decode())
"""


def test_what_several_processes_count_is_in_their_files_at_once(tmp_path: Path) -> None:
    environ = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", IN_FILES], env=environ, capture_output=True, text=True, check=True)
    assert 'jobs_total{front="hf"} 1.5' in done.stdout
    assert 'took_seconds_bucket{le="1.0"} 1.0' in done.stdout
    assert "took_seconds_sum 0.5" in done.stdout


def _without_times(text: str) -> list[str]:
    return [line for line in text.splitlines() if "_created" not in line]
