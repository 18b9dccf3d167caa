"""Every example is a configuration that serves: loaded, its accounts and targets checked as at a start."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest

from config.auth import AuthMode
from config.catalog import load_catalog
from config.settings import Settings, load
from gateway.defaults import check_adapters
from gateway.fleet import build_routes

EXAMPLES = sorted(Path(str(files("config") / "examples")).glob("*.yaml"))
IDS = [path.stem for path in EXAMPLES]


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set every variable the examples name."""
    for path in EXAMPLES:
        for name in re.findall(r"\$\{(\w+)\}", path.read_text()):
            monkeypatch.setenv(name, "key-of-a-test")


def test_there_are_some() -> None:
    of_your_own = ["engines", "local-gpu", "nim", "self-hosted", "speaches", "triton", "vllm"]
    assert sorted([*of_your_own, "clouds", "failover", "public", "reliable"]) == IDS


@pytest.mark.parametrize("path", EXAMPLES, ids=IDS)
def test_an_example_serves(variables: None, path: Path) -> None:
    settings = load(path)
    check_adapters(settings)
    routes = build_routes(settings, load_catalog())

    assert all(route.deployments for route in routes.by_model.values())
    used = {target.account for route in settings.models.values() for target in route.targets}
    assert used == set(settings.providers), "an example shows no account that nothing uses"


@pytest.mark.parametrize("path", EXAMPLES, ids=IDS)
def test_an_example_says_what_it_is_and_how_to_run_it(path: Path) -> None:
    text = path.read_text()

    assert text.startswith("# ")
    assert f"asr-gateway serve --config {path.name}" in text
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("path", EXAMPLES, ids=IDS)
def test_a_key_is_named_by_a_variable(path: Path) -> None:
    assert all(value.startswith('"${') for value in re.findall(r"api_key: ([^,}\s]+)", path.read_text()))


def test_only_the_public_one_is_public(variables: None) -> None:
    by_name = {path.stem: load(path) for path in EXAMPLES}

    assert {name for name, settings in by_name.items() if settings.server.host != "127.0.0.1"} == {"public"}
    assert by_name["public"].auth.mode is AuthMode.KEYS


def test_the_public_one_shows_every_limit(variables: None) -> None:
    """Whoever opens a gateway to a network finds all of this version's limits in one place."""
    settings = load(next(path for path in EXAMPLES if path.stem == "public"))

    assert settings.server.model_fields_set == set(Settings.model_fields["server"].default.model_dump())
