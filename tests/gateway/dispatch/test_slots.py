"""Places at a deployment: never more than there are, in the order of asking, and none is lost."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dispatch.slots import Slots, take_one


def test_there_are_as_many_as_configured() -> None:
    slots = Slots(2)

    assert [slots.try_take() for _ in range(3)] == [True, True, False]
    slots.give_back()
    assert slots.try_take()


def test_no_limit_is_no_limit() -> None:
    slots = Slots(None)

    assert all(slots.try_take() for _ in range(1000))
    assert not slots.has_room_to_wait  # nobody has a reason to


@pytest.mark.parametrize(("limit", "asked", "room"), [(1, None, 1), (4, None, 2), (5, None, 3), (4, 0, 0), (4, 9, 9)])
def test_the_queue_is_half_as_long_as_there_are_places(limit: int, asked: int | None, room: int) -> None:
    slots = Slots(limit, asked)
    loop = asyncio.new_event_loop()
    joined = 0
    while slots.has_room_to_wait:
        slots.join(loop.create_future())
        joined += 1
    loop.close()

    assert joined == room


async def test_places_that_are_added_go_to_who_waits() -> None:
    slots = Slots(1)
    assert slots.try_take()
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(take_one([slots], 60)) for _ in range(3)]
        await asyncio.sleep(0)
        slots.resize(3)
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        assert (slots.taken, slots.waiting) == (3, 1)
        slots.resize(None)
    assert (slots.taken, slots.waiting) == (4, 0)


async def test_places_that_are_taken_away_are_given_to_nobody() -> None:
    slots = Slots(3)
    assert all(slots.try_take() for _ in range(3))
    slots.resize(1)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(take_one([slots], 60))
        await asyncio.sleep(0)
        for left in (2, 1):
            slots.give_back()
            assert (slots.taken, slots.waiting) == (left, 1)
        slots.give_back()
        assert await waiting is slots
    assert slots.taken == 1


async def test_a_place_goes_to_who_waited_longest() -> None:
    """And not to who happens to ask as it is given back."""
    slots, order = Slots(1), []
    assert slots.try_take()

    async def wait(name: str) -> None:
        assert await take_one([slots], 60) is slots
        order.append(name)

    async with asyncio.TaskGroup() as group:
        for name in "abc":
            group.create_task(wait(name))
            await asyncio.sleep(0)
        assert slots.waiting == 3
        for _ in range(3):
            slots.give_back()
            assert not slots.try_take()
            await asyncio.sleep(0)

    assert order == ["a", "b", "c"]
    assert (slots.taken, slots.waiting) == (1, 0)


async def test_one_who_waits_at_several_takes_the_first_and_leaves_the_others() -> None:
    one, two = Slots(1), Slots(1)
    assert one.try_take()
    assert two.try_take()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(take_one([one, two], 60))
        await asyncio.sleep(0)
        two.give_back()

    assert task.result() is two
    assert (one.waiting, two.waiting, one.taken, two.taken) == (0, 0, 1, 1)


async def test_a_wait_has_an_end() -> None:
    slots = Slots(1)
    assert slots.try_take()

    assert await take_one([slots], 0.01) is None
    assert slots.waiting == 0
    slots.give_back()
    assert slots.taken == 0


async def test_a_place_given_to_one_who_just_left_goes_on() -> None:
    slots = Slots(1)
    assert slots.try_take()
    async with asyncio.TaskGroup() as group:
        leaving = group.create_task(take_one([slots], 60))
        staying = group.create_task(take_one([slots], 60))
        await asyncio.sleep(0)
        slots.give_back()  # to the first ...
        leaving.cancel()  # ... who is cancelled before it can see it

    assert leaving.cancelled()
    assert staying.result() is slots
    slots.give_back()
    assert slots.taken == 0


@given(st.lists(st.sampled_from(["ask", "give", "leave", "turn"]), max_size=60), st.integers(1, 4))
def test_whatever_happens_no_place_is_lost(steps: list[str], limit: int) -> None:
    async def run() -> None:
        slots, held = Slots(limit), 0
        waiting: list[asyncio.Task[Slots | None]] = []
        for step in steps:
            if step == "ask":
                if slots.try_take():
                    held += 1
                else:
                    waiting.append(asyncio.get_running_loop().create_task(take_one([slots], 60)))
            elif step == "give" and held:
                held -= 1
                slots.give_back()
            elif step == "leave" and waiting:
                waiting[-1].cancel()
            elif step == "turn":
                await asyncio.sleep(0)
            assert slots.taken <= limit
        for task in waiting:
            task.cancel()
        got = await asyncio.gather(*waiting, return_exceptions=True)
        for _ in range(held + sum(each is slots for each in got)):
            slots.give_back()
        await asyncio.sleep(0)
        assert (slots.taken, slots.waiting) == (0, 0)

    asyncio.run(run())
