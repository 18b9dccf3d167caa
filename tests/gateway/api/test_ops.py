"""What operators ask: is it alive, does it want traffic, its numbers, its models."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from config.usage import Usage, UsageStore
from gateway.metrics import declared
from tests.asking import MODEL, WAV, Served, serving, settings
from tests.program import OPERATOR

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    Emulate = Callable[..., Awaitable[str]]


@pytest.fixture
async def served(emulate: Emulate) -> AsyncIterator[Served]:
    async with serving(settings({"up": await emulate("hf-inference")})) as made:
        yield made


async def test_alive_and_ready(served: Served) -> None:
    for path, status in (("/health", "alive"), ("/health/live", "alive"), ("/health/ready", "ready")):
        async with served.session.get(served.url + path) as reply:
            assert (reply.status, await reply.json()) == (200, {"status": status})


async def test_a_draining_process_wants_no_traffic_but_lives(served: Served) -> None:
    served.gateway.drain.is_draining = True
    async with served.session.get(f"{served.url}/health/ready") as reply:
        assert (reply.status, await reply.json()) == (503, {"status": "draining"})
        assert reply.headers["Connection"] == "close"
    async with served.session.get(f"{served.url}/health/live") as reply:
        assert reply.status == 200


async def test_metrics_are_what_prometheus_reads(served: Served) -> None:
    """Each has a meaning written down, and base units."""
    await served.post(body=WAV)
    async with served.session.get(f"{served.url}/metrics") as reply:
        assert reply.headers["Content-Type"].startswith("text/plain; version=")
        families = {each.name: each for each in text_string_to_metric_families(await reply.text())}
    ours = set(families)
    with_redis_alone = {declared.REDIS_UP.name, declared.LIMITS_UNSETTLED.name}
    with_a_cache_alone = {declared.CACHE_BYTES.name, declared.CACHE_STORE_UP.name}
    assert ours == {each.name for each in declared.ALL} - with_redis_alone - with_a_cache_alone
    assert all(families[name].documentation for name in ours)


async def test_usage_is_summed_for_an_admin(emulate: Emulate, tmp_path: Path) -> None:
    chosen = settings({"up": await emulate("hf-inference")})
    kept = chosen.model_copy(update={"usage": Usage(path=tmp_path / "usage.sqlite")})
    async with serving(kept) as served:
        await served.post(body=WAV)
        await served.post(body=b"no audio at all")
        while len((told := await asked(served, "by=model,outcome"))["sums"]) < 2:  # noqa: ASYNC110 - seen from outside
            await asyncio.sleep(0.02)  # they are being written
        assert {each["outcome"]: each["audio_s"] for each in told["sums"]} == {
            "ok": pytest.approx(13.69),
            "unreadable-audio": 0.0,
        }
        assert (await asked(served))["by"] == ["key", "model"]
        assert (await asked(served, "since=2020-01-01&until=2020-01-02&by="))["sums"] == []
        assert (await asked(served, "by=user"))["type"] == "invalid-parameter"
        assert "since: 'soon'" in (await asked(served, "since=soon"))["error"]


async def test_usage_that_is_not_kept_or_cannot_be_read_is_told(emulate: Emulate, tmp_path: Path) -> None:
    url = await emulate("hf-inference")
    (tmp_path / "taken").touch()
    for usage, kind in (
        (Usage(store=UsageStore.NONE), "not-found"),
        (Usage(path=tmp_path / "taken" / "usage.sqlite"), "usage-unusable"),
    ):
        async with serving(settings({"up": url}).model_copy(update={"usage": usage})) as served:
            assert (await asked(served))["type"] == kind


async def asked(served: Served, query: str = "") -> dict[str, Any]:
    """Return what is said of usage."""
    async with served.session.get(f"{served.url}/admin/usage?{query}", headers=OPERATOR) as reply:
        told: dict[str, Any] = await reply.json()
        return told


async def test_models_are_listed_in_openais_shape(served: Served) -> None:
    async with served.session.get(f"{served.url}/v1/models") as reply:
        (model,) = (await reply.json())["data"]
    assert (model["id"], model["object"], model["deployments"]) == (MODEL, "model", ["up/whisper"])
    async with served.session.get(f"{served.url}/v1/models/{MODEL}") as reply:
        assert await reply.json() == model


async def test_a_model_that_is_none_is_404_in_openais_shape(served: Served) -> None:
    async with served.session.get(f"{served.url}/v1/models/gpt-9") as reply:
        assert (reply.status, (await reply.json())["error"]["code"]) == (404, "unknown-model")
