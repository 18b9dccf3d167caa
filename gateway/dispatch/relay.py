"""One call for all processes that share a Redis: who has the lease asks, the others wait for what it brings.

A leader that dies loses its lease in time, and exactly one takes its place. Where Redis is lost, each process asks for
itself.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import msgspec
from msgspec.structs import replace

from gateway.dispatch.answers import ABANDONED, DEADLINE, Answer, Cached
from gateway.problems import Problem, ProblemType
from gateway.stages import Stage, timed
from gateway.stores.kept import Kept
from gateway.stores.redis_cache import UNKNOWN, Where
from gateway.stores.shared import StoreLost

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.dispatch.means import Terms
    from gateway.stores.redis_cache import Look, RedisCache, Seen

_LEASE_S: Final = 5.0  # how long a process may stand still before another asks in its place
_RENEW_EVERY: Final = 0.3  # of it
_FIRST_WAIT_S: Final = 0.02
_LONGEST_WAIT_S: Final = 0.25
_WAIT_GROWS: Final = 1.5
_ASK_ANEW: Final = frozenset({DEADLINE, ABANDONED})


class Beforehand(msgspec.Struct):
    """What was seen with another step, before anybody asked for the job; of use once."""

    seen: Seen | None = None

    def taken(self) -> Seen | None:
        """Return it to the first who asks: a lease among it is that one's then."""
        seen, self.seen = self.seen, None
        return seen


class Relayed(msgspec.Struct, frozen=True, kw_only=True):
    """One job, and this process's part in it."""

    key: str
    fresh_s: float  # the age up to which a kept answer will do
    call: Callable[[Terms], Awaitable[Answer]]  # raises Problem
    read: Callable[[Kept | None], Awaitable[Answer | None]]  # a kept answer; None where it is none
    token: str = msgspec.field(default_factory=lambda: uuid4().hex)
    beforehand: Beforehand = msgspec.field(default_factory=Beforehand)


class _Told(msgspec.Struct, frozen=True, kw_only=True):
    """A Problem on its way."""

    status: int
    type: ProblemType
    message: str
    param: str | None = None
    headers: dict[str, str] = {}


class Relay:
    """One process's."""

    def __init__(self, store: RedisCache, clock: Callable[[], float], *, lease_s: float = _LEASE_S) -> None:
        self.store = store
        self._clock = clock
        self._lease_s = lease_s

    async def answer(self, job: Relayed, terms: Terms) -> Answer:
        """Return an answer that is kept, another process's, or one's own. Raises Problem."""
        followed, wait_s = "", _FIRST_WAIT_S
        while True:
            with timed(Stage.CACHE):
                seen = job.beforehand.taken() or await self._seen(job, followed)
            if seen.where is Where.UNKNOWN:
                return await self._read_or_called(job, await self.store.get_alone(job.key), terms)
            if seen.where is Where.LEAD:
                return await self._led(job, terms)
            if seen.where is Where.KEPT:
                kept = Kept(value=seen.value, age_s=seen.age_s)
                return await self._read_or_called(job, kept, terms, Cached.JOINED if followed else Cached.HIT)
            followed = self._after(seen, terms)
            with timed(Stage.JOIN):
                await asyncio.sleep(min(wait_s, max(0.0, terms.deadline - self._clock())))
            wait_s = min(wait_s * _WAIT_GROWS, _LONGEST_WAIT_S)

    async def keep(self, job: Relayed, value: bytes, keep_s: float) -> None:
        """Keep an answer of one's own, for those who wait and those to come."""
        await self.store.put(job.key, value, keep_s, job.token)

    def looking(self, job: Relayed, followed: str = "") -> Look:
        """Return the look for it, for who takes something else of the server with the same step."""
        return self.store.looking(
            job.key, fresh_s=job.fresh_s, token=job.token, lease_s=self._lease_s, followed=followed
        )

    async def let_go(self, job: Relayed) -> None:
        """Give back a lease that was taken beforehand, and that nobody has gone by."""
        seen = job.beforehand.taken()
        if seen is not None and seen.where is Where.LEAD:
            await self.leave(job)

    async def leave(self, job: Relayed) -> None:
        """Give back a lease, should it have been taken."""
        await self._given_back(job, None)

    async def _seen(self, job: Relayed, followed: str) -> Seen:
        try:
            return await self.store.look(self.looking(job, followed))
        except StoreLost:
            return UNKNOWN
        except asyncio.CancelledError:
            await self.leave(job)  # nobody knows
            raise

    async def _read_or_called(
        self, job: Relayed, kept: Kept | None, terms: Terms, state: Cached = Cached.HIT
    ) -> Answer:
        """Return the kept answer, or ask where there is none that can be read and is young enough."""
        answer = await job.read(kept)
        if kept is None or answer is None or kept.age_s > job.fresh_s:
            return await job.call(terms)
        return replace(answer, cached=state, age_s=kept.age_s if state is Cached.HIT else None)

    def _after(self, seen: Seen, terms: Terms) -> str:
        """Return the token of the call to wait for now. Raises Problem: that of the one waited for, or for the time."""
        is_late = self._clock() >= terms.deadline
        if seen.where is Where.FAILED:
            problem = _read_problem(seen.value)
            if is_late or (problem is not None and problem.type not in _ASK_ANEW):
                raise problem or _too_late()
            return ""  # its time was over, all had left it, or it cannot be told why: ask in its place
        if is_late:
            raise _too_late()
        return seen.value.decode(errors="replace")

    async def _led(self, job: Relayed, terms: Terms) -> Answer:
        """Ask for all. An error is told to those who wait; the answer is, by who keeps it."""
        outcome: Answer | Problem | None = None
        try:
            async with asyncio.TaskGroup() as group:
                renewing = group.create_task(self._renewed(job))
                try:
                    outcome = await _tried(job, terms)
                finally:
                    renewing.cancel()
        finally:
            if not isinstance(outcome, Answer):
                await self._given_back(job, outcome)
        if isinstance(outcome, Problem):
            raise outcome
        return outcome

    async def _renewed(self, job: Relayed) -> None:
        while True:
            await asyncio.sleep(self._lease_s * _RENEW_EVERY)
            with suppress(StoreLost):  # perhaps it is back before the lease is over
                await self.store.renew(job.key, job.token, self._lease_s)

    async def _given_back(self, job: Relayed, problem: Problem | None) -> None:
        with suppress(StoreLost):  # the lease ends by itself
            if problem is None:
                await self.store.leave(job.key, job.token)
            else:
                await self.store.fail(job.key, job.token, _write_problem(problem))


async def _tried(job: Relayed, terms: Terms) -> Answer | Problem:
    """Return what came of it: raised in a group, a Problem would be wrapped."""
    try:
        return await job.call(terms)
    except Problem as problem:
        return problem


def _too_late() -> Problem:
    return Problem(
        status=504,
        type=DEADLINE,
        message="no answer before the deadline: another gateway still waits for it",
        headers={"x-should-retry": "false"},
    )


def _write_problem(problem: Problem) -> bytes:
    told = _Told(
        status=problem.status,
        type=problem.type,
        message=problem.message,
        param=problem.param,
        headers=dict(problem.headers),
    )
    return msgspec.msgpack.encode(told)


def _read_problem(value: bytes) -> Problem | None:
    try:
        told = msgspec.msgpack.decode(value, type=_Told)
    except msgspec.DecodeError:
        return None
    return Problem(status=told.status, type=told.type, message=told.message, param=told.param, headers=told.headers)
