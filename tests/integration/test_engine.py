"""A gateway and engines elsewhere, over TCP, with real speech: killed, away, refused, busy."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from pydantic import SecretStr

from config.reliability import Strategy
from config.settings import AccountSettings, Route, Settings, Target
from config.settings import Server as ServerSettings
from gateway.drain import Drain
from gateway.hosting import Host
from gateway.standalone.door import Door
from providers.types import Transcript
from tests.conftest import sample, serve
from tests.engine import ENGINE_KEY, engine_program
from tests.gateway.workers.test_engine import HEARD, Model, budget
from tests.serving import NOT_KEPT, emulated_account, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from gateway.app import Gateway

    Emulate = Callable[..., Awaitable[str]]

MODEL = "openai/whisper-tiny.en"
SERVED = ("--model", "tiny.en")
CLIP, SAID = "sb_spk2_snt1.flac", "We are sure that one war is enough."


def engine_at(url: str, key: str | None = None) -> AccountSettings:
    return AccountSettings(adapter="engine", base_url=url, api_key=None if key is None else SecretStr(key))


def routed(accounts: dict[str, AccountSettings], *targets: str | Target, **route: Any) -> Settings:
    whole = tuple(Target(target=each) if isinstance(each, str) else each for each in targets)
    return Settings(
        server=ServerSettings(port=0),
        providers=accounts,
        models={MODEL: Route(targets=whole, **route)},
        cache=NOT_KEPT,
    )


class Caller:
    """Asks a gateway; each request has a connection of its own."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url, self.session = url, session

    async def ask(self, clip: str = CLIP) -> tuple[int, str, dict[str, Any]]:
        """Return the status, whose answer it was, and the answer."""
        async with self.session.post(f"{self.url}/models/{MODEL}", data=sample(clip)) as reply:
            return reply.status, reply.headers.get("X-Gateway-Provider", ""), await reply.json()


@asynccontextmanager
async def calling(settings: Settings) -> AsyncIterator[tuple[Caller, Gateway]]:
    connector = aiohttp.TCPConnector(force_close=True)
    async with running(settings) as (url, gateway), aiohttp.ClientSession(connector=connector) as session:
        yield Caller(url, session), gateway


async def known(gateway: Gateway, *names: str) -> None:
    """Return when the gateway knows what the models can do; pytest's own limit ends the wait."""
    while not all(gateway.fleet.local[each].ready for each in names):  # noqa: ASYNC110 - seen from outside
        await asyncio.sleep(0.02)


@pytest.mark.timeout(300)  # a model that hears a dozen clips on a machine that does other things too
async def test_an_engine_that_is_killed_under_load_loses_no_request() -> None:
    """One engine and nobody to stand in: what it was at is sent again, to its child's successor, and more comes."""
    async with (
        engine_program(*SERVED, key=ENGINE_KEY) as engine,
        calling(routed({"gpu": engine_at(engine.url, ENGINE_KEY)}, "gpu/tiny.en")) as (caller, gateway),
    ):
        assert (await caller.ask())[2] == {"text": SAID}
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(caller.ask()) for _ in range(9)]
            while not any(each.done() for each in asked):  # noqa: ASYNC110 - it is in the middle of them then
                await asyncio.sleep(0.01)
            killed = engine.kill_child()
            await engine.wait_for("engine_ended")
            asked += [group.create_task(caller.ask()) for _ in range(3)]
        told = [each.result() for each in asked]
        assert told == [(200, "gpu", {"text": SAID})] * 12
        assert engine.child != killed
        assert gateway.status() == "ready"


async def test_a_wrong_key_is_said_and_another_target_asked(emulate: Emulate) -> None:
    hub = emulated_account("deepinfra", await emulate("deepinfra"))
    targets = ("gpu/tiny.en", Target(target="hub/openai/whisper-large-v3", substitute=True))
    async with (
        engine_program(*SERVED, key=ENGINE_KEY) as engine,
        calling(routed({"gpu": engine_at(engine.url, "wrong"), "hub": hub}, *targets)) as (caller, gateway),
    ):
        assert (await caller.ask())[:2] == (200, "hub")
        assert gateway.fleet.missing == [f"gpu: the engine at {engine.url} refuses our key"]
        assert gateway.status() == "degraded"


async def test_an_engine_that_comes_later_is_found(emulate: Emulate) -> None:
    """The gateway starts without it, serves what others can, and asks it what it can do once it is there."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    hub = emulated_account("deepinfra", await emulate("deepinfra"))
    targets = ("gpu/tiny.en", Target(target="hub/openai/whisper-large-v3", substitute=True))
    accounts = {"gpu": engine_at(f"http://127.0.0.1:{port}"), "hub": hub}
    async with calling(routed(accounts, *targets)) as (caller, gateway):
        assert gateway.status() == "degraded"
        assert "cannot be reached" in gateway.fleet.missing[0]
        assert (await caller.ask())[:2] == (200, "hub")
        async with engine_program(*SERVED, port=port):
            await known(gateway, "gpu/tiny.en")
            assert (await caller.ask())[:2] == (200, "gpu")
            assert gateway.status() == "ready"
        assert (await caller.ask())[:2] == (200, "hub"), "gone again: the other stands in"


async def test_an_engine_that_is_away_alone_is_said_at_once() -> None:
    """Nobody holds the line for an engine that may never come."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with calling(routed({"gpu": engine_at(f"http://127.0.0.1:{port}")}, "gpu/tiny.en")) as (caller, _):
        status, _, body = await caller.ask()
        assert (status, body["type"]) == (502, "no-deployment")


# --- least_loaded


class Busy(Model):
    """Answers when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()

    async def transcribe(self, *args: Any) -> Transcript:
        self.waiting += 1
        try:
            self.seen.append(args[0])
            await self.go_on.wait()
        finally:
            self.waiting -= 1
        return HEARD


@asynccontextmanager
async def two_engines(fast: Busy, slow: Busy) -> AsyncIterator[dict[str, AccountSettings]]:
    """Serve the two as engines; give accounts at them."""
    runners: list[web.AppRunner] = []
    async with AsyncExitStack() as stack:
        urls = []
        for model in (fast, slow):
            host = Host(budget())
            host.models = {"tiny.en": model}
            urls.append(await serve(Door(host, Drain(), None).web_app(), runners))
        for each in runners:
            stack.push_async_callback(each.cleanup)
        yield {"fast": engine_at(urls[0]), "slow": engine_at(urls[1])}


async def test_the_least_loaded_is_asked_first() -> None:
    """Two engines, one slow: it gets as many calls as it can bear, and what comes next goes to the other."""
    fast, slow = Busy(), Busy()
    fast.go_on.set()
    async with (
        two_engines(fast, slow) as accounts,
        calling(routed(accounts, "slow/tiny.en", "fast/tiny.en", strategy=Strategy.LEAST_LOADED)) as (caller, _),
        asyncio.TaskGroup() as group,
    ):
        first: list[asyncio.Task[tuple[int, str, dict[str, Any]]]] = []
        while not slow.seen:
            first.append(group.create_task(caller.ask()))
            await asyncio.wait((first[-1],), timeout=0.2)
        told = [await caller.ask() for _ in range(8)]
        assert [each[:2] for each in told] == [(200, "fast")] * 8
        assert len(slow.seen) == 1
        slow.go_on.set()
    assert {each.result()[0] for each in first} == {200}


async def test_weights_say_how_many_each_bears() -> None:
    fast, slow = Busy(), Busy()
    targets = (Target(target="slow/tiny.en"), Target(target="fast/tiny.en", weight=3))
    async with (
        two_engines(fast, slow) as accounts,
        calling(routed(accounts, *targets, strategy=Strategy.LEAST_LOADED)) as (caller, _),
        asyncio.TaskGroup() as group,
    ):
        for count in range(1, 9):
            group.create_task(caller.ask())
            while len(fast.seen) + len(slow.seen) < count:  # noqa: ASYNC110 - seen from outside
                await asyncio.sleep(0.005)
        assert (len(fast.seen), len(slow.seen)) == (6, 2)
        fast.go_on.set()
        slow.go_on.set()


async def test_what_others_have_it_do_counts_too() -> None:
    """An engine says with each answer how much it has: this gateway's own calls are not all of it."""
    fast, slow = Busy(), Busy()
    fast.go_on.set()
    slow.go_on.set()
    async with (
        two_engines(fast, slow) as accounts,
        calling(routed(accounts, "slow/tiny.en", "fast/tiny.en", strategy=Strategy.LEAST_LOADED)) as (caller, gateway),
    ):
        slow.waiting = 1000  # of another gateway
        while not slow.seen:
            await caller.ask()
        assert gateway.fleet.local["slow/tiny.en"].capabilities is not None
        assert {(await caller.ask())[1] for _ in range(8)} == {"fast"}
