"""What operators read of a running gateway."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

from gateway.status import in_lines
from tests import faulty as upstreams
from tests.asking import KEYS, serving, settings
from tests.chaos.load import MODEL, Client, metrics
from tests.program import configuration, program
from tests.redis_server import redis_server

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Emulate = Callable[..., Awaitable[str]]

PROGRAM = Path(sys.executable).with_name("asr-gateway")


async def run(*arguments: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        PROGRAM, "status", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


async def test_a_parked_deployment_is_shown_with_its_reason(emulate: Emulate) -> None:
    second = await emulate("hf-inference")
    async with (
        upstreams.faulty(upstreams.answers(402, {"error": "credits"})) as first,
        serving(settings({"first": first.url, "second": second})) as served,
    ):
        await served.post()
        code, said = await run("--url", served.url)
        _, as_json = await run("--url", served.url, "--json")
    assert code == 0
    lines = said.splitlines()
    assert lines[0] == "degraded, 0 requests in flight"
    assert lines[1].split() == ["DEPLOYMENT", "STATE", "WHY", "AGAIN", "IN", "IN", "FLIGHT", "WAITING", "S", "PER", "S"]
    assert lines[2].split()[:3] == ["first/whisper", "parked", "quota"]
    assert 200 < float(lines[2].split()[3]) <= 300
    assert lines[3].split()[:3] == ["second/whisper", "closed", "-"]
    assert [each["why"] for each in json.loads(as_json)["deployments"]] == ["quota", None]


async def test_it_wants_an_admins_key(emulate: Emulate) -> None:
    async with serving(settings({"up": await emulate("hf-inference")}, auth=KEYS)) as served:
        code, said = await run("--url", served.url)
        shut, why = await run("--url", served.url, "--key", "hf_gw_newsroom")
    assert (code, shut) == (1, 1)
    assert "a key is needed" in said
    assert "wants an admin key" in why


async def test_nobody_there_is_said_plainly() -> None:
    url = await upstreams.refused()

    assert await run("--url", url) == (1, f"Error: nobody listens at {url}\n")
    assert await run("--url", "http://[:8080") == (
        1,
        "Error: http://[:8080 is no address such as http://127.0.0.1:8080\n",
    )


async def test_somebody_else_there_is_said_plainly() -> None:
    async with upstreams.faulty(upstreams.answers(200, ["no", "gateway"])) as other:
        code, said = await run("--url", other.url)

    assert (code, "does not answer like a gateway" in said) == (1, True)


def test_what_went_wrong_at_the_last_reload_is_shown() -> None:
    told = {"status": "degraded", "in_flight": 0, "missing": ["no model"], "reload_error": "bad", "deployments": []}

    assert in_lines(told).splitlines()[:3] == ["degraded, 0 requests in flight", "no model", "bad"]


async def test_a_lost_redis_degrades_and_stops_nothing(emulate: Emulate, tmp_path: Path) -> None:
    """It is gone at the start, comes, and goes: one line each time, and everything is answered."""
    async with redis_server() as redis:
        await redis.kill()
        document = configuration({"up": await emulate("hf-inference")}, model=MODEL, redis={"url": redis.url})
        async with program(document, tmp_path) as served, aiohttp.ClientSession() as client:
            for event, word, up in (("redis_lost", "degraded", 0), ("redis_back", "ready", 1)):
                await served.wait_for(event)
                async with client.get(f"{served.url}/health/ready") as reply:
                    assert (reply.status, await reply.json()) == (200, {"status": word})
                assert (await metrics(Client(served.url, client)))["asr_redis_up"] == up
                assert (await Client(served.url, client).ask()).status == 200
                await redis.start() if event == "redis_lost" else await redis.kill()
            assert [line["event"] for line in served.lines if "redis" in line["event"]] == ["redis_lost", "redis_back"]
