"""Proved, not drawn: each expression of deploy/ asked of a real Prometheus that watched a real gateway in trouble."""

from __future__ import annotations

import asyncio
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.deploy.expressions import (
    Expression,
    choices_of,
    choices_of_series,
    dashboards,
    of_dashboards,
    of_rules,
    substituted,
)
from tests.deploy.prometheus_server import Prometheus, prometheus
from tests.deploy.scenario import FRONTS, OPERATOR, Scene, document, everything, services
from tests.program import program
from tests.redis_server import redis_server

pytestmark = pytest.mark.timeout(280)  # most of it is the one run that all ask about; 50 s on two busy cores

EVERYTHING = [*of_dashboards(), *of_rules()]
BOARDS = dashboards()
SERIES = choices_of_series(EVERYTHING)


@dataclass(frozen=True, slots=True)
class Proof:
    """What Prometheus said."""

    answers: Mapping[Expression, list[dict[str, Any]] | str]  # their series, or why there are none
    series: Mapping[str, int]  # how many each part of an expression chooses
    choices: Mapping[tuple[str, str], list[str]]  # by metric and label
    rules: Mapping[str, str]  # what is wrong with each of them, by its name
    statuses: Mapping[str, list[int]]  # of each model's requests
    seconds: float


@pytest.fixture(scope="module")
def proof(tmp_path_factory: pytest.TempPathFactory) -> Proof:
    told = asyncio.run(_proof(tmp_path_factory.mktemp("proof")))
    _report(told)
    return told


async def _proof(folder: Path) -> Proof:
    clock = asyncio.get_running_loop().time
    started = clock()
    async with (
        redis_server() as redis,
        services() as accounts,
        program(document(accounts, redis), folder) as gateway,
        prometheus(folder, gateway.url, OPERATOR) as server,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        began = float((await server.get("query", query="time()"))["result"][1])
        scene = Scene(gateway, server, redis, session)
        await everything(scene)
        ended = float((await server.get("query", query="time()"))["result"][1])
        choices = {each: await server.values(*each) for board in BOARDS.values() for each in choices_of(board).values()}
        sent = {each: _as_grafana_sends_it(each, choices, ended - began) for each in EVERYTHING}
        return Proof(
            answers={each: await _answer(server, text, began, ended) for each, text in sent.items()},
            series={each: len(await server.get("series", **{"match[]": each})) for each in SERIES},
            choices=choices,
            rules={rule["name"]: rule.get("lastError", "") for rule in await _rules(server)},
            statuses=scene.statuses,
            seconds=clock() - started,
        )


async def _rules(server: Prometheus) -> list[dict[str, Any]]:
    return [rule for group in (await server.get("rules"))["groups"] for rule in group["rules"]]


def _as_grafana_sends_it(expression: Expression, values: Mapping[tuple[str, str], list[str]], seconds: float) -> str:
    """Put every value of a choice where its variable stands, as Grafana does where all are chosen."""
    choices = choices_of(BOARDS[expression.dashboard]) if expression.dashboard else {}
    chosen = {name: "|".join(map(_escaped, values[choice])) for name, choice in choices.items()}
    return substituted(expression.text, {"__rate_interval": "15s", "__range": f"{math.ceil(seconds)}s", **chosen})


def _escaped(value: str) -> str:
    """Escape for a regular expression that stands in a PromQL string."""
    return re.escape(value).replace("\\", "\\\\")


async def _answer(server: Prometheus, expression: str, began: float, ended: float) -> list[dict[str, Any]] | str:
    try:
        return await server.over(expression, began, ended)
    except AssertionError as error:
        return str(error)


def _has_a_number(series: Mapping[str, Any]) -> bool:
    return any(not math.isnan(float(value)) for _, value in series["values"])


@pytest.mark.parametrize("expression", EVERYTHING, ids=lambda each: each.place)
def test_what_happened_can_be_seen(proof: Proof, expression: Expression) -> None:
    """No error, and a number: everything that there is an expression for has happened."""
    answer = proof.answers[expression]
    assert isinstance(answer, list), answer
    assert any(map(_has_a_number, answer)), expression.text
    labels = set(re.findall(r"{{(\w+)}}", expression.legend))
    assert all(labels <= series["metric"].keys() for series in answer), (labels, answer[0]["metric"])


@pytest.mark.parametrize("chosen", SERIES)
def test_each_part_of_an_expression_chooses_series_that_there_are(proof: Proof, chosen: str) -> None:
    """Also where another part of the same expression would have given a number."""
    assert proof.series[chosen]


def test_prometheus_itself_evaluates_every_rule(proof: Proof) -> None:
    assert proof.rules == {each.place.partition(" ")[2]: "" for each in of_rules()}


def test_every_choice_has_something_to_choose(proof: Proof) -> None:
    assert [choice for choice, values in proof.choices.items() if not values] == []


def test_the_traffic_was_what_it_was_meant_to_be(proof: Proof) -> None:
    """Else the rest would prove less than it says."""
    statuses = {model: set(told) for model, told in proof.statuses.items()}
    assert statuses["well"] >= {200, 429, 504}  # 429: a budget; 504: only-if-cached
    assert statuses["gone"] == {502, 429}
    for model in ("failing", "keyless", "unpaid", "hedged"):
        assert 200 in statuses[model], model
    assert statuses["narrow"] >= {200, 429}
    assert 200 in statuses["here"]
    (fronts,) = [answer for each, answer in proof.answers.items() if each.place == "overview: Fronts"]
    assert {each["metric"]["front"] for each in fronts if isinstance(each, dict)} == FRONTS


def _report(proof: Proof) -> None:
    """Print how much was asked, for whoever looks (pytest -s), and write each down where ASR_PROOF names a file."""
    lines = [f"{_count(proof.answers[each]):>4} series  {each.place}: {_line(each.text)}" for each in EVERYTHING]
    print(f"\n{len(lines)} expressions asked in {proof.seconds:.0f} s", end="")  # noqa: T201 - that is what it is for
    if os.environ.get("ASR_PROOF"):
        Path(os.environ["ASR_PROOF"]).write_text("\n".join(lines) + "\n")


def _count(answer: list[dict[str, Any]] | str) -> int:
    return len([each for each in answer if isinstance(each, dict) and _has_a_number(each)])


def _line(text: str) -> str:
    return " ".join(text.split())
