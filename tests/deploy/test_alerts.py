"""Rules and alerts by Prometheus' own tool, and the paragraph that each alert has."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.expressions import PROMETHEUS, ROOT, alerts, rules

CASES = sorted((PROMETHEUS / "tests").glob("*.yml"))
PARAGRAPHS = ROOT / "docs/alerts.md"


def promtool(*arguments: str | Path) -> None:
    """Run it; what it finds is the test's failure."""
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_and_configuration_can_be_read() -> None:
    promtool("check", "rules", PROMETHEUS / "rules.yml", PROMETHEUS / "alerts.yml")
    promtool("check", "config", "--syntax-only", PROMETHEUS / "prometheus.yml")


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.stem)
def test_rules_say_what_they_should(file: Path) -> None:
    promtool("test", "rules", file)


def expected() -> list[tuple[str, list[Any]]]:
    """Return each alert that a case asks about, and what it expects."""
    cases = [case for file in CASES for case in yaml.safe_load(file.read_text())["tests"]]
    return [(each["alertname"], each["exp_alerts"]) for case in cases for each in case["alert_rule_test"]]


@pytest.mark.parametrize("alert", sorted(alerts()))
def test_each_alert_is_shown_to_fire_and_not_to_fire(alert: str) -> None:
    outcomes = {bool(fired) for name, fired in expected() if name == alert}
    assert outcomes == {True, False}


def test_no_case_asks_about_an_alert_that_is_not_there() -> None:
    """Promtool would take it for one that does not fire."""
    assert {name for name, _ in expected()} == set(alerts())


@pytest.mark.parametrize("alert", sorted(alerts()))
def test_each_alert_says_how_urgent_it_is_and_where_to_read_on(alert: str) -> None:
    rule = alerts()[alert]
    assert alert.startswith("Asr")
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"docs/alerts.md#{alert.lower()}"


def test_each_alert_has_its_paragraph_and_each_paragraph_its_alert() -> None:
    parts = re.split(r"^## (\w+)$", PARAGRAPHS.read_text(), flags=re.MULTILINE)
    paragraphs = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert list(paragraphs) == list(dict.fromkeys(paragraphs))
    assert set(paragraphs) == set(alerts())
    assert min(len(text.split()) for text in paragraphs.values()) > 35


def test_paragraphs_name_problems_and_metrics_that_there_are() -> None:
    text = PARAGRAPHS.read_text()
    sources = "".join(file.read_text() for file in (ROOT / "gateway").rglob("*.py"))
    words = re.findall(r"`([a-z]+(?:-[a-z]+)+)`", text)
    assert words
    for word in words:
        assert f'"{word}"' in sources, word


def test_recorded_names_say_level_what_and_how() -> None:
    names = [rule["record"] for rule in rules("record")]
    assert len(set(names)) == len(names)
    for name in names:
        assert re.fullmatch(r"asr:[a-z_]+:[a-z_0-9]+", name), name
