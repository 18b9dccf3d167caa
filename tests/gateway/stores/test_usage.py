"""What some requests come to together."""

from __future__ import annotations

from gateway.stores.usage import By, Sum
from tests.gateway.stores.usage_rows import DAY_S, NOON, by_hand, row

ANSWERED = row()
FAILED = row(outcome="all-failed", billed_s=0.0, cost_usd=0.0, deployment="none")
HIT = row(cache="hit", billed_s=0.0, cost_usd=0.0)
UNPRICED = row(cost_usd=None)


def test_a_sum_is_of_what_was_answered_and_counts_what_was_not() -> None:
    (told,) = by_hand([ANSWERED, FAILED, HIT, UNPRICED], [By.KEY])

    assert told == Sum(
        names=("newsroom",), requests=4, audio_s=36.0, billed_s=30.0, cost_usd=0.25, hits=1, failures=1, unpriced=1
    )


def test_each_combination_has_its_own() -> None:
    rows = [row(key="a"), row(key="b"), row(key="a", model="m"), row(key="a")]

    assert {each.names: each.requests for each in by_hand(rows, [By.MODEL, By.KEY])} == {
        ("whisper-1", "a"): 2,
        ("whisper-1", "b"): 1,
        ("m", "a"): 1,
    }
    assert [each.requests for each in by_hand(rows, [])] == [4]
    assert by_hand([], []) == []


def test_a_day_is_of_utc() -> None:
    rows = [row(NOON), row(NOON + DAY_S)]

    assert [each.names for each in by_hand(rows, [By.DAY])] == [("2023-11-14",), ("2023-11-15",)]
