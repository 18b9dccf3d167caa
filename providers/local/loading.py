"""What is told while a local model is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable


class Download(NamedTuple):
    """How far it is."""

    received_bytes: int
    whole_bytes: int

    @property
    def share(self) -> float:
        return self.received_bytes / self.whole_bytes


class NotCompiled(NamedTuple):
    """It was to be compiled, and runs as it is."""

    reason: str


Tell: TypeAlias = "Callable[[Download | NotCompiled], None]"
"""Told in whichever thread loads or receives; how far a download is, many times a second."""


def not_told(_: Download | NotCompiled) -> None:
    """Tell nobody."""
