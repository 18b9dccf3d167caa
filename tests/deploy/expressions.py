"""Every expression in deploy/: what dashboards draw, rules record and alerts watch; and what each of them names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import promql_parser
import yaml

from gateway.metrics.declared import ALL, DeclaredCounter, DeclaredHistogram

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy/prometheus"
DASHBOARDS = ROOT / "deploy/grafana/dashboards"
OF_PROMETHEUS = {"up": {"job", "instance"}, "ALERTS": {"alertname", "alertstate"}}
OF_EVERY_SERIES = {"job", "instance"}


@dataclass(frozen=True, slots=True)
class Expression:
    """One, and where it stands."""

    place: str  # overview: Requests; recorded asr:...; alert AsrRedisLost
    text: str
    legend: str = ""
    dashboard: str = ""  # whose variables are in it


def rules(kind: str) -> Iterator[Mapping[str, Any]]:
    """Yield every rule of a kind: record or alert."""
    for file in ("rules.yml", "alerts.yml"):
        for group in yaml.safe_load((PROMETHEUS / file).read_text())["groups"]:
            yield from (rule for rule in group["rules"] if kind in rule)


def alerts() -> dict[str, Mapping[str, Any]]:
    return {rule["alert"]: rule for rule in rules("alert")}


def dashboards() -> dict[str, Mapping[str, Any]]:
    return {file.stem: json.loads(file.read_text()) for file in sorted(DASHBOARDS.glob("*.json"))}


def panels(dashboard: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield what shows something, without the titles of rows."""
    yield from (panel for panel in dashboard["panels"] if panel["type"] != "row")


def of_dashboards() -> Iterator[Expression]:
    """Yield what panels and annotations ask, with Grafana's variables still in it."""
    for name, dashboard in dashboards().items():
        for panel in panels(dashboard):
            for target in panel["targets"]:
                yield Expression(f"{name}: {panel['title']}", target["expr"], target["legendFormat"], name)
        for note in dashboard["annotations"]["list"]:
            yield Expression(f"{name}: annotation {note['name']}", note["expr"], dashboard=name)


def choices_of(dashboard: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return the metric and the label whose values a dashboard's reader chooses from, by the variable's name."""
    found: dict[str, tuple[str, str]] = {}
    for each in dashboard["templating"]["list"][1:]:
        match = re.fullmatch(r"label_values\((\w+), (\w+)\)", each["query"]["query"])
        assert match, each
        found[each["name"]] = (match[1], match[2])
    return found


def of_rules() -> Iterator[Expression]:
    yield from (Expression(f"recorded {rule['record']}", rule["expr"]) for rule in rules("record"))
    yield from (Expression(f"alert {rule['alert']}", rule["expr"]) for rule in rules("alert"))


def substituted(text: str, variables: Mapping[str, str]) -> str:
    """Return an expression as Grafana would send it. Raises KeyError where there is a variable that nobody knows."""
    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda match: variables[match[1] or match[2]], text)


ANYTHING = {
    "__rate_interval": "1m",
    "__range": "1h",
    "__interval": "1m",
    "model": ".+",
    "deployment": ".+",
    "caller": ".+",
}


def selectors(text: str) -> list[promql_parser.VectorSelector]:
    """Return each choice of series in an expression."""
    found: list[promql_parser.VectorSelector] = []

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)

    promql_parser.walk(promql_parser.parse(substituted(text, ANYTHING)), pre_visit=visit)
    return found


def choices_of_series(expressions: Iterable[Expression]) -> list[str]:
    """Return each choice once, as it is written, whatever variables stand for."""
    return sorted({f"{one.name}{one.matchers}" for each in expressions for one in selectors(each.text)})


def known() -> dict[str, set[str]]:
    """Return the labels of every series that there can be, by its name."""
    recorded = {rule["record"]: {"job", "model"} for rule in rules("record")}
    series = {name: set(each.labels) for each in ALL for name in _series(each)}
    for each in ALL:
        if isinstance(each, DeclaredHistogram):
            series[f"{each.name}_bucket"] |= {"le"}
    return {**series, **recorded, **OF_PROMETHEUS}


def _series(declared: Any) -> tuple[str, ...]:
    if isinstance(declared, DeclaredCounter):
        return (f"{declared.name}_total",)
    if isinstance(declared, DeclaredHistogram):
        return tuple(f"{declared.name}_{part}" for part in ("bucket", "sum", "count"))
    return (str(declared.name),)
