"""deploy/systemd/asr-gateway-engine.service: accepted, able to do little, and enough for an engine to do its work."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from pathlib import Path

import pytest
import yaml
from msgspec.structs import replace
from pydantic import SecretStr

from config.settings import ENV_PREFIX, Server, load
from config.units import seconds
from gateway.cli import main
from gateway.standalone.parent import _END_MARGIN_S
from gateway.standalone.serving import EngineSettings
from providers.local.remote import EngineElsewhere, RemoteModel
from providers.transport import new_session
from providers.types import Account, Moment, TranscriptionJob
from tests.conftest import sample_audio
from tests.deploy.dockerfile import DEPLOY
from tests.deploy.test_systemd import confinement, verified
from tests.deploy.unit import options
from tests.engine import EngineProgram
from tests.running import PROGRAM, running

UNIT = DEPLOY / "systemd" / "asr-gateway-engine.service"
GATEWAY = DEPLOY / "systemd" / "asr-gateway.service"
# tenths: of 10 where nothing is closed; sockets to the network are 0.8, a GPU and what CTranslate2 needs the rest
MOST_EXPOSED = 16


def installed(folder: Path) -> Path:
    file = folder / UNIT.name
    file.write_text(UNIT.read_text().replace("/opt/asr-gateway/bin/asr-gateway", str(PROGRAM)))
    return file


def test_systemd_accepts_it(tmp_path: Path) -> None:
    file = installed(tmp_path)
    assert verified(file) == ""
    file.write_text(file.read_text().replace("ProtectHome=yes", "ProtectHouse=yes"))
    assert "ProtectHouse" in verified(file)  # else the line above would say nothing


def test_it_may_do_little(tmp_path: Path) -> None:
    command = ("systemd-analyze", "security", "--offline=yes", "--no-pager", f"--threshold={MOST_EXPOSED}")
    done = subprocess.run((*command, installed(tmp_path)), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout


def test_what_it_gives_up_of_the_gateways_confinement_is_what_models_need() -> None:
    """All else is word for word the same."""
    own, gateways = options(UNIT), options(GATEWAY)
    names = {name for name in own.keys() | gateways.keys() if own.get(name) != gateways.get(name)}
    assert names == {
        *("After", "Description", "ExecStart", "LoadCredential", "TimeoutStartSec"),
        *("CacheDirectory", "Environment", "StateDirectory", "WorkingDirectory"),
        *("DeviceAllow", "MemoryDenyWriteExecute", "PrivateDevices"),
    }


def command() -> list[str]:
    """Return what it starts, without the program."""
    (line,) = options(UNIT)["ExecStart"]
    path, *rest = line.split()
    assert Path(path).name == PROGRAM.name
    return rest


def test_its_command_is_the_programs() -> None:
    name, *rest = command()
    params = main.commands[name].make_context(name, list(rest)).params
    identifier, _, file = options(UNIT)["LoadCredential"][0].partition(":")
    assert str(params["key_file"]) == f"%d/{identifier}"  # the folder of credentials: systemd.unit(5)
    assert {str(params["config_file"]), file} <= set(UNIT.read_text().split("[Unit]")[0].split())


def test_its_variables_are_settings_and_its_own_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    unit = options(UNIT)
    given = dict(each.split("=", 1) for each in unit["Environment"])
    for name in [each for each in given if each.startswith(ENV_PREFIX)]:
        monkeypatch.setenv(name, given[name])
    assert load(None, EngineSettings).server.spool.directory == Path("/var/tmp")  # noqa: S108 - the unit's own
    folders = (f"/var/lib/{unit['StateDirectory'][0]}/", f"/var/cache/{unit['CacheDirectory'][0]}/", "/var/tmp/")  # noqa: S108
    assert all(f"{path}/".startswith(folders) for path in given.values())


def test_it_waits_until_the_engine_has_drained() -> None:
    given_s = seconds(options(UNIT)["TimeoutStopSec"][0])
    assert isinstance(given_s, float)
    assert given_s >= Server().grace + Server().drain + _END_MARGIN_S


async def test_under_its_filters_it_hears_reloads_and_ends(tmp_path: Path) -> None:
    (tmp_path / "engine-key").write_text("a-key\n")
    file = tmp_path / "engine.yaml"
    document = {"providers": {"local": {"adapter": "local"}}, "models": {"tiny": {"targets": ["local/tiny.en"]}}}
    file.write_text(yaml.safe_dump(document))
    here = {"%d": str(tmp_path), "/etc/asr-gateway": str(tmp_path), "0.0.0.0": "127.0.0.1", "8100": "0"}
    arguments = command()
    for inside, path in here.items():
        arguments = [each.replace(inside, path) for each in arguments]
    account = Account(name="gpu", adapter="engine", base_urls={}, api_key=SecretStr("a-key"))
    async with running(EngineProgram, *confinement(UNIT), str(PROGRAM), *arguments) as engine, new_session() as session:
        model = RemoteModel("tiny.en", EngineElsewhere(session, replace(account, base_urls={"api": engine.url})))
        job = TranscriptionJob(model="m", audio=sample_audio("jfk.flac"))
        heard = await model.transcribe(job, model._to, Moment(asyncio.get_running_loop().time() + 100))
        assert "ask not what your country can do for you" in heard.text
        os.kill(engine.process.pid, signal.SIGHUP)  # ExecReload
        await engine.wait_for("reloaded")
        engine.process.terminate()
        assert await engine.process.wait() == 0
