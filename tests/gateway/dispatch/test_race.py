"""Two attempts at once: the first good answer counts, and nothing is left running."""

from __future__ import annotations

import asyncio

import pytest

from gateway.dispatch.race import first_answer


class Runner:
    """An attempt that ends when the test says so."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.answer: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self.was_cancelled = False

    async def run(self) -> str | None:
        self.started.set()
        try:
            return await self.answer
        except asyncio.CancelledError:
            await asyncio.sleep(0)  # giving things back takes a moment
            self.was_cancelled = True
            raise


async def test_a_quick_first_has_no_rival() -> None:
    first, second = Runner(), Runner()
    first.answer.set_result("first")

    assert await first_answer(first.run(), second.run, 60) == "first"
    assert not second.started.is_set()


@pytest.mark.parametrize("winner", ["first", "second"])
async def test_the_first_good_answer_wins_and_the_other_is_cancelled_and_awaited(winner: str) -> None:
    runners = {"first": Runner(), "second": Runner()}
    async with asyncio.TaskGroup() as group:
        race = group.create_task(first_answer(runners["first"].run(), runners["second"].run, 0))
        await runners["second"].started.wait()
        runners[winner].answer.set_result(winner)

    assert race.result() == winner
    assert {name: each.was_cancelled for name, each in runners.items()} == {
        "first": winner != "first",
        "second": winner != "second",
    }


@pytest.mark.parametrize("winner", ["first", "second"])
async def test_one_that_fails_leaves_the_race_to_the_other(winner: str) -> None:
    runners = {"first": Runner(), "second": Runner()}
    loser = runners["second" if winner == "first" else "first"]
    async with asyncio.TaskGroup() as group:
        race = group.create_task(first_answer(runners["first"].run(), runners["second"].run, 0))
        await runners["second"].started.wait()
        loser.answer.set_result(None)
        await asyncio.sleep(0)
        assert not race.done()
        runners[winner].answer.set_result(winner)

    assert race.result() == winner


async def test_two_that_fail_are_no_answer() -> None:
    first, second = Runner(), Runner()
    second.answer.set_result(None)
    async with asyncio.TaskGroup() as group:
        race = group.create_task(first_answer(first.run(), second.run, 0))
        await second.started.wait()
        first.answer.set_result(None)

    assert race.result() is None


async def test_a_caller_who_leaves_ends_both() -> None:
    first, second = Runner(), Runner()
    async with asyncio.TaskGroup() as group:
        race = group.create_task(first_answer(first.run(), second.run, 0))
        await second.started.wait()
        race.cancel()

    assert race.cancelled()
    assert first.was_cancelled
    assert second.was_cancelled
