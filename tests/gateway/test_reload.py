"""Another configuration without a restart: nobody in flight notices, and a bad one changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import yaml

from config.faults import BadConfiguration
from config.settings import AccountSettings, Settings
from gateway.app import Gateway
from providers.local.models import ModelMissing, locate
from providers.local.provider import LocalModel
from providers.types import Transcript, TranscriptionJob
from tests import faulty as upstreams
from tests.asking import MODEL, WAV
from tests.chaos.load import Client, metrics
from tests.conftest import sample_audio
from tests.engines import Echo
from tests.program import OPERATOR, Program, configuration, program
from tests.serving import routed, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from gateway.fleet import LocalBackend
    from providers.local.engine import Piece
    from providers.types import Deployment

    Emulate = Callable[..., Awaitable[str]]


def write(folder: Path, document: dict[str, Any]) -> None:
    (folder / "gateway.yaml").write_text(yaml.safe_dump(document))


async def reload(client: aiohttp.ClientSession, served: Program) -> tuple[int, dict[str, Any]]:
    async with client.post(f"{served.url}/admin/reload", headers=OPERATOR) as reply:
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


async def test_what_is_still_being_sent_ends_as_it_began(emulate: Emulate, tmp_path: Path) -> None:
    """Its deployment is in no configuration any more when it comes to be asked."""
    url = await emulate("hf-inference")
    async with (
        program(configuration({"one": url}, model=MODEL), tmp_path) as served,
        aiohttp.ClientSession() as client,
    ):
        go_on = asyncio.Event()

        async def upload() -> AsyncIterator[bytes]:
            yield WAV[:1000]
            await go_on.wait()
            yield WAV[1000:]

        async def asked() -> tuple[int, str]:
            async with client.post(f"{served.url}/models/{MODEL}", data=upload()) as reply:
                return reply.status, reply.headers.get("X-Gateway-Provider", "")

        asking = asyncio.get_running_loop().create_task(asked())
        while (await metrics(Client(served.url, client)))["asr_requests_in_flight"] < 2:  # noqa: ASYNC110 - from outside
            await asyncio.sleep(0.01)
        write(tmp_path, configuration({"two": url}, model=MODEL))
        assert (await reload(client, served))[0] == 200
        go_on.set()
        assert await asking == (200, "one")


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
        stores = {"cache": {"store": "memory"}, "limits": {"store": "redis"}, "redis": {}, "usage": {"keep": "1d"}}
        elsewhere = {"server": {"keep_alive": "5s"}, **stores}
        write(tmp_path, {**configuration({"two": url}, model=MODEL), **elsewhere})
        served.process.send_signal(signal.SIGHUP)
        await served.wait_for("reloaded")
        assert await ask(client, served) == (200, "two")
        assert [line["needs_restart"] for line in served.lines if line["event"] == "reloaded"] == [
            ["server.keep_alive", "cache.store", "limits.store", "redis", "usage"]
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
        await _closed(there)
        assert here.ready
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
        await _closed(model)


async def test_a_local_model_that_goes_two_configurations_later_answers_too() -> None:
    """The one in between had no request: the model is not closed with it."""
    async with running(_locally(("here", "tiny.en"))) as (url, gateway), aiohttp.ClientSession() as session:
        model = gateway.fleet.local["here/tiny.en"]
        asked = asyncio.get_running_loop().create_task(_text(session, url))
        while not model.waiting:  # noqa: ASYNC110 - a count has no event
            await asyncio.sleep(0.001)
        await gateway.adopt(_locally(("here", "tiny.en"), ("there", "tiny.en")))
        await gateway.adopt(_locally(("there", "tiny.en")))
        assert model.ready
        assert await asked
        await gateway.alone()
        await _closed(model)


async def test_a_local_model_that_goes_is_closed_beside_the_requests() -> None:
    """Its worker may still be at a window that nobody waits for any more."""
    engine = Stubborn()
    gateway = Gateway(_locally(("here", "tiny.en")), make_local=lambda to, _: LocalModel(to.name, lambda _: engine))
    await gateway.fleet.load()
    model = gateway.fleet.local["here/tiny.en"]
    job = TranscriptionJob(model=MODEL, audio=sample_audio("slushy.wav"))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.1):
            await gateway.dispatcher.transcribe(job, gateway.routes.resolve(MODEL))
    assert engine.begun.is_set()
    await gateway.adopt(_locally(("there", "tiny.en")))
    await _closed(model)
    assert not engine.go_on.is_set()
    engine.go_on.set()
    await gateway.close()


async def test_what_was_loaded_for_a_reload_that_is_refused_is_let_go_of() -> None:
    """Else each try would leave a model in memory."""
    loaded: list[Counted] = []

    def make(to: Deployment, account: object) -> LocalModel:
        def load(name: str) -> Counted:
            if name == "/nowhere":
                raise ModelMissing("no such files")
            loaded.append(Counted())
            return loaded[-1]

        return LocalModel(to.native_model, load, made_for=account)

    gateway = Gateway(_locally(("here", "tiny.en")), make_local=make)
    await gateway.fleet.load()
    with pytest.raises(BadConfiguration, match="no such files"):
        await gateway.adopt(_locally(("here", "tiny.en"), ("there", "tiny.en"), ("there", "/nowhere")))
    assert [each.closed for each in loaded] == [False, True]
    await gateway.close()


class Counted(Echo):
    """An engine that tells whether it was closed."""

    closed = False

    def close(self) -> None:
        self.closed = True


async def _closed(model: LocalBackend) -> None:
    while model.ready:  # noqa: ASYNC110 - a thread closes it
        await asyncio.sleep(0.01)


class Stubborn(Echo):
    """An engine that does not look whether anybody still waits."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()

    def said(self, piece: Piece, is_abandoned: Callable[[], bool]) -> Transcript:
        self.begun.set()
        self.go_on.wait(60)
        return super().said(piece, is_abandoned)


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


def _local(native: str | Path) -> dict[str, Any]:
    return {"targets": [{"target": f"here/{native}", "substitute": True}]}


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_reload_that_is_not_done_holds_up_no_end(emulate: Emulate, tmp_path: Path, workers: int) -> None:
    """Its model loads for ever: from a pipe that nobody writes into."""
    (tmp_path / "model.bin").symlink_to(Path(locate("tiny.en")) / "model.bin")
    os.mkfifo(tmp_path / "config.json")
    document = configuration({"one": await emulate("hf-inference")}, model=MODEL, server={"workers": workers})
    async with program(document, tmp_path) as served:
        write(tmp_path, {**document, "providers": {"here": {"adapter": "local"}}, "models": {MODEL: _local(tmp_path)}})
        served.process.send_signal(signal.SIGHUP)
        pipe = await _opened_by_another(tmp_path / "config.json")
        served.process.terminate()
        async with asyncio.timeout(20):
            assert await served.process.wait() == 0
        os.close(pipe)


async def _opened_by_another(pipe: Path) -> int:
    """Return its other end when somebody reads it."""
    while True:
        with contextlib.suppress(OSError):
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        await asyncio.sleep(0.05)
