"""Who is asked first, by each strategy."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.reliability import Strategy
from gateway.policies.routing import Option, order

options = st.lists(
    st.builds(
        Option,
        weight=st.floats(0, 100),
        pace=st.one_of(st.none(), st.floats(0, 10)),
        in_flight=st.integers(0, 50),
        cost_usd=st.one_of(st.none(), st.floats(0, 1)),
    ),
    max_size=8,
)


def chance(seed: int = 1) -> Random:
    return Random(seed)  # noqa: S311 - a test repeats what it draws


@given(st.sampled_from(Strategy), options, st.integers())
def test_everybody_stands_in_the_order_once(strategy: Strategy, given_: list[Option], seed: int) -> None:
    assert sorted(order(strategy, given_, chance(seed))) == list(range(len(given_)))


@given(options)
def test_failover_is_as_listed(given_: list[Option]) -> None:
    assert order(Strategy.FAILOVER, given_, chance()) == list(range(len(given_)))


def test_weights_are_proportions() -> None:
    given_ = [Option(weight=1), Option(weight=3), Option(weight=6), Option(weight=0)]
    drawn = chance()
    runs = [order(Strategy.WEIGHTED, given_, drawn) for _ in range(10_000)]
    first = Counter(run[0] for run in runs)

    assert [first[at] / 10_000 for at in range(4)] == pytest.approx([0.1, 0.3, 0.6, 0.0], abs=0.02)
    assert {run[-1] for run in runs} == {3}  # drained, and still there where all others fail


def test_the_cheapest_is_first_and_the_unknown_last() -> None:
    given_ = [Option(), Option(cost_usd=0.2), Option(cost_usd=0.0), Option(), Option(cost_usd=0.1)]

    assert order(Strategy.CHEAPEST, given_, chance()) == [2, 4, 1, 0, 3]


@given(st.lists(st.integers(1, 1000), min_size=2, max_size=8, unique=True), st.integers())
def test_the_slowest_is_never_first(paces: list[int], seed: int) -> None:
    first = order(Strategy.FASTEST, [Option(pace=each) for each in paces], chance(seed))[0]

    assert paces[first] != max(paces)


def test_one_nobody_has_heard_from_is_tried() -> None:
    drawn = chance()
    firsts = Counter(order(Strategy.FASTEST, [Option(pace=0.1), Option()], drawn)[0] for _ in range(100))

    assert firsts == {1: 100}


def test_who_is_busy_counts_as_slower() -> None:
    given_ = [Option(pace=0.1, in_flight=9), Option(pace=0.3)]

    assert order(Strategy.FASTEST, given_, chance())[0] == 1


def test_the_fastest_of_many_does_not_get_everything() -> None:
    """Or it would drown before its pace can show it."""
    drawn = chance()
    given_ = [Option(pace=each / 10) for each in range(1, 6)]
    firsts = Counter(order(Strategy.FASTEST, given_, drawn)[0] for _ in range(5000))

    assert firsts[0] / 5000 == pytest.approx(0.4, abs=0.03)
