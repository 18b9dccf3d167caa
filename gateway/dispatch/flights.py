"""Jobs that are the same and asked for at the same time, sent once.

A flight owns the call. Whoever asks waits for it: the first, and all that come while it is under way. It ends with its
call, or when nobody waits any more, unless what is out is paid for already: then its answer is kept for the next. What
it brings, an error too, goes to those who wait then, and to nobody later.
"""

from __future__ import annotations

import asyncio
import dataclasses
from contextlib import ExitStack, nullcontext
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec.structs import replace

from gateway.dispatch.answers import ABANDONED, DEADLINE, Answer, Cached, InVain, heard_in_vain
from gateway.problems import Problem
from gateway.stages import Stage, timed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractContextManager

    from gateway.dispatch.means import Terms
    from gateway.drain import Drain
    from providers.types import Moment

MOST_LEFT: Final = 16
"""Calls of a process that go on for nobody, each holding its upload and its place; what is more is called off."""
_PAID: Final = frozenset({Cached.MISS, Cached.BYPASS})
_GRACE_S: Final = 1.0  # for a flight to say itself that its time is over, and of whom it was spent on


class Errand(msgspec.Struct, frozen=True, kw_only=True):
    """What a flight is for."""

    key: str
    call: Callable[[Terms], Awaitable[Answer]]  # its terms may be put off while it runs; raises Problem
    keep: Callable[[Answer], Awaitable[None]]  # what is done with a good answer, once those who wait have it
    hold: Callable[[], AbstractContextManager[None]]  # keeps what the call needs, should its first caller leave
    book: Callable[[Answer], None] | None = None  # told what came of a call that this caller left, and that was paid
    spent: Callable[[Answer], None] = lambda _: None  # told what this caller pays for besides, which brought nothing


class _Flight(msgspec.Struct, eq=False):
    terms: Terms
    began_until: Moment  # its calls began under this deadline, whatever it was put off to
    landing: asyncio.Future[Answer]
    errand: Errand  # of who began it
    waiting: int = 0
    is_accounted_for: bool = False  # somebody was told that the call was theirs, or left and pays it
    book: Callable[[Answer], None] | None = None  # of who pays it and has left
    task: asyncio.Task[None] | None = None
    held: ExitStack | None = None  # until the task ends


class Flights:
    """One process's."""

    def __init__(
        self, clock: Callable[[], float], drain: Drain, on_flight: Callable[[str], None] = lambda _: None
    ) -> None:
        """Begin with none.

        clock: that of the deadlines. drain: counts the calls that go on when their requests are over.
        on_flight: told of each who asks whether they led or joined.
        """
        self._clock = clock
        self._drain = drain
        self._on_flight = on_flight
        self._aloft: dict[str, _Flight] = {}
        self._left: set[_Flight] = set()  # once by all who waited, and going on
        self._group: asyncio.TaskGroup | None = None

    async def carry(self) -> None:
        """Own the calls until this is cancelled. Where it does not run, everybody makes a call of its own."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                await asyncio.Event().wait()
            finally:
                self._group = None

    def is_aloft(self, key: str) -> bool:
        """Tell whether whoever asks now would join."""
        return key in self._aloft

    async def answer(self, errand: Errand, own: Terms) -> Answer:
        """Return the answer, and whether it was joined. Raises Problem.

        own: what who asks is bound to. A flight's deadline is the latest of those who wait for it.
        """
        self._on_flight("joined" if errand.key in self._aloft else "led")
        while True:
            flight = self._aloft.get(errand.key)
            if flight is None and self._group is None:
                return await self._alone(errand, own)
            state = Cached.HIT if flight is not None and flight.landing.done() else Cached.JOINED
            waiting = nullcontext() if flight is None else timed(Stage.JOIN)  # one's own call has steps of its own
            flight = flight or self._begun(errand, own)
            flight.terms.put_off(own)
            try:
                with waiting:
                    answer = await self._landed(errand, flight, own)
            except Problem as problem:
                if problem.type == ABANDONED:
                    continue  # it failed just when this caller joined
                # A deadline that was over before one's own is another's: its call was never given the whole time.
                is_anothers = problem.type == DEADLINE and flight.began_until < own.deadline
                if not is_anothers or self._clock() >= own.deadline:
                    raise
                if isinstance(problem, InVain) and problem.paid is not None:
                    errand.spent(problem.paid)
                continue
            return _as_told(flight, answer, state)

    async def _alone(self, errand: Errand, own: Terms) -> Answer:
        answer = await errand.call(own)
        await errand.keep(answer)
        return answer

    def _begun(self, errand: Errand, own: Terms) -> _Flight:
        if self._group is None:
            raise RuntimeError("nobody carries flights")
        landing: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        flight = _Flight(own.anew(), own.deadline, landing, errand)
        flight.task = self._group.create_task(self._fly(errand, flight))
        self._aloft[errand.key] = flight
        return flight

    async def _fly(self, errand: Errand, flight: _Flight) -> None:
        """Call, and tell those who wait. Raises nothing: a fault of ours must not end the other flights."""
        try:
            answer = await errand.call(flight.terms)
            if not flight.landing.done():
                flight.landing.set_result(answer)
            if flight.book is not None and answer.cached in _PAID:
                flight.book(answer)
            await errand.keep(answer)
        except Exception as error:  # noqa: BLE001 - it goes to whoever waits
            if flight.book is not None and isinstance(error, InVain) and error.paid is not None:
                flight.book(error.paid)
            self._failed(flight, error)
        finally:
            flight.landing.cancel()  # which changes nothing where it has landed
            self._forget(errand.key, flight)

    @staticmethod
    def _failed(flight: _Flight, error: Exception) -> None:
        if flight.landing.done():
            asyncio.get_running_loop().call_exception_handler({"message": "answer not kept", "exception": error})
        else:
            flight.landing.set_exception(error)
            flight.landing.exception()  # perhaps nobody asks for it

    async def _landed(self, errand: Errand, flight: _Flight, own: Terms) -> Answer:
        """Wait, no longer than one's own deadline. Raises Problem."""
        flight.waiting += 1
        try:
            while not flight.landing.done() and (left_s := self._patience_s(flight, own)) > 0:
                await _done_in(flight.landing, left_s)
            return _outcome(flight)
        finally:
            flight.waiting -= 1
            if not flight.landing.done():
                self._left_by(errand, flight)

    def _patience_s(self, flight: _Flight, own: Terms) -> float:
        grace_s = _GRACE_S if flight.terms.deadline <= own.deadline else 0.0
        return own.deadline + grace_s - self._clock()

    def _left_by(self, errand: Errand, flight: _Flight) -> None:
        """Keep what the call needs of who began it; end a call that nobody waits for any more."""
        if errand is flight.errand:
            _held(flight).enter_context(errand.hold())
        if not flight.waiting:
            self._call_off(errand, flight)

    def _call_off(self, errand: Errand, flight: _Flight) -> None:
        """End a call that nobody waits for any more, unless it is paid for already; tell what others before it cost."""
        if flight.task is None or self._goes_on(errand, flight, flight.task):
            return
        self._forget(errand.key, flight)
        if paid := flight.terms.underway.paid:
            tell = flight.book or errand.spent
            tell(heard_in_vain(paid))
        flight.task.cancel()

    def _goes_on(self, errand: Errand, flight: _Flight, task: asyncio.Task[None]) -> bool:
        """Tell whether it goes on to its deadline without anybody: who left last pays it, whoever joins meanwhile."""
        has_room = flight in self._left or len(self._left) < MOST_LEFT
        if errand.book is None or self._drain.is_cutting or not has_room or not flight.terms.underway.abandon():
            return False
        if flight not in self._left:
            self._left.add(flight)
            held = _held(flight)
            held.callback(self._left.discard, flight)
            held.enter_context(self._drain.beside(task.cancel))
            flight.book, flight.is_accounted_for = errand.book, True
        return True

    def _forget(self, key: str, flight: _Flight) -> None:
        if self._aloft.get(key) is flight:
            del self._aloft[key]


async def _done_in(future: asyncio.Future[Answer], seconds: float) -> None:
    """Wait for it, so long at most. What `asyncio.wait` does for one future, at a third of its cost."""
    loop = asyncio.get_running_loop()
    woken = loop.create_future()

    def wake(*_: object) -> None:
        if not woken.done():
            woken.set_result(None)

    timer = loop.call_later(seconds, wake)
    future.add_done_callback(wake)
    try:
        await woken
    finally:
        timer.cancel()
        future.remove_done_callback(wake)


def _held(flight: _Flight) -> ExitStack:
    """Return what is let go of when the flight's task ends: few flights need any."""
    if flight.held is None:
        flight.held = held = ExitStack()
        if flight.task is not None:  # not in the task: one that is cancelled before its first step would never let go
            flight.task.add_done_callback(lambda _: held.close())
    return flight.held


def _as_told(flight: _Flight, answer: Answer, state: Cached) -> Answer:
    """Return the answer as one of those who waited is told it.

    What the flight found somewhere is that to all. What it asked for is the first one's who is still there, so that a
    call is counted once even where whoever began it has left; the others joined.
    """
    if answer.cached is not Cached.MISS:
        return answer
    if not flight.is_accounted_for:
        flight.is_accounted_for = True
        return answer
    return replace(answer, cached=state, age_s=0.0 if state is Cached.HIT else None)


def _as_failed(flight: _Flight, problem: Problem) -> Problem:
    """Return the problem as one of those who waited is told it: what was paid is the first one's, as an answer is."""
    if isinstance(problem, InVain):
        if flight.is_accounted_for:
            problem.paid = None
        flight.is_accounted_for = True
    return problem


def _outcome(flight: _Flight) -> Answer:
    """Return what it brought. Raises Problem: one's own copy, for each adds the way it went to what it raises."""
    if not flight.landing.done():
        raise Problem(
            status=504,
            type=DEADLINE,
            message="no answer before the deadline: others wait for the same one, and longer",
            headers={"x-should-retry": "false"},
        )
    if flight.landing.cancelled():
        raise TimeoutError("the process ends")  # as every request is told that is cut off then
    error = flight.landing.exception()
    if isinstance(error, Problem):
        raise _as_failed(flight, dataclasses.replace(error)) from error  # noqa: TID251 - of a dataclass
    return flight.landing.result()
