"""A systemd unit with its drop-ins, as systemd merges them."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_LISTS = frozenset({"After", "DeviceAllow", "Environment", "SystemCallFilter", "Wants"})  # each line adds to them


def options(*files: Path) -> dict[str, list[str]]:
    """Return every option's values; a later one takes an earlier one's place unless it is a list."""
    found: dict[str, list[str]] = {}
    lines = [line.strip() for file in files for line in file.read_text().splitlines()]
    for name, separator, value in (line.partition("=") for line in lines if not line.startswith("#")):
        if separator:
            found[name] = [*(found.get(name, []) if name in _LISTS else []), value]
    return found


def allowed_calls(filters: list[str]) -> set[str]:
    """Return the system calls that SystemCallFilter lets through, its groups resolved by systemd itself."""
    allowed = _calls("@default")
    for each in filters:
        for word in each.removeprefix("~").split():
            allowed = allowed - _calls(word) if each.startswith("~") else allowed | _calls(word)
    return allowed


def _calls(word: str) -> set[str]:
    if not word.startswith("@"):
        return {word}
    told = subprocess.run(["systemd-analyze", "syscall-filter", word], capture_output=True, text=True, check=True)
    words = [line.strip() for line in told.stdout.splitlines()[1:] if not line.strip().startswith("#")]
    return {call for each in words for call in _calls(each)}
