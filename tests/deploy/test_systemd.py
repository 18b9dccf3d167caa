"""deploy/systemd: a unit that systemd accepts, that may do little, and under which the gateway does its work."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from config.settings import ENV_PREFIX, Server, load
from config.units import seconds
from gateway.cli import main
from gateway.workers.parent import _END_MARGIN_S
from providers.registry import emulated_urls
from tests.conftest import sample
from tests.deploy.dockerfile import DEPLOY
from tests.deploy.unit import allowed_calls, options
from tests.program import configuration, program
from tests.running import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

UNIT = DEPLOY / "systemd" / "asr-gateway.service"
LOCAL_MODELS = DEPLOY / "systemd" / "local-models.conf"
CONFINED = str(Path(__file__).with_name("confined.py"))
MODEL = "openai/whisper-large-v3"
MOST_EXPOSED = 13  # tenths: of 10 where nothing is closed; sockets to the network alone are 0.8


def installed(folder: Path) -> Path:
    """Return the unit as it would be where the program is installed in another place: here."""
    file = folder / UNIT.name
    file.write_text(UNIT.read_text().replace("/opt/asr-gateway/bin/asr-gateway", str(PROGRAM)))
    return file


def test_systemd_accepts_it(tmp_path: Path) -> None:
    """Every option and value; the drop-in besides."""
    file = installed(tmp_path)
    folder = tmp_path / f"{UNIT.name}.d"
    folder.mkdir()
    (folder / LOCAL_MODELS.name).write_text(LOCAL_MODELS.read_text())
    assert verified(file) == ""
    file.write_text(file.read_text().replace("ProtectHome=yes", "ProtectHouse=yes"))
    assert "ProtectHouse" in verified(file)  # else the line above would say nothing


def verified(file: Path) -> str:
    """Return what systemd has to say of a unit."""
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", file], capture_output=True, text=True, timeout=60, check=False
    )
    return "\n".join(line for line in done.stderr.splitlines() if file.name in line)


def test_it_may_do_little(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            "systemd-analyze",
            "security",
            "--offline=yes",
            "--no-pager",
            f"--threshold={MOST_EXPOSED}",
            installed(tmp_path),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_its_command_is_the_programs() -> None:
    (line,) = options(UNIT)["ExecStart"]
    path, name, *rest = line.split()
    assert Path(path).name == PROGRAM.name
    assert f"{Path(path).parent}/pip install" in UNIT.read_text()  # where the lines above it put the program
    main.commands[name].make_context(name, rest)


def test_its_variables_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = dict(each.split("=", 1) for each in options(UNIT)["Environment"] if each.startswith(ENV_PREFIX))
    for name, value in ours.items():
        monkeypatch.setenv(name, value)
    settings = load(None)
    assert settings.usage.path == Path("/var/lib/asr-gateway/usage.sqlite")
    assert settings.server.spool.directory == Path("/var/tmp")  # noqa: S108 - the unit's own
    assert len(ours) == 2


def test_what_it_may_write_to_is_what_it_is_told_to_write_to() -> None:
    """Its state, its cache, and temporary folders of its own; everything else is read-only."""
    unit = options(UNIT)
    assert (unit["ProtectSystem"], unit["DynamicUser"]) == (["strict"], ["yes"])
    folders = [f"/var/lib/{unit['StateDirectory'][0]}/", f"/var/cache/{unit['CacheDirectory'][0]}/", "/var/tmp/"]  # noqa: S108
    paths = [each.split("=", 1)[1] + "/" for each in unit["Environment"]]
    assert all(any(path.startswith(folder) for folder in folders) for path in paths)


def test_it_waits_until_the_gateway_has_drained() -> None:
    given_s = seconds(options(UNIT)["TimeoutStopSec"][0])
    assert isinstance(given_s, float)
    assert given_s >= Server().grace + Server().drain + _END_MARGIN_S


def test_a_credential_is_named_as_systemd_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a folder each file is ID_FILE. systemd.exec(5), LoadCredential=."""
    identifier, _, folder = options(UNIT)["LoadCredential"][0].partition(":")
    (told,) = re.findall(r"api_key_file: (\S+)", UNIT.read_text())
    (name,) = re.findall(rf"{re.escape(folder)}/(\w+)", UNIT.read_text().split("[Unit]")[0])
    assert told == f"${{CREDENTIALS_DIRECTORY}}/{identifier}_{name}"
    (tmp_path / f"{identifier}_{name}").write_text("a-key\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "gateway.yaml").write_text(f'providers: {{fal: {{adapter: fal-ai, api_key_file: "{told}"}}}}\n')
    secret = load(tmp_path / "gateway.yaml").providers["fal"].secret()
    assert secret is not None
    assert secret.get_secret_value() == "a-key"


# --- under its filters


def confinement(*files: Path) -> tuple[str, ...]:
    """Return what to put before a command, for it to run under a unit's filters of system calls."""
    unit = options(*files)
    filters = {
        "calls": sorted(allowed_calls(unit["SystemCallFilter"])),
        "families": unit["RestrictAddressFamilies"][0].split(),
        "write_execute": unit["MemoryDenyWriteExecute"] == ["no"],
    }
    return (sys.executable, CONFINED, json.dumps(filters))


async def posted(url: str, model: str, body: bytes) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.post(f"{url}/models/{model}", data=BytesIO(body)) as reply:
        answer: dict[str, Any] = await reply.json()
        assert reply.status == 200, answer
        return answer


async def test_a_provider_is_asked_for_what_had_to_be_transcoded(
    tmp_path: Path, emulate: Callable[..., Awaitable[str]]
) -> None:
    """Demuxed in a child with limits of its own, decoded, encoded, sent; by two workers."""
    urls = emulated_urls("openai", await emulate("openai"))
    document = configuration({"up": urls["api"]}, adapter="openai", model=MODEL, server={"workers": 2})
    document["models"][MODEL]["targets"] = [{"target": "up/whisper-1", "substitute": True}]
    async with program(document, tmp_path, command=confinement(UNIT)) as running:
        assert (await posted(running.url, MODEL, sample("fr_dictee.aiff")))["text"].startswith("blake3 ")
        running.process.terminate()
        assert await running.process.wait() == 0


LOCAL = {"providers": {"local": {"adapter": "local"}}, "models": {"tiny": {"targets": ["local/tiny.en"]}}}


async def test_a_local_model_needs_the_drop_in(tmp_path: Path) -> None:
    async with program(LOCAL, tmp_path, command=confinement(UNIT, LOCAL_MODELS)) as running:
        text = (await posted(running.url, "tiny", sample("jfk.flac")))["text"]
        assert "ask not what your country can do for you" in text


async def test_without_it_memory_is_never_both_written_and_run(tmp_path: Path) -> None:
    """The filters hold: a model that writes code for itself cannot run it."""
    document = {**LOCAL, "reliability": {"retries": {"limit": 0}}}
    async with program(document, tmp_path, command=confinement(UNIT)) as running:
        with pytest.raises(AssertionError, match="all-failed"):
            await posted(running.url, "tiny", sample("jfk.flac"))
