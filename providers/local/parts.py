"""A model whose weights came in parts, put together once for all processes of a machine."""

from __future__ import annotations

import fcntl
import filecmp
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from blake3 import blake3

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

WEIGHTS = "model.bin"
_CHUNK_BYTES = 1 << 20


class WrongParts(Exception):
    """The parts do not make the file that they should."""


def join(parts: Sequence[Path], beside: Sequence[Path], into: Path, digest: str) -> None:
    """Make `into` a folder of the weights that the parts are, with copies of the files beside them.

    What is there and right stays; what was changed is written anew. Files appear whole or not at all. Processes that
    join at once wait for the one that writes.

    digest: BLAKE3 of the joined weights, in hex.
    Raises OSError, WrongParts.
    """
    whole = into / WEIGHTS
    if all(_same(each, into / each.name) for each in beside) and _is(whole, digest):
        return  # before anything is written: the folder may be for reading only
    into.mkdir(parents=True, exist_ok=True)
    with _alone(into):
        for each in beside:
            if not _same(each, into / each.name):
                with _whole_or_not(into / each.name) as begun:
                    shutil.copyfile(each, begun)
        if not _is(whole, digest):
            with _whole_or_not(whole) as begun:
                _write(parts, begun, digest)


def digest_of(path: Path) -> str:
    """Return a file's BLAKE3 in hex. Raises OSError."""
    return blake3().update_mmap(path).hexdigest()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes out. The system lets them in when this one ends, however it ends."""
    with (folder / ".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is(path: Path, digest: str) -> bool:
    return path.is_file() and digest_of(path) == digest


def _same(source: Path, copy: Path) -> bool:
    return copy.is_file() and filecmp.cmp(source, copy, shallow=False)


@contextmanager
def _whole_or_not(path: Path) -> Iterator[Path]:
    """Give a place to write to, which becomes the file unless something is raised.

    Always the same place: what a killed process left there does not add up.
    """
    begun = path.with_name(f"{path.name}.begun")
    try:
        yield begun
        begun.replace(path)
    finally:
        begun.unlink(missing_ok=True)


def _write(parts: Sequence[Path], begun: Path, digest: str) -> None:
    seen = blake3()
    with begun.open("wb") as whole:
        for part in parts:
            with part.open("rb") as source:
                while chunk := source.read(_CHUNK_BYTES):
                    seen.update(chunk)
                    whole.write(chunk)
    if seen.hexdigest() != digest:
        raise WrongParts(f"blake3 {seen.hexdigest()}")
