"""Waits are random, bounded, and never forever."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policies.backoff import full_jitter_s, park_s

ANY_FLOAT = st.none() | st.floats()


class Extreme(Random):
    """Draws the end of every range."""

    def random(self) -> float:
        return math.nextafter(1.0, 0.0)


@given(st.integers(1, 10_000), st.integers(), st.floats(0.001, 10), st.floats(0.001, 100))
def test_a_wait_is_between_nothing_and_the_cap(tries: int, seed: int, base_s: float, cap_s: float) -> None:
    waited_s = full_jitter_s(tries, Random(seed), base_s=base_s, cap_s=cap_s)  # noqa: S311 - a test repeats what it draws

    assert 0 <= waited_s <= min(cap_s, base_s * 2.0 ** min(tries - 1, 60))


@pytest.mark.parametrize(
    ("tries", "longest_s"), [(1, 0.25), (2, 0.5), (3, 1.0), (6, 8.0), (7, 15.0), (2000, 15.0), (10**30, 15.0)]
)
def test_the_longest_wait_doubles_up_to_the_cap(tries: int, longest_s: float) -> None:
    """However many tries: a power of two beyond every float is no OverflowError."""
    assert full_jitter_s(tries, Extreme(), base_s=0.25, cap_s=15.0) == pytest.approx(longest_s)


@pytest.mark.parametrize(("tries", "mean_s"), [(1, 0.125), (2, 0.25), (3, 0.5), (9, 5.0)])
def test_it_doubles_on_average(tries: int, mean_s: float) -> None:
    chance = Random(7)  # noqa: S311 - a test repeats what it draws
    waits = [full_jitter_s(tries, chance, base_s=0.25, cap_s=10.0) for _ in range(4000)]

    assert sum(waits) / len(waits) == pytest.approx(mean_s, rel=0.05)


@pytest.mark.parametrize(
    ("asked_s", "parked_s"),
    [
        (None, 5.0),
        (2.0, 2.0),
        (0.0, 5.0),
        (-3.0, 5.0),
        (3e8, 300.0),
        (math.inf, 300.0),
        (-math.inf, 5.0),
        (math.nan, 5.0),
    ],
)
def test_a_provider_is_left_alone_for_as_long_as_it_asks(asked_s: float | None, parked_s: float) -> None:
    assert park_s(asked_s, default_s=5.0, cap_s=300.0) == parked_s


def test_the_cap_holds_for_the_default_too() -> None:
    assert park_s(None, default_s=60.0, cap_s=10.0) == 10.0


@given(asked_s=ANY_FLOAT, default_s=st.floats(0.001, 1e6), cap_s=st.floats(0.001, 1e6))
def test_nobody_is_left_alone_for_ever_or_not_at_all(asked_s: float | None, default_s: float, cap_s: float) -> None:
    assert 0 < park_s(asked_s, default_s=default_s, cap_s=cap_s) <= cap_s
