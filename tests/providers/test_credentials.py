"""Tokens that end, over real sockets: one who gives them, and a service that believes the last one given."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from pydantic import SecretStr

from providers.authorize import bearer
from providers.credentials import Ask, Token, Tokens
from providers.errands import Errands
from providers.errors import AttemptTimedOut, CredentialsRejected, MalformedReply, ProviderUnavailable, by_status
from providers.exchange import HttpReply, HttpRequest
from providers.provider import Provider, one_call
from providers.transport import HttpProvider, ask, new_session
from providers.types import Account, Capabilities, Deployment, Moment, Transcript, TranscriptionJob
from tests.conftest import sample_audio, serve
from tests.faulty import refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def fetch(account: Account, ask: Ask) -> Token:
    """Ask the account's own giver of tokens."""
    reply = await ask(HttpRequest(method="POST", url=f"{account.options['tokens']}/token", body=(b"grant_type=any",)))
    if reply.status != 200:
        raise by_status("p", reply.status, "no token")
    try:
        given = json.loads(reply.body)
        return Token(secret=SecretStr(given["access_token"]), lasts_s=given["expires_in"])
    except ValueError as error:
        raise MalformedReply("p", "no token") from error


PROVIDER = Provider(
    name="p",
    base_urls={},
    key_variable=None,
    authorize=bearer,
    capabilities=lambda _: Capabilities(),
    transcribe=one_call(
        lambda _, to: HttpRequest(method="POST", url=f"{to.account.base_urls['api']}/hear"),
        lambda reply: Transcript(text=reply.body.decode()),
        lambda reply: by_status("p", reply.status, ""),
    ),
    fetch_token=fetch,
)


@dataclass
class World:
    """A giver of tokens, a service, and a client of both."""

    url: str = ""
    lasts_s: float = 3600.0
    status: int = 200
    given: int = 0  # tokens that were asked for
    believed: set[str] = field(default_factory=set)
    heard_with: list[str] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)  # while it is not set, who asks for a token waits
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    client: HttpProvider | None = None

    async def give(self, _: web.Request) -> web.StreamResponse:
        self.given += 1
        token = f"t{self.given}"
        self.waiting.set()
        await self.open.wait()
        if self.status == 200:
            self.believed.add(token)
        return web.json_response({"access_token": token, "expires_in": self.lasts_s}, status=self.status)

    async def hear(self, request: web.Request) -> web.StreamResponse:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        self.heard_with.append(token)
        return web.Response(text=token, status=200 if token in self.believed else 401)

    async def transcribe(
        self, *, within_s: float = 20.0, tokens: str | None = None, key: SecretStr | None = None
    ) -> str:
        options = {"tokens": tokens or self.url}
        account = Account(name="a", adapter="p", base_urls={"api": self.url}, options=options, api_key=key)
        job = TranscriptionJob(model="m", audio=sample_audio("slushy.mp3"))
        assert self.client
        deadline = Moment(asyncio.get_running_loop().time() + within_s)
        return (await self.client.transcribe(job, Deployment(account=account, native_model="m"), deadline)).text


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with a_world() as made:
        made.open.set()
        yield made


@asynccontextmanager
async def a_world() -> AsyncIterator[World]:
    made = World()
    app = web.Application()
    for path in ("/token", "/{tenant}/token"):
        app.router.add_post(path, made.give)
    app.router.add_post("/hear", made.hear)
    runners: list[web.AppRunner] = []
    made.url = await serve(app, runners)
    async with new_session() as session:
        made.client = HttpProvider(PROVIDER, session)
        try:
            yield made
        finally:
            made.open.set()
            await made.client.close()
    await runners[0].cleanup()


async def test_fifty_at_once_fetch_one_token(world: World) -> None:
    world.open.clear()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(world.transcribe()) for _ in range(50)]
        await world.waiting.wait()
        world.open.set()

    assert {task.result() for task in tasks} == {"t1"}
    assert (world.given, len(world.heard_with)) == (1, 50)


async def test_one_who_leaves_takes_the_token_from_nobody(world: World) -> None:
    world.open.clear()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(world.transcribe())
        second = group.create_task(world.transcribe())
        await world.waiting.wait()
        first.cancel()
        world.open.set()

    assert first.cancelled()
    assert (second.result(), world.given) == ("t1", 1)


async def test_a_token_is_renewed_before_it_ends_and_nobody_waits(world: World) -> None:
    """It lasts for two seconds: in the last fifth of them another is fetched, and the first one still serves."""
    world.lasts_s = 2.0
    assert await world.transcribe() == "t1"
    world.open.clear()
    world.waiting.clear()
    heard: list[str] = []
    while not world.waiting.is_set():
        heard.append(await world.transcribe())
    assert set(heard) == {"t1"}
    world.open.set()
    while (last := await world.transcribe()) == "t1":
        pass

    assert (last, world.given) == ("t2", 2)


async def test_a_renewal_that_fails_is_nobodys_error_while_the_token_is_good(world: World) -> None:
    world.lasts_s = 2.0
    assert await world.transcribe() == "t1"
    world.status = 503
    while world.given < 2:
        assert await world.transcribe() == "t1"
    world.status = 200
    while (last := await world.transcribe()) == "t1":
        pass

    assert (last, world.given) == ("t3", 3)  # not asked again and again meanwhile


@pytest.mark.parametrize(("status", "error"), [(401, CredentialsRejected), (500, ProviderUnavailable)])
async def test_a_failed_fetch_is_an_error_that_dispatch_knows(
    world: World, status: int, error: type[Exception]
) -> None:
    """Which one, whoever fetches says; all who wait hear it, and the next try may go well."""
    world.status = status
    world.open.clear()
    tasks = [asyncio.get_running_loop().create_task(world.transcribe()) for _ in range(5)]
    await world.waiting.wait()
    world.open.set()
    failed = await asyncio.gather(*tasks, return_exceptions=True)
    world.status = 200

    assert {type(each) for each in failed} == {error}
    assert not any("t1" in str(each) for each in failed)
    assert (world.given, world.heard_with) == (1, [])
    assert await world.transcribe() == "t2"


async def test_where_nobody_gives_tokens_the_provider_is_unavailable(world: World) -> None:
    with pytest.raises(ProviderUnavailable):
        await world.transcribe(tokens=await refused())


async def test_a_token_that_comes_too_late_costs_no_more_than_the_deadline(world: World) -> None:
    world.open.clear()
    with pytest.raises(AttemptTimedOut):
        await world.transcribe(within_s=0.1)
    world.open.set()

    assert await world.transcribe() == "t1"


async def test_a_token_that_is_refused_is_not_used_again(world: World) -> None:
    assert await world.transcribe() == "t1"
    world.believed.clear()
    with pytest.raises(CredentialsRejected):
        await world.transcribe()

    assert (await world.transcribe(), world.given) == ("t2", 2)


async def test_each_account_has_its_own(world: World) -> None:
    assert await world.transcribe() == "t1"
    assert await world.transcribe(tokens=f"{world.url}/another") == "t2"
    assert await world.transcribe() == "t1"


async def test_an_account_with_a_key_needs_no_token(world: World) -> None:
    world.believed.add("own")

    assert await world.transcribe(key=SecretStr("own")) == "own"
    assert world.given == 0


async def nobody(_: HttpRequest) -> HttpReply:
    raise AssertionError("asked")


async def test_tokens_of_many_keys_are_not_all_kept() -> None:
    """A caller's own key may be what a token is fetched with: there may be any number of them."""
    given = count(1)

    async def fetch_another(_: Account, __: Ask) -> Token:
        return Token(secret=SecretStr(f"t{next(given)}"), lasts_s=None)

    errands = Errands()
    loop = asyncio.get_running_loop()
    tokens = Tokens(provider="p", fetch=fetch_another, ask=nobody, errands=errands, clock=loop.time)
    deadline = Moment(loop.time() + 20)

    async def let_in(key: str) -> str:
        account = Account(name="a", adapter="p", base_urls={}, api_key=SecretStr(key))
        secret = (await tokens.let_in(account, deadline)).api_key
        assert secret
        return secret.get_secret_value()

    first = await let_in("first")
    for number in range(1001):
        await let_in(str(number))
        if number < 900:
            assert await let_in("first") == first

    assert await let_in("1000") == "t1002"
    assert await let_in("first") == first
    await errands.close()


@pytest.mark.parametrize("url", ["http://", "/token", "http://[", ""])
async def test_where_there_is_no_address_nobody_is_asked(url: str) -> None:
    async with new_session() as session:
        with pytest.raises(MalformedReply):
            await ask(session, "p", HttpRequest(method="GET", url=url))


def test_a_token_shows_in_no_repr() -> None:
    assert "t-secret" not in repr(Token(secret=SecretStr("t-secret"), lasts_s=None))
