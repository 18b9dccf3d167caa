"""Where an upload waits: in memory up to a bound, then in a private file without a name. Hashed as it is written."""

from __future__ import annotations

import tempfile
import threading
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from blake3 import blake3

from gateway.intake.threads import to_the_end
from gateway.problems import spool_full
from providers.audio.content import Content, FileContent, MemoryContent

if TYPE_CHECKING:
    from pathlib import Path

_FLUSH_BYTES = 1 << 20  # one hop to a thread for each MiB: a hop costs 50 us, writing and hashing a MiB 500
_MOST_PIECES = 1024  # kept apart: an object of a few bytes costs forty more
INLINE_BYTES = 512 * 1024  # hashing or decoding this much takes 0.2 ms; more goes to a thread


@dataclass(slots=True)
class SpoolBudget:
    """What all uploads of a process may hold together, in bytes. Uploads are decoded in threads: every change locks."""

    memory_per_upload: int
    memory_total: int
    disk_total: int
    directory: Path | None = None
    memory_used: int = 0
    disk_used: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def take_memory(self, size: int) -> bool:
        with self._lock:
            if self.memory_used + size > self.memory_total:
                return False
            self.memory_used += size
            return True

    def take_disk(self, size: int) -> bool:
        with self._lock:
            if self.disk_used + size > self.disk_total:
                return False
            self.disk_used += size
            return True

    def give_back(self, *, memory: int = 0, disk: int = 0) -> None:
        with self._lock:
            self.memory_used -= memory
            self.disk_used -= disk


class Spool:
    """One upload on its way in. Used by one thread at a time; close it when nobody needs the content any more."""

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
        if not self._keep(chunk):
            await to_the_end(self._flush)

    def write_now(self, chunk: bytes) -> None:
        """Do the same in a thread of the caller's."""
        if not self._keep(chunk):
            self._flush()

    async def finish(self) -> tuple[Content, str]:
        """Return the content and its blake3, hexadecimal. Raises Problem 507."""
        if self._file is None and self.size_bytes <= INLINE_BYTES:
            return self.finish_now()
        return await to_the_end(self.finish_now)

    def finish_now(self) -> tuple[Content, str]:
        """Do the same in a thread of the caller's."""
        if self._file is not None:
            self._flush()
            self._content = FileContent(self._file, self.size_bytes)
        else:
            for chunk in self._pending:
                self._hash.update(chunk)
            self._content = MemoryContent(*self._pending)
            self._pending = []
        return self._content, self._hash.hexdigest()

    def close(self) -> None:
        """Give back the room. The content is gone after this."""
        if self._content is not None:
            self._content.close()
        elif self._file is not None:
            self._file.close()
        self._pending.clear()
        self._budget.give_back(memory=self._memory, disk=self._disk)
        self._memory = self._disk = 0

    def _keep(self, chunk: bytes) -> bool:
        """Take a chunk in; tell whether it may wait in memory."""
        self._pending.append(chunk)
        self._pending_bytes += len(chunk)
        self.size_bytes += len(chunk)
        if len(self._pending) > _MOST_PIECES:
            self._pending = [b"".join(self._pending)]
        bound = self._budget.memory_per_upload if self._file is None else _FLUSH_BYTES
        if self._pending_bytes > bound or not self._budget.take_memory(len(chunk)):
            return False
        self._memory += len(chunk)
        return True

    def _flush(self) -> None:
        """Move what is pending to the file, through the hash."""
        pending, size = self._pending, self._pending_bytes
        self._pending, self._pending_bytes = [], 0
        if not self._budget.take_disk(size):
            raise spool_full()
        self._disk += size
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._budget.directory, buffering=0)  # noqa: SIM115 - closed by close()
            for chunk in pending:
                self._hash.update(chunk)
                _write_all(self._file, chunk)
        except OSError as error:
            raise spool_full() from error
        self._budget.give_back(memory=self._memory)
        self._memory = 0


def _write_all(file: IO[bytes], chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[file.write(view) :]
