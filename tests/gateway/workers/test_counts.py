"""Totals of several processes, that never fall: counted by real processes, of which some are killed."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.workers.counts import Counts

if TYPE_CHECKING:
    from pathlib import Path

# Counts as often as it is told, says so, and waits to be ended.
COUNTING = """
import sys
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
registry = CollectorRegistry()
Gauge("asr_requests_in_flight", "Now.", registry=registry).inc()
requests = Counter("asr_requests", "Requests.", ("model",), registry=registry)
seconds = Histogram("asr_request_seconds", "Time.", buckets=(1.0, 2.0), registry=registry)
for _ in range(int(sys.argv[1])):
    requests.labels("m").inc()
    seconds.observe(1.5)
print("counted", flush=True)
sys.stdin.read()
"""


class Counting:
    """A process that has counted."""

    def __init__(self, counts: Counts, number: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", COUNTING, str(number)],
            env={**os.environ, **counts.environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"counted\n"

    def kill(self) -> int:
        """Give it no time for anything; return its process id."""
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()
        return self.process.pid


@pytest.fixture
def counts(tmp_path: Path) -> Counts:
    return Counts(tmp_path)


def whole(counts: Counts) -> dict[str, float]:
    return {
        f"{each.name}{dict(each.labels) or ''}": each.value
        for family in text_string_to_metric_families(counts.text().decode())
        for each in family.samples
    }


def expected(count: int) -> dict[str, float]:
    return {
        "asr_requests_total{'model': 'm'}": count,
        "asr_request_seconds_bucket{'le': '1.0'}": 0,
        "asr_request_seconds_bucket{'le': '2.0'}": count,
        "asr_request_seconds_bucket{'le': '+Inf'}": count,
        "asr_request_seconds_count": count,
        "asr_request_seconds_sum": 1.5 * count,
    }


def test_those_that_are_killed_have_counted_to_their_last_moment(counts: Counts, tmp_path: Path) -> None:
    """Nobody had asked them; and what they were just doing is over, so that no gauge of theirs is in it."""
    several = [Counting(counts, number) for number in (2, 3, 4)]
    assert whole(counts) == expected(9)

    killed = several[0].kill()
    assert whole(counts) == expected(9), "before its files are looked at too"
    counts.end(killed)
    assert whole(counts) == expected(9)
    for each in several[1:]:
        counts.end(each.kill())
    assert whole(counts) == expected(9)

    several = [Counting(counts, 1)]
    assert whole(counts) == expected(10)
    counts.end(several[0].kill())
    assert sorted(each.name for each in tmp_path.iterdir()) == ["counter_ended.db", "histogram_ended.db"]


def test_one_that_ended_before_it_counted_anything_changes_nothing(counts: Counts, tmp_path: Path) -> None:
    """It may have made its file, and not yet begun to fill it."""
    (tmp_path / "counter_7.db").touch()
    assert whole(counts) == {}
    counts.end(7)
    counts.end(8)
    assert whole(counts) == {}


def test_what_cannot_be_added_up_now_is_later_and_counts_meanwhile(counts: Counts, tmp_path: Path) -> None:
    """The parent may have no descriptor left for the moment."""
    several = [Counting(counts, number).kill() for number in (2, 3)]
    fewest, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, most))
    try:
        counts.end(several[0])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (fewest, most))
    assert whole(counts) == expected(5)
    counts.end(several[1])
    assert whole(counts) == expected(5)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["counter_ended.db", "histogram_ended.db"]
