"""Diverse beam search gives the tokens of the library that had it."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from providers.local.hf.group_beam import group_beam_search
from tests.golden import expected, generated

FILES = ["jfk.flac", "austen_0870.flac", "austen_0920.flac", "arctic_a0024.wav"]
MOST = 40
SETS = [
    {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.5},
    {"num_beams": 6, "num_beam_groups": 3, "diversity_penalty": 2.0},
    {"num_beams": 4, "num_beam_groups": 4, "diversity_penalty": 5.0},
]


def grouped(names: list[str], asked: dict[str, Any], **given: Any) -> list[list[int]]:
    bound = {name: value for name, value in asked.items() if name != "num_beams"}
    search = partial(group_beam_search, **bound)
    return generated(names, num_beams=asked["num_beams"], max_new_tokens=MOST, custom_generate=search, **given)


@pytest.mark.parametrize("asked", SETS)
def test_a_batch_is_decoded_as_by_the_reference(asked: dict[str, Any]) -> None:
    short = [name for name in FILES if len(expected(name, asked)) < MOST]  # one goes round in circles
    assert grouped(short[:3], asked) == [expected(name, asked) for name in short[:3]]


@pytest.mark.parametrize("asked", SETS[:1])
def test_a_row_alone_is_too(asked: dict[str, Any]) -> None:
    assert grouped(FILES[3:], asked) == [expected(FILES[3], asked)]


def test_groups_that_pay_nothing_are_the_same() -> None:
    """The best of them is then what one beam finds."""
    asked = {"num_beams": 2, "num_beam_groups": 2, "diversity_penalty": 0.0}
    assert grouped(FILES[3:], asked) == [expected(FILES[3], {})]


@pytest.mark.parametrize("early", [True, "never"])
def test_when_to_stop_is_as_asked(early: bool | str) -> None:  # noqa: FBT001 - as the parameter is
    """At once when all have ended, or once nothing could be better: the best is no worse than the first found."""
    (found,) = grouped(FILES[3:], SETS[0], early_stopping=early)
    assert found[:3] == expected(FILES[3], SETS[0])[:3]
