"""What a download's progress bars are told of, and where faster-whisper has its models."""

from __future__ import annotations

import pytest
from faster_whisper.utils import _MODELS

from providers.local.download import REPOSITORIES, bar
from providers.local.loading import Download, NotCompiled


def test_its_sizes_are_where_faster_whisper_has_them() -> None:
    assert REPOSITORIES == _MODELS


def test_of_several_bars_the_largest_is_told_and_never_less_than_before() -> None:
    """A small file first; then all together, received and written, with a retry that begins anew; and files counted."""
    told: list[Download | NotCompiled] = []
    made = bar(told.append)
    with made(total=10, unit="B") as small:
        small.update(10)
    received, written, files = made(total=0, unit="B"), made(total=0, unit="B"), made(total=5)
    received.total = written.total = 100
    received.update(30)
    written.update(20)
    received.update(-30)
    received.update(20)
    files.update(5)
    made(total=90, unit="B").update(90)  # another small file
    written.update(60)
    received.update(100)  # more than there is

    assert told == [Download(10, 10), Download(30, 100), Download(80, 100), Download(100, 100)]


def test_nothing_is_drawn(capfd: pytest.CaptureFixture[str]) -> None:
    made = bar(lambda _: None)(total=10, unit="B", desc="weights")
    made.update(5)
    made.refresh()
    made.close()
    assert capfd.readouterr() == ("", "")
