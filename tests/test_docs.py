"""What docs/ promises operators, held against the program."""

from __future__ import annotations

import re
import shlex
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import get_args

import click
import pytest

from gateway.cli import main
from gateway.dispatch.answers import ABANDONED
from gateway.problems import BY_STATUS, ProblemType

ROOT = Path(__file__).parents[1]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"]
SOURCES = "\n".join(path.read_text() for path in sorted((ROOT / "gateway").rglob("*.py")))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def _table(heading: str) -> list[list[str]]:
    """Return the cells of the table under a heading."""
    section = OPERATIONS.split(f"## {heading}\n")[1].split("\n## ")[0]
    return [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")][1:]


def test_every_problem_has_its_line() -> None:
    """And none that no caller is ever told."""
    told = {
        word for row in _table("What callers are told, and what to do") for word in re.findall(r"`([\w-]+)`", row[0])
    }
    assert told == set(get_args(ProblemType)) - {ABANDONED}


def test_every_problem_has_its_statuses() -> None:
    rows = _table("What callers are told, and what to do")
    told = {word: row[1] for row in rows for word in re.findall(r"`([\w-]+)`", row[0])}
    for status, words in BY_STATUS.items():
        for word in set(words) - {ABANDONED}:
            assert str(status) in told[word], word
    assert {word for words in BY_STATUS.values() for word in words} == set(get_args(ProblemType))


def test_every_event_of_the_log_is_explained() -> None:
    told = {word for row in _table("What the log tells besides requests") for word in re.findall(r"`([\w]+)`", row[0])}
    logged = set(re.findall(r'\bevent\(\s*"([a-z_]+)"', SOURCES)) | set(
        re.findall(r'else "(\w+_(?:lost|back))"', SOURCES)
    )
    assert logged - {"request"} <= told
    assert all(f'"{word}"' in SOURCES for word in told)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_the_programs(page: Path) -> None:
    for group, names in re.findall(r"`asr-gateway (\w+)(?: (\w+(?: \| \w+)+))?", page.read_text()):
        command = main.commands[group]
        below = command.commands if isinstance(command, click.Group) else None
        if below is not None and names:
            assert set(names.split(" | ")) <= below.keys(), f"{group} {names}"


def test_a_backup_has_what_is_written_meanwhile(tmp_path: Path) -> None:
    """The very line, on a file in WAL mode whose last row is in no main file yet."""
    (line,) = re.findall(r"^python3 -c .*$", OPERATIONS, re.MULTILINE)
    with closing(sqlite3.connect(tmp_path / "keys.sqlite", isolation_level=None)) as writing:
        writing.execute("PRAGMA journal_mode = WAL")
        writing.execute("CREATE TABLE kept (name TEXT)")
        writing.execute("INSERT INTO kept VALUES ('newsroom')")
        subprocess.run(shlex.split(line), cwd=tmp_path, check=True, timeout=30)
    with closing(sqlite3.connect(tmp_path / "keys.backup.sqlite")) as copy:
        assert copy.execute("SELECT name FROM kept").fetchall() == [("newsroom",)]
