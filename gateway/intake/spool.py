"""Where an upload waits: in memory up to a bound, then in a private file without a name. Hashed as it is written."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from blake3 import blake3

from gateway.problems import spool_full
from providers.audio.content import Content, FileContent, MemoryContent

if TYPE_CHECKING:
    from pathlib import Path

_FLUSH_BYTES = 1 << 20  # one hop to a thread for each MiB: a hop costs 50 us, writing and hashing a MiB 500


@dataclass(slots=True)
class SpoolBudget:
    """What all uploads of a process may hold together, in bytes."""

    memory_per_upload: int
    memory_total: int
    disk_total: int
    directory: Path | None = None
    memory_used: int = 0
    disk_used: int = 0


class Spool:
    """One upload on its way in. Close it when nobody needs the content any more."""

    __slots__ = (
        "_budget",
        "_content",
        "_disk",
        "_file",
        "_hash",
        "_memory",
        "_pending",
        "_pending_bytes",
        "size_bytes",
    )

    def __init__(self, budget: SpoolBudget) -> None:
        self._budget = budget
        self._hash = blake3()
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._memory = 0
        self._disk = 0
        self._file: IO[bytes] | None = None
        self._content: Content | None = None
        self.size_bytes = 0

    async def write(self, chunk: bytes) -> None:
        """Take a chunk. Raises Problem 507 where neither memory nor disk has room."""
        self._pending.append(chunk)
        self._pending_bytes += len(chunk)
        self.size_bytes += len(chunk)
        if self._file is None and self._take_memory(len(chunk)):
            return
        if self._file is None or self._pending_bytes >= _FLUSH_BYTES:
            await asyncio.to_thread(self._flush)

    def write_now(self, chunk: bytes) -> None:
        """Do the same in a thread of the caller's."""
        self._pending.append(chunk)
        self._pending_bytes += len(chunk)
        self.size_bytes += len(chunk)
        if (self._file is not None or not self._take_memory(len(chunk))) and self._pending_bytes >= _FLUSH_BYTES:
            self._flush()

    async def finish(self) -> tuple[Content, str]:
        """Return the content and its blake3, hexadecimal."""
        if self._file is not None:
            await asyncio.to_thread(self._flush)
        return self._finish()

    def finish_now(self) -> tuple[Content, str]:
        """Do the same in a thread of the caller's."""
        if self._file is not None:
            self._flush()
        return self._finish()

    def close(self) -> None:
        """Give back the room. The content is gone after this."""
        if self._content is not None:
            self._content.close()
        elif self._file is not None:
            self._file.close()
        self._pending.clear()
        self._budget.memory_used -= self._memory
        self._budget.disk_used -= self._disk
        self._memory = self._disk = 0

    def _finish(self) -> tuple[Content, str]:
        if self._file is not None:
            self._content = FileContent(self._file, self.size_bytes)
        else:
            for chunk in self._pending:
                self._hash.update(chunk)
            self._content = MemoryContent(*self._pending)
            self._pending = []
        return self._content, self._hash.hexdigest()

    def _take_memory(self, size: int) -> bool:
        budget = self._budget
        if self.size_bytes > budget.memory_per_upload or budget.memory_used + size > budget.memory_total:
            return False
        budget.memory_used += size
        self._memory += size
        return True

    def _flush(self) -> None:
        """Move what is pending to the file, through the hash."""
        pending, size = self._pending, self._pending_bytes
        self._pending, self._pending_bytes = [], 0
        if self._budget.disk_used + size > self._budget.disk_total:
            raise spool_full()
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._budget.directory, buffering=0)  # noqa: SIM115 - closed by close()
            for chunk in pending:
                self._hash.update(chunk)
                _write_all(self._file, chunk)
        except OSError as error:
            raise spool_full() from error
        self._budget.disk_used += size
        self._disk += size
        self._budget.memory_used -= self._memory
        self._memory = 0


def _write_all(file: IO[bytes], chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[file.write(view) :]
