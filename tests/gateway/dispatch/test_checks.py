"""Asking deployments that nobody called: who is asked, with what, and what is made of the answer."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from config.reliability import Deadline
from gateway.dispatch.checks import SAMPLE_S, Checks, due, silence
from gateway.dispatch.service import Dispatcher
from providers.audio.headers import duration_s
from providers.errors import CredentialsRejected, ProviderUnavailable
from providers.types import Capabilities, Transcript
from tests.gateway.dispatch.conftest import Backend, World, deployment, reliability

if TYPE_CHECKING:
    from collections.abc import Sequence

    from providers.types import Deployment

HEARD = Transcript(text="")


class Fleet:
    """Backends of a world."""

    def __init__(self, world: World, capabilities: Capabilities | None) -> None:
        self._world = world
        self._capabilities = capabilities

    def backend(self, to: Deployment) -> Backend:
        return self._world.backends[to.name]

    def capabilities(self, to: Deployment) -> Capabilities | None:
        del to
        return self._capabilities

    def others(self, deployment: Deployment) -> float:
        del deployment
        return 0.0

    async def wait_loaded(self, deployments: Sequence[Deployment]) -> None:
        del deployments


async def checked(world: World, capabilities: Capabilities | None = None) -> list[tuple[str, Exception]]:
    """Check a/b once; return the mistakes of ours that came to light."""
    told: list[tuple[str, Exception]] = []
    means = world.means()
    fleet = Fleet(world, capabilities or Capabilities())
    dispatcher = Dispatcher(fleet=fleet, deadline=Deadline(), means=means, today=lambda: date(2026, 1, 1))
    checks = Checks(lambda: dispatcher, lambda to, error: told.append((to.name, error)), lambda _: None)
    await checks.check(dispatcher, deployment("a/b"))
    return told


def world_of(*answers: Transcript | Exception, every: str | None = "1m") -> World:
    return World({"a/b": Backend(list(answers))}, reliability(check_every=every))


def test_the_sample_is_half_a_second() -> None:
    audio = silence()
    assert audio.duration_s == duration_s(audio.content, audio.container) == SAMPLE_S


async def test_a_check_says_how_it_is_and_not_how_fast() -> None:
    """Half a second is all overhead: as a pace it would look slow beside real audio."""
    world = world_of(HEARD)
    await checked(world)
    assert (world.kinds, world.counted) == (["check"], [("a/b", "ok")])
    assert world.health[deployment("a/b")].pace is None
    assert list(due(world.means())) == []
    world.now += 60
    assert list(due(world.means())) == [deployment("a/b")]


async def test_a_failed_check_is_made_once_and_counts() -> None:
    """Neither the caller's retries nor another opinion: the next check is soon enough."""
    world = world_of(*[ProviderUnavailable("a", "down")] * 5)
    for _ in range(5):
        await checked(world)
    assert (world.kinds, world.slept) == (["check"] * 5, [])
    assert world.state("a/b") == "open"


async def test_a_mistake_of_ours_is_told_and_ends_nothing() -> None:
    """A request that met it would be told 500; a check is asked for by nobody, and runs beside all of them."""
    mistake = TypeError("in an adapter")
    world = world_of(mistake)

    assert await checked(world) == [("a/b", mistake)]
    assert (world.counted, world.state("a/b")) == ([("a/b", "error")], "closed")


async def test_a_refused_key_is_found_before_a_caller_finds_it() -> None:
    world = world_of(CredentialsRejected("a", "no"))
    await checked(world)
    assert world.health[deployment("a/b")].condition("a/b", world.now).why == "credentials"


async def test_what_was_left_alone_is_asked_as_soon_as_it_may_be() -> None:
    world = world_of(*[ProviderUnavailable("a", "down")] * 5, HEARD)
    for _ in range(5):
        await checked(world)
    assert list(due(world.means())) == []
    world.now += 5
    assert list(due(world.means())) == [deployment("a/b")]
    await checked(world)
    assert world.state("a/b") == "closed"


async def test_a_model_that_is_not_there_is_not_asked() -> None:
    world = world_of(HEARD)
    means = world.means()
    dispatcher = Dispatcher(fleet=Fleet(world, None), deadline=Deadline(), means=means, today=date.today)
    await Checks(lambda: dispatcher, lambda *_: None, lambda _: None).check(dispatcher, deployment("a/b"))
    assert world.kinds == []


async def test_who_is_full_is_not_asked() -> None:
    """Long calls take all its places: checks would fill the queue that callers wait in."""
    world = world_of(HEARD)
    world.know(replace(deployment("a/b"), max_concurrent=1))
    call = world.health[deployment("a/b")].try_begin(world.now)
    assert call is not None
    world.now += 60
    assert list(due(world.means())) == []
    call.end(world.now)
    assert [each.name for each in due(world.means())] == ["a/b"]


@pytest.mark.parametrize(("every", "adapter"), [(None, "fal-ai"), ("1m", "local")])
def test_nobody_is_due(every: str | None, adapter: str) -> None:
    """Off unless configured; and a model on this machine says itself how it is."""
    world = world_of(every=every)
    world.know(deployment("a/b", adapter))
    assert list(due(world.means())) == []
