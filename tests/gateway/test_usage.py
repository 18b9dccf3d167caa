"""The ledger on the command line: sums and rows, and what it says where there are none."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import subprocess
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from config.stores import Redis
from gateway.stores.redis import SharedStore
from gateway.stores.usage_redis import RedisUsage
from gateway.stores.usage_sqlite import SqliteUsage
from tests.gateway.stores.usage_rows import NOON, batch, row
from tests.redis_server import redis_server
from tests.running import PROGRAM

if TYPE_CHECKING:
    from pathlib import Path

ROWS = [
    row(NOON, key="newsroom", request_id="a"),
    row(NOON + 1, key="other", request_id="b", cost_usd=0.5),
    row(NOON + 2, key="newsroom", request_id="c", cache="hit", billed_s=0.0, cost_usd=0.0),
    row(NOON + 3, key="newsroom", request_id="d", outcome="too-long", audio_s=None, billed_s=0.0, cost_usd=0.0),
    row(NOON + 86_400, key="late", request_id="e"),
]


@pytest.fixture
async def config(tmp_path: Path) -> Path:
    store = SqliteUsage(tmp_path / "usage.sqlite", 1000)
    await store.append(batch(*ROWS))
    await store.close()
    file = tmp_path / "gateway.yaml"
    file.write_text(f"usage: {{path: {tmp_path}/usage.sqlite}}\n")
    return file


def usage(config: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Ask for 14 November 2023, unless told."""
    period = ("--since", "2023-11-14", "--until", "2023-11-15")
    return subprocess.run(
        [PROGRAM, "usage", "--config", config, *period, *options], capture_output=True, text=True, check=False
    )


def configure(config: Path, text: str) -> None:
    config.write_text(text)


def test_a_table(config: Path) -> None:
    done = usage(config, "--by", "key")

    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["KEY", "REQUESTS", "AUDIO", "S", "BILLED", "S", "USD", "HITS", "FAILURES", "UNPRICED"],
        ["other", "1", "12.0", "15.0", "0.500000", "0", "0", "0"],
        ["newsroom", "3", "24.0", "15.0", "0.250000", "1", "1", "0"],
        ["total", "4", "36.0", "30.0", "0.750000", "1", "1", "0"],
    ]


def test_json_and_csv_say_the_same(config: Path) -> None:
    told = json.loads(usage(config, "--by", "model,key", "--format", "json").stdout)
    written = list(csv.DictReader(io.StringIO(usage(config, "--by", "model,key", "--format", "csv").stdout)))

    assert (told["since"], told["by"]) == ("2023-11-14T00:00:00+00:00", ["model", "key"])
    assert [{name: str(value) for name, value in each.items()} for each in told["sums"]] == written
    assert [(each["model"], each["key"]) for each in written] == [("whisper-1", "other"), ("whisper-1", "newsroom")]


def test_every_row(config: Path) -> None:
    written = list(csv.DictReader(io.StringIO(usage(config, "--raw").stdout)))

    assert [each["request_id"] for each in written] == ["a", "b", "c", "d"]
    assert (written[3]["outcome"], written[3]["audio_s"], written[3]["cost_usd"]) == ("too-long", "", "0.0")


def test_every_row_as_json_lines(config: Path) -> None:
    lines = [json.loads(line) for line in usage(config, "--raw", "--format", "json").stdout.splitlines()]

    assert [each["request_id"] for each in lines] == ["a", "b", "c", "d"]
    assert (lines[3]["outcome"], lines[3]["audio_s"], lines[3]["cost_usd"]) == ("too-long", None, 0.0)


def test_what_cannot_be_read(config: Path, tmp_path: Path) -> None:
    for options, code, sentence in (
        (("--by", "user"), 2, "by: 'user' is not one of key, model"),
        (("--since", "soon"), 2, "since: 'soon' is neither a duration such as 7d nor a date"),
    ):
        done = usage(config, *options)
        assert (done.returncode, done.stdout) == (code, "")
        assert sentence in done.stderr
    (tmp_path / "usage.sqlite").write_text("something else altogether" * 100)
    assert "not a database" in usage(config).stderr
    config.write_text("usage: {store: none}")
    assert usage(config).stderr == "Error: usage.store is none: nothing is written down\n"


def test_where_there_is_none_yet_none_is_made(config: Path, tmp_path: Path) -> None:
    config.write_text(f"usage: {{path: {tmp_path}/other.sqlite}}")
    done = usage(config)

    assert (done.returncode, done.stderr) == (
        1,
        f"Error: {tmp_path}/other.sqlite: there is no ledger; a gateway makes it when it serves\n",
    )
    assert not (tmp_path / "other.sqlite").exists()


async def test_the_replicas_ledger(config: Path) -> None:
    """Read from Redis, or said why not."""
    async with redis_server() as server:
        configure(config, f"usage: {{store: redis}}\nredis: {{url: '{server.url}'}}\n")
        shared = SharedStore(Redis(url=SecretStr(server.url), timeout=2.0), lambda _: None)
        await RedisUsage(shared, 1000).append(batch(*ROWS))
        await shared.close()
        since_ever = ("--since", "1970-01-02", "--by", "key", "--format", "json")
        told = json.loads((await asyncio.to_thread(usage, config, *since_ever)).stdout)
        await server.kill()
        done = await asyncio.to_thread(usage, config)
    assert {each["key"]: each["requests"] for each in told["sums"]} == {"newsroom": 3, "other": 1}
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "Error: redis: ConnectionError\n")
