"""docs/clients.md, done as its reader would: every block runs as it stands, against a gateway that is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import AUDIO
from tests.serving import demo_settings, running_in_a_thread

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", (ROOT / "docs" / "clients.md").read_text(), re.DOTALL)
APP = next(text for _, text in BLOCKS if text.startswith("# app.py"))
SAID = "ask not what your country can do for you"
COMMANDS = {"python": (sys.executable, "block.py"), "js": ("node", "block.mjs"), "sh": ("bash", "-e", "block.sh")}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_in_a_thread(demo_settings()) as url:
        yield url


def test_it_is_about_every_client() -> None:
    assert [language for language, _ in BLOCKS].count("js") == 3
    assert {language for language, _ in BLOCKS} == set(COMMANDS)


@pytest.mark.parametrize(
    ("language", "text"),
    [each for each in BLOCKS if each[1] != APP],
    ids=[f"{at} {language}" for at, (language, text) in enumerate(BLOCKS) if text != APP],
)
def test_a_block_runs_and_hears(language: str, text: str, url: str, tmp_path: Path) -> None:
    (tmp_path / "audio.flac").write_bytes((AUDIO / "jfk.flac").read_bytes())
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "node_modules").symlink_to(ROOT / "tests" / "clients" / "js" / "node_modules")
    command = COMMANDS[language]
    (tmp_path / command[-1]).write_text(text.replace("http://127.0.0.1:8080", url))
    done = subprocess.run(
        command, cwd=tmp_path, env=_environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert SAID in " ".join(_words(done.stdout)), done.stdout


def _environment() -> dict[str, str]:
    """Return ours, with the program on the path, and without what would send a call elsewhere."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return {**kept, "PATH": path, "PYTHONWARNINGS": "ignore"}


def _words(text: str) -> list[str]:
    """Return what is said, also where it stands in subtitles."""
    return re.findall(r"[a-z]+", re.sub(r"[\d:,.]+ --> [\d:,.]+", " ", text.lower()))
