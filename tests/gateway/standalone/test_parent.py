"""`asr-gateway engine` as a program: killed, drained, asked while its child is away."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import ExitStack
from pathlib import Path

import aiohttp
import pytest
from msgspec.structs import replace

from gateway.serve import CannotListen
from gateway.standalone.parent import _unix_socket
from gateway.workers.spawn import Pauses
from providers.local.remote import EngineElsewhere, RemoteModel
from providers.transport import new_session
from providers.types import Account, Moment, TranscriptionJob
from tests.conftest import sample_audio
from tests.engine import ENGINE_KEY, engine_program
from tests.running import PROGRAM

MODEL = ("--model", "tiny.en")


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_whoever_asks_while_it_is_started_again_waits_and_is_answered(tmp_path: Path) -> None:
    """However often it dies, on the port and on the Unix socket."""
    path = tmp_path / "socket"
    over_unix = aiohttp.UnixConnector(str(path))
    async with (
        engine_program(*MODEL, "--socket", str(path)) as engine,
        aiohttp.ClientSession() as session,
        aiohttp.ClientSession(connector=over_unix) as beside,
    ):
        for times in (1, 2):
            killed = engine.kill_child()
            await engine.wait_for("engine_ended", times)
            async with session.get(f"{engine.url}/model?model=tiny.en") as reply:
                assert (await reply.json())["missing"] is None
            async with beside.get("http://engine/model?model=tiny.en") as reply:
                assert (await reply.json())["capabilities"]["languages"] == ["en"]
            assert engine.child != killed
        assert {line["code"] for line in engine.lines if line["event"] == "engine_ended"} == {-signal.SIGKILL}
    assert not path.exists()


async def test_it_ends_with_what_it_began_and_takes_nobody_more() -> None:
    async with engine_program(*MODEL, key=ENGINE_KEY) as engine, aiohttp.ClientSession() as session:
        async with session.get(f"{engine.url}/model?model=tiny.en") as reply:
            assert reply.status == 401
        child = engine.child
        engine.process.send_signal(signal.SIGTERM)
        assert await engine.process.wait() == 0
        assert not is_alive(child)
        with pytest.raises(OSError, match="Connect call failed"):
            await asyncio.open_connection("127.0.0.1", engine.port)
        assert "draining" in {line["event"] for line in engine.lines}


async def test_what_it_is_at_is_answered_before_it_ends() -> None:
    """SIGTERM while it hears: who asked gets the transcript, on a connection that ends with it."""
    account = Account(name="gpu", adapter="engine", base_urls={})
    async with engine_program(*MODEL) as engine, new_session() as session:
        model = RemoteModel("tiny.en", EngineElsewhere(session, replace(account, base_urls={"api": engine.url})))
        until = Moment(asyncio.get_running_loop().time() + 60)
        job = TranscriptionJob(model="m", audio=sample_audio("two_cities.flac"))
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(model.transcribe(job, model._to, until))
            while not await running(session, engine.url):  # noqa: ASYNC110 - seen from outside
                await asyncio.sleep(0.01)
            engine.process.send_signal(signal.SIGTERM)
        assert "best of times" in asked.result().text
        assert await engine.process.wait() == 0


async def running(session: aiohttp.ClientSession, url: str) -> int:
    """Return how many jobs the engine is at."""
    async with session.get(f"{url}/health") as reply:
        jobs: int = (await reply.json())["models"]["tiny.en"]["running"]
        return jobs


async def test_a_child_whose_parent_is_gone_ends_too() -> None:
    async with engine_program(*MODEL) as engine:
        child = engine.child
        os.kill(engine.process.pid, signal.SIGKILL)
        while is_alive(child):  # noqa: ASYNC110 - no child of ours
            await asyncio.sleep(0.02)
        assert await engine.process.wait() == -signal.SIGKILL


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), 2, "no local model: name one with --model"),
        (("--config", "/nowhere.yaml"), 2, "No such file"),
        ((*MODEL, "--key", "a", "--key-file", "b"), 2, "exclude each other"),
        ((*MODEL, "--key", ""), 2, "the key is empty"),
        ((*MODEL, "--key-file", "/nowhere"), 2, "cannot be read"),
        ((*MODEL, "--socket", "/nowhere/socket"), 1, "cannot listen on /nowhere/socket"),
    ],
)
async def test_what_cannot_be_served_is_said(arguments: tuple[str, ...], code: int, says: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(str(PROGRAM), "engine", "--port", "0", *arguments), stderr=asyncio.subprocess.PIPE
    )
    _, written = await process.communicate()
    assert process.returncode == code
    assert says in written.decode()


async def test_a_port_that_is_taken_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        process = await asyncio.create_subprocess_exec(
            *(str(PROGRAM), "engine", *MODEL, "--port", port), stderr=asyncio.subprocess.PIPE
        )
        _, written = await process.communicate()
    assert process.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in written.decode()


async def test_a_variable_that_is_empty_is_no_key() -> None:
    process = await asyncio.create_subprocess_exec(
        *(str(PROGRAM), "engine", *MODEL, "--port", "0"),
        env={**os.environ, "ASR_GATEWAY_ENGINE_KEY": ""},
        stderr=asyncio.subprocess.PIPE,
    )
    _, written = await process.communicate()
    assert process.returncode == 2
    assert "the key is empty" in written.decode()


def listening(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.bind(str(path))
    made.listen(1)
    return made


def test_a_socket_that_somebody_listens_at_is_left_to_them(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with listening(path), pytest.raises(CannotListen, match="another process listens there"), _unix_socket(path):
        pass
    assert path.is_socket()


def test_a_socket_whose_callers_queue_is_full_is_listened_at(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with listening(path), ExitStack() as callers:
        for _ in range(2):
            callers.enter_context(socket.socket(socket.AF_UNIX)).connect(str(path))
        with pytest.raises(CannotListen, match="another process listens there"), _unix_socket(path):
            pass


def test_a_socket_that_was_left_behind_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    listening(path).close()
    with _unix_socket(path), socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(path))
    assert not path.exists()


def test_a_socket_that_became_anothers_stays(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with _unix_socket(path) as ours:
        ours.close()  # as it is while what is in flight ends: its number may be given to the next
        path.unlink()
        theirs = listening(path)
    with theirs, socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(path))


def test_what_is_no_socket_of_this_kind_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(path))
        with pytest.raises(CannotListen, match="wrong type"), _unix_socket(path):
            pass
        assert path.is_socket()


def test_it_gives_up_never_and_waits_at_most_ten_seconds() -> None:
    """One that has lived for a while was well: the next is started as soon as after the first fault."""
    pauses = Pauses()
    assert [pauses.after(0.5) for _ in range(8)] == [0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 10.0, 10.0]
    assert pauses.after(11.0) == 0.1
