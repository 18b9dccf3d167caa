"""Helm itself, on deploy/helm, in a process of its own: it brings Go's runtime and signal handlers along.

`python -m tests.deploy.render` reads {"values": ..., "what": "render" | "lint"} and writes JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "asr-gateway"
RELEASE, NAMESPACE = "asr-gateway", "speech"

Manifests = dict[str, dict[str, Any]]


class Refused(AssertionError):
    """Helm would not take the values; the message is its own."""


GATEWAY, ENGINE = "asr-gateway", "asr-gateway-engine"
_PART = "app.kubernetes.io/name"


def rendered(values: dict[str, Any], part: str = GATEWAY) -> Manifests:
    """Return what would be installed of a part, by kind: there is one of each. Raises Refused."""
    texts: dict[str, str] = _asked("render", values)
    documents = [
        document
        for name, text in texts.items()
        if name.endswith(".yaml")
        for document in yaml.safe_load_all(text)
        if document and document["metadata"]["labels"][_PART] == part
    ]
    by_kind = {document["kind"]: document for document in documents}
    assert len(by_kind) == len(documents)
    return by_kind


def notes(values: dict[str, Any]) -> str:
    """Return what is told after the installation."""
    texts: dict[str, str] = _asked("render", values)
    return texts["asr-gateway/templates/NOTES.txt"]


def lint(values: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the linter's messages, warnings among them."""
    report: dict[str, Any] = _asked("lint", values)
    return list(report["messages"])


def _asked(what: str, values: dict[str, Any]) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "tests.deploy.render"],
        cwd=ROOT,
        input=json.dumps({"what": what, "values": values}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode != 0:
        raise Refused(done.stderr.strip().rpartition("\n")[2])
    return json.loads(done.stdout)


def _main(asked: dict[str, Any]) -> object:
    import helm_python  # noqa: PLC0415 - see the module's docstring

    if asked["what"] == "lint":
        return helm_python.lint(CHART, asked["values"], strict=True, namespace=NAMESPACE)
    with helm_python.Chart.load(CHART) as chart:
        chart.validate_schema(asked["values"])
        return chart.render(asked["values"], name=RELEASE, namespace=NAMESPACE)


if __name__ == "__main__":
    json.dump(_main(json.load(sys.stdin)), sys.stdout)
