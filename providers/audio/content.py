"""Bytes that can be read again: in memory while few, in an unlinked file beyond that."""

from __future__ import annotations

import io
import os
from typing import IO, TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _typeshed import WriteableBuffer

SLICE_BYTES = 768 * 1024  # a multiple of 3, so that slices encode to base64 without padding between them


class Content(Protocol):
    """Replayable bytes. Every read names its own position, so that attempts can overlap."""

    @property
    def size_bytes(self) -> int: ...
    @property
    def in_memory(self) -> bool: ...
    def read_at(self, offset: int, size: int) -> bytes: ...
    def slices(self, size: int = SLICE_BYTES) -> Iterator[bytes]: ...
    def close(self) -> None: ...


class MemoryContent:
    """A few buffers as they came off the socket, never joined unless somebody reads across them."""

    __slots__ = ("_buffers", "size_bytes")

    in_memory = True

    def __init__(self, *buffers: bytes) -> None:
        self._buffers = buffers
        self.size_bytes = sum(map(len, buffers))

    def read_at(self, offset: int, size: int) -> bytes:
        first = self._buffers[0] if self._buffers else b""
        if offset + size <= len(first):
            return first[offset : offset + size]
        return self._joined()[offset : offset + size]

    def slices(self, size: int = SLICE_BYTES) -> Iterator[bytes]:
        whole = self._joined()
        for start in range(0, len(whole), size):
            yield whole[start : start + size]  # the whole itself, uncopied, where it fits

    def buffers(self) -> tuple[bytes, ...]:
        """Return the buffers as they are, for writing them one after another."""
        return self._buffers

    def close(self) -> None:
        self._buffers = ()

    def _joined(self) -> bytes:
        if len(self._buffers) != 1:
            self._buffers = (b"".join(self._buffers),)
        return self._buffers[0]


class FileContent:
    """A private file without a name; it is gone when this is closed."""

    __slots__ = ("_file", "size_bytes")

    in_memory = False

    def __init__(self, file: IO[bytes], size_bytes: int) -> None:
        self._file = file
        self.size_bytes = size_bytes

    def fileno(self) -> int:
        return self._file.fileno()

    def read_at(self, offset: int, size: int) -> bytes:
        return os.pread(self._file.fileno(), size, offset)

    def slices(self, size: int = SLICE_BYTES) -> Iterator[bytes]:
        for start in range(0, self.size_bytes, size):
            yield self.read_at(start, min(size, self.size_bytes - start))

    def close(self) -> None:
        self._file.close()


class ContentReader(io.RawIOBase):
    """A file object over a Content, with a position of its own: what a decoder wants."""

    def __init__(self, content: Content) -> None:
        super().__init__()
        self._content = content
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        starts = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._content.size_bytes}
        if whence not in starts or starts[whence] + offset < 0:
            raise ValueError(f"cannot seek to {offset} from {whence}")
        self._position = starts[whence] + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer)
        got = self._content.read_at(self._position, min(len(view), self._remaining()))
        view[: len(got)] = got
        self._position += len(got)
        return len(got)

    def _remaining(self) -> int:
        return max(0, self._content.size_bytes - self._position)
