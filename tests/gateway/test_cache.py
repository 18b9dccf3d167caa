"""The cache as its operator meets it: over a restart, with several workers, counted and emptied on command."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import aiohttp
import pytest

from config.auth import Auth
from tests.asking import WAV, serving
from tests.chaos.load import MODEL, Client, metrics
from tests.chaos.upstream import answers, upstream
from tests.gateway.api.test_auth import TWO_KEYS
from tests.integration.test_cache import kept, state
from tests.program import OPERATOR, configuration, program

PROGRAM = Path(sys.executable).with_name("asr-gateway")


async def run(*arguments: str, **environment: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        "cache",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **environment},
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode().strip()


def at(url: str) -> tuple[str, ...]:
    return ("--url", url, "--key", "hf_gw_operator")


async def entries(client: Client) -> int:
    async with client.session.get(f"{client.url}/admin/cache", headers=OPERATOR) as reply:
        return int((await reply.json())["entries"])


async def test_it_is_counted_and_forgotten_on_command() -> None:
    async with upstream(answers()) as up, serving(kept({"up": up.url})) as served:
        await served.post()
        code, said = await run("stats", *at(served.url))
        assert (code, said.split(",")[0]) == (0, "memory: 1 answers")
        assert await run("purge", *at(served.url)) == (0, "1 answers forgotten")
        assert await run("stats", *at(served.url)) == (0, "memory: 0 answers, 0 bytes, 0 evicted")
        assert state(await served.post()) == "miss"


async def test_what_is_not_there_is_said_so() -> None:
    async with upstream(answers()) as up, serving(kept({"up": up.url}, {"store": "none"})) as served:
        assert await run("stats", *at(served.url)) == (0, "none: 0 answers, 0 bytes, 0 evicted")
        assert await run("purge", *at(served.url)) == (0, "0 answers forgotten")


async def test_it_wants_an_admins_key() -> None:
    async with upstream(answers()) as up, serving(kept({"up": up.url}, auth=TWO_KEYS)) as served:
        for command in ("stats", "purge"):
            assert (await run(command, "--url", served.url))[0] == 1
            assert (await run(command, "--url", served.url, "--key", "hf_gw_newsroom"))[0] == 1
            assert (await run(command, "--url", served.url, "--key", "hf_gw_boss"))[0] == 0


async def test_without_any_admin_key_it_says_how_to_make_one() -> None:
    """Whoever runs a gateway on a laptop without a configuration meets it first."""
    async with upstream(answers()) as up, serving(kept({"up": up.url}, auth=Auth())) as served:
        for command in ("stats", "purge"):
            code, said = await run(command, "--url", served.url)
            assert (code, "asr-gateway keys new --name operator --role admin" in said) == (1, True)


async def test_the_key_may_be_in_the_environment() -> None:
    async with upstream(answers()) as up, serving(kept({"up": up.url})) as served:
        assert (await run("stats", "--url", served.url, ASR_GATEWAY_KEY="hf_gw_operator"))[0] == 0
        code, said = await run("stats", "--url", served.url)
        assert (code, "a key is needed" in said, "--key or in ASR_GATEWAY_KEY" in said) == (1, True, True)


async def test_a_file_outlives_a_restart(tmp_path: Path) -> None:
    async with upstream(answers()) as up, aiohttp.ClientSession() as session:
        cache = {"store": "sqlite", "path": str(tmp_path / "answers.sqlite")}
        told = []
        for _ in range(2):
            async with program(configuration({"a": up.url}, model=MODEL, cache=cache), tmp_path) as served:
                told += [await Client(served.url, session).ask(WAV) for _ in range(2)]
        assert [each.headers["X-Gateway-Cache"] for each in told] == ["miss", "hit", "hit", "hit"]
        assert len({each.text for each in told}) == len(up.calls) == 1


async def test_a_file_that_cannot_be_used_is_said_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("somebody's notes " * 100)
    cache = {"store": "sqlite", "path": str(tmp_path / "notes.txt")}
    async with upstream(answers()) as up, aiohttp.ClientSession() as session:
        async with program(configuration({"a": up.url}, model=MODEL, cache=cache), tmp_path) as served:
            await served.wait_for("cache_file_lost")
            told = [await Client(served.url, session).ask(WAV) for _ in range(2)]
        assert [each.headers["X-Gateway-Cache"] for each in told] == ["miss", "hit"]


@pytest.mark.parametrize("store", ["memory", "sqlite"])
async def test_workers_are_counted_and_emptied_together(tmp_path: Path, store: str) -> None:
    cache = {"store": store, "path": str(tmp_path / "answers.sqlite")}
    async with upstream(answers()) as up:
        document = configuration({"a": up.url}, model=MODEL, cache=cache, server={"workers": 2})
        # Each request has a connection of its own, so that both are met.
        connector = aiohttp.TCPConnector(force_close=True)
        async with program(document, tmp_path) as served, aiohttp.ClientSession(connector=connector) as session:
            client = Client(served.url, session)
            await client.ask(WAV)
            while not await entries(client):  # noqa: ASYNC110 - it is kept when its caller has it already
                await asyncio.sleep(0.01)
            for _ in range(30):
                assert (await client.ask(WAV)).status == 200
            there = len(up.calls)
            assert 1 <= there <= (2 if store == "memory" else 1)
            code, said = await run("stats", *at(served.url))
            assert (code, said.split(",")[0]) == (0, f"{store}: {there} answers")
            size_bytes = (await metrics(client))[f'asr_cache_bytes{{store="{store}"}}']
            assert f"{size_bytes:.0f} bytes" in said
            assert await run("purge", *at(served.url)) == (0, f"{there} answers forgotten")
            assert (await client.ask(WAV)).headers["X-Gateway-Cache"] == "miss"
