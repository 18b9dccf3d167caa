"""What clients ask the Hub before they send audio: answered here, to anybody, in the shape that every version reads."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from config.auth import Auth, AuthMode, Key
from config.settings import AccountSettings
from tests.serving import routed, running
from tests.wire import send

MODEL = "openai/whisper-large-v3"
TASK = "automatic-speech-recognition"
KEYS = Auth(mode=AuthMode.KEYS, keys=(Key(name="a", hash=f"sha256:{hashlib.sha256(b'k').hexdigest()}"),))


@pytest.fixture
async def gateway() -> AsyncIterator[str]:
    """Serve with keys: every look-up below is anonymous all the same."""
    hub = AccountSettings(adapter="hf-inference", base_url="http://127.0.0.1:9", api_key=SecretStr("k"))
    settings = routed(MODEL, {"hub": hub}, f"hub/{MODEL}").model_copy(update={"auth": KEYS})
    async with running(settings) as (url, _):
        yield url


@pytest.mark.parametrize(
    "path",
    [
        f"/api/models/{MODEL}",
        f"/api/models/{MODEL}/",
        "/api/models/openai%2Fwhisper-large-v3",
        f"/api/models/{MODEL}?expand=inferenceProviderMapping",
        f"/api/models/{MODEL}?expand[]=inferenceProviderMapping",
        f"/api/models/{MODEL}?expand%5B%5D=inferenceProviderMapping",
    ],
)
async def test_a_model_and_who_serves_it(gateway: str, path: str) -> None:
    reply = await send(gateway, path, method="GET")
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    answer = reply.json()
    assert (answer["id"], answer["pipeline_tag"]) == (MODEL, TASK)
    mapping = answer["inferenceProviderMapping"]
    # The first serves provider="auto"; Together is missing, for the Python client knows no speech there.
    assert list(mapping) == ["hf-inference", "fal-ai", "replicate", "deepinfra"]
    for entry in mapping.values():
        assert entry == {"providerId": MODEL, "status": "live", "task": TASK}


@pytest.mark.parametrize("path", ["/api/models/nobody/knows", "/api/models/..%2Fetc", "/api/models/" + "x" * 3000])
async def test_a_model_that_is_not_here(gateway: str, path: str) -> None:
    reply = await send(gateway, path, method="GET")
    assert reply.status == 404
    assert reply.json()["type"] == "unknown-model"
    assert reply.json()["error"] == "no such model here"  # whoever has no key is told no names


async def test_the_task_has_a_default_model(gateway: str) -> None:
    """Python reads widgetModels, JavaScript models."""
    reply = await send(gateway, "/api/tasks", method="GET")
    assert reply.status == 200
    task = reply.json()[TASK]
    assert task["widgetModels"] == [MODEL]
    assert task["models"] == [{"id": MODEL}]


@pytest.mark.parametrize(
    "path", ["/api/agent-harnesses", "/api/whoami-v2", "/api/models", "/api/", "/api/datasets/a/b"]
)
async def test_the_rest_of_the_hub_is_404_in_json(gateway: str, path: str) -> None:
    reply = await send(gateway, path, method="GET")
    assert reply.status == 404
    assert isinstance(reply.json()["error"], str)
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-request-id"]


async def test_reading_is_open_and_nothing_else(gateway: str) -> None:
    for path in ("/api/tasks", f"/api/models/{MODEL}", f"/models/{MODEL}"):
        assert (await send(gateway, path, b"{}")).status in {401, 405}
