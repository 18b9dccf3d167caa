"""Ending from outside what runs inside, without a time by which it must be over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType


class Cut:
    """Raises TimeoutError in what runs inside, once it is told to.

    What `asyncio.timeout(None)` is when it is rescheduled to now, at a third of its cost: nothing is looked at again
    where nobody has said anything, which is nearly always so.
    """

    __slots__ = ("_cancelling", "_is_due", "_soon", "_task")

    def __enter__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("only a task can be cut off")
        self._task, self._cancelling = task, task.cancelling()
        self._soon: asyncio.Handle | None = None
        self._is_due = False

    def now(self) -> None:
        """Cut it off, when the loop has come round: whoever says so may be what runs inside."""
        if self._soon is None:
            self._soon = self._task.get_loop().call_soon(self._cancel)

    def _cancel(self) -> None:
        self._is_due = True
        self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._soon is None:
            return
        self._soon.cancel()
        # Somebody else may have cancelled the task meanwhile: that is not ours to swallow.
        if self._is_due and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error
