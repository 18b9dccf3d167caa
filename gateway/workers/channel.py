"""Questions and answers between a parent and its child, over a socket pair that only they have.

Values are pickled: both ends are this program, started by one another, and configuration holds secrets that no other
form would carry. A frame is its length in four bytes, then (number, what, value).
"""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import struct
from itertools import count
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from gateway.logs import LOG

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Mapping

_LENGTH: Final = struct.Struct("!I")
_ANSWER: Final = ""
_FAILED: Final = "!"

Answers: TypeAlias = "Mapping[str, Callable[[Any], Awaitable[object]]]"
"""What each question is answered by."""


class ChannelClosed(ConnectionError):
    """The other process is gone."""


class QuestionFailed(RuntimeError):
    """The other process could not answer; its log says why."""


class Channel:
    """One end. Whoever opens it runs `serve`."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._numbers = count(1)
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._reader: asyncio.StreamReader | None = None

    async def open(self, end: socket.socket) -> None:
        self._reader, self._writer = await asyncio.open_unix_connection(sock=end)

    async def ask(self, what: str, value: object = None) -> Any:  # noqa: ANN401 - as the other end answers
        """Return the other end's answer. Raises ChannelClosed, QuestionFailed."""
        number = next(self._numbers)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            self._send(number, what, value)
            return await answer
        finally:
            del self._asked[number]

    def tell(self, what: str, value: object = None) -> None:
        """Say something that nobody waits to be answered."""
        with contextlib.suppress(ChannelClosed):
            self._send(0, what, value)

    async def serve(self) -> None:
        """Answer until the other end is gone. What is not answered by then is asked by nobody, and left."""
        answering: set[asyncio.Task[None]] = set()
        try:
            async with asyncio.TaskGroup() as group:
                while (frame := await self._frame()) is not None:
                    number, what, value = frame
                    if what in {_ANSWER, _FAILED}:
                        self._settle(number, what, value)
                    else:
                        task = group.create_task(self._answered(number, what, value))
                        answering.add(task)
                        task.add_done_callback(answering.discard)
                for task in answering:
                    task.cancel()
        finally:
            for each in self._asked.values():
                if not each.done():
                    each.set_exception(ChannelClosed("the other process is gone"))
            self.close()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    async def _answered(self, number: int, what: str, value: object) -> None:
        try:
            answer, kind = await self._answers[what](value), _ANSWER
        except Exception as error:  # noqa: BLE001 - it goes to whoever asked: the channel must outlive a question
            LOG.exception("question_failed", extra={"fields": {"question": what}})
            answer, kind = type(error).__name__, _FAILED
        if number:
            with contextlib.suppress(ChannelClosed):
                self._send(number, kind, answer)

    def _settle(self, number: int, what: str, value: object) -> None:
        asked = self._asked.get(number)
        if asked is None or asked.done():
            return
        if what == _FAILED:
            asked.set_exception(QuestionFailed(str(value)))
        else:
            asked.set_result(value)

    async def _frame(self) -> tuple[int, str, Any] | None:
        if self._reader is None:
            raise ChannelClosed("not open")
        try:
            (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
            frame: tuple[int, str, Any] = pickle.loads(await self._reader.readexactly(length))  # noqa: S301 - ours
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        return frame

    def _send(self, number: int, what: str, value: object) -> None:
        if self._writer is None or self._writer.is_closing():
            raise ChannelClosed("the other process is gone")
        frame = pickle.dumps((number, what, value))
        self._writer.write(_LENGTH.pack(len(frame)) + frame)
