"""`asr-gateway providers check` of engines elsewhere: the command as a user has it, against the engine as a program."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from pydantic import SecretStr

from gateway.drain import Drain
from gateway.hearing import Hearing, lets_in
from providers.local.provider import LocalModel
from tests.conftest import serve
from tests.engine import ENGINE_KEY, engine_program
from tests.engines import Echo
from tests.gateway.standalone.test_door import door_to, model
from tests.gateway.test_cli import Shell
from tests.gateway.test_providers_cli import checked, configured, row
from tests.gateway.workers.test_engine import budget

if TYPE_CHECKING:
    import subprocess
    from collections.abc import AsyncIterator
    from pathlib import Path

    from gateway.fleet import LocalBackend

WRONG_KEY = "not-the-engines-key"
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def account(url: str, key: str | None = ENGINE_KEY) -> dict[str, Any]:
    return {"adapter": "engine", "base_url": url, **({} if key is None else {"api_key": key})}


def cells(done: subprocess.CompletedProcess[str], name: str, model: str) -> tuple[str, str, str]:
    """Return what is said of one model: of the credentials, in how long, and what came of it."""
    head = done.stdout.splitlines()[0]
    starts = [head.index(column) for column in ("CREDENTIALS", "ANSWERED IN", "LEFT", "OUTCOME")]
    line = next(each for each in done.stdout.splitlines() if each.split()[:2] == [name, model])
    credentials, seconds, left, outcome = (
        line[start:end].strip() for start, end in zip(starts, [*starts[1:], None], strict=True)
    )
    assert left == "-"
    return credentials, seconds, outcome


async def test_what_an_engine_has_and_whom_it_lets_in(shell: Shell) -> None:
    """One that is up and holds two models, one of them missing; the same with another key; and one that is down."""
    async with engine_program("--model", "tiny.en", "--model", "/no/such/folder", key=ENGINE_KEY) as engine:
        file = configured(
            shell,
            {"a": ["up/tiny.en", "up/large-v3", "up//no/such/folder", "wrong/tiny.en", "bare/tiny.en", "down/tiny.en"]},
            up=account(engine.url),
            wrong=account(engine.url, WRONG_KEY),
            bare=account(engine.url, None),
            down=account(NOWHERE),
        )
        done = await checked(shell, "--config", file)  # nobody need agree to what costs nothing

    assert (done.returncode, done.stderr) == (1, "")
    credentials, seconds, outcome = cells(done, "up", "tiny.en")
    assert (credentials, outcome) == ("accepted", "ok")
    assert seconds.endswith(" s")
    credentials, _, outcome = cells(done, "up", "large-v3")
    assert (credentials, outcome) == ("accepted", "not_held: the engine holds tiny.en, /no/such/folder")
    credentials, _, outcome = cells(done, "up", "/no/such/folder")
    assert credentials == "accepted"
    assert outcome.startswith("missing: /no/such/folder holds neither")
    for name in ("wrong", "bare"):
        credentials, _, outcome = cells(done, name, "tiny.en")
        assert credentials == "refused"
        assert outcome == f"credentials: {name}: the engine at {engine.url} refuses our key"
    credentials, _, outcome = cells(done, "down", "tiny.en")
    assert credentials == "not known"
    assert outcome == f"unavailable: down: the engine at {NOWHERE} cannot be reached"
    assert ENGINE_KEY not in done.stdout
    assert WRONG_KEY not in done.stdout


async def test_an_engine_with_all_that_is_wanted_of_it_is_well(shell: Shell) -> None:
    """And can be named, beside a provider that is not asked then: nothing costs anything."""
    async with engine_program("--model", "tiny.en", key=ENGINE_KEY) as engine:
        file = configured(
            shell,
            {"a": ["up/tiny.en", "down/tiny.en", "paid/whisper-1"]},
            up=account(engine.url),
            down=account(NOWHERE),
            paid={"adapter": "openai", "base_url": NOWHERE, "api_key": "k"},
        )
        done = await checked(shell, "up", "--config", file)

    assert (done.returncode, done.stderr, len(done.stdout.splitlines())) == (0, "", 2)
    assert cells(done, "up", "tiny.en")[2] == "ok"


class OnRay:
    """Answers as `deploy/ray` does: its health is a word, and a model is loaded when it is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._hearing = Hearing(self._held, budget())
        self._model = LocalModel("echo", lambda _: Echo())

    def web_app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/health", self._health)
        app.router.add_get("/model", self._told)
        return app

    async def close(self) -> None:
        await asyncio.to_thread(self._model.close)

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ready"})

    async def _told(self, request: web.Request) -> web.Response:
        if not lets_in(SecretStr(ENGINE_KEY), request.headers.get("Authorization", "")):
            return web.json_response({"error": "this engine wants a key"}, status=401)
        told = await self._hearing.model(request.query["model"])
        return web.Response(status=told.status, body=told.body, content_type="application/json")

    async def _held(self, name: str) -> LocalBackend | None:
        self.asked.append(name)
        if name != "echo":
            return None
        await self._model.load()
        return self._model


@pytest.fixture
async def ray() -> AsyncIterator[str]:
    runners, engine = list[web.AppRunner](), OnRay()
    yield await serve(engine.web_app(), runners)
    await runners[0].cleanup()
    await engine.close()


async def test_an_engine_that_tells_of_no_list_is_asked_for_each_model(shell: Shell, ray: str) -> None:
    file = configured(
        shell,
        {"a": ["ray/echo", "ray/other", "wrong/echo"]},
        ray=account(ray),
        wrong=account(ray, WRONG_KEY),
    )
    done = await checked(shell, "--config", file)

    assert done.returncode == 1
    assert cells(done, "ray", "echo")[::2] == ("accepted", "ok")
    assert cells(done, "ray", "other")[::2] == (
        "accepted",
        f"not_held: ray: the engine at {ray} does not hold the model",
    )
    assert cells(done, "wrong", "echo")[0] == "refused"


async def test_what_is_no_engine_is_told_from_one_that_lacks_the_model(shell: Shell) -> None:
    """A port of something else answers 404 to everything."""
    runners = list[web.AppRunner]()
    url = await serve(web.Application(), runners)
    done = await checked(shell, "--config", configured(shell, {"a": ["other/tiny.en"]}, other=account(url)))
    await runners[0].cleanup()

    assert done.returncode == 1
    assert "not known" in row(done, "other")
    assert row(done, "other").endswith("does not answer like an engine")


@pytest.mark.parametrize(
    ("is_draining", "outcome"),
    [(False, "loading"), (True, "unavailable: the engine is about to end: it takes no more jobs")],
)
async def test_an_engine_that_comes_up_or_goes_down_is_not_well(
    shell: Shell, outcome: str, *, is_draining: bool
) -> None:
    """Its door as it is, around a model that is not loaded yet. Nobody waits for it."""
    drain, runners = Drain(), list[web.AppRunner]()
    drain.is_draining = is_draining
    url = await serve(door_to({"x": model(ready=False)}, drain, ENGINE_KEY).web_app(), runners)
    done = await checked(shell, "--config", configured(shell, {"a": ["up/x"]}, up=account(url)))
    await runners[0].cleanup()

    assert (done.returncode, cells(done, "up", "x")[2]) == (1, outcome)
