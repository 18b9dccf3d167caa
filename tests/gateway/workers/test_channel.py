"""Questions between two processes: answered in any order, told when the other end is gone."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from gateway.workers.channel import Channel, ChannelClosed, QuestionFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.workers.channel import Answers


async def echo(value: Any) -> Any:
    return value


@asynccontextmanager
async def pair(answers: Answers) -> AsyncIterator[tuple[Channel, Channel]]:
    """Give who asks and who answers."""
    asking, answering = Channel({"echo": echo}), Channel(answers)
    ends = socket.socketpair()
    await asking.open(ends[0])
    await answering.open(ends[1])
    async with asyncio.TaskGroup() as group:
        group.create_task(asking.serve())
        group.create_task(answering.serve())
        yield asking, answering
        asking.close()
        answering.close()


@pytest.mark.parametrize("value", [None, "a", {"b": [1, 2.5]}, b"x" * 3_000_000])
async def test_a_question_is_answered(value: object) -> None:
    async with pair({"echo": echo}) as (asking, answering):
        assert await asking.ask("echo", value) == value
        assert await answering.ask("echo", value) == value


async def test_a_slow_answer_holds_up_no_other() -> None:
    go = asyncio.Event()

    async def slow(_: object) -> str:
        await go.wait()
        return "slow"

    async with pair({"echo": echo, "slow": slow}) as (asking, _), asyncio.TaskGroup() as group:
        waiting = group.create_task(asking.ask("slow"))
        assert await asking.ask("echo", 1) == 1
        assert not waiting.done()
        go.set()
        assert await waiting == "slow"


async def test_a_question_may_be_asked_while_one_is_answered() -> None:
    """A reload asked for by a worker comes back to it before its own question is answered."""
    ends: list[Channel] = []

    async def ask_back(value: object) -> object:
        return await ends[1].ask("echo", value)

    async with pair({"ask back": ask_back}) as both:
        ends.extend(both)
        assert await both[0].ask("ask back", 7) == 7


async def test_one_that_cannot_be_answered_fails_and_the_next_is_answered() -> None:
    async def wrong(_: object) -> None:
        raise ValueError("a secret")

    async with pair({"echo": echo, "wrong": wrong}) as (asking, _):
        with pytest.raises(QuestionFailed, match=r"^ValueError$"):
            await asking.ask("wrong")
        assert await asking.ask("echo", 1) == 1


async def test_who_asks_is_told_that_the_other_is_gone() -> None:
    async def never(_: object) -> None:
        await asyncio.Event().wait()

    asking = Channel({})
    ours, theirs = socket.socketpair()
    await asking.open(ours)
    async with asyncio.TaskGroup() as group:
        group.create_task(asking.serve())
        waiting = group.create_task(_refused(asking))
        await asyncio.sleep(0)
        theirs.close()
        assert await waiting
    with pytest.raises(ChannelClosed):
        await asking.ask("anything")
    asking.tell("anything")  # nobody waits for it


async def test_an_answer_that_takes_for_ever_ends_with_whoever_asked() -> None:
    """Else a process would outlive its parent for as long as a model loads."""
    asked, left = asyncio.Event(), asyncio.Event()

    async def never(_: object) -> None:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()

    answering = Channel({"never": never})
    ours, theirs = socket.socketpair()
    await answering.open(ours)
    asking = Channel({})
    await asking.open(theirs)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(answering.serve())
        asking.tell("never")
        await asked.wait()
        asking.close()
    assert left.is_set()


async def _refused(asking: Channel) -> bool:
    with pytest.raises(ChannelClosed):
        await asking.ask("never")
    return True
