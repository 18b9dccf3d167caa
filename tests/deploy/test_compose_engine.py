"""deploy/compose.engine.yaml over compose.yaml: an engine that can do little, reached by its gateway with a key."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from config.settings import load
from config.units import seconds
from gateway.cli import main
from gateway.standalone.parent import _END_MARGIN_S
from gateway.standalone.serving import EngineSettings, with_local_models
from tests.deploy.dockerfile import DEPLOY, environment, last, stages

TEXT = (DEPLOY / "compose.engine.yaml").read_text()
OVER: dict[str, Any] = yaml.safe_load(TEXT)
ENGINE, GATEWAY = OVER["services"]["engine"], OVER["services"]["gateway"]
UNDER: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def test_it_is_valid_by_the_specification() -> None:
    """Parsed strictly, and a slip is refused."""
    PyCompose.from_yaml(TEXT).validate()
    with pytest.raises(ValueError, match="read_onyl"):
        PyCompose.from_yaml(TEXT.replace("read_only", "read_onyl", 1))


def test_it_can_do_no_more_than_the_gateway() -> None:
    for name in ("read_only", "cap_drop", "security_opt", "restart"):
        assert ENGINE[name] == UNDER["services"]["gateway"][name]
    assert "ports" not in ENGINE  # its gateway reaches it, and nobody else
    assert ENGINE["networks"] == GATEWAY["networks"] == ["engines"]


def test_it_is_built_as_the_image_for_gpus() -> None:
    build = ENGINE["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).resolve() == DEPLOY / "Dockerfile"
    assert build["target"] in stages()
    (device,) = ENGINE["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])


def test_paths_are_the_images() -> None:
    inside = {volume.split(":")[1] for volume in ENGINE["volumes"]}
    assert inside == {told("config"), last("cuda", "WORKDIR"), "/tmp"}  # noqa: S108 - its own
    (instead,) = GATEWAY["volumes"]
    assert instead.split(":")[1] in {each.split(":")[1] for each in UNDER["services"]["gateway"]["volumes"]}
    for volume in (*ENGINE["volumes"], *GATEWAY["volumes"]):
        source = volume.split(":")[0]
        assert (DEPLOY / source).is_file() if source.startswith(".") else source in OVER["volumes"]


def told(option: str) -> str:
    """Return what the engine's command says of an option, as the program reads it."""
    name, *rest = ENGINE["command"]
    params = main.commands[name].make_context(name, list(rest)).params
    return str(params[{"config": "config_file", "key": "key_file"}.get(option, option)])


def test_the_key_is_the_one_that_the_gateway_sends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each reads its own file, with what the image sets besides; what one targets the other loads."""
    for name, value in environment("cpu").items():
        monkeypatch.setenv(name, value)
    (tmp_path / "engine-key").write_text("a-key\n")
    file = tmp_path / "gateway.yaml"
    file.write_text((DEPLOY / GATEWAY["volumes"][0].split(":")[0]).read_text().replace("/run/secrets", str(tmp_path)))
    gateway, account = load(file), load(file).providers["engine"]
    secret = account.secret()
    assert secret is not None
    assert secret.get_secret_value() == "a-key"
    assert account.base_url == f"http://engine:{told('port')}"
    key = PurePosixPath(told("key"))
    assert (key.parent, [key.name], [key.name]) == (
        PurePosixPath("/run/secrets"),
        ENGINE["secrets"],
        GATEWAY["secrets"],
    )
    served = with_local_models(load(DEPLOY / ENGINE["volumes"][0].split(":")[0], EngineSettings), ())
    loaded = {target.native_model for route in served.models.values() for target in route.targets}
    asked = {target.native_model for route in gateway.models.values() for target in route.targets}
    assert asked == loaded
    assert gateway.auth.store == "redis"


def test_it_waits_until_the_engine_has_drained() -> None:
    given_s = seconds(ENGINE["stop_grace_period"])
    server = load(DEPLOY / "compose" / "engine.yaml", EngineSettings).server
    assert isinstance(given_s, float)
    assert given_s >= server.grace + server.drain + _END_MARGIN_S


def test_its_health_is_asked_where_it_listens() -> None:
    *program, url = ENGINE["healthcheck"]["test"]
    assert program == ["CMD", "python", "-P", "-m", "gateway.probe"]
    assert url == f"http://127.0.0.1:{told('port')}/health"
    assert told("host") == "0.0.0.0"
