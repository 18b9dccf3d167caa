"""Calls that nobody waits for: what is sunk goes on, the rest is called off, and nothing more is begun."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from gateway.dispatch.underway import CalledOff, Underway
from providers.types import Deployment, Price
from tests.gateway.dispatch.conftest import deployment

if TYPE_CHECKING:
    from providers.exchange import Progress

DEAR = replace(deployment("a/dear"), price=Price(usd_per_minute=0.1))
FREE = replace(deployment("a/free"), price=Price(usd_per_minute=0.0))


class Call:
    """One that goes on until it is ended."""

    def __init__(self, underway: Underway, to: Deployment = DEAR, *, own_key: bool = False) -> None:
        self.begun: asyncio.Future[Progress] = asyncio.get_running_loop().create_future()
        self.done = asyncio.Event()
        self.was_called_off = False
        self.task = asyncio.get_running_loop().create_task(self._make(underway, to, own_key=own_key))

    async def _make(self, underway: Underway, to: Deployment, *, own_key: bool) -> None:
        try:
            with underway.call(to, own_key=own_key) as progress:
                self.begun.set_result(progress)
                await self.done.wait()
        except CalledOff:
            self.was_called_off = True

    async def ended(self) -> bool:
        """Let it end; tell whether it was called off."""
        await asyncio.sleep(0)
        self.done.set()
        await self.task
        return self.was_called_off


async def test_what_is_sunk_goes_on_and_what_races_it_does_not() -> None:
    underway = Underway()
    sunk, racing = Call(underway), Call(underway)
    (await sunk.begun).sunk()
    await racing.begun

    assert underway.abandon()
    assert [await sunk.ended(), await racing.ended()] == [False, True]


@pytest.mark.parametrize(("to", "own_key"), [(FREE, False), (deployment("a/unknown"), False), (DEAR, True)])
async def test_what_nobody_here_pays_for_is_not_sunk(to: Deployment, own_key: bool) -> None:  # noqa: FBT001 - a parameter
    underway = Underway()
    call = Call(underway, to, own_key=own_key)
    (await call.begun).sunk()

    assert not underway.abandon()
    assert not await call.ended(), "whoever asked ends it"


async def test_nothing_more_is_begun_until_somebody_waits_again() -> None:
    underway = Underway()
    sunk = Call(underway)
    (await sunk.begun).sunk()
    assert underway.abandon()
    assert await Call(underway).ended()

    underway.take_up()
    assert not await Call(underway).ended()
    assert not await sunk.ended()


async def test_what_can_be_cancelled_after_all_is_called_off() -> None:
    """A job that was being submitted has a name now, to cancel it by."""
    underway = Underway()
    submitted, waited_for = Call(underway), Underway()
    other = Call(waited_for)
    (await submitted.begun).sunk()
    assert underway.abandon()
    (await submitted.begun).revocable()
    (await other.begun).revocable()

    assert [await submitted.ended(), await other.ended()] == [True, False]


async def test_a_calls_own_timeout_passes_through() -> None:
    with pytest.raises(TimeoutError), Underway().call(DEAR, own_key=False):
        raise TimeoutError
