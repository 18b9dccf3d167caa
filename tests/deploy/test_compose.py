"""deploy/compose.yaml: valid by the Compose specification, closed by default, and true to the program."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

import click
import pytest
import yaml
from compose_spec import PyCompose

from config.settings import Server, load
from config.units import seconds
from gateway.cli import main
from gateway.workers.parent import _END_MARGIN_S
from tests.deploy.dockerfile import DEPLOY, ROOT, environment, last, stages

TEXT = (DEPLOY / "compose.yaml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
CONFIGURATION = DEPLOY / "compose" / "gateway.yaml"


@pytest.mark.parametrize("name", ["compose.yaml", "compose.cuda.yaml"])
def test_it_is_valid_by_the_specification(name: str) -> None:
    """Parsed strictly: an unknown or misplaced key is refused, and so is a network or secret that nobody declares."""
    read = PyCompose.from_yaml((DEPLOY / name).read_text())
    read.validate()
    assert "gateway" in read.service_names()


def test_the_specification_refuses_a_slip() -> None:
    """Else the test before this one would say nothing."""
    with pytest.raises(ValueError, match="read_onyl"):
        PyCompose.from_yaml(TEXT.replace("read_only", "read_onyl", 1))


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_can_do_no_more_than_it_must(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert re.search(r":(local|cuda|v?\d+\.\d+[\w.-]*)$", service["image"])  # a version, never latest


def test_redis_is_reached_by_the_gateway_alone() -> None:
    assert COMPOSE["networks"]["back"]["internal"] is True
    assert SERVICES["redis"]["networks"] == ["back"]
    assert [name for name, each in SERVICES.items() if "back" in each["networks"]] == ["gateway", "redis"]


def test_the_gateways_configuration_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what the image sets besides; every store that replicas would share is the Redis of this file."""
    for name, value in environment("cpu").items():
        monkeypatch.setenv(name, value)
    settings = load(CONFIGURATION)
    assert settings.redis is not None
    assert settings.redis.url.get_secret_value() == "redis://redis:6379/0"
    assert {str(each) for each in (settings.cache.store, settings.limits.store, settings.usage.store)} == {"redis"}
    assert settings.auth.store == "redis"


def test_it_is_built_as_the_image_is() -> None:
    build = SERVICES["gateway"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).resolve() == DEPLOY / "Dockerfile"
    arguments = {value.partition("=")[0] for stage in stages().values() for value in stage.values("ARG")}
    assert build["args"].keys() <= arguments
    cuda = yaml.safe_load((DEPLOY / "compose.cuda.yaml").read_text())["services"]["gateway"]
    assert cuda["build"]["target"] in stages()


def test_ports_and_paths_are_the_images() -> None:
    gateway = SERVICES["gateway"]
    assert gateway["ports"] == [f"127.0.0.1:8080:{last('cpu', 'EXPOSE')}"]
    inside = {volume.split(":")[1] for volume in gateway["volumes"]}
    assert inside == {environment("cpu")["ASR_GATEWAY_CONFIG"], last("cpu", "WORKDIR"), "/tmp"}  # noqa: S108 - its own


def test_it_waits_until_the_gateway_has_drained() -> None:
    server = Server.model_validate(yaml.safe_load(CONFIGURATION.read_text()).get("server", {}))
    given_s = seconds(SERVICES["gateway"]["stop_grace_period"])
    assert isinstance(given_s, float)
    assert given_s >= server.grace + server.drain + _END_MARGIN_S


def test_what_is_mounted_is_there_or_declared() -> None:
    for name, service in SERVICES.items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            known = (DEPLOY / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]
            assert known, f"{name}: {volume}"
        assert set(service.get("secrets", [])) <= COMPOSE["secrets"].keys()


def test_secrets_are_files_that_nobody_commits() -> None:
    ignored = (ROOT / ".gitignore").read_text().split()
    for secret in COMPOSE["secrets"].values():
        assert f"deploy/{PurePosixPath(secret['file']).parent}/" in ignored


def test_prometheus_asks_what_is_there() -> None:
    """The gateway's own port and route, with the secret where it is mounted."""
    document = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    (job,) = document["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"gateway:{last('cpu', 'EXPOSE')}"]}]
    secret = PurePosixPath(job["authorization"]["credentials_file"])
    assert secret.parent == PurePosixPath("/run/secrets")
    assert secret.name in SERVICES["prometheus"]["secrets"]
    assert all((DEPLOY / "prometheus" / name).is_file() for name in document["rule_files"])


def test_grafana_finds_its_dashboards_and_its_source() -> None:
    mounts = {volume.split(":")[1]: DEPLOY / volume.split(":")[0] for volume in SERVICES["grafana"]["volumes"]}
    provisioning = mounts["/etc/grafana/provisioning"]
    for file in provisioning.glob("dashboards/*.yml"):
        for provider in yaml.safe_load(file.read_text())["providers"]:
            assert list(mounts[provider["options"]["path"]].glob("*.json"))
    sources = [
        each
        for file in provisioning.glob("datasources/*.yml")
        for each in yaml.safe_load(file.read_text())["datasources"]
    ]
    assert [each["url"] for each in sources] == ["http://prometheus:9090"]
    password = PurePosixPath(SERVICES["grafana"]["environment"]["GF_SECURITY_ADMIN_PASSWORD__FILE"])
    assert password.name in SERVICES["grafana"]["secrets"]


def test_the_commands_it_tells_are_the_programs() -> None:
    """`docker compose run ... gateway X` runs the image's entry point with X."""
    texts = [TEXT, CONFIGURATION.read_text()]
    told = [line.split("gateway ", 1)[1] for text in texts for line in _runs(text)]
    assert len(told) == 3
    for arguments in told:
        command: click.Command = main
        words = re.split(r"\s[>#]", arguments)[0].split()
        while isinstance(command, click.Group):
            command = command.commands[words.pop(0)]
        command.make_context("told", words)


def _runs(text: str) -> list[str]:
    return re.findall(r"docker compose run .*", text)


def test_the_folder_of_secrets_is_where_the_commands_write() -> None:
    written = set(re.findall(r"> (secrets/\S+)", TEXT))
    assert written == {str(Path(each["file"])) for each in COMPOSE["secrets"].values()}
