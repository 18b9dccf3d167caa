"""A row for each request, written beside them: none waits for it, none is written twice, what is lost is counted."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr, ValidationError

from config.settings import Settings
from config.stores import Redis
from config.usage import Usage, UsageStore
from gateway.ledger import Ledger, row_of, usage_store
from gateway.observe import Observed
from gateway.stores.usage import UsageUnusable
from gateway.stores.usage_redis import RedisUsage
from gateway.stores.usage_sqlite import SqliteUsage
from tests.asking import KEYS, MODEL, WAV, serving, settings
from tests.conftest import KEY
from tests.gateway.stores.usage_rows import NOON, all_rows
from tests.redis_server import redis_server
from tests.watching import log_lines, samples

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from gateway.stores.usage import Batch, By, Period, Row, Sum

    Emulate = Callable[..., Awaitable[str]]


class Kept:
    """A store in memory that can be out of order."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.trimmed_before: list[float] = []
        self.is_broken = False
        self.hangs = False
        self.asked = asyncio.Event()

    async def append(self, batch: Batch) -> None:
        self.asked.set()
        if self.hangs:
            await asyncio.Event().wait()
        if self.is_broken:
            raise UsageUnusable("it is broken")
        self.batches.append(batch)

    async def trim(self, before: float) -> None:
        self.trimmed_before.append(before)

    async def sums(self, by: Sequence[By], period: Period) -> list[Sum]:
        raise NotImplementedError

    def rows(self, period: Period) -> AsyncIterator[Row]:
        raise NotImplementedError

    async def close(self) -> None:
        """Hold nothing."""


def answered(request_id: str = "id") -> Observed:
    return Observed(
        request_id=request_id,
        started=0.0,
        front="hf",
        caller="newsroom",
        model=MODEL,
        deployment="a/whisper",
        label="a/whisper",
        attempts=1,
        audio_s=12.0,
        billed_s=15.0,
        cost_usd=0.25,
    )


@asynccontextmanager
async def carried(store: Kept) -> AsyncIterator[tuple[Ledger, list[int]]]:
    """Give a ledger at work, and what it drops."""
    dropped: list[int] = []
    ledger = Ledger(store, keep_s=1000.0, now=lambda: NOON, on_dropped=dropped.append)
    async with asyncio.TaskGroup() as group:
        carrying = group.create_task(ledger.carry())
        await asyncio.sleep(0)  # it has begun
        yield ledger, dropped
        await ledger.end()
        carrying.cancel()


async def test_what_is_noted_is_written_by_the_end() -> None:
    store = Kept()
    async with carried(store) as (ledger, dropped):
        for number in range(1234):
            ledger.note(answered(str(number)), "200", 0.5)
    written = [row.request_id for batch in store.batches for row in batch.rows]
    assert written == [str(number) for number in range(1234)]
    assert max(len(each.rows) for each in store.batches) == 100
    assert dropped == []
    assert store.trimmed_before == [NOON - 1000.0]


def test_a_row_says_who_what_and_how_much() -> None:
    row = row_of(answered(), "200", 0.5, NOON)
    assert (row.at, row.key, row.model, row.deployment, row.front) == (NOON, "newsroom", MODEL, "a/whisper", "hf")
    assert (row.audio_s, row.billed_s, row.cost_usd, row.outcome, row.seconds) == (12.0, 15.0, 0.25, "ok", 0.5)


@pytest.mark.parametrize(
    ("problem", "status", "outcome"),
    [("", "200", "ok"), ("too-long", "413", "too-long"), ("", "cancelled", "cancelled")],
)
def test_an_outcome_is_a_word(problem: str, status: str, outcome: str) -> None:
    observed = Observed(request_id="id", started=0.0, front="hf", problem=problem)
    row = row_of(observed, status, 0.5, NOON)
    assert (row.outcome, row.model, row.deployment) == (outcome, "none", "none")


async def test_rows_wait_for_a_store_that_is_lost_and_beyond_a_bound_are_dropped() -> None:
    """Said once, however long it lasts; written once, however often it is tried."""
    store = Kept()
    store.is_broken = True
    with log_lines() as lines:
        async with carried(store) as (ledger, dropped):
            ledger.note(answered("first"), "200", 0.5)
            await store.asked.wait()
            for number in range(10_001):
                ledger.note(answered(str(number)), "200", 0.5)
            assert sum(dropped) == 1
            store.asked.clear()
            await store.asked.wait()  # it was tried again
            store.is_broken = False
    names = [batch.name for batch in store.batches]
    assert len(names) == len(set(names))
    assert sum(len(batch.rows) for batch in store.batches) == 10_001
    assert [(line["event"], line.get("reason")) for line in lines] == [
        ("usage_unusable", "it is broken"),
        ("usage_written", None),
    ]


async def test_a_store_that_never_works_again_costs_the_end_a_moment_and_the_rows() -> None:
    store = Kept()
    store.hangs = True
    clock = asyncio.get_running_loop().time
    with log_lines() as lines:
        async with carried(store) as (ledger, dropped):
            for number in range(700):
                ledger.note(answered(str(number)), "200", 0.5)
            await store.asked.wait()
            started = clock()
        assert clock() - started < 8
    assert dropped == [700]
    assert [(line["event"], line["rows"]) for line in lines] == [("usage_lost", 700)]


def test_where_rows_go() -> None:
    assert usage_store(Usage(store=UsageStore.NONE), None, {}) is None
    chosen = usage_store(Usage(path=Path("/a/b.sqlite")), None, {})
    assert isinstance(chosen, SqliteUsage)
    assert chosen.file == Path("/a/b.sqlite")
    with pytest.raises(ValidationError, match="there is no redis section"):
        Settings(usage=Usage(store=UsageStore.REDIS))


# --- over sockets


def written_to(file: Path, chosen: Settings) -> Settings:
    return chosen.model_copy(update={"usage": Usage(path=file)})


async def rows_in(file: Path) -> list[Row]:
    store = SqliteUsage(file, 1000)
    try:
        return await all_rows(store)
    finally:
        await store.close()


async def test_each_request_for_a_transcript_has_a_row(emulate: Emulate, tmp_path: Path) -> None:
    file = tmp_path / "usage.sqlite"
    chosen = settings({"up": await emulate("hf-inference")}, auth=KEYS)
    async with serving(written_to(file, chosen), Authorization="Bearer hf_gw_newsroom") as served:
        good = await served.post()
        bad = await served.post(body=b"no audio at all")
        unknown = await served.post("/models/openai/secret-name")
        planned = await served.post(**{"X-Gateway-Dry-Run": "true"})
        async with served.session.get(f"{served.url}/health/live") as health:
            assert health.status == 200
    assert (planned.status, good.status) == (403, 200)
    rows = {each.request_id: each for each in await rows_in(file)}
    assert {rows[each.headers["X-Request-Id"]].outcome for each in (good, bad, unknown)} == {
        "ok",
        "unreadable-audio",
        "unknown-model",
    }
    assert len(rows) == 4
    row = rows[good.headers["X-Request-Id"]]
    assert (row.key, row.model, row.deployment, row.front) == ("newsroom", MODEL, "up/whisper", "hf")
    assert row.audio_s == row.billed_s == pytest.approx(13.69)
    assert row.cost_usd is None, "nobody said what it costs there"
    assert (row.cache, row.outcome, row.attempts) == ("bypass", "ok", 1)
    assert "secret-name" not in str(rows)


async def test_a_plan_is_no_usage(emulate: Emulate, tmp_path: Path) -> None:
    file = tmp_path / "usage.sqlite"
    async with serving(written_to(file, settings({"up": await emulate("hf-inference")}))) as served:
        assert (await served.post(**{"X-Gateway-Dry-Run": "true"})).status == 200
    assert await rows_in(file) == []


async def test_what_was_charged_is_counted_by_deployment(emulate: Emulate) -> None:
    chosen = settings({"up": await emulate("hf-inference"), "down": "http://127.0.0.1:9"})
    price = {"usd_per_minute": 0.6, "step": "1s"}
    (target, _) = chosen.models[MODEL].targets
    priced = type(target).model_validate({**target.model_dump(), "price": price})
    route = chosen.models[MODEL].model_copy(update={"targets": (priced,)})
    async with serving(chosen.model_copy(update={"models": {MODEL: route}})) as served:
        assert (await served.post()).status == 200
        assert (await served.post(body=b"RIFF")).status == 400
        counted = samples(served.gateway)
    assert counted["asr_billed_seconds_total{deployment=up/whisper}"] == 14.0
    assert counted["asr_cost_usd_total{deployment=up/whisper}"] == pytest.approx(0.14)


async def test_a_folder_that_cannot_be_written_to_stops_nobody(emulate: Emulate, tmp_path: Path) -> None:
    """One line says so."""
    (tmp_path / "taken").touch()
    chosen = settings({"up": await emulate("hf-inference")})
    async with serving(written_to(tmp_path / "taken" / "usage.sqlite", chosen)) as served:
        for _ in range(3):
            assert (await served.post(body=WAV)).status == 200
        told = [line for line in served.lines if line["event"].startswith("usage")]
    assert len(told) == 1
    assert "taken" in told[0]["reason"]
    assert KEY not in str(told)


async def test_rows_wait_for_a_redis_that_is_gone(emulate: Emulate) -> None:
    """Requests are answered meanwhile, and each row is there once when it is back."""
    chosen = settings({"up": await emulate("hf-inference")})
    async with redis_server() as server:
        shared = {"usage": Usage(store=UsageStore.REDIS), "redis": Redis(url=SecretStr(server.url))}
        async with serving(chosen.model_copy(update=shared)) as served:
            asked = [await served.post()]
            await server.kill()
            asked += [await served.post() for _ in range(3)]
            while not any(line["event"] == "usage_unusable" for line in served.lines):  # noqa: ASYNC110 - a list
                await asyncio.sleep(0.05)
            await server.start()
            while not any(line["event"] == "usage_written" for line in served.lines):  # noqa: ASYNC110 - a list
                await asyncio.sleep(0.05)
            asked += [await served.post()]
            ledger = served.gateway.state.ledger
            assert ledger
            assert isinstance(ledger.store, RedisUsage)
            await ledger.end()
            rows = await all_rows(ledger.store)
    assert {told.status for told in asked} == {200}
    written = [row.request_id for row in rows]
    assert len(written) == len(set(written))
    assert set(written) >= {told.headers["X-Request-Id"] for told in asked[1:]}, "the first went with the server"
