"""The tree says what this is: each provider has its emulator, its recordings and its tests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from providers.registry import PROVIDERS, emulator_of, module_of

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_a_provider_is_in_all_its_places(name: str) -> None:
    """The places that CONTRIBUTING.md names."""
    module = module_of(name)
    for place in (
        f"providers/{module}.py",
        f"providers/emulators/{module}.py",
        f"tests/fixtures/{name}",
        f"tests/providers/test_{module}.py",
        f"tests/providers/emulators/test_{module}.py",
    ):
        assert (ROOT / place).exists(), place
    assert callable(emulator_of(name))
    assert name in (ROOT / "CHANGELOG.md").read_text()


def test_a_module_names_its_source_of_a_foreign_format() -> None:
    for name in PROVIDERS:
        text = (ROOT / f"providers/{module_of(name)}.py").read_text()
        assert "Source: " in text.split('"""')[1], name


def test_recordings_are_small_and_free() -> None:
    """Under 2 MB each, with a source and a licence in the manifest."""
    listed = {each["file"]: each for each in json.loads((ROOT / "tests/audio/manifest.json").read_text())["samples"]}
    for path in (ROOT / "tests/audio").iterdir():
        assert path.stat().st_size < 2_000_000, path.name
        if path.suffix != ".json":
            assert listed[path.name]["source"], path.name
            assert listed[path.name]["license"], path.name
