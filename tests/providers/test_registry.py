"""The table of providers: each where its name says, and none imported before it is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from providers.registry import PROVIDERS


@pytest.mark.parametrize("name", PROVIDERS)
def test_each_bears_its_name(name: str) -> None:
    assert PROVIDERS[name].name == name


def test_what_is_none_of_them_is_not_there() -> None:
    assert PROVIDERS.get("types") is None  # a module of that name there is
    assert "types" not in PROVIDERS
    assert list(PROVIDERS) == sorted(PROVIDERS)


def test_their_names_import_none_of_them() -> None:
    code = (
        "import sys; from providers.registry import PROVIDERS; known = set(PROVIDERS); 'openai' in PROVIDERS;"
        "print(sum(f'providers.{name}'.replace('-', '_') in sys.modules for name in known), len(known) > 9)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "0 True\n"
