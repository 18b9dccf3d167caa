"""deploy/helm with an engine: valid, hardened like the gateway's pods, and reached by the gateway with its key."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import kubernetes_validate
import pytest
import yaml

from config.settings import load
from gateway.standalone.parent import _END_MARGIN_S
from gateway.standalone.serving import EngineSettings, with_local_models
from tests.conftest import sample
from tests.deploy.dockerfile import environment
from tests.deploy.render import CHART, ENGINE, Manifests, Refused, rendered
from tests.deploy.test_chart import ADMIN, container, pod
from tests.engine import EngineProgram
from tests.program import program
from tests.running import PROGRAM, running

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLE = yaml.safe_load((CHART / "examples" / "engine.yaml").read_text())
HERE = {"providers": {"local": {"device": "cpu", "compute_type": "default"}}}
ON_A_CPU: dict[str, Any] = {
    "config": {"auth": ADMIN, "models": {"tiny": {"targets": ["engine/tiny.en"]}}},
    "engine": {
        "enabled": True,
        "keySecretName": "asr-engine",
        "config": {**HERE, "models": {"tiny": {"targets": ["local/tiny.en"]}}},
    },
}


@pytest.fixture(scope="module")
def engine() -> Manifests:
    return rendered(EXAMPLE, ENGINE)


@pytest.mark.parametrize("version", ["1.27", "1.31", "1.35"])
def test_it_is_valid_by_kubernetes_own_schemas(version: str, engine: Manifests) -> None:
    for document in engine.values():
        kubernetes_validate.validate(document, version, strict=True)
    assert engine.keys() == {"ConfigMap", "Service", "NetworkPolicy", "Deployment"}


def test_there_is_none_unless_it_is_wanted() -> None:
    assert rendered({}, ENGINE) == {}
    assert "engine-key" not in json.dumps(rendered({}))


@pytest.mark.parametrize(
    ("engine", "named"),
    [
        ({"enabled": True}, "keySecretName"),
        ({"replica": 1}, "replica"),
        ({"config": {"server": {"port": 8100}}}, "server"),
        ({"shutdown": {"drainSeconds": "60s"}}, "drainSeconds"),
    ],
)
def test_values_that_cannot_be_meant_are_refused(engine: dict[str, Any], named: str) -> None:
    with pytest.raises(Refused, match=named):
        rendered({"engine": engine})


def test_its_pod_can_do_no_more_than_the_gateways(engine: Manifests) -> None:
    ours, gateways = pod(engine), pod(rendered(EXAMPLE))
    for name in ("securityContext", "automountServiceAccountToken", "enableServiceLinks"):
        assert ours[name] == gateways[name]
    assert container(engine)["securityContext"] == container(rendered(EXAMPLE))["securityContext"]
    assert {each["name"] for each in ours["volumes"]} == {each["name"] for each in container(engine)["volumeMounts"]}


def test_an_account_of_that_name_stays_as_it_is() -> None:
    """Else the key of a cloud would be sent to the engine's address."""
    own = {"adapter": "deepgram", "api_key_file": "/run/secrets/deepgram"}
    manifests = rendered({**ON_A_CPU, "config": {"providers": {"engine": own}}})
    assert json.loads(manifests["ConfigMap"]["data"]["gateway.yaml"])["providers"] == {"engine": own}


def test_it_goes_where_the_gpus_are(engine: Manifests) -> None:
    """And the gateway does not."""
    assert container(engine)["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert container(engine)["image"].endswith("-cuda")
    wanted = EXAMPLE["engine"]
    assert {name: pod(engine)[name] for name in ("nodeSelector", "tolerations", "runtimeClassName")} == {
        name: wanted[name] for name in ("nodeSelector", "tolerations", "runtimeClassName")
    }
    assert not {"nodeSelector", "tolerations", "runtimeClassName"} & pod(rendered(EXAMPLE)).keys()


def test_only_the_gateway_reaches_it() -> None:
    """Their selectors keep the pods of the two apart: a Service of one must not lead to the other."""
    gateway, engine = rendered(EXAMPLE), rendered(EXAMPLE, ENGINE)
    labels = {name: each["Deployment"]["spec"]["template"]["metadata"]["labels"] for name, each in _both(EXAMPLE)}
    for name, other in (("gateway", "engine"), ("engine", "gateway")):
        selector = {"gateway": gateway, "engine": engine}[name]["Service"]["spec"]["selector"]
        assert selector.items() <= labels[name].items()
        assert not selector.items() <= labels[other].items()
    (allowed,) = engine["NetworkPolicy"]["spec"]["ingress"]
    (source,) = allowed["from"]
    assert source["podSelector"]["matchLabels"].items() <= labels["gateway"].items()
    (out,) = [rule for rule in gateway["NetworkPolicy"]["spec"]["egress"] if rule["ports"] == allowed["ports"]]
    assert out["to"] == [{"podSelector": {"matchLabels": engine["Service"]["spec"]["selector"]}}]


def _both(values: dict[str, Any]) -> Iterator[tuple[str, Manifests]]:
    yield "gateway", rendered(values)
    yield "engine", rendered(values, ENGINE)


def test_it_is_waited_for_until_it_has_drained(
    engine: Manifests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it reads is what it can serve: with the variables of the image and the pod."""
    for name, value in {**environment("cuda"), **variables(engine)}.items():
        monkeypatch.setenv(name, value)
    file = tmp_path / "engine.yaml"
    file.write_text(engine["ConfigMap"]["data"]["engine.yaml"])
    served = with_local_models(load(file, EngineSettings), ())
    assert [each.target for route in served.models.values() for each in route.targets] == ["local/large-v3"]
    assert pod(engine)["terminationGracePeriodSeconds"] >= served.server.grace + served.server.drain + _END_MARGIN_S
    assert served.server.grace > 0


def variables(manifests: Manifests) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container(manifests)["env"]}


def placed(manifests: Manifests, file: str, folder: Path) -> Path:
    """Write a pod's file where this machine has it, with the paths of pods in it made its own."""
    path = folder / file
    path.write_text(here(manifests["ConfigMap"]["data"][file], folder))
    return path


def here(text: str, folder: Path) -> str:
    for inside in ("/run/secrets/engine", "/etc/asr-gateway", "/var/lib/asr-gateway"):
        text = text.replace(inside, str(folder))
    return text


async def test_a_gateway_of_this_chart_is_answered_by_its_engine(tmp_path: Path) -> None:
    """Both as their pods start them, with the Secret that both mount; by the routes that the probes ask."""
    gateway, engine = rendered(ON_A_CPU), rendered(ON_A_CPU, ENGINE)
    (tmp_path / "key").write_text("a-key\n")
    placed(engine, "engine.yaml", tmp_path)
    arguments = [here(each, tmp_path) for each in container(engine)["args"]]
    elsewhere = [each.replace("0.0.0.0", "127.0.0.1").replace("8100", "0") for each in arguments]
    at_once = {name: "0s" for name in variables(engine) if name.endswith("GRACE")}
    environ = {"ASR_GATEWAY_SERVER__HOST": "0.0.0.0", **variables(engine), **at_once}  # as the image has it
    async with running(EngineProgram, str(PROGRAM), *elsewhere, environ=environ) as served:
        text = placed(gateway, "gateway.yaml", tmp_path).read_text()
        document = json.loads(text.replace("http://asr-gateway-engine:8100", served.url))
        document |= {"cache": {"store": "none"}, "limits": {}, "usage": {"store": "none"}, "auth": {}}
        async with program(document, tmp_path) as asked, aiohttp.ClientSession() as session:
            async with session.get(served.url + probe(engine)) as reply:
                assert reply.status == 200
            async with session.post(f"{asked.url}/models/tiny", data=BytesIO(sample("jfk.flac"))) as reply:
                assert "ask not what your country" in (await reply.json())["text"]
            async with session.get(f"{served.url}/model?model=tiny.en") as reply:
                assert reply.status == 401  # it is the key that let the gateway in


def probe(manifests: Manifests) -> str:
    return str(container(manifests)["readinessProbe"]["httpGet"]["path"])
