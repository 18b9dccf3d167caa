"""Another configuration without a restart: nobody in flight notices, and a bad one changes nothing."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import yaml

from config.settings import AccountSettings, Settings
from tests import faulty as upstreams
from tests.asking import MODEL, WAV
from tests.chaos.load import Client, metrics
from tests.program import Program, configuration, program
from tests.serving import routed, running

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Emulate = Callable[..., Awaitable[str]]


def write(folder: Path, document: dict[str, Any]) -> None:
    (folder / "gateway.yaml").write_text(yaml.safe_dump(document))


async def reload(client: aiohttp.ClientSession, served: Program) -> tuple[int, dict[str, Any]]:
    async with client.post(f"{served.url}/admin/reload") as reply:
        return reply.status, await reply.json()


async def ask(client: aiohttp.ClientSession, served: Program, path: str = f"/models/{MODEL}") -> tuple[int, str]:
    async with client.post(served.url + path, data=WAV) as reply:
        return reply.status, reply.headers.get("X-Gateway-Provider", "")


async def test_the_next_request_is_another_configurations(emulate: Emulate, tmp_path: Path) -> None:
    """Routes, accounts and the paths that pin them."""
    url = await emulate("hf-inference")
    async with (
        program(configuration({"one": url}, model=MODEL), tmp_path) as served,
        aiohttp.ClientSession() as client,
    ):
        assert await ask(client, served) == (200, "one")
        assert (await ask(client, served, f"/two/models/{MODEL}"))[0] == 404
        write(tmp_path, configuration({"two": url}, model=MODEL))
        assert await reload(client, served) == (200, {"status": "reloaded", "needs_restart": []})
        assert await ask(client, served) == (200, "two")
        assert await ask(client, served, f"/two/models/{MODEL}") == (200, "two")
        assert (await ask(client, served, f"/one/models/{MODEL}"))[0] == 404


async def test_what_is_in_flight_ends_as_it_began(emulate: Emulate, tmp_path: Path) -> None:
    url = await emulate("hf-inference")
    async with (
        upstreams.faulty(upstreams.slow) as slow,
        program(configuration({"one": slow.url}, model=MODEL), tmp_path) as served,
        aiohttp.ClientSession() as client,
    ):
        asked = asyncio.get_running_loop().create_task(ask(client, served))
        await slow.called.wait()
        write(tmp_path, configuration({"two": url}, model=MODEL))
        assert (await reload(client, served))[0] == 200
        assert await ask(client, served) == (200, "two")
        slow.go_on.set()
        assert await asked == (200, "one")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"modles": {}}, "did you mean models?"),
        ({"models": {MODEL: {"targets": ["nobody/x"]}}}, "names no account"),
        ({"providers": {"one": {"adapter": "hf-inference", "api_key": "${NOT_SET}"}}}, "NOT_SET is not set"),
    ],
)
async def test_d5_a_bad_file_changes_nothing(
    emulate: Emulate, tmp_path: Path, wrong: dict[str, Any], said: str
) -> None:
    good = configuration({"one": await emulate("hf-inference")}, model=MODEL)
    async with program(good, tmp_path) as served, aiohttp.ClientSession() as client:
        write(tmp_path, {**good, **wrong})
        status, told = await reload(client, served)
        assert (status, told["type"]) == (422, "bad-configuration")
        assert said in told["error"]
        assert await ask(client, served) == (200, "one")
        async with client.get(f"{served.url}/health/ready") as ready, client.get(f"{served.url}/status") as known:
            assert (ready.status, await ready.json()) == (200, {"status": "degraded"})
            assert said in (await known.json())["reload_error"]
        assert (await metrics(Client(served.url, client)))["asr_config_last_reload_successful"] == 0
        write(tmp_path, good)
        assert (await reload(client, served))[0] == 200
        assert (await metrics(Client(served.url, client)))["asr_config_last_reload_successful"] == 1
        await served.wait_for("reload_refused")


async def test_sighup_reloads_too(emulate: Emulate, tmp_path: Path) -> None:
    url = await emulate("hf-inference")
    async with (
        program(configuration({"one": url}, model=MODEL), tmp_path) as served,
        aiohttp.ClientSession() as client,
    ):
        shared: dict[str, Any] = {"limits": {"store": "redis"}, "redis": {}}
        write(tmp_path, configuration({"two": url}, model=MODEL, server={"keep_alive": "5s"}, **shared))
        served.process.send_signal(signal.SIGHUP)
        await served.wait_for("reloaded")
        assert await ask(client, served) == (200, "two")
        assert [line["needs_restart"] for line in served.lines if line["event"] == "reloaded"] == [
            ["server.keep_alive", "limits.store", "redis"]
        ]


async def test_what_is_known_of_a_deployment_stays(tmp_path: Path) -> None:
    """Its breaker is not forgotten because something else was changed; another account is another."""
    async with (
        upstreams.faulty(upstreams.answers(401, {"error": "no"})) as refuses,
        program(configuration({"one": refuses.url}, model=MODEL), tmp_path) as served,
        aiohttp.ClientSession() as client,
    ):
        document = configuration({"one": refuses.url}, model=MODEL)
        for _ in range(2):
            await ask(client, served)
        write(tmp_path, {**document, "server": {"max_upload": "1MiB"}})
        await reload(client, served)
        await ask(client, served)
        assert refuses.calls == 1
        document["providers"]["one"]["api_key"] = "another"
        write(tmp_path, document)
        await reload(client, served)
        await ask(client, served)
        assert refuses.calls == 2


async def test_a_local_model_that_stays_is_kept_and_one_that_goes_is_closed() -> None:
    first = _locally(("here", "tiny.en"), ("there", "tiny.en"))
    async with running(first) as (url, gateway), aiohttp.ClientSession() as session:
        here, there = gateway.fleet.local["here/tiny.en"], gateway.fleet.local["there/tiny.en"]
        await gateway.adopt(_locally(("here", "tiny.en")))
        assert gateway.fleet.local == {"here/tiny.en": here}
        assert (here.ready, there.ready) == (True, False)
        async with session.post(f"{url}/models/{MODEL}", data=WAV) as reply:
            assert (await reply.json())["text"]


async def test_a_local_model_that_goes_answers_what_it_began() -> None:
    async with running(_locally(("here", "tiny.en"))) as (url, gateway), aiohttp.ClientSession() as session:
        model = gateway.fleet.local["here/tiny.en"]
        asked = asyncio.get_running_loop().create_task(_text(session, url))
        while not model.waiting:  # noqa: ASYNC110 - a count has no event
            await asyncio.sleep(0.001)
        await gateway.adopt(_locally(("there", "tiny.en")))
        assert model.ready
        assert await asked
        assert not model.ready


async def _text(session: aiohttp.ClientSession, url: str) -> str:
    async with session.post(f"{url}/models/{MODEL}", data=WAV) as reply:
        return str((await reply.json())["text"])


def _locally(*targets: tuple[str, str]) -> Settings:
    """Return a configuration with a local account for each target's first half."""
    accounts = {account: AccountSettings(adapter="local") for account, _ in targets}
    return routed(MODEL, accounts, *(f"{account}/{native}" for account, native in targets))


async def test_a_local_model_that_is_not_there_is_a_bad_configuration(tmp_path: Path) -> None:
    document = {"providers": {"here": {"adapter": "local"}}, "models": {MODEL: _local("tiny.en")}}
    async with program(document, tmp_path) as served, aiohttp.ClientSession() as client:
        write(tmp_path, {**document, "models": {MODEL: _local("/nowhere/at/all")}})
        status, told = await reload(client, served)
        assert (status, told["type"]) == (422, "bad-configuration")
        assert await ask(client, served) == (200, "here")
        write(tmp_path, {"providers": {}, "models": {}})


def _local(native: str) -> dict[str, Any]:
    return {"targets": [{"target": f"here/{native}", "substitute": True}]}


async def test_l9_ten_reloads_a_second_lose_nothing(emulate: Emulate, tmp_path: Path) -> None:
    url = await emulate("hf-inference")
    async with (
        program(configuration({"one": url}, model=MODEL), tmp_path) as served,
        aiohttp.ClientSession() as session,
    ):
        client = Client(served.url, session)

        async def reloading() -> int:
            done = 0
            for at in range(20):
                write(tmp_path, configuration({f"account{at}": url}, model=MODEL))
                done += (await reload(session, served))[0] == 200
                await asyncio.sleep(0.1)
            return done

        async with asyncio.TaskGroup() as group:
            load = group.create_task(client.at_rate(40, 2.5))
            reloads = group.create_task(reloading())
        assert reloads.result() == 20
        assert {told.status for told in load.result()} == {200}
        assert len({told.provider for told in load.result()}) > 5
