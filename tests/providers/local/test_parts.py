"""Weights in parts are joined whole or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from blake3 import blake3

from providers.local.parts import WrongParts, digest_of, join

if TYPE_CHECKING:
    from pathlib import Path

WHOLE = bytes(range(256)) * 9_000  # more than is read at once
DIGEST = blake3(WHOLE).hexdigest()


def cut(folder: Path, *parts: bytes) -> list[Path]:
    paths = [folder / f"part{number}" for number in range(len(parts))]
    for path, part in zip(paths, parts, strict=True):
        path.write_bytes(part)
    return paths


@pytest.mark.parametrize("at", [0, 1, 1_000_000, len(WHOLE)])
def test_parts_make_the_whole_in_their_order(tmp_path: Path, at: int) -> None:
    join(cut(tmp_path, WHOLE[:at], WHOLE[at:]), [], tmp_path / "deep" / "er", DIGEST)

    assert (tmp_path / "deep" / "er" / "model.bin").read_bytes() == WHOLE
    assert digest_of(tmp_path / "deep" / "er" / "model.bin") == DIGEST


def test_parts_that_make_something_else_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(WrongParts, match=blake3(WHOLE[::-1]).hexdigest()):
        join(cut(tmp_path, WHOLE[::-1]), [], tmp_path / "into", DIGEST)

    assert [each.name for each in (tmp_path / "into").iterdir()] == [".lock"]


def test_what_a_killed_process_left_is_written_over(tmp_path: Path) -> None:
    into = tmp_path / "into"
    into.mkdir()
    (into / "model.bin.begun").write_bytes(WHOLE * 2)
    (into / ".lock").touch()
    join(cut(tmp_path, WHOLE), [], into, DIGEST)

    assert {each.name for each in into.iterdir()} == {"model.bin", ".lock"}
    assert (into / "model.bin").read_bytes() == WHOLE


def test_a_part_that_is_gone_says_which(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        join([tmp_path / "nowhere"], [], tmp_path / "into", DIGEST)
