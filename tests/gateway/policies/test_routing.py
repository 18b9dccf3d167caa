"""Who is asked first, by each strategy."""

from __future__ import annotations

import math
from collections import Counter
from itertools import permutations
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


def test_who_comes_after_the_first_is_drawn_from_the_rest_by_weight() -> None:
    """Every order as often as drawing without replacement gives it, within five standard deviations."""
    weights, drawn, draws = (1.0, 2.0, 5.0), chance(), 10_000
    given_ = [Option(weight=each) for each in weights]
    counted = Counter(tuple(order(Strategy.WEIGHTED, given_, drawn)) for _ in range(draws))
    for first, second, third in permutations(range(3)):
        part = weights[first] / sum(weights) * weights[second] / (weights[second] + weights[third])
        assert abs(counted[first, second, third] - draws * part) < 5 * math.sqrt(draws * part * (1 - part))


@given(
    drained=st.lists(st.booleans(), min_size=1, max_size=8),
    weight=st.sampled_from([5e-324, 1e-300, 1.0, 1e6, 1e308]),
    seed=st.integers(),
)
def test_without_weight_they_are_last_as_listed(drained: list[bool], weight: float, seed: int) -> None:
    """However little weight the others have."""
    ordered = order(Strategy.WEIGHTED, [Option(weight=0.0 if each else weight) for each in drained], chance(seed))

    assert ordered[len(drained) - sum(drained) :] == [at for at, each in enumerate(drained) if each]


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
    assert order(Strategy.FASTEST, [Option(pace=0.1, in_flight=1), Option(pace=0.3)], chance())[0] == 0
    assert (
        order(Strategy.FASTEST, [Option(pace=0.1, in_flight=2), Option(pace=0.3)], chance())[0] == 1
    )  # level: who is free


def test_one_nobody_has_heard_from_is_tried_by_one_at_a_time() -> None:
    """Until that one is back, nobody knows whether it is worth following."""
    assert order(Strategy.FASTEST, [Option(pace=100.0, in_flight=50), Option(in_flight=1)], chance())[0] == 0
    assert order(Strategy.FASTEST, [Option(in_flight=2), Option(in_flight=1)], chance())[0] == 1


def test_jobs_spread_over_a_new_fleet() -> None:
    """Nothing has come back from anybody yet: of a hundred jobs nobody gets many more than another."""
    in_flight, drawn = [0] * 4, chance()
    for _ in range(100):
        in_flight[order(Strategy.FASTEST, [Option(in_flight=each) for each in in_flight], drawn)[0]] += 1

    assert max(in_flight) - min(in_flight) <= 6


def test_the_fastest_of_many_does_not_get_everything() -> None:
    """Or it would drown before its pace can show it."""
    drawn = chance()
    given_ = [Option(pace=each / 10) for each in range(1, 6)]
    firsts = Counter(order(Strategy.FASTEST, given_, drawn)[0] for _ in range(5000))

    assert firsts[0] / 5000 == pytest.approx(0.4, abs=0.03)


def test_the_least_loaded_for_its_weight_is_first() -> None:
    """A job more would be 4, 3 and 2.5 of each one's weight; who has none is asked when nobody else is left."""
    given_ = [Option(in_flight=3), Option(in_flight=1, others=1.0), Option(weight=2, in_flight=4), Option(weight=0)]
    assert order(Strategy.LEAST_LOADED, given_, chance()) == [2, 1, 0, 3]


def test_of_equally_loaded_ones_chance_takes_each_as_often() -> None:
    drawn = chance()
    first = Counter(order(Strategy.LEAST_LOADED, [Option(), Option(), Option()], drawn)[0] for _ in range(3000))
    assert [first[at] / 3000 for at in range(3)] == pytest.approx([1 / 3] * 3, abs=0.05)
