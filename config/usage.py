"""What is written down of each request: who asked, for how much audio, and what it cost."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from pydantic import Field

from config.section import Section
from config.units import Seconds


class UsageStore(StrEnum):
    """Where the ledger is kept."""

    NONE = "none"  # nothing is written
    SQLITE = "sqlite"  # a file, shared by the workers of one machine
    REDIS = "redis"  # a stream, shared by every replica


class Usage(Section):
    """The ledger: a row for each request, never with text or audio. Where it cannot be written, serving goes on."""

    store: UsageStore = UsageStore.SQLITE  # where the ledger is kept
    path: Path | None = None  # of the file; None: asr-gateway/usage.sqlite in the user's state folder (XDG_STATE_HOME)
    keep: Seconds = 90 * 86_400.0  # older rows are deleted
    max_rows: int = Field(2_000_000, ge=1000, le=1_000_000_000)  # the oldest go first; a million takes some 150 MB
