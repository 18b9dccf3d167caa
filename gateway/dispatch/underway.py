"""One job's calls that are out now, and which of them go on when nobody waits for the job any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.cut import Cut
from gateway.dispatch.routes import is_paid
from providers.exchange import Progress

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from types import TracebackType

    from gateway.dispatch.answers import Paid
    from providers.types import Deployment


class CalledOff(Exception):
    """Nobody waits for the call, and it was not too late to save what it costs."""


class _Call(Cut):
    """One call, made within this. A class, and no generator: it is a third of the cost."""

    __slots__ = ("_is_paid", "_of", "_progress")

    def __init__(self, of: Underway, *, is_paid: bool) -> None:
        self._of = of
        self._is_paid = is_paid
        self._progress = Progress(on_revocable=self._revocable)

    @property
    def is_sunk(self) -> bool:
        return self._is_paid and self._progress.is_sunk

    def __enter__(self) -> Progress:  # type: ignore[override] # more than nothing
        if self._of.is_abandoned:
            raise CalledOff
        Cut.__enter__(self)
        self._of.calls.add(self)
        return self._progress

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._of.calls.discard(self)
        self._progress.on_revocable = None  # or the two would wait for the garbage collector
        try:
            Cut.__exit__(self, kind, error, traceback)
        except TimeoutError as late:  # by `now`: what is raised within goes its own way
            raise CalledOff from late

    def _revocable(self) -> None:
        if self._of.is_abandoned:
            self.now()


class Underway:
    """One job's."""

    def __init__(self) -> None:
        self.is_abandoned = False  # nobody waits: no call is begun, and none goes on that could be called off
        self.calls: set[_Call] = set()
        self.paid: list[Paid] = []  # calls that are over and billed, whatever became of the job

    def call(self, to: Deployment, *, own_key: bool) -> AbstractContextManager[Progress]:
        """Make a call within this. Raises CalledOff.

        own_key: the caller pays it, and knows what it does.
        """
        return _Call(self, is_paid=is_paid(to) and not own_key)

    def abandon(self) -> bool:
        """Tell whether anything is paid for already and goes on; call off what is not, and begin nothing more."""
        if not any(each.is_sunk for each in self.calls):
            return False
        self.is_abandoned = True
        for each in self.calls:
            if not each.is_sunk:
                each.now()
        return True

    def take_up(self) -> None:
        """Note that somebody waits again."""
        self.is_abandoned = False
