"""deploy/helm: rendered by Helm, valid by Kubernetes' own schemas, and true to the program."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import click
import kubernetes_validate
import pytest
import yaml

from config.catalog import load_catalog
from config.settings import Settings, load
from gateway.api.auth import PUBLIC
from gateway.api.paths import add_routes
from gateway.api.request import Paths
from gateway.cli import main
from gateway.defaults import check_adapters
from gateway.fleet import build_routes
from gateway.metrics import Metrics
from gateway.workers.parent import _END_MARGIN_S
from tests.deploy.dockerfile import DEPLOY, environment, last
from tests.deploy.render import CHART, Manifests, Refused, lint, notes, rendered

EXAMPLES = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((CHART / "examples").glob("*.yaml"))}
RULES = {name: (DEPLOY / "prometheus" / f"{name}.yml").read_text() for name in ("rules", "alerts")}
EVERYTHING = {
    **EXAMPLES["providers"],
    "prometheusRule": {"enabled": True, **RULES},
    "envFrom": [{"secretRef": {"name": "more"}}],
    "image": {"pullSecrets": [{"name": "registry"}]},
    "nodeSelector": {"pool": "speech"},
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "podAnnotations": {"a": "b"},
    "podLabels": {"c": "d"},
    "service": {"annotations": {"e": "f"}},
    "serviceAccount": {"annotations": {"g": "h"}},
}
VALUES: dict[str, dict[str, Any]] = {"defaults": {}, **EXAMPLES, "everything": EVERYTHING}
OF_THE_OPERATOR = {"ServiceMonitor", "PrometheusRule"}  # the Prometheus operator's: Kubernetes has no schema for them
ADMIN = {"mode": "keys", "store": "sqlite", "path": "/var/lib/asr-gateway/keys.sqlite"}


@pytest.fixture(scope="module", params=VALUES)
def manifests(request: pytest.FixtureRequest) -> Manifests:
    return rendered(VALUES[request.param])


@pytest.fixture(scope="module")
def everything() -> Manifests:
    return rendered(EVERYTHING)


def pod(manifests: Manifests) -> dict[str, Any]:
    return dict(manifests["Deployment"]["spec"]["template"]["spec"])


def container(manifests: Manifests) -> dict[str, Any]:
    (only,) = pod(manifests)["containers"]
    return dict(only)


# --- valid


@pytest.mark.parametrize("name", VALUES)
def test_the_linter_has_nothing_to_say(name: str) -> None:
    told = [each["error"] for each in lint(VALUES[name])]
    assert told == ["icon is recommended"]


@pytest.mark.parametrize("version", ["1.27", "1.31", "1.35"])
def test_it_is_valid_by_kubernetes_own_schemas(version: str, manifests: Manifests) -> None:
    """Strictly: a field that the schema does not have is a fault. The oldest is the one that the chart allows."""
    checked = 0
    for kind, document in manifests.items():
        if kind not in OF_THE_OPERATOR:
            kubernetes_validate.validate(document, version, strict=True)
            checked += 1
    assert checked >= 6


def test_the_schemas_refuse_a_slip(everything: Manifests) -> None:
    """Else the test before this one would say nothing."""
    slip = json.loads(json.dumps(everything["Deployment"]).replace("readinessProbe", "readynessProbe"))
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(slip, "1.31", strict=True)


def test_the_oldest_kubernetes_is_the_charts() -> None:
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["kubeVersion"] == ">=1.27.0-0"


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"replica": 3}, "replica"),
        ({"config": {"auth": {"mode": "none"}}}, "mode"),  # a pod's address is no loopback
        ({"config": {"auth": ADMIN, "server": {"drain": "5s"}}}, "server"),  # `shutdown` says it, for Kubernetes too
        ({"shutdown": {"drainSeconds": "60s"}}, "drainSeconds"),
        ({"env": [{"name": "FAL_KEY", "value": "secret"}]}, "env"),  # by reference, never here
        ({"serviceMonitor": {"enabled": True}}, "keySecretName"),
    ],
)
def test_values_that_cannot_be_meant_are_refused(values: dict[str, Any], named: str) -> None:
    with pytest.raises(Refused, match=named):
        rendered(values)


# --- hardened


def test_a_pod_can_do_no_more_than_it_must(manifests: Manifests) -> None:
    spec, only = pod(manifests), container(manifests)
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert f"{spec['securityContext']['runAsUser']}:{spec['securityContext']['runAsGroup']}" == last("cpu", "USER")
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False  # no variables of other services, some of which would begin like ours
    assert only["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert only["resources"]["limits"]["memory"]


def test_no_secret_is_written_into_a_manifest(everything: Manifests) -> None:
    """They are the cluster's own, named where they are needed."""
    assert "Secret" not in everything
    values = {each["name"]: each["valueFrom"] for each in container(everything)["env"] if "valueFrom" in each}
    assert values["FAL_KEY"] == {"secretKeyRef": {"name": "asr-providers", "key": "fal"}}
    assert values["ASR_GATEWAY_REDIS__URL"] == {"secretKeyRef": {"name": "asr-redis", "key": "url"}}


def test_the_network_lets_in_who_was_named_and_out_to_the_public() -> None:
    closed = rendered({"networkPolicy": {"from": []}})["NetworkPolicy"]["spec"]
    assert closed["policyTypes"] == ["Ingress", "Egress"]
    assert closed["ingress"] == []
    (public,) = (rule["to"] for rule in closed["egress"] if rule["ports"] == [{"port": 443, "protocol": "TCP"}])
    assert {"169.254.0.0/16", "10.0.0.0/8"} <= set(public[0]["ipBlock"]["except"])


# --- true to the program


def test_its_configuration_is_one(
    manifests: Manifests, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read by the program with the variables that the image and the pod set: an unknown one would be refused."""
    settings = loaded(manifests, tmp_path, monkeypatch)
    check_adapters(settings)
    if settings.models:  # the defaults name none yet
        build_routes(settings, load_catalog())
    assert (settings.server.host, settings.server.port) == ("0.0.0.0", 8080)
    assert settings.usage.path == Path("/var/lib/asr-gateway/usage.sqlite")


def loaded(manifests: Manifests, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return the settings of a pod; each Secret's value is an address of a Redis, which passes for a key too."""
    for name, value in environment("cpu").items():
        monkeypatch.setenv(name, value)
    for each in container(manifests)["env"]:
        monkeypatch.setenv(each["name"], each.get("value", "redis://any:6379/0"))
    file = folder / "gateway.yaml"
    file.write_text(manifests["ConfigMap"]["data"]["gateway.yaml"].replace("/run/secrets/", f"{folder}/"))
    for path in re.findall(rf"{folder}/\S+(?=\")", file.read_text()):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text("any")
    if "redis" in file.read_text():
        monkeypatch.setenv("ASR_GATEWAY_REDIS__URL", "redis://any:6379/0")
    return load(file)


def test_a_pod_is_waited_for_until_it_has_drained(
    manifests: Manifests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = loaded(manifests, tmp_path, monkeypatch).server
    assert pod(manifests)["terminationGracePeriodSeconds"] >= server.grace + server.drain + _END_MARGIN_S
    assert server.grace > 0  # endpoints go while the pod ends, not before


def test_its_probes_are_routes_that_need_no_key(manifests: Manifests) -> None:
    paths = Paths()
    add_routes(paths)
    routes = {route.resource.canonical for route in paths.routes() if route.resource}
    probes = {name: container(manifests)[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert {each["path"] for each in probes.values()} <= routes & PUBLIC
    assert {name: each["path"] for name, each in probes.items()} == {
        "startup": "/health/live",
        "liveness": "/health/live",  # never readiness: a pod that drains, or whose Redis is lost, is not to be killed
        "readiness": "/health/ready",
    }
    assert {each["port"] for each in probes.values()} == {"http"}


def test_ports_are_the_images(manifests: Manifests) -> None:
    (port,) = container(manifests)["ports"]
    assert str(port["containerPort"]) == last("cpu", "EXPOSE")
    (service,) = manifests["Service"]["spec"]["ports"]
    assert service["targetPort"] == port["name"] == "http"


def test_its_command_is_the_programs(manifests: Manifests) -> None:
    name, *rest = container(manifests)["args"]
    context = main.commands[name].make_context(name, rest)
    assert str(context.params["config_file"]) == environment("cpu")["ASR_GATEWAY_CONFIG"]


def test_what_is_written_to_is_mounted(manifests: Manifests) -> None:
    mounts = {each["mountPath"]: each["name"] for each in container(manifests)["volumeMounts"]}
    assert {"/tmp", last("cpu", "WORKDIR"), str(Path(environment("cpu")["ASR_GATEWAY_CONFIG"]).parent)} <= mounts.keys()  # noqa: S108 - the pod's own
    assert {each["name"] for each in pod(manifests)["volumes"]} == set(mounts.values())


def test_files_of_secrets_are_where_the_configuration_reads_them() -> None:
    for values in EXAMPLES.values():
        mounted = [Path(each["mountPath"]) for each in values.get("secretFiles", [])]
        read = [Path(each["api_key_file"]) for each in values["config"]["providers"].values() if "api_key_file" in each]
        assert all(path.parent in mounted for path in read)


def test_it_scales_by_a_metric_of_the_program(everything: Manifests) -> None:
    (metric,) = everything["HorizontalPodAutoscaler"]["spec"]["metrics"]
    names = {family.name for family in Metrics().registry.collect()}
    assert metric["pods"]["metric"]["name"] in names
    assert "replicas" not in everything["Deployment"]["spec"]  # else each upgrade would undo the autoscaler's number


def test_selectors_find_the_pods(manifests: Manifests) -> None:
    labels = manifests["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/name"] == "asr-gateway"
    selectors = [
        manifests["Service"]["spec"]["selector"],
        manifests["Deployment"]["spec"]["selector"]["matchLabels"],
        manifests["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        manifests["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    ]
    assert all(selector.items() <= labels.items() for selector in selectors)


def test_another_configuration_is_another_set_of_pods() -> None:
    def checksum(values: dict[str, Any]) -> str:
        return str(rendered(values)["Deployment"]["spec"]["template"]["metadata"]["annotations"]["checksum/config"])

    assert checksum({}) == checksum({"replicas": 5})
    assert checksum({}) != checksum({"config": {"logs": {"level": "debug"}}})


def test_a_large_number_stays_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"config": {"usage": {"max_rows": 3_000_000}}}
    assert loaded(rendered(values), tmp_path, monkeypatch).usage.max_rows == 3_000_000


# --- Prometheus


def test_its_metrics_are_asked_for_with_a_key_as_the_job_that_rules_expect(everything: Manifests) -> None:
    """The fields are those of monitoring.coreos.com/v1, as the Prometheus operator's reference has them."""
    spec = everything["ServiceMonitor"]["spec"]
    (endpoint,) = spec["endpoints"]
    assert endpoint["port"] == everything["Service"]["spec"]["ports"][0]["name"]
    assert endpoint["path"] == "/metrics"
    assert endpoint["authorization"]["credentials"] == {"name": "asr-metrics-key", "key": "key"}
    service = everything["Service"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"].items() <= service.items()
    (job,) = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    assert service[spec["jobLabel"]] == job["job_name"]


def test_rules_and_alerts_go_in_as_they_are(everything: Manifests) -> None:
    groups = [group for text in RULES.values() for group in yaml.safe_load(text)["groups"]]
    assert everything["PrometheusRule"]["spec"]["groups"] == groups


# --- what it tells


@pytest.mark.parametrize("name", VALUES)
def test_the_commands_it_tells_are_the_programs(name: str) -> None:
    told = re.findall(r"-- asr-gateway (.+)", notes(VALUES[name]))
    assert len(told) == 2
    for line in told:
        command: click.Command = main
        words = line.split()
        while isinstance(command, click.Group):
            command = command.commands[words.pop(0)]
        command.make_context("told", words)


def test_a_redis_that_cannot_be_reached_is_told() -> None:
    told = "nothing lets the gateway reach its Redis"
    assert told in notes({"redis": {"secretName": "asr-redis"}})
    assert told not in notes(EXAMPLES["providers"])


def test_it_is_of_the_programs_version() -> None:
    """The image's tag is it, unless told; the example of the other variant too."""
    version = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]["version"]
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == version
    assert container(rendered({}))["image"] == f"asr-gateway:{version}"
    assert EXAMPLES["gpu"]["image"]["tag"] == f"{version}-cuda"
