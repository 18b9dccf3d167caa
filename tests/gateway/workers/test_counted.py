"""Totals that never fall."""

from __future__ import annotations

from gateway.workers import merge
from gateway.workers.counted import Counted
from tests.gateway.workers.test_merge import exposition, samples

REQUESTS = ("asr_requests_total", (("model", "m"),))
IN_FLIGHT = ("asr_requests_in_flight", ())
SECONDS = ("asr_request_seconds_count", ())


def whole(counted: Counted) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return samples(merge.metrics(counted.texts()))


def told(count: int) -> bytes:
    return exposition(count, up=1, seconds=0.5, label="m")


def test_what_a_worker_has_counted_outlives_it() -> None:
    """What it was doing does not."""
    counted = Counted()
    for worker, count in (("one", 2), ("other", 3)):
        counted.note(worker, told(count))
    counted.end("one")
    counted.note("successor", told(1))
    counted.end("other")

    assert whole(counted)[REQUESTS] == 6
    assert whole(counted)[SECONDS] == 3
    assert whole(counted)[IN_FLIGHT] == 1
    assert whole(counted)["asr_redis_up", ()] == 1


def test_one_that_does_not_answer_counts_as_it_last_said() -> None:
    counted = Counted()
    counted.note("one", told(2))
    counted.note("other", told(3))
    counted.note("one", told(4))

    assert whole(counted)[REQUESTS] == 7


def test_one_that_was_never_asked_has_counted_nothing() -> None:
    counted = Counted()
    counted.end("one")

    assert whole(counted) == {}
