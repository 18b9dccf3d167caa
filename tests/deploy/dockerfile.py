"""deploy/Dockerfile as values: its stages, and the instructions in them."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from dockerfile_parse import DockerfileParser

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What stands between one FROM and the next."""

    name: str
    base: str  # another stage, or an image
    steps: list[tuple[str, str]] = field(default_factory=list)  # instruction and value, in order

    def values(self, instruction: str) -> list[str]:
        return [value for name, value in self.steps if name == instruction]


@cache
def stages() -> dict[str, Stage]:
    """Return the stages by name, in order."""
    found: dict[str, Stage] = {}
    latest: Stage | None = None
    with (DEPLOY / "Dockerfile").open("rb") as file:
        structure = DockerfileParser(fileobj=file).structure
    for each in structure:
        name, value = each["instruction"], each["value"]
        if name == "FROM":
            base, _, stage = value.partition(" AS ")
            latest = found[stage] = Stage(name=stage, base=base)
        elif latest is not None and name != "COMMENT":
            latest.steps.append((name, value))
    return found


def lineage(name: str) -> list[Stage]:
    """Return a stage and those it builds on, the first of them first."""
    stage = stages().get(name)
    return [] if stage is None else [*lineage(stage.base), stage]


def last(name: str, instruction: str) -> str:
    """Return the value that holds in a stage."""
    return [value for stage in lineage(name) for value in stage.values(instruction)][-1]


def environment(name: str) -> dict[str, str]:
    """Return what ENV sets in a stage, over PATH of the base image."""
    environ = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
    for stage in lineage(name):
        for value in stage.values("ENV"):
            pairs = [each.partition("=") for each in shlex.split(value)]
            environ |= {key: text.replace("$PATH", environ["PATH"]) for key, _, text in pairs}
    return environ


def command(name: str) -> list[str]:
    """Return what a container of a stage runs."""
    return [*json.loads(last(name, "ENTRYPOINT")), *json.loads(last(name, "CMD"))]


def health_check(name: str) -> list[str]:
    """Return the command that says whether it is well."""
    return list(json.loads(last(name, "HEALTHCHECK").partition("CMD ")[2]))


def copied(stage: Stage) -> list[tuple[str, list[str], str]]:
    """Return what a stage copies: from which stage ("": the context), which paths, where to."""
    found = []
    for value in stage.values("COPY"):
        words = value.split()
        options = dict(re.findall(r"--(\w+)=(\S+)", value))
        paths = [word for word in words if not word.startswith("--")]
        found.append((options.get("from", ""), paths[:-1], paths[-1]))
    return found
