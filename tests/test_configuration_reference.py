"""docs/configuration.md is what the settings say, and what it says of them holds."""

from __future__ import annotations

import functools

import pytest

from config.faults import BadConfiguration
from config.settings import load
from tests.configuration_reference import FILE, Key, Table, document, tables

TABLES = tables()
OVERRIDABLE = [
    (table, key) for table in TABLES for key in table.keys if key.variable and key.default not in {"", "required"}
]
# Sections that are not there unless something in them is.
PRESENT = {
    "redis": {"ASR_GATEWAY_REDIS__PREFIX": "asr:"},
    "reliability.attempt_timeout": {"ASR_GATEWAY_RELIABILITY__ATTEMPT_TIMEOUT__BASE": "60s"},
}


def test_it_is_current() -> None:
    assert FILE.read_text() == document(), "run python -m tests.configuration_reference"


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.title)
def test_every_key_has_its_type_and_its_meaning(table: Table) -> None:
    """A comment beside it in config/, for whoever reads the code and whoever runs the program."""
    assert table.meaning
    assert {key.name for key in table.keys if not (key.what and key.meaning)} == set()


@pytest.mark.parametrize(("table", "key"), OVERRIDABLE, ids=lambda each: getattr(each, "variable", ""))
def test_a_variable_is_read_with_the_value_that_is_shown(
    table: Table, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each default, written as the page writes it, is what the program takes it for."""
    for name, value in PRESENT.get(table.title, {}).items():
        monkeypatch.setenv(name, value)
    unset = _at(table, key)
    monkeypatch.setenv(key.variable.strip("`"), key.default.strip("`"))
    assert _at(table, key) == unset
    monkeypatch.setenv(key.variable.strip("`"), "?")
    if key.what not in {"text", "path", "secret text"}:
        with pytest.raises(BadConfiguration, match=f"{key.name}|as JSON"):
            _at(table, key)


def _at(table: Table, key: Key) -> object:
    return functools.reduce(getattr, (*table.path, key.name), load(None))


def test_what_wants_a_restart_is_named() -> None:
    """As the program itself says of a configuration that differs in everything."""
    told = next(line for line in FILE.read_text().splitlines() if line.startswith("`server."))
    assert {"`server.port`", "`server.workers`", "`auth.store`", "`redis`", "`cache.store`"} <= set(
        told.rstrip(".").split(", ")
    )
