"""Reading a body under its limits: size refused while it arrives, a stalled or trickling sender told so."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import ClientPayloadError, StreamReader, hdrs, web

from gateway.problems import bad_request, stalled, too_large, unsupported_media

if TYPE_CHECKING:
    from gateway.problems import Problem


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """How much, and how slowly."""

    max_upload_bytes: int  # of audio
    idle_s: float  # without a byte
    min_rate: int  # bytes a second, on average, once idle_s have passed

    @property
    def max_json_bytes(self) -> int:
        """Base64 is 4/3 of the audio; the rest is parameters."""
        return self.max_upload_bytes * 4 // 3 + 65_536

    @property
    def max_form_bytes(self) -> int:
        return self.max_upload_bytes + 1_048_576

    def is_trickle(self, received_bytes: int, elapsed_s: float) -> bool:
        """Tell whether bytes arrive more slowly than they may."""
        return elapsed_s > self.idle_s and received_bytes < elapsed_s * self.min_rate


class Body:
    """A request's body, chunk by chunk, with the first bytes to look at before anything is decided."""

    def __init__(self, request: web.BaseRequest, limits: BodyLimits) -> None:
        """Raise Problem 415 for a compressed body, which could unpack to anything."""
        encoding = request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower()
        if encoding not in {"", "identity"}:
            raise unsupported_media("a body with Content-Encoding is not taken; send the audio as it is")
        self._stream: StreamReader = request.content
        self._announced = request.content_length or 0
        self._limits = limits
        self._clock = asyncio.get_running_loop().time
        self._started = self._clock()
        self._received = 0
        self._head = b""

    async def head(self, size: int) -> bytes:
        """Return the first bytes, at least `size` of them unless the body is shorter. They are not consumed."""
        while len(self._head) < size and (chunk := await self._next()):
            self._head += chunk
        return self._head

    async def chunk(self, max_bytes: int) -> bytes:
        """Return what has arrived since, b"" at the end. Raises Problem 413 as soon as the whole cannot fit, 408.

        No iterator: of those, asyncio keeps a list.
        """
        if self._announced > max_bytes:
            raise _too_large(max_bytes)
        chunk = self._head or await self._next()
        self._head = b""
        if self._received > max_bytes:
            raise _too_large(max_bytes)
        return chunk

    async def _next(self) -> bytes:
        """Return what has arrived, b"" at the end. Raises Problem 408, or 400 where it is no HTTP."""
        if self._stream.at_eof():
            return b""
        try:
            chunk = self._stream.read_nowait() or await self._awaited()
        except TimeoutError as error:
            raise stalled(f"no byte of the body arrived for {self._limits.idle_s:g} s") from error
        except (ClientPayloadError, web.RequestPayloadError) as error:
            raise bad_request("the body is not readable HTTP") from error
        self._received += len(chunk)
        if chunk and self._limits.is_trickle(self._received, self._clock() - self._started):
            raise stalled(f"the body arrives at less than {self._limits.min_rate} bytes a second")
        return chunk

    async def _awaited(self) -> bytes:
        """Wait for the next bytes: only then is there anything to time."""
        async with asyncio.timeout(self._limits.idle_s):
            return await self._stream.readany()


def _too_large(max_bytes: int) -> Problem:
    return too_large("the upload", f"the limit of {max_bytes} bytes")
