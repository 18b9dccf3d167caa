"""Dashboards as code: what stands there is what the code says, in Grafana's own types, of metrics that there are."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.source.written import FOLDER, written
from tests.deploy.expressions import (
    OF_EVERY_SERIES,
    ROOT,
    Expression,
    choices_of,
    dashboards,
    known,
    of_dashboards,
    of_rules,
    panels,
    selectors,
)

EVERYTHING = [*of_dashboards(), *of_rules()]


def test_the_files_are_what_the_code_says() -> None:
    files = {file.name: file.read_text() for file in FOLDER.glob("*")}
    assert files == written(), "run python -m deploy.grafana.source"


def test_there_is_one_for_each_question() -> None:
    boards = dashboards()
    assert set(boards) == {"overview", "provider", "caller", "cost", "local"}
    assert {board["uid"] for board in boards.values()} == {f"asr-gateway-{name}" for name in boards}
    choices = {name: [each["name"] for each in board["templating"]["list"]] for name, board in boards.items()}
    assert choices == {
        "overview": ["datasource", "model"],
        "provider": ["datasource", "deployment"],
        "caller": ["datasource", "caller"],
        "cost": ["datasource", "deployment"],
        "local": ["datasource", "model", "deployment"],
    }


@pytest.mark.parametrize("name", sorted(dashboards()))
def test_grafana_s_own_types_read_it(name: str) -> None:
    board = dashboards()[name]
    read = Dashboard.from_json(dict(board))
    assert read.title == board["title"]
    assert len(read.panels or ()) == len(board["panels"])


@pytest.mark.parametrize("name", sorted(dashboards()))
def test_a_panel_has_all_that_its_reader_needs(name: str) -> None:
    board = dashboards()[name]
    shown = list(panels(board))
    assert len({panel["title"] for panel in shown}) == len(shown)
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    for panel in shown:
        assert len(panel["description"]) > 20, panel["title"]
        assert panel["type"] == "state-timeline" or panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs) > 0
        assert len(refs) == 1 or "__auto" not in [each["legendFormat"] for each in panel["targets"]], panel["title"]


@pytest.mark.parametrize("name", sorted(dashboards()))
def test_panels_do_not_overlap_or_stand_out(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboards()[name]["panels"]:
        at: dict[str, Any] = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


@pytest.mark.parametrize("expression", EVERYTHING, ids=lambda each: each.place)
def test_an_expression_names_metrics_and_labels_that_are_declared(expression: Expression) -> None:
    series = known()
    chosen = selectors(expression.text)
    assert chosen
    for each in chosen:
        assert each.name in series, each.name
        labels = {matcher.name for matcher in each.matchers.matchers}
        assert labels <= series[each.name] | OF_EVERY_SERIES, (each.name, labels)


def test_a_choice_is_of_a_label_that_its_metric_has() -> None:
    for board in dashboards().values():
        for metric, label in choices_of(board).values():
            assert label in known()[metric]


def test_a_link_leads_to_a_dashboard_and_a_choice_that_there_are() -> None:
    boards = dashboards()
    by_uid = {board["uid"]: board for board in boards.values()}
    links = re.findall(r"/d/([\w-]+)\?var-(\w+)=", "".join(file.read_text() for file in FOLDER.glob("*")))
    assert links
    for uid, variable in links:
        assert variable in [each["name"] for each in by_uid[uid]["templating"]["list"]]


def test_grafana_is_told_of_the_data_and_the_folder() -> None:
    folder = ROOT / "deploy/grafana/provisioning"
    (source,) = yaml.safe_load((folder / "datasources/prometheus.yml").read_text())["datasources"]
    scraped = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    assert source["type"] == "prometheus"
    assert source["jsonData"]["timeInterval"] == scraped["global"]["scrape_interval"]
    (provider,) = yaml.safe_load((folder / "dashboards/asr-gateway.yml").read_text())["providers"]
    assert provider["type"] == "file"
