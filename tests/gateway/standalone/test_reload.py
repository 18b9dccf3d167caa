"""SIGHUP to an engine by itself: other models without losing a job, and a bad file changes nothing."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import yaml
from pydantic import SecretStr

from providers.errors import JobUnsupported
from providers.local.models import locate
from providers.local.remote import EngineElsewhere, RemoteModel
from providers.transport import new_session
from providers.types import Account, Moment, TranscriptionJob
from tests.conftest import sample_audio
from tests.engine import engine_program

if TYPE_CHECKING:
    from tests.engine import EngineProgram

TINY = locate("tiny.en")  # the same weights by another name: a folder's


def serve(folder: Path, *models: str, **more: Any) -> Path:
    """Write an engine's file."""
    named = {f"m{at}": {"targets": [{"target": f"here/{each}", "substitute": True}]} for at, each in enumerate(models)}
    file = folder / "engine.yaml"
    file.write_text(yaml.safe_dump({"providers": {"here": {"adapter": "local"}}, "models": named, **more}))
    return file


def reload(engine: EngineProgram) -> None:
    os.kill(engine.process.pid, signal.SIGHUP)


async def models(engine: EngineProgram, session: aiohttp.ClientSession, key: str = "") -> dict[str, str]:
    """Return each model's state, as the engine tells whoever has the key."""
    async with session.get(f"{engine.url}/health", headers={"Authorization": f"Bearer {key}"}) as reply:
        told = (await reply.json()).get("models", {})
        return {name: each["state"] for name, each in told.items()}


async def heard(model: RemoteModel, clip: str) -> str:
    until = Moment(asyncio.get_running_loop().time() + 100)
    return (await model.transcribe(TranscriptionJob(model="m", audio=sample_audio(clip)), model._to, until)).text


async def test_a_model_that_goes_ends_its_job_first_and_another_serves(tmp_path: Path) -> None:
    """In the same process: what both files name is not loaded again."""
    file = serve(tmp_path, "tiny.en")
    async with engine_program("--config", str(file)) as engine, new_session() as session:
        child = engine.child
        at = EngineElsewhere(session, Account(name="gpu", adapter="engine", base_urls={"api": engine.url}))
        before, after = RemoteModel("tiny.en", at), RemoteModel(TINY, at)
        serve(tmp_path, "tiny.en", TINY)
        reload(engine)
        await engine.wait_for("reloaded")
        assert await models(engine, session) == {"tiny.en": "ready", TINY: "ready"}
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(heard(before, "two_cities.flac"))
            while not await jobs(engine, session):  # noqa: ASYNC110 - seen from outside
                await asyncio.sleep(0.01)
            serve(tmp_path, TINY)
            reload(engine)
            await engine.wait_for("reloaded", 2)
            assert not asked.done()
        assert "best of times" in asked.result()
        while await models(engine, session) != {TINY: "ready"}:  # noqa: ASYNC110 - seen from outside
            await asyncio.sleep(0.05)
        assert await heard(after, "sb_spk2_snt1.flac") == "We are sure that one war is enough."
        assert engine.child == child
        assert [line["model"] for line in engine.lines if line["event"] == "model_loaded"] == ["tiny.en", TINY]


async def jobs(engine: EngineProgram, session: aiohttp.ClientSession) -> int:
    """Return how many it is at."""
    async with session.get(f"{engine.url}/health") as reply:
        told = (await reply.json())["models"].values()
        return sum(each["running"] for each in told)


async def test_a_file_that_cannot_be_used_changes_nothing(tmp_path: Path) -> None:
    """Said in the log, each time; the next that can be used is taken up."""
    file = serve(tmp_path, "tiny.en")
    async with engine_program("--config", str(file)) as engine, aiohttp.ClientSession() as session:
        file.write_text("modles: {}")
        reload(engine)
        await engine.wait_for("reload_refused")
        serve(tmp_path, "tiny.en", "/nowhere")
        reload(engine)
        await engine.wait_for("reload_refused", 2)
        refused = [line["reason"] for line in engine.lines if line["event"] == "reload_refused"]
        assert "did you mean models?" in refused[0]
        assert "/nowhere" in refused[1]
        assert await models(engine, session) == {"tiny.en": "ready"}
        serve(tmp_path, TINY)
        reload(engine)
        await engine.wait_for("reloaded")


async def test_what_was_taken_up_outlives_the_child(tmp_path: Path) -> None:
    """The key's file is read again too; what only a start reads is named."""
    file, key = serve(tmp_path, "tiny.en"), tmp_path / "key"
    key.write_text("first")
    async with (
        engine_program("--config", str(file), "--key-file", str(key)) as engine,
        aiohttp.ClientSession() as session,
    ):
        assert await models(engine, session, "first") == {"tiny.en": "ready"}
        key.write_text("second")
        serve(tmp_path, TINY, server={"max_upload": 10, "keep_alive": 5}, logs={"level": "warning"})
        reload(engine)
        await engine.wait_for("reloaded")
        assert engine.lines[-1]["needs_restart"] == ["server.keep_alive", "logs"]
        assert await models(engine, session, "first") == {}
        at = Account(name="gpu", adapter="engine", api_key=SecretStr("second"), base_urls={"api": engine.url})
        with pytest.raises(JobUnsupported, match="at most 10 bytes"):
            await heard(RemoteModel(TINY, EngineElsewhere(session, at)), "sb_spk2_snt1.flac")
        engine.kill_child()
        await engine.wait_for("engine_ended")
        while await models(engine, session, "second") != {TINY: "ready"}:  # noqa: ASYNC110 - seen from outside
            await asyncio.sleep(0.05)
        key.write_text("")
        reload(engine)
        await engine.wait_for("reload_refused")
        assert await models(engine, session, "second") == {TINY: "ready"}
