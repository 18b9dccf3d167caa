"""deploy/Dockerfile: linted, true to the program, and its own steps run at their own paths from an empty directory."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from config.settings import ENV_PREFIX, Settings
from gateway.cli import main
from gateway.keyring import digest_of
from tests.conftest import AUDIO
from tests.deploy.dockerfile import DEPLOY, ROOT, command, copied, environment, health_check, last, lineage, stages
from tests.deploy.sandbox import Sandbox, base_python

KEY = "hf_gw_0123456789abcdefghijklmnopqrstuv"
STATE = "/var/lib/asr-gateway"
BUILD_PATHS = ("/src", "/opt/build", "/wheels", "/opt/venv", STATE)


# --- what it says


def test_the_linter_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, DEPLOY / "Dockerfile"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_base_images_are_pinned_by_a_version() -> None:
    """`latest` would be another image tomorrow."""
    text = (DEPLOY / "Dockerfile").read_text()
    assert re.search(r"^ARG PYTHON=3\.\d+-slim-\w+$", text, re.MULTILINE)
    assert {stage.base for stage in stages().values()} - stages().keys() == {"python:${PYTHON}"}


@pytest.mark.parametrize("variant", ["cpu", "cuda"])
def test_a_container_is_nobody_and_runs_the_program(variant: str) -> None:
    assert last(variant, "USER") == "10001:10001"
    assert lineage(variant)[-1].steps[-1] == ("USER", "10001:10001")  # nothing is done as root after it, or by it
    assert last(variant, "STOPSIGNAL") == "SIGTERM"
    assert last(variant, "EXPOSE") == environment(variant)["ASR_GATEWAY_SERVER__PORT"]
    program, sub_command, *rest = command(variant)
    assert program == "asr-gateway"
    main.commands[sub_command].make_context(sub_command, rest)
    assert command(variant)[-1] == environment(variant)["ASR_GATEWAY_CONFIG"]


def test_the_last_stage_is_for_any_machine() -> None:
    """It is what `docker build` makes unless told."""
    assert list(stages())[-1] == "cpu"


@pytest.mark.parametrize("variant", ["cpu", "cuda"])
def test_every_variable_of_ours_is_a_setting(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = {name: value for name, value in environment(variant).items() if name.startswith(ENV_PREFIX)}
    options = {each.envvar for each in main.commands["serve"].params if isinstance(each, click.Option)}
    fixed = ours.keys() - options
    assert fixed == {"ASR_GATEWAY_SERVER__HOST", "ASR_GATEWAY_SERVER__PORT", "ASR_GATEWAY_USAGE__PATH"}
    for name in fixed:
        monkeypatch.setenv(name, ours[name])
    settings = Settings.model_validate({"auth": {"mode": "keys", "keys": [{"name": "any", "hash": digest_of(KEY)}]}})
    assert (settings.server.host, settings.server.port) == ("0.0.0.0", 8080)
    assert settings.usage.path == Path(STATE) / "usage.sqlite"


def test_the_gpu_variant_brings_the_library_that_the_engine_asks_for() -> None:
    """CTranslate2's wheel holds the rest of CUDA; of another major version's it would find nothing."""
    site = Path(sys.prefix) / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    library = next(site.glob("ctranslate2.libs/libctranslate2*")).read_bytes()
    asked = {name.decode() for name in re.findall(rb"libcu(?:blas|blasLt|dnn|dart)\.so\.\d+", library)}
    assert asked == {"libcublas.so.12"}
    (install,) = (value for value in stages()["installed-cuda"].values("RUN") if "nvidia" in value)
    assert re.findall(r'"(nvidia-[^"]+)"', install) == ["nvidia-cublas-cu12>=12.4,<13"]


def test_the_build_sees_what_it_needs_and_no_more() -> None:
    """.dockerignore lists what is let in, so that no key, test or checkout gets into a layer."""
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*"
    let_in = {line.removeprefix("!") for line in rules if line.startswith("!")}
    wanted = {path for stage in stages().values() for origin, paths, _ in copied(stage) if not origin for path in paths}
    assert let_in == wanted


# --- its steps, run


@dataclass(frozen=True, slots=True)
class Image:
    """A stage that was built: the folders its steps wrote to, by their paths in it."""

    folders: dict[str, Path]
    python: Path


def build(target: str, into: Path) -> Image:
    """Run the steps of a stage and of what it is made of, each in a tree that has nothing yet."""
    python = base_python(into / "base")
    built: dict[str, dict[str, Path]] = {}
    for stage in lineage(target):
        for origin, _, _ in copied(stage):
            if origin and origin not in built:
                _run_steps(origin, built, into, python)
        _run_steps(stage.name, built, into, python)
    return Image(built[target], python)


def _run_steps(name: str, built: dict[str, dict[str, Path]], into: Path, python: Path) -> None:
    """Do what a stage says, on the folders of the stage it builds on."""
    stage = stages()[name]
    if stage.base in stages() and stage.base not in built:
        _run_steps(stage.base, built, into, python)
    folders = built[name] = dict(built.get(stage.base, {}))  # shared: no two stages here build on one and differ
    for path in BUILD_PATHS:
        if path not in folders:
            folders[path] = into / name / path.strip("/").replace("/", "-")
            folders[path].mkdir(parents=True)
    at = "/"
    for instruction, value in stage.steps:
        if instruction == "WORKDIR":
            at = value
        elif instruction == "RUN":
            _run_step(value, at, folders, python)
    for origin, paths, to in copied(stage):
        if origin:
            shutil.copytree(built[origin][paths[0]], folders[to], symlinks=True, dirs_exist_ok=True)


def _run_step(value: str, at: str, folders: dict[str, Path], python: Path) -> None:
    if at == "/src":
        _copy_context(folders["/src"])
    environ = {**os.environ, "PATH": "/base:/usr/bin:/bin", "HOME": "/tmp"}  # noqa: S108 - the sandbox's own
    environ.pop("VIRTUAL_ENV", None)
    sandbox = Sandbox(python=python, writable=folders, hidden=(ROOT,))
    done = sandbox.run(["/bin/sh", "-c", value], environ, at=at, timeout_s=500, network=True)
    assert done.returncode == 0, f"{value}\n{done.stdout}\n{done.stderr}"


def _copy_context(into: Path) -> None:
    """Copy what COPY names, as far as .dockerignore lets it."""
    out = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if re.match(r"[\w]|\*\*/", line)]
    ignored = shutil.ignore_patterns(*(Path(each).name for each in out))
    for origin, paths, _ in copied(stages()["wheel"]):
        for path in () if origin else paths:
            if (ROOT / path).is_dir():
                shutil.copytree(ROOT / path, into / path, ignore=ignored, dirs_exist_ok=True)
            else:
                shutil.copy(ROOT / path, into / path)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return build("cpu", tmp_path_factory.mktemp("image"))


@pytest.mark.timeout(900)
def test_it_holds_the_program_without_what_only_developers_need(image: Image) -> None:
    installed = {
        path.name.partition("-")[0] for path in image.folders["/opt/venv"].glob("lib/*/site-packages/*.dist-info")
    }
    assert {"asr_gateway", "aiohttp", "redis"} <= installed
    assert not {"pytest", "ruff", "mypy", "ctranslate2", "hatchling"} & installed


@pytest.mark.timeout(900)
def test_it_serves_under_a_read_only_root_and_drains(image: Image, tmp_path: Path) -> None:
    """As its engine would run it: own user, own network, nothing writable but /tmp and its state."""
    told = run_container(image, tmp_path)
    assert told["health_before"] == 1
    assert (told["health"], told["ready"]) == (0, [200, '{"status":"ready"}']), told["written"]
    assert told["without_key"] == 401
    assert told["metrics"][0] == 200
    assert "asr_requests_in_flight" in told["metrics"][1]
    assert told["problem"][0] == 502  # there is no network: the provider is unreachable, and that is what it says
    assert json.loads(told["problem"][1])["type"] == "all-failed"
    assert told["writes"] == ["OSError", "OSError", "OSError", "written", "written"]
    assert told["exit"] == 0
    assert '"event":"draining"' in told["written"]
    assert told["kept"] == ["usage.sqlite"]


def run_container(image: Image, tmp_path: Path) -> dict[str, Any]:
    """Run a container of the image to its end; return what tests/deploy/inside.py saw."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "gateway.yaml").write_text(yaml.safe_dump(configuration()))
    (tmp_path / "inside").mkdir()
    shutil.copy(Path(__file__).with_name("inside.py"), tmp_path / "inside")
    shutil.copy(AUDIO / "jfk.flac", tmp_path / "inside")
    plan = {
        "command": command("cpu"),
        "health": health_check("cpu"),
        "key": KEY,
        "path": "/models/openai/whisper-large-v3",
        "audio": "/inside/jfk.flac",
    }
    sandbox = Sandbox(
        python=image.python,
        readable={
            "/etc/asr-gateway": tmp_path / "etc",
            "/opt/venv": image.folders["/opt/venv"],
            "/inside": tmp_path / "inside",
        },
        writable={STATE: image.folders[STATE]},
        hidden=(ROOT,),
    )
    done = sandbox.run(
        ["/base/python", "/inside/inside.py", json.dumps(plan)],
        environment("cpu"),
        at=last("cpu", "WORKDIR"),
        timeout_s=200,
        network=False,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def configuration() -> dict[str, Any]:
    return {
        "auth": {"mode": "keys", "keys": [{"name": "operator", "role": "admin", "hash": digest_of(KEY)}]},
        "providers": {"hub": {"adapter": "hf-inference", "api_key": "hf_none"}},
        "models": {"openai/whisper-large-v3": {"targets": ["hub/openai/whisper-large-v3"]}},
        "server": {"deadline": {"base": "5s"}},
    }
