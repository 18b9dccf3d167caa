"""Each of the sixteen parameters reaches the decoder, or is refused in a sentence that names it."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.errors import JobUnsupported
from providers.local.hf.contrastive import contrastive_search
from providers.local.hf.generation import (
    CANDIDATES,
    DIVERSITY_PENALTY,
    MAX_CANDIDATES,
    Room,
    _refusals,
    check,
    keywords,
    rows,
    samples,
)
from providers.local.hf.group_beam import group_beam_search
from providers.types import GENERATION_NAMES, GenerationParameters

ROOM = Room(prompt=4, most=448)


def given_to_generate(**asked: Any) -> dict[str, Any]:
    parameters = GenerationParameters(**asked)
    check(parameters, ROOM)
    return keywords(parameters, ROOM)


def test_nothing_asked_is_greedy_and_to_the_end() -> None:
    assert given_to_generate() == {
        "num_beams": 1,
        "do_sample": False,
        "use_cache": True,
        "max_new_tokens": 444,
        "min_new_tokens": 0,
        "early_stopping": False,
    }


@pytest.mark.parametrize(
    ("asked", "temperature"),
    [
        ({}, None),
        ({"temperature": 0.0}, None),
        ({"temperature": 0.7}, 0.7),
        ({"do_sample": True}, 1.0),
        ({"do_sample": True, "temperature": 0.3}, 0.3),
        ({"do_sample": False, "temperature": 0.7}, None),
    ],
)
def test_tokens_are_drawn_where_it_is_said_or_there_is_a_temperature(
    asked: dict[str, Any], temperature: float | None
) -> None:
    given_there = given_to_generate(**asked)

    assert given_there.get("temperature") == temperature
    assert given_there["do_sample"] is (temperature is not None)


def test_what_is_not_given_narrows_no_draw() -> None:
    """The library's own default would be the fifty likeliest tokens."""
    drawn = given_to_generate(do_sample=True)
    assert {name: drawn[name] for name in ("top_k", "top_p", "typical_p", "epsilon_cutoff", "eta_cutoff")} == {
        "top_k": 0,
        "top_p": 1.0,
        "typical_p": 1.0,
        "epsilon_cutoff": 0.0,
        "eta_cutoff": 0.0,
    }


@pytest.mark.parametrize(
    "asked", [{"top_k": 5}, {"top_p": 0.5}, {"typical_p": 0.4}, {"epsilon_cutoff": 0.1}, {"eta_cutoff": 0.2}]
)
def test_what_narrows_a_draw_is_passed_on_or_refused(asked: dict[str, Any]) -> None:
    ((name, value),) = asked.items()
    assert given_to_generate(do_sample=True, **asked)[name] == value
    with pytest.raises(JobUnsupported, match=f"{name} needs do_sample=true or a temperature above 0"):
        given_to_generate(**asked)


@pytest.mark.parametrize(
    "asked", [{"top_k": 0}, {"top_p": 1.0}, {"typical_p": 1.0}, {"epsilon_cutoff": 0.0}, {"eta_cutoff": 0.0}]
)
def test_what_changes_nothing_may_stand_anywhere(asked: dict[str, Any]) -> None:
    assert given_to_generate(**asked) == given_to_generate()


def test_beams_are_honoured_with_a_draw_too() -> None:
    drawn = given_to_generate(num_beams=3, temperature=0.5, early_stopping="never")
    assert (drawn["num_beams"], drawn["do_sample"], drawn["early_stopping"]) == (3, True, "never")


def test_one_beam_stops_at_its_end_however_it_is_told_to() -> None:
    assert given_to_generate(early_stopping=True) == given_to_generate()


def test_the_cache_is_used_unless_it_must_not_be() -> None:
    assert given_to_generate(use_cache=False)["use_cache"] is False


@pytest.mark.parametrize(
    ("asked", "least", "most"),
    [
        ({"max_new_tokens": 9}, 0, 9),
        ({"max_length": 14}, 0, 10),
        ({"max_length": 14, "max_new_tokens": 9}, 0, 9),
        ({"max_length": 2, "max_new_tokens": 9}, 0, 9),
        ({"min_new_tokens": 3}, 3, 444),
        ({"min_length": 7}, 3, 444),
        ({"min_length": 2}, 0, 444),
        ({"min_length": 7, "min_new_tokens": 5}, 5, 444),
    ],
)
def test_lengths_count_the_prompt_and_new_tokens_do_not(asked: dict[str, int], least: int, most: int) -> None:
    """As the specification says; where both are given, the new tokens decide."""
    lengths = given_to_generate(**asked)
    assert (lengths["min_new_tokens"], lengths["max_new_tokens"]) == (least, most)


@pytest.mark.parametrize(("top_k", "candidates"), [(None, CANDIDATES), (7, 7), (1, 1)])
def test_a_penalty_selects_contrastive_search(top_k: int | None, candidates: int) -> None:
    search = given_to_generate(penalty_alpha=0.6, top_k=top_k)["custom_generate"]

    assert isinstance(search, partial)
    assert search.func is contrastive_search
    assert search.keywords == {"penalty_alpha": 0.6, "candidates": candidates}


def test_groups_select_diverse_beam_search() -> None:
    found = given_to_generate(num_beams=6, num_beam_groups=3)
    search = found["custom_generate"]

    assert found["num_beams"] == 6
    assert search.func is group_beam_search
    assert search.keywords == {"num_beam_groups": 3, "diversity_penalty": DIVERSITY_PENALTY}
    assert "custom_generate" not in given_to_generate(num_beams=6, num_beam_groups=1)


@pytest.mark.parametrize(
    ("asked", "taken"),
    [({}, 1), ({"num_beams": 5}, 5), ({"penalty_alpha": 0.6}, CANDIDATES), ({"penalty_alpha": 0.6, "top_k": 9}, 9)],
)
def test_a_beam_or_candidate_is_a_row(asked: dict[str, Any], taken: int) -> None:
    assert rows(GenerationParameters(**asked)) == taken


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"penalty_alpha": 0.6, "num_beams": 2}, "penalty_alpha selects contrastive search, which excludes num_beams"),
        ({"penalty_alpha": 0.6, "do_sample": True}, "penalty_alpha selects .* excludes .* sampling"),
        ({"penalty_alpha": 0.6, "temperature": 0.5}, "penalty_alpha selects .* excludes .* sampling"),
        ({"penalty_alpha": 0.6, "use_cache": False}, "penalty_alpha selects .* needs use_cache"),
        ({"penalty_alpha": 0.6, "top_k": 0}, "top_k is from 1 to 64"),
        ({"penalty_alpha": 0.6, "top_k": MAX_CANDIDATES + 1}, "top_k is from 1 to 64"),
        ({"penalty_alpha": 0.6, "top_p": 0.5}, "top_p needs"),
        ({"num_beams": 4, "num_beam_groups": 2, "do_sample": True}, "num_beam_groups above 1 excludes sampling"),
        ({"num_beams": 4, "num_beam_groups": 2, "temperature": 0.5}, "num_beam_groups above 1 excludes sampling"),
        ({"num_beams": 4, "num_beam_groups": 3}, "num_beam_groups must divide num_beams, which is 4"),
        ({"num_beam_groups": 2}, "num_beam_groups must divide num_beams, which is 1"),
        ({"temperature": 1e-9}, r"temperature is at least 0\.001"),
        ({"max_new_tokens": 445}, "max_new_tokens is at most 444 there, 448 less the 4 of the prompt"),
        ({"min_new_tokens": 1_000}, "min_new_tokens is at most 444"),
        ({"max_length": 449}, "max_length is at most 448"),
        ({"min_length": 449}, "min_length is at most 448"),
        ({"max_length": 4}, "max_length counts the 4 tokens of the prompt: it is at least 5"),
        ({"max_new_tokens": 5, "min_length": 30}, "min_length asks for more tokens than max_new_tokens"),
        ({"max_length": 9, "min_new_tokens": 6}, "min_new_tokens asks for more tokens than max_length"),
    ],
)
def test_what_it_cannot_do_as_asked_it_refuses(asked: dict[str, Any], reason: str) -> None:
    with pytest.raises(JobUnsupported, match=reason):
        given_to_generate(**asked)


@given(
    asked=st.fixed_dictionaries(
        {},
        optional={
            "temperature": st.floats(0, 2),
            "top_k": st.integers(0, 100),
            "top_p": st.floats(0.01, 1),
            "num_beams": st.integers(1, 16),
            "num_beam_groups": st.integers(1, 16),
            "penalty_alpha": st.floats(0, 1),
            "do_sample": st.booleans(),
            "max_length": st.integers(1, 500),
            "min_length": st.integers(0, 500),
            "max_new_tokens": st.integers(1, 500),
            "min_new_tokens": st.integers(0, 500),
        },
    )
)
def test_whatever_is_asked_is_refused_or_fits(asked: dict[str, Any]) -> None:
    parameters = GenerationParameters(**asked)
    refusals = [*_refusals(parameters, ROOM)]
    if refusals:
        assert all(any(name in reason for name in GENERATION_NAMES) for reason in refusals)
        return
    given_there = keywords(parameters, ROOM)
    assert 0 <= given_there["min_new_tokens"] <= given_there["max_new_tokens"] <= ROOM.new
    assert given_there["max_new_tokens"] >= 1
    assert given_there["do_sample"] is samples(parameters)
    assert rows(parameters) >= 1
