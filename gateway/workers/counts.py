"""What several processes have counted, as one: prometheus-client's multiprocess mode.

Each process counts in files of its own, in a folder of the parent's, to the last thing before it ends, however it ends.
Those of one that has ended are added to what all before it had counted, so that no total ever falls, and a worker that
dies again and again leaves no files behind.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Final

from prometheus_client import generate_latest
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Metric

_TYPES: Final = ("counter", "histogram")  # gauges are asked for: what they show is of processes that live
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
_ENDED: Final = "ended"  # stands for a process id in a file's name


def memory_folder() -> str | None:
    """Return where files are in memory alone, where there is such a place; None for where other temporary ones are.

    A page of a mapped file that a full disk has no room for ends the process that writes to it, and a slow disk holds
    it up.
    """
    return str(_MEMORY) if os.access(_MEMORY, os.W_OK | os.X_OK) else None


class Counts(Collector):
    """The files of all that share a port. Blocking; from any thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ended: list[int] = []  # whose files are still to be added to those of the ended
        self._lock = Lock()  # a reader would find a file twice, or not, while it is added to those of the ended

    @property
    def environ(self) -> dict[str, str]:
        """Return what lets a process count here. It is read when prometheus-client is imported."""
        return {"PROMETHEUS_MULTIPROC_DIR": str(self._folder)}

    def end(self, pid: int) -> None:
        """Add what a process had counted to that of those that ended before, and delete its files.

        Where there is no room or no descriptor for that now, the next one's end does it: they count as they are.
        """
        with self._lock:
            self._ended.append(pid)
            with suppress(OSError):
                while self._ended:
                    self._add_to_ended(self._ended[0])
                    self._ended.pop(0)

    def text(self) -> bytes:
        """Return the sums in Prometheus' text format."""
        return generate_latest(self)

    def collect(self) -> Iterable[Metric]:
        with self._lock:
            files = [each for type_ in _TYPES for each in self._folder.glob(f"{type_}_*.db")]
            return _merged(files, accumulate=True)

    def _add_to_ended(self, pid: int) -> None:
        for type_ in _TYPES:
            file, whole = self._folder / f"{type_}_{pid}.db", self._folder / f"{type_}_{_ENDED}.db"
            if file.exists():
                self._write_sums([file, whole] if whole.exists() else [file], whole)
                file.unlink()
        (self._folder / f"gauge_all_{pid}.db").unlink(missing_ok=True)

    def _write_sums(self, files: list[Path], whole: Path) -> None:
        families, new = _merged(files, accumulate=False), whole.with_suffix(".new")
        new.unlink(missing_ok=True)
        written = MmapedDict(str(new))  # type: ignore[no-untyped-call]
        for family in families:
            for each in family.samples:
                names, values = list(each.labels), list(each.labels.values())
                key = mmap_key(family.name, each.name, names, values, family.documentation)
                written.write_value(key, each.value, 0.0)  # type: ignore[no-untyped-call]
        written.close()  # type: ignore[no-untyped-call]
        new.replace(whole)


def _merged(files: Iterable[Path], *, accumulate: bool) -> Iterable[Metric]:
    begun = [str(each) for each in files if each.stat().st_size]  # else it has only just been made
    families: Iterable[Metric] = MultiProcessCollector.merge(begun, accumulate=accumulate)  # type: ignore[no-untyped-call]
    return families
