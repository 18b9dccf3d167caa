"""One flight at a time for a key: who leads, who joins, what each is told, and what is never left behind."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from gateway.dispatch.answers import DEADLINE, Answer, Cached, InVain, Paid, abandoned, in_vain
from gateway.dispatch.flights import Errand, Flights
from gateway.dispatch.means import Terms
from gateway.drain import Drain
from gateway.problems import Problem
from providers.types import Moment, Price, Transcript
from tests.gateway.dispatch.conftest import deployment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

ANSWER = Answer(
    transcript=Transcript(text="hello"), deployment=deployment("a/m"), ignored=(), attempts=(), cached=Cached.MISS
)
PAID = Paid(deployment=ANSWER.deployment, transcript=ANSWER.transcript)


@dataclass(slots=True)
class Job:
    """What a flight is for, and what became of it."""

    outcome: Exception | None = None
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    kept_may_end: asyncio.Event = field(default_factory=asyncio.Event)
    calls: int = 0
    kept: int = 0
    held: int = 0

    def errand(self) -> Errand:
        return Errand(key="k", call=self._call, keep=self._keep, hold=self._hold)

    async def _call(self, terms: Terms) -> Answer:
        del terms
        self.calls += 1
        await self.go_on.wait()
        if self.outcome is not None:
            raise self.outcome
        return ANSWER

    async def _keep(self, answer: Answer) -> None:
        del answer
        await self.kept_may_end.wait()
        self.kept += 1

    @contextmanager
    def _hold(self) -> Iterator[None]:
        self.held += 1
        yield
        self.held -= 1


@asynccontextmanager
async def carried() -> AsyncIterator[Flights]:
    flights = Flights(asyncio.get_running_loop().time, Drain())
    async with asyncio.TaskGroup() as group:
        carrying = group.create_task(flights.carry())
        await asyncio.sleep(0)
        yield flights
        carrying.cancel()


def terms(seconds: float = 60.0) -> Terms:
    return Terms(deadline=Moment(asyncio.get_running_loop().time() + seconds))


async def test_who_comes_while_an_answer_is_being_kept_has_it_at_once() -> None:
    job = Job()
    job.go_on.set()
    async with carried() as flights:
        first = await flights.answer(job.errand(), terms())
        second = await flights.answer(job.errand(), terms())
        assert (first.cached, second.cached, second.age_s) == (Cached.MISS, Cached.HIT, 0.0)
        assert (job.calls, job.kept, job.held) == (1, 0, 0), "to keep an answer nothing of its caller's is needed"
    assert job.kept == 0, "the process ended first"


async def test_each_is_raised_a_problem_of_its_own() -> None:
    """One that several raise would gather the way of each."""
    job = Job(outcome=Problem(status=502, type="all-failed", message="no"))
    async with carried() as flights, asyncio.TaskGroup() as group:
        tasks = [group.create_task(_error(flights, job)) for _ in range(3)]
        await asyncio.sleep(0)
        job.go_on.set()
    problems = [task.result() for task in tasks]
    assert len({id(each) for each in problems}) == 3
    assert {str(each) for each in problems} == {"all-failed: no"}
    assert job.calls == 1


async def _error(flights: Flights, job: Job) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - looked at by the test
        await flights.answer(job.errand(), terms())
    return caught.value


async def test_who_joins_what_fails_because_all_had_left_asks_anew() -> None:
    job = Job(outcome=abandoned())
    async with carried() as flights, asyncio.TaskGroup() as group:
        joining = group.create_task(flights.answer(job.errand(), terms()))
        await asyncio.sleep(0)
        job.go_on.set()
        await asyncio.sleep(0)
        job.outcome = None
        assert ((await joining).cached, job.calls) == (Cached.MISS, 2)


async def test_what_was_paid_in_vain_is_told_to_one_of_those_who_wait() -> None:
    """Each of them would pay it else."""
    job = Job(outcome=in_vain(Problem(status=502, type="all-failed", message="no"), [PAID]))
    async with carried() as flights, asyncio.TaskGroup() as group:
        asking = [group.create_task(_error(flights, job)) for _ in range(3)]
        await asyncio.sleep(0)
        job.go_on.set()
    told = [each.result() for each in asking]

    assert [isinstance(each, InVain) and each.paid is not None for each in told].count(True) == 1
    assert {str(each) for each in told} == {"all-failed: no"}


async def test_what_was_paid_before_all_had_left_is_booked_where_no_answer_comes_of_it() -> None:
    booked: asyncio.Queue[Answer] = asyncio.Queue()
    go_on, sunk = asyncio.Event(), asyncio.Event()
    dear = replace(deployment("a/dear"), price=Price(usd_per_minute=0.1))

    async def call(bound: Terms) -> Answer:
        with bound.underway.call(dear, own_key=False) as progress:
            progress.sunk()
            sunk.set()
            await go_on.wait()
        raise abandoned(ANSWER)

    job = Job()
    errand = Errand(key="k", call=call, keep=job.errand().keep, hold=job.errand().hold, book=booked.put_nowait)
    async with carried() as flights, asyncio.TaskGroup() as group:
        leaving = group.create_task(flights.answer(errand, terms()))
        await sunk.wait()
        leaving.cancel()
        await asyncio.sleep(0)
        assert (flights.is_aloft("k"), booked.empty()) == (True, True)
        go_on.set()
        assert await booked.get() is ANSWER

    assert (booked.empty(), job.kept) == (True, 0)


async def test_what_was_paid_before_its_calls_were_over_is_told_to_who_left_last() -> None:
    """Nothing that is out is paid for, so that it ends; what was is not forgotten."""
    told: list[Answer] = []

    async def call(bound: Terms) -> Answer:
        bound.underway.paid.append(PAID)
        await asyncio.Event().wait()
        raise AssertionError

    errand = replace(Job().errand(), call=call, book=told.append, spent=told.append)
    async with carried() as flights, asyncio.TaskGroup() as group:
        asking = [group.create_task(flights.answer(errand, terms())) for _ in range(2)]
        await asyncio.sleep(0)
        for each in asking:
            assert not told
            each.cancel()
            await asyncio.wait((each,))
        assert not flights.is_aloft("k")
    assert [each.parts for each in told] == [(PAID,)]


async def test_who_asks_anew_pays_what_the_call_of_one_in_a_hurry_cost_in_vain() -> None:
    """Whoever began it has left by then."""
    late = Problem(status=504, type=DEADLINE, message="too late")
    job, told = Job(outcome=in_vain(late, [PAID])), list[Answer]()
    errand = replace(job.errand(), spent=told.append)
    async with carried() as flights, asyncio.TaskGroup() as group:
        hurried = group.create_task(flights.answer(job.errand(), terms(1.0)))
        await asyncio.sleep(0)
        patient = group.create_task(flights.answer(errand, terms()))
        await asyncio.sleep(0)
        hurried.cancel()
        job.go_on.set()
        await asyncio.sleep(0)
        job.outcome = None
        assert ((await patient).cached, job.calls) == (Cached.MISS, 2)
    assert [each.parts for each in told] == [(PAID,)]


async def test_a_fault_of_ours_does_not_end_other_flights() -> None:
    job, other = Job(outcome=RuntimeError("a mistake")), Job()
    job.go_on.set()
    async with carried() as flights, asyncio.TaskGroup() as group:
        waiting = group.create_task(flights.answer(Errand(**{**_parts(other), "key": "other"}), terms()))  # type: ignore[arg-type] # its own parts
        assert isinstance(await _error(flights, job), RuntimeError)
        other.go_on.set()
        assert (await waiting).cached is Cached.MISS


def _parts(job: Job) -> dict[str, object]:
    errand = job.errand()
    return {"call": errand.call, "keep": errand.keep, "hold": errand.hold}


async def test_what_a_call_needs_is_held_from_when_its_first_caller_leaves_until_it_has_ended() -> None:
    job, may_end = Job(), asyncio.Event()

    async def call(_: Terms) -> Answer:
        try:
            await job.go_on.wait()
        finally:
            await may_end.wait()
        return ANSWER

    errand = Errand(key="k", call=call, keep=job.errand().keep, hold=job.errand().hold)
    async with carried() as flights, asyncio.TaskGroup() as group:
        first = group.create_task(flights.answer(errand, terms()))
        joined = group.create_task(flights.answer(job.errand(), terms()))
        await asyncio.sleep(0)
        assert job.held == 0, "who waits holds it"
        for asking in (first, joined):
            asking.cancel()
            await asyncio.wait((asking,))
            assert job.held == 1
        may_end.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert job.held == 0


async def test_where_nobody_carries_flights_each_calls_alone() -> None:
    job = Job()
    job.go_on.set()
    job.kept_may_end.set()
    flights = Flights(asyncio.get_running_loop().time, Drain())
    answers = [await flights.answer(job.errand(), terms()) for _ in range(2)]
    assert [each.cached for each in answers] == [Cached.MISS, Cached.MISS]
    assert (job.calls, job.kept) == (2, 2)


async def test_the_end_of_the_process_is_a_timeout() -> None:
    job = Job()
    flights = Flights(asyncio.get_running_loop().time, Drain())
    async with asyncio.TaskGroup() as group:
        carrying = group.create_task(flights.carry())
        await asyncio.sleep(0)
        waiting = group.create_task(_error(flights, job))
        await asyncio.sleep(0)
        carrying.cancel()
    assert isinstance(waiting.result(), TimeoutError)
    assert job.held == 0
