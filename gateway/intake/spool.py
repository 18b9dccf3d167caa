"""Where an upload waits: in memory up to a bound, then in a private file without a name. Hashed as it is written."""

from __future__ import annotations

import asyncio
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

    from config.settings import Settings
    from config.settings import Spool as SpoolSettings

_FLUSH_BYTES = 1 << 20  # one hop to a thread for each MiB: a hop costs 50 us, writing and hashing a MiB 500
_MOST_PIECES = 1024  # kept apart: an object of a few bytes costs forty more
_PATIENCE_S = 5.0  # for room on the disk, where an upload that came later is to make it
_LOOK_AGAIN_S = 0.02
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
    _arriving: dict[Spool, None] = field(default_factory=dict, repr=False)  # on the disk, in the order they came to it

    def arrives(self, spool: Spool) -> None:
        """Note that an upload takes room on the disk, until it has arrived."""
        with self._lock:
            self._arriving[spool] = None

    def has_arrived(self, spool: Spool) -> None:
        with self._lock:
            self._arriving.pop(spool, None)

    def is_last(self, spool: Spool) -> bool:
        """Tell whether none that still takes room came to the disk after this one."""
        with self._lock:
            return next(reversed(self._arriving), spool) is spool

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

    def adopt(self, spool: SpoolSettings) -> None:
        """Go by another configuration from now on; the folder is the one that there was at the start."""
        self.memory_per_upload, self.memory_total = spool.memory_per_upload, spool.memory_total
        self.disk_total = spool.disk_total

    def give_back(self, *, memory: int = 0, disk: int = 0) -> None:
        with self._lock:
            self.memory_used -= memory
            self.disk_used -= disk


def spool_budget(settings: Settings) -> SpoolBudget:
    """Return what a process's uploads may hold, as configured."""
    spool = settings.server.spool
    return SpoolBudget(
        memory_per_upload=spool.memory_per_upload,
        memory_total=spool.memory_total,
        disk_total=spool.disk_total,
        directory=spool.directory,
    )


class Spool:
    """One upload on its way in. Used by one thread at a time; close it when nobody needs the content any more."""

    __slots__ = (
        "_budget",
        "_content",
        "_disk",
        "_file",
        "_hash",
        "_is_on_disk",
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
        self._is_on_disk = False
        self._file: IO[bytes] | None = None
        self._content: Content | None = None
        self.size_bytes = 0

    async def write(self, chunk: bytes) -> None:
        """Take a chunk. Raises Problem 507 where neither memory nor disk has room."""
        if not self._keep(chunk):
            await self._flushed()

    def write_now(self, chunk: bytes) -> None:
        """Do the same in a thread of the caller's."""
        if not self._keep(chunk) and not self._flush():
            raise spool_full()

    async def finish(self) -> tuple[Content, str]:
        """Return the content and its blake3, hexadecimal. Raises Problem 507."""
        if self._file is None and self.size_bytes <= INLINE_BYTES:
            return self.finish_now()
        if self._file is None:
            return await to_the_end(self.finish_now)
        await self._flushed()
        return self.finish_now()

    def finish_now(self) -> tuple[Content, str]:
        """Do the same in a thread of the caller's."""
        if self._file is not None:
            if not self._flush():
                raise spool_full()
            self._budget.has_arrived(self)
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
        if self._is_on_disk:
            self._budget.has_arrived(self)
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

    async def _flushed(self) -> None:
        """Flush, in a thread. Raises Problem 507.

        Uploads that fill the disk together find it full together. The last is refused, and what it gives back is for
        those that came before it: were each refused that finds no room just then, hardly any would be served.
        """
        clock = asyncio.get_running_loop().time
        until = clock() + _PATIENCE_S
        is_last = self._budget.is_last(self)  # asked before: who comes later may go while there is no room yet
        while not await to_the_end(self._flush):
            if is_last or clock() > until:
                raise spool_full()
            await asyncio.sleep(_LOOK_AGAIN_S)
            is_last = self._budget.is_last(self)

    def _flush(self) -> bool:
        """Move what is pending to the file, through the hash; tell whether there was room."""
        if not self._is_on_disk:
            self._is_on_disk = True
            self._budget.arrives(self)
        if not self._budget.take_disk(self._pending_bytes):
            return False
        self._disk += self._pending_bytes
        pending, self._pending = self._pending, []
        self._pending_bytes = 0
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
        return True


def _write_all(file: IO[bytes], chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[file.write(view) :]
