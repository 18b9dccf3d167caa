"""What is answered in one piece, which is nearly everything."""

from __future__ import annotations

from email.utils import formatdate
from functools import lru_cache
from time import monotonic
from typing import TYPE_CHECKING

from aiohttp import HttpVersion11, hdrs, web

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp.abc import AbstractStreamWriter


class Response(web.StreamResponse):
    """A body that is there, sent with its headers in one step.

    aiohttp's own can be streamed, compressed and given cookies, and asks itself about each: it takes three times as
    long.
    """

    def __init__(
        self, body: bytes, content_type: str, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status=status, headers=headers)
        self.headers[hdrs.CONTENT_TYPE] = content_type
        self.body = body

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Note whom it answers; `write_eof`, which the server calls next, does the rest."""
        self._request = request
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Send it. data: for signature's sake; there is nothing more to send than the body."""
        request, headers, version = self._request, self.headers, self._request.version
        headers[hdrs.CONTENT_LENGTH] = str(len(self.body))
        headers[hdrs.DATE] = _date(int(monotonic()))
        if self.keep_alive is not (version >= HttpVersion11):  # otherwise than goes without saying
            headers[hdrs.CONNECTION] = "keep-alive" if self.keep_alive else "close"
        writer = request.writer
        await writer.write_headers(f"HTTP/{version.major}.{version.minor} {self.status} {self.reason}", headers)
        await writer.write_eof(data if request.method == hdrs.METH_HEAD else self.body)

    @property
    def keep_alive(self) -> bool:
        """Tell whether the connection stays open, as the server asks when it is sent."""
        return super().keep_alive is not False and self._request.keep_alive


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    """Return the time as HTTP writes it. It is written once a second."""
    del second
    return formatdate(usegmt=True)
