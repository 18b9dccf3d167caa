"""The specification's sixteen generation parameters and what stands beside them: typed, bounded, never dropped."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.parameters import GENERATION, Parameters, from_fields, read_parameters
from gateway.api.values import MAX_PROMPT_CHARACTERS
from gateway.problems import Problem
from providers.types import GENERATION_NAMES, Task, Timestamps

NAMES = sorted(GENERATION)
OTHERS = [
    *("generation_parameters", "generate", "return_timestamps", "language", "task", "prompt"),
    *("diarize", "provider_options", "chunk_length_s", "surprise"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)

# name -> (values at the ends of the range and within, values beyond it or of another type)
RANGES: dict[str, tuple[list[Any], list[Any]]] = {
    "temperature": ([0, 0.2, 2, 2.0], [-0.01, 2.01, "0.2", True, float("nan"), float("inf")]),
    "top_k": ([0, 50, 1_000_000], [-1, 1_000_001, 1.5, "50", False]),
    "top_p": ([0.001, 1], [0, 1.001, -1, "1"]),
    "typical_p": ([0.001, 1], [0, 1.001, None.__class__]),
    "epsilon_cutoff": ([0, 0.999], [1, -0.1, []]),
    "eta_cutoff": ([0, 0.999], [1, -0.1, {}]),
    "max_length": ([1, 448], [0, -1, 1e9, 10**400]),
    "max_new_tokens": ([1, 440], [0, 3.0]),
    "min_length": ([0, 10], [-1, "0"]),
    "min_new_tokens": ([0, 10], [-1, True]),
    "do_sample": ([True, False], [0, 1, "true"]),
    "early_stopping": ([True, False, "never", "true", "false"], ["always", 1, [], {"never": True}]),
    "num_beams": ([1, 16], [0, 17, "5"]),
    "num_beam_groups": ([1], [0, 17, 1.0]),
    "penalty_alpha": ([0, 0.6, 1], [-0.1, 1.1, "0.6"]),
    "use_cache": ([True, False], ["yes", 1]),
}
GOOD = [(name, value) for name, (good, _) in RANGES.items() for value in good]
BAD = [(name, value) for name, (_, bad) in RANGES.items() for value in bad]


def refused(given: dict[str, Any]) -> Problem:
    with pytest.raises(Problem) as caught:
        read_parameters(given)
    assert caught.value.status == 422
    return caught.value


def read_or_problem(given: dict[str, Any]) -> Parameters | Problem:
    try:
        return read_parameters(given)
    except Problem as problem:
        return problem


def test_all_sixteen_are_read() -> None:
    assert set(NAMES) == set(GENERATION_NAMES) == set(RANGES)


@pytest.mark.parametrize(("name", "value"), GOOD)
def test_a_value_in_range_is_taken(name: str, value: Any) -> None:
    expected = {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value
    assert getattr(read_parameters({"generation_parameters": {name: value}}).generation, name) == expected


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_value_out_of_range_or_type_is_422_with_name_and_range(name: str, value: Any) -> None:
    problem = refused({"generation_parameters": {name: value}})
    assert problem.param == f"generation_parameters.{name}"
    assert problem.message.startswith(f"generation_parameters.{name}: ")
    assert "expected" in problem.message
    assert len(problem.message) < 300


@pytest.mark.parametrize("holder", ["generation_parameters", "generate_kwargs", "generate"])
def test_generation_parameters_go_by_three_names(holder: str) -> None:
    """The toolkit renames the first to the second; the oldest clients send the third."""
    assert read_parameters({holder: {"num_beams": 3}}).generation.num_beams == 3


def test_generation_parameters_may_stand_beside() -> None:
    assert read_parameters({"num_beams": 3, "generate_kwargs": None}).generation.num_beams == 3


@given(name=st.sampled_from(NAMES), value=JSON)
def test_any_value_is_taken_or_named(name: str, value: Any) -> None:
    read = read_or_problem({"parameters": None, name: value})
    if isinstance(read, Problem):
        assert (read.status, read.param) == (422, name)
    else:
        assert (getattr(read.generation, name) is None) == (value is None)


@given(
    st.dictionaries(
        st.sampled_from([*NAMES, *OTHERS]),
        JSON,
        max_size=6,
    )
)
def test_any_object_is_parameters_or_a_problem_that_names_one(given: dict[str, Any]) -> None:
    read = read_or_problem(given)
    assert isinstance(read, Parameters) or (read.status == 422 and read.param)


def test_an_unknown_parameter_is_named_with_those_known() -> None:
    problem = refused({"temprature": 0})
    assert problem.param == "temprature"
    assert "temperature" in problem.message


def test_null_is_not_given() -> None:
    assert read_parameters({"temprature": None, "language": None, "return_timestamps": None}) == Parameters()


def test_a_very_long_name_is_cut_in_the_answer() -> None:
    assert len(refused({"x" * 100_000: 1}).param or "") <= 100


def test_deeply_nested_nonsense_is_told_in_a_line() -> None:
    value: Any = 0
    for _ in range(900):
        value = [value]
    assert len(refused({"temperature": value}).message) < 300


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (True, Timestamps.SEGMENT),
        (False, Timestamps.NONE),
        ("word", Timestamps.WORD),
        ("segment", Timestamps.SEGMENT),
        (None, Timestamps.NONE),
    ],
)
def test_return_timestamps(given: Any, expected: Timestamps) -> None:
    assert read_parameters({"return_timestamps": given}).timestamps is expected


@pytest.mark.parametrize("value", ["char", "sentence", 1, 0, [], {"word": True}])
def test_timestamps_that_no_whisper_gives(value: Any) -> None:
    assert refused({"return_timestamps": value}).param == "return_timestamps"


def test_task_and_language_are_read_beside_and_within() -> None:
    """Users put them in either place; older servers answer with a TypeError."""
    asked: list[dict[str, Any]] = [
        {"task": "translate", "language": "French"},
        {"generation_parameters": {"task": "translate", "language": "fr"}},
    ]
    for each in asked:
        read = read_parameters(each)
        assert (read.task, read.language) == (Task.TRANSLATE, "fr")


@pytest.mark.parametrize("value", ["dictate", ["translate"], True, {}])
def test_any_other_task_is_refused(value: Any) -> None:
    assert refused({"task": value}).param == "task"


@pytest.mark.parametrize(
    ("given", "expected"), [("en", "en"), ("EN-us", "en"), ("english", "en"), ("auto", None), ("", None)]
)
def test_language(given: str, expected: str | None) -> None:
    assert read_parameters({"language": given}).language == expected


@pytest.mark.parametrize("value", ["klingon!", 7, ["en"]])
def test_what_is_no_language(value: Any) -> None:
    assert refused({"language": value}).param == "language"


@pytest.mark.parametrize("value", ["a\x00b", "x" * (MAX_PROMPT_CHARACTERS + 1), 1984])
def test_what_is_no_prompt(value: Any) -> None:
    problem = refused({"prompt": value})
    assert problem.param == "prompt"
    assert "xxx" not in problem.message


def test_hints_about_windows_are_taken_and_said_to_have_no_effect() -> None:
    read = read_parameters({"chunk_length_s": 30, "stride_length_s": [4, 2], "return_language": True})
    assert set(read.without_effect) == {"chunk_length_s", "stride_length_s", "return_language"}


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"min_length": 20, "max_length": 10}, "min_length"),
        ({"min_new_tokens": 20, "max_new_tokens": 10}, "min_new_tokens"),
        ({"num_beams": 4, "num_beam_groups": 3}, "num_beam_groups"),
        ({"num_beam_groups": 2}, "num_beam_groups"),
        ({"do_sample": True, "temperature": 0}, "temperature"),
        ({"penalty_alpha": 0.6, "num_beams": 2}, "penalty_alpha"),
        ({"penalty_alpha": 0.6, "do_sample": True}, "penalty_alpha"),
        ({"penalty_alpha": 0.6, "use_cache": False}, "penalty_alpha"),
    ],
)
def test_what_contradicts_itself(given: dict[str, Any], param: str) -> None:
    assert refused(given).param == param


@pytest.mark.parametrize(
    "given",
    [
        {"min_length": 10, "max_length": 10},
        {"num_beams": 4, "num_beam_groups": 2},
        {"do_sample": True, "temperature": 0.1},
        {"penalty_alpha": 0, "num_beams": 2},
    ],
)
def test_what_only_seems_to(given: dict[str, Any]) -> None:
    assert isinstance(read_parameters(given), Parameters)


def test_a_query_or_form_is_read_as_the_json_it_stands_for() -> None:
    pairs = [("top_k", "5"), ("temperature", "0.5"), ("do_sample", "True"), ("early_stopping", "never")]
    pairs += [("return_timestamps", "word"), ("generate", '{"num_beams": 2}'), ("use_cache", "null")]
    read = read_parameters(from_fields(pairs))
    assert read.timestamps is Timestamps.WORD
    assert dict(read.generation.given()) == {
        "top_k": 5,
        "temperature": 0.5,
        "do_sample": True,
        "early_stopping": "never",
        "num_beams": 2,
    }


def test_text_stays_text_even_where_it_would_do_as_json() -> None:
    assert from_fields([("prompt", "1984"), ("language", "null"), ("model", "[1]")]) == {
        "prompt": "1984",
        "language": "null",
        "model": "[1]",
    }


def test_repeated_and_bracketed_names_are_lists() -> None:
    given = [("a[]", "word"), ("b", "1"), ("b", "2"), ("c", '["x", 1]')]
    assert from_fields(given) == {"a": ["word"], "b": [1, 2], "c": ["x", 1]}


@given(st.lists(st.tuples(st.sampled_from([*NAMES, "prompt", "x[]"]), st.text(max_size=30)), max_size=5))
def test_any_form_is_parameters_or_a_problem(pairs: list[tuple[str, str]]) -> None:
    read = read_or_problem(from_fields(pairs))
    assert isinstance(read, Parameters) or read.status == 422


def test_one_name_given_twice_must_have_one_value() -> None:
    with pytest.raises(Problem) as caught:
        read_parameters({"temperature": 0.2, "generate_kwargs": {"temperature": 0.8}})
    assert (caught.value.status, caught.value.param) == (422, "generate_kwargs.temperature")
    assert read_parameters({"temperature": 0.2, "generate": {"temperature": 0.2}}).generation.temperature == 0.2
