"""Every problem has a status, a stable word and a sentence that is safe to show."""

from __future__ import annotations

import json
import re

import pytest

from gateway import problems
from gateway.api.hf import HuggingFace
from gateway.api.openai import OpenAI
from gateway.problems import Problem
from providers.types import Task

ALL = {
    "bad-request": problems.bad_request("inputs: missing", param="inputs"),
    "unreadable-audio": problems.bad_audio("wav: damaged"),
    "unsupported-media-type": problems.unsupported_media("the body is a PDF"),
    "invalid-parameter": problems.invalid_parameter("top_k", -1, "an integer"),
    "url-input-disabled": problems.url_input_disabled("inputs"),
    "url-not-allowed": problems.url_not_allowed("inputs", cause="a.example:443 is not listed in fetch.hosts"),
    "fetch-failed": problems.fetch_failed("inputs", "the host answered 404"),
    "fetch-timeout": problems.fetch_timeout("inputs"),
    "too-large": problems.too_large("the upload", "5 bytes"),
    "too-long": problems.too_long(61.04, 60),
    "stalled": problems.stalled("no byte arrived"),
    "spool-full": problems.spool_full(),
    "unauthorized": problems.unauthorized("a key is needed"),
    "forbidden": problems.forbidden("not this"),
    "not-found": problems.not_found("no such route"),
}


@pytest.mark.parametrize("kind", ALL)
def test_both_dialects_say_the_same(kind: str) -> None:
    problem = ALL[kind]
    hf = HuggingFace().render_problem(problem, "id-1")
    openai = OpenAI(Task.TRANSCRIBE).render_problem(problem, "id-1")
    assert isinstance(hf.body, bytes)
    assert isinstance(openai.body, bytes)
    plain, nested = json.loads(hf.body), json.loads(openai.body)["error"]
    assert hf.status == openai.status == problem.status
    assert plain["error"] == nested["message"] == problem.message
    assert plain["type"] == nested["code"] == kind
    assert plain.get("param") == nested["param"] == problem.param
    assert plain["request_id"] == nested["request_id"] == "id-1"
    for name, value in problem.headers.items():
        assert hf.headers[name] == openai.headers[name] == value


@pytest.mark.parametrize("kind", ALL)
def test_a_word_is_for_programs_and_a_sentence_for_people(kind: str) -> None:
    problem = ALL[kind]
    assert problem.type == kind
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", kind)
    assert 400 <= problem.status <= 599
    assert str(problem) == f"{kind}: {problem.message}"


def test_what_a_caller_sent_is_shown_in_brief() -> None:
    """However long or deep: a megabyte of it would be in the answer."""
    deep: list[object] = []
    for _ in range(10_000):
        deep = [deep]
    for value in ("x" * 1_000_000, deep, {str(n): n for n in range(100_000)}, "\udcff", 10**4000):
        assert len(problems.invalid_parameter("n" * 5_000, value, "less").message) < 300


def test_what_must_not_be_reused_closes_the_connection() -> None:
    """The rest of such a body would be read for nothing."""
    closing = {kind for kind, problem in ALL.items() if problem.headers.get("Connection") == "close"}
    assert closing == {"unsupported-media-type", "too-large", "stalled", "spool-full"}


def test_a_problem_can_be_raised_and_carries_its_cause() -> None:
    with pytest.raises(Problem) as told:
        _raise()
    assert isinstance(told.value.__cause__, ZeroDivisionError)


def _raise() -> None:
    try:
        1 // 0  # noqa: B018 - for its error
    except ZeroDivisionError as error:
        raise problems.bad_request("no") from error
