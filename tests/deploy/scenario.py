"""A gateway before services that fail in every way there is an alert for, and traffic that lets it all happen."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import aiohttp
from aiohttp import web

from providers.emulators.ear import DigestEar, Emulation
from providers.registry import emulated_urls, emulator_of
from tests.chaos.load import utterance
from tests.chaos.upstream import answers, hangs, upstream
from tests.conftest import KEY, sample, serve
from tests.deploy.expressions import alerts
from tests.deploy.prometheus_server import Prometheus
from tests.program import Program
from tests.redis_server import RedisServer

OPERATOR, NEWSROOM, CROWD, ARCHIVE = (f"hf_gw_{name}" for name in ("operator", "newsroom", "crowd", "archive"))
LARGE_BYTES = 1_900_000
SPOOL = {"memory_per_upload": "500KB", "disk_total": "2MB"}
LOCAL = "local/tiny.en"
ROWS_KEPT = 10_000  # of the ledger, while its store is gone


@dataclass(slots=True)
class Scene:
    """The gateway, what is around it, and who calls."""

    gateway: Program
    prometheus: Prometheus
    redis: RedisServer
    session: aiohttp.ClientSession
    statuses: dict[str, list[int]] = field(default_factory=dict)  # of each model's requests

    async def hf(self, model: str, audio: bytes | None = None, *, key: str = CROWD, cache: str = "") -> int:
        """Send audio like no other, or this. cache: what Cache-Control asks for."""
        body = BytesIO(utterance() if audio is None else audio)
        headers = {"Authorization": f"Bearer {key}", **({"Cache-Control": cache} if cache else {})}
        return await self._post(f"/models/{model}", model, body, headers)

    async def form(self, path: str, model: str) -> int:
        """Send a form, as the OpenAI SDKs do, and the clients of those that took over their route."""
        form = aiohttp.FormData(default_to_multipart=True)
        form.add_field("file", BytesIO(utterance()), filename="a.wav")
        form.add_field("model", model)
        return await self._post(path, model, form, {"Authorization": f"Bearer {CROWD}"})

    async def json(self, path: str, model: str, **fields: Any) -> int:
        """Send audio within JSON, as fal's and Replicate's clients do."""
        headers = {"Authorization": f"Bearer {CROWD}", "Content-Type": "application/json"}
        return await self._post(path, model, json.dumps(fields).encode(), headers)

    async def leaves(self, model: str, after_s: float, audio: bytes | None = None) -> None:
        """Hang up after a time."""
        try:
            async with asyncio.timeout(after_s):
                await self.hf(model, audio, cache="no-store")
        except TimeoutError:
            return

    async def reload(self) -> int:
        return await self._post("/admin/reload", "reload", None, {"Authorization": f"Bearer {OPERATOR}"})

    async def _post(self, path: str, model: str, body: Any, headers: dict[str, str]) -> int:
        async with self.session.post(self.gateway.url + path, data=body, headers=headers) as reply:
            await reply.read()
        self.statuses.setdefault(model, []).append(reply.status)
        return reply.status


@asynccontextmanager
async def services() -> AsyncIterator[dict[str, dict[str, Any]]]:
    """Run emulated providers, and some that fail; give an account for each."""
    runners: list[web.AppRunner] = []
    try:
        async with AsyncExitStack() as stack:
            accounts: dict[str, dict[str, Any]] = {"local": {"adapter": "local"}}
            for name in ("openai", "fal-ai"):
                root = await serve(emulator_of(name)(Emulation(ear=DigestEar(), key=KEY)), runners)
                urls = dict(emulated_urls(name, root))
                account = {"adapter": name, "api_key": KEY, "base_url": urls.pop("api"), "base_urls": urls}
                accounts[name] = account
            accounts["revoked"] = {**accounts["openai"], "api_key": "not-this-one"}
            for name, act in FAULTS.items():
                faulty = await stack.enter_async_context(upstream(act))
                accounts[name] = {"adapter": "hf-inference", "base_url": faulty.url, "api_key": KEY}
            yield accounts
    finally:
        for runner in runners:
            await runner.cleanup()


FAULTS = {
    "broken": answers(500, {"error": "down"}),
    "broke": answers(402, {"error": "no credit"}),
    "strict": answers(429, {"error": "too many"}, headers={"Retry-After": "600"}),
    "slow": answers(after_s=1.2),  # more than what counts as slow here
    "narrow": answers(after_s=1.2),
    "held": hangs,
}


def _target(name: str, **more: Any) -> dict[str, Any]:
    return {"target": name, "substitute": True, **more}


WELL = _target("openai/whisper-1", usd_per_minute=6)
MODELS: dict[str, dict[str, Any]] = {
    "well": {"targets": [WELL, _target("fal-ai/fal-ai/whisper")]},
    "fal-first": {"targets": [_target("fal-ai/fal-ai/whisper")]},
    "failing": {"targets": [_target("broken/a"), _target("strict/a"), WELL]},
    "gone": {"targets": [_target("broken/b")]},
    "keyless": {"targets": [_target("revoked/whisper-1"), WELL]},
    "unpaid": {"targets": [_target("broke/a"), WELL]},
    "hedged": {"targets": [_target("slow/a"), WELL], "hedge_after": "200ms"},
    "slow": {"targets": [_target("slow/b")]},
    "narrow": {"targets": [_target("narrow/a", max_concurrent=1)]},
    "held": {"targets": [_target("held/a")]},
    "held-and-narrow": {"targets": [_target("held/b", max_concurrent=1)]},
    "here": {"targets": [_target(LOCAL)]},
}


def document(accounts: dict[str, dict[str, Any]], redis: RedisServer) -> dict[str, Any]:
    """Return the gateway's configuration."""
    return {
        "server": {"spool": SPOOL, "deadline": {"base": "30s"}},
        "auth": {"mode": "keys", "keys": [*_keys()]},
        "providers": accounts,
        "models": MODELS,
        "redis": {"url": redis.url, "timeout": "2s"},
        "cache": {"store": "redis"},
        "limits": {"store": "redis"},
        "usage": {"store": "redis"},
        "reliability": {"hedging": {"floor": 50}, "queue": {"max_waiting": 1}, "retries": {"limit": 1}},
    }


def _keys() -> list[dict[str, Any]]:
    more: dict[str, dict[str, Any]] = {
        OPERATOR: {"role": "admin"},
        NEWSROOM: {"limits": {"usd_per_day": 1}},
        CROWD: {},
        ARCHIVE: {"limits": {"requests_per_minute": 4}},
    }
    return [
        {"name": secret.removeprefix("hf_gw_"), "hash": f"sha256:{hashlib.sha256(secret.encode()).hexdigest()}", **each}
        for secret, each in more.items()
    ]


async def everything(scene: Scene) -> None:
    """Let everything happen that there is a panel or an alert for. Counts must grow between two scrapes to be seen."""
    await scene.prometheus.until('up{job="asr-gateway"} == 1')
    await scene.prometheus.scrapes(2)
    for _ in range(4):
        await _together(_round(scene))
        await scene.prometheus.scrapes(1)
    await scene.prometheus.until('asr:model_deployments:usable{model="gone"} == 0')
    await _together([_too_much_at_once(scene), _a_bad_configuration(scene)])
    await _redis_is_lost(scene)
    await scene.prometheus.scrapes(2)
    scene.gateway.process.kill()
    await scene.gateway.process.wait()
    await scene.prometheus.until('up{job="asr-gateway"} == 0')
    await scene.prometheus.scrapes(2)


async def _together(asked: Iterable[Coroutine[Any, Any, object]]) -> None:
    async with asyncio.TaskGroup() as group:
        for each in asked:
            group.create_task(each)


def _round(scene: Scene) -> list[Coroutine[Any, Any, object]]:
    """Return a second or two of mixed traffic."""
    same = utterance()
    once_more = [scene.hf("slow", same) for _ in range(3)]
    crowded = [scene.hf("narrow") for _ in range(4)]
    return [
        *once_more,
        *crowded,
        *(scene.hf(model) for model in ("well", "well", "failing", "gone", "keyless", "unpaid", "hedged", "fal-first")),
        *_every_other_front(scene),
        *(scene.hf("well", key=NEWSROOM) for _ in range(3)),
        *(scene.hf("fal-first", key=ARCHIVE) for _ in range(2)),
        scene.hf("well", SAME),
        scene.hf("well", cache="only-if-cached"),
        scene.hf("here", sample("sb_spk1_snt1.flac"), cache="no-store"),
        scene.hf("no-such-model"),
        scene.leaves("slow", 0.5),
    ]


SAME = utterance()


def _every_other_front(scene: Scene) -> list[Coroutine[Any, Any, object]]:
    one, other = (f"data:audio/wav;base64,{base64.b64encode(utterance()).decode()}" for _ in range(2))
    return [
        *(scene.form(path, "well") for path in FORMS),
        scene.json("/fal-ai/well", "well", audio_url=one),
        scene.json("/replicate/v1/models/well/predictions", "well", input={"audio": other}),
    ]


FORMS = (
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
    "/deepinfra/v1/openai/audio/transcriptions",
    "/together/v1/audio/transcriptions",
)
FRONTS = {"hf", "openai-transcribe", "openai-translate", "fal-ai", "replicate", "deepinfra", "together"}


async def _too_much_at_once(scene: Scene) -> None:
    """More local jobs than are taken, more calls than are allowed, and an upload that fills the disk."""
    speech = sample("slushy.mp3")
    local = _until_it_is_seen(
        scene,
        alerts()["AsrLocalQueueSaturated"]["expr"],
        (scene.hf("here", speech, cache="no-store") for _ in range(70)),
    )
    waiting = _until_it_is_seen(
        scene, "sum(asr_deployment_waiting) > 0", (scene.hf("held-and-narrow") for _ in range(2))
    )
    large = _until_it_is_seen(scene, alerts()["AsrSpoolNearlyFull"]["expr"], [scene.hf("held", utterance(LARGE_BYTES))])
    await _together([local, waiting, large])


async def _until_it_is_seen(scene: Scene, expression: str, requests: Iterable[Coroutine[Any, Any, object]]) -> None:
    """Let requests go on until Prometheus has seen what they bring about; then their callers hang up."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each) for each in requests]
        await scene.prometheus.until(expression)
        for task in tasks:
            task.cancel()


async def _a_bad_configuration(scene: Scene) -> None:
    good = scene.gateway.file.read_text()
    await asyncio.to_thread(scene.gateway.file.write_text, "no: configuration")
    assert await scene.reload() == 422
    await scene.prometheus.until("asr_config_last_reload_successful == 0")
    await asyncio.to_thread(scene.gateway.file.write_text, good)
    assert await scene.reload() == 200


async def _redis_is_lost(scene: Scene) -> None:
    """For so long that rows of usage are given up."""
    await scene.redis.kill()
    while not any(line["event"] == "redis_lost" for line in scene.gateway.lines):
        await scene.hf("well")  # requests find out
    await scene.prometheus.until(
        f"{alerts()['AsrRedisLost']['expr']} and on () {alerts()['AsrCacheStoreLost']['expr']}"
    )
    await _many_bad_requests(scene, ROWS_KEPT + 500)
    await scene.prometheus.until(alerts()["AsrUsageRowsDropped"]["expr"])
    await scene.redis.start()
    await scene.prometheus.until("asr_redis_up == 1")


async def _many_bad_requests(scene: Scene, count: int) -> None:
    """Send requests without audio, one after the other on a few connections without waiting for answers between."""
    connections = 8
    head = (
        f"POST /models/well HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {CROWD}\r\nContent-Length: 0\r\n\r\n"
    ).encode()

    async def some(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", scene.gateway.port)
        for _ in range(number):
            writer.write(head)
        seen = 0
        while seen < number:
            piece = await reader.readuntil(b"HTTP/1.1 400")
            seen += piece.count(b"HTTP/1.1 400")
        writer.close()

    await _together(some(count // connections) for _ in range(connections))
