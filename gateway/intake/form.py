"""multipart/form-data as it arrives: the file goes to the spool, the fields to a list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from multipart import MultipartError, MultipartSegment, PushMultipartParser

from gateway.intake.spool import Spool
from gateway.problems import bad_request, too_large

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.intake.spool import SpoolBudget

MAX_FIELD_BYTES = 65_536
MAX_PARTS = 256  # OpenAI takes a hundred keywords, a part each


class Form:
    """Fields in their order, and the spool of the one file."""

    def __init__(self, budget: SpoolBudget, file_parts: tuple[str, ...]) -> None:
        self._budget = budget
        self._file_parts = file_parts
        self.fields: list[tuple[str, str]] = []
        self.spool: Spool | None = None

    async def read(self, arrived: Callable[[], Awaitable[bytes]], boundary: str, max_upload_bytes: int) -> None:
        """Take the whole form. Raises Problem 400 where it is malformed, 413 where a part is too large.

        arrived: returns what has arrived since it was last asked, b"" at the end.
        """
        part: _Part | None = None
        try:
            with PushMultipartParser(boundary, max_segment_count=MAX_PARTS) as parser:
                while chunk := await arrived():
                    for event in parser.parse(chunk):
                        match event:
                            case MultipartSegment():
                                part = self._begin(event)
                            case None:
                                self._end(part)
                            case _ if part is not None:
                                await part.take(event, max_upload_bytes)
        except MultipartError as error:
            raise bad_request(f"the multipart form is malformed: {error}") from error

    def file(self, name: str) -> Spool:
        """Return the file's spool. Raises Problem 400 where none came."""
        if self.spool is None:
            raise bad_request(f"{name}: missing; expected an audio file in the form", param=name)
        return self.spool

    def _begin(self, segment: MultipartSegment) -> _Part:
        name = segment.name or ""
        if name not in self._file_parts:
            return _Part(name, None)
        if self.spool is not None:
            raise bad_request(f"{name}: a second audio file; send one", param=name)
        self.spool = Spool(self._budget)
        return _Part(name, self.spool)

    def _end(self, part: _Part | None) -> None:
        if part is not None and part.spool is None:
            self.fields.append((part.name, part.text()))


class _Part:
    """One part on its way in."""

    def __init__(self, name: str, spool: Spool | None) -> None:
        self.name = name
        self.spool = spool
        self._value = bytearray()

    async def take(self, chunk: bytes | bytearray, max_upload_bytes: int) -> None:
        if self.spool is None:
            self._value += chunk
            if len(self._value) > MAX_FIELD_BYTES:
                raise too_large(f"the form field {self.name[:40]!r}", f"{MAX_FIELD_BYTES} bytes")
            return
        if self.spool.size_bytes + len(chunk) > max_upload_bytes:
            raise too_large("the audio", f"the limit of {max_upload_bytes} bytes")
        await self.spool.write(bytes(chunk))

    def text(self) -> str:
        try:
            return self._value.decode()
        except UnicodeDecodeError as error:
            raise bad_request(f"{self.name[:40]}: not UTF-8", param=self.name[:40]) from error
