"""Trial F13: who leaves ends the call, unless it is paid for and can still fill the cache; it is paid for once."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest

from config.auth import Auth
from config.cache import Cache
from config.settings import Settings
from gateway.dispatch.flights import MOST_LEFT
from gateway.stores.usage import OK, By, Period
from gateway.stores.usage_sqlite import SqliteUsage
from tests.asking import MODEL, WAV, Told, key, serving, settings
from tests.chaos.load import utterance
from tests.chaos.upstream import Upstream, answers, hangs, slow_ears, upstream
from tests.gateway.stores.usage_rows import all_rows
from tests.integration.test_cache import state
from tests.integration.test_single_flight import Gate, until, waiting
from tests.redis_server import redis_server
from tests.serving import NOT_KEPT
from tests.watching import samples

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from gateway.stores.usage import Row
    from tests.asking import Served

USD_PER_MINUTE = 6.0
WAV_S = 13.69
WAV_USD = WAV_S / 60 * USD_PER_MINUTE
BEARER = {"Authorization": "Bearer hf_gw_newsroom"}


def paid(
    urls: Mapping[str, str],
    folder: Path,
    *,
    usd_per_minute: float | None = USD_PER_MINUTE,
    key_limits: Mapping[str, Any] | None = None,
    **sections: Any,
) -> Settings:
    """Return settings whose targets cost money, kept answers, a key, and a ledger of their own."""
    plain = settings(urls, max_upload=40_000_000)
    targets = tuple(each.model_copy(update={"usd_per_minute": usd_per_minute}) for each in plain.models[MODEL].targets)
    route = plain.models[MODEL].model_copy(update={"targets": targets, **sections.pop("route", {})})
    auth = Auth.model_validate({"mode": "keys", "keys": [key("newsroom", "hf_gw_newsroom", limits=key_limits or {})]})
    return Settings.model_validate(
        {
            **dict(plain),
            "auth": auth,
            "models": {MODEL: route},
            "cache": Cache(),
            "usage": {"path": folder / "usage.sqlite"},
            **sections,
        }
    )


@asynccontextmanager
async def asked(served: Served, body: bytes = WAV, control: str = "") -> AsyncIterator[asyncio.Task[Told]]:
    async with asyncio.TaskGroup() as group:
        yield group.create_task(served.post(body=BytesIO(body), **BEARER, **{"Cache-Control": control}))


async def leave(served: Served, task: asyncio.Task[Told]) -> None:
    """Hang up, and return when the gateway has noticed."""
    task.cancel()
    await until(lambda: samples(served.gateway)["asr_requests_in_flight{}"] == 0)


async def rows_of(folder: Path) -> list[Row]:
    store = SqliteUsage(folder / "usage.sqlite", 10_000)
    try:
        return await all_rows(store)
    finally:
        await store.close()


async def test_a_paid_call_goes_on_and_who_asks_meanwhile_joins_it(tmp_path: Path) -> None:
    gate = Gate()
    async with upstream(gate) as up, serving(paid({"up": up.url}, tmp_path)) as served:
        async with asked(served) as first:
            await waiting(up, 1)
            await leave(served, first)
            assert served.gateway.drain.in_flight == 1
            async with asked(served) as second:
                await until(lambda: served.gateway.drain.in_flight == 2)
                gate.opened.set()
        again = await served.post(**BEARER)
        told = second.result()
        assert (told.status, state(told), state(again), len(up.calls)) == (200, "joined", "hit", 1)
        assert not up.calls[0].was_left
    cancelled, late, joined, hit = await rows_of(tmp_path)
    assert [each.outcome for each in (cancelled, late, joined, hit)] == ["cancelled", "abandoned", OK, OK]
    assert (cancelled.request_id, cancelled.key) == (late.request_id, "newsroom")
    assert [each.cost_usd for each in (cancelled, joined, hit)] == [0.0, 0.0, 0.0]
    assert late.cost_usd == pytest.approx(WAV_USD, rel=0.01)
    assert late.billed_s == pytest.approx(WAV_S, abs=0.01)


@pytest.mark.parametrize("control", ["", "no-cache"])
async def test_what_nobody_waited_for_is_there_for_the_next(control: str, tmp_path: Path) -> None:
    """It is counted as cancelled, its cost once, and its row is no request."""
    limits = {"usd_per_day": 10}
    async with (
        upstream(answers(after_s=0.3)) as up,
        serving(paid({"up": up.url}, tmp_path, key_limits=limits)) as served,
    ):
        async with asked(served, control=control) as first:
            await waiting(up, 1)
            await leave(served, first)
        await served.at_rest()
        again = await served.post(**BEARER)
        assert (state(again), len(up.calls)) == ("hit", 1)
        seen = samples(served.gateway)
        assert seen[f"asr_requests_total{{front=hf,model={MODEL},status=cancelled}}"] == 1
        assert seen["asr_cost_usd_total{deployment=up/whisper}"] == pytest.approx(WAV_USD, rel=0.01)
        left_usd = 10 - WAV_USD
        assert again.headers["RateLimit"].startswith(f'"budget-per-day";r={int(left_usd * 100)};')
        ledger = served.gateway.state.ledger
        assert ledger is not None
        await until(lambda: not ledger._waiting)
    store = SqliteUsage(tmp_path / "usage.sqlite", 10_000)
    (whole,) = await store.sums((By.KEY,), Period(0, 1e11))
    await store.close()
    assert (whole.requests, whole.failures, whole.hits) == (2, 1, 1)
    assert whole.cost_usd == pytest.approx(WAV_USD, rel=0.01)


@pytest.mark.parametrize(
    ("why", "control"),
    [
        ({"usd_per_minute": 0.0}, ""),
        ({"usd_per_minute": None}, ""),
        ({}, "no-store"),
        ({"cache": NOT_KEPT}, ""),
    ],
)
async def test_what_costs_nothing_or_is_not_kept_is_called_off(
    why: dict[str, Any], control: str, tmp_path: Path
) -> None:
    async with upstream(hangs) as up, serving(paid({"up": up.url}, tmp_path, **why)) as served:
        async with asked(served, control=control) as first:
            await waiting(up, 1)
            await leave(served, first)
        await until(lambda: up.calls[0].was_left)
        assert served.gateway.drain.in_flight == 0


async def test_an_upload_that_is_not_over_is_called_off(tmp_path: Path) -> None:
    """What has not arrived is not billed."""
    async with upstream(slow_ears(2e6)) as up, serving(paid({"up": up.url}, tmp_path)) as served:
        async with asked(served, utterance(20_000_000)) as first:
            await until(lambda: bool(up.calls))
            await leave(served, first)
        await until(lambda: not up.open)
        assert up.calls[0].was_left
        assert served.gateway.drain.in_flight == 0


async def test_a_drain_waits_for_it_no_longer_than_for_requests(tmp_path: Path) -> None:
    async with upstream(hangs) as up, serving(paid({"up": up.url}, tmp_path)) as served:
        async with asked(served) as first:
            await waiting(up, 1)
            await leave(served, first)
        waited = asyncio.get_running_loop().create_task(served.gateway.drain.wait(60))
        await asyncio.sleep(0.05)
        assert not waited.done()
        served.gateway.drain.cut_all()
        await waited
        await until(lambda: up.calls[0].was_left)


@asynccontextmanager
async def left_at_one(folder: Path) -> AsyncIterator[tuple[Served, Gate, Upstream, Upstream]]:
    """Serve two targets, of which the first has a call that its caller has left, and fails once its gate is opened."""
    gate = Gate(500)
    async with (
        upstream(gate) as one,
        upstream(answers()) as two,
        serving(paid({"one": one.url, "two": two.url}, folder)) as served,
    ):
        async with asked(served) as first:
            await waiting(one, 1)
            await leave(served, first)
        yield served, gate, one, two


async def test_nobody_else_is_asked_once_all_have_left(tmp_path: Path) -> None:
    """The call fails after all: what is kept is nothing, and who comes then asks anew."""
    async with left_at_one(tmp_path) as (served, gate, one, two):
        gate.opened.set()
        await served.at_rest()
        assert (len(one.calls), len(two.calls)) == (1, 0)
        told = await served.post(**BEARER)
        assert (told.status, state(told), len(two.calls)) == (200, "miss", 1)


async def test_who_joins_has_another_asked_where_it_fails(tmp_path: Path) -> None:
    async with left_at_one(tmp_path) as (served, gate, one, two):
        async with asked(served) as second:
            await until(lambda: served.gateway.drain.in_flight == 2)
            gate.opened.set()
        assert (second.result().status, len(one.calls), len(two.calls)) == (200, 1, 1)


async def test_so_many_go_on_and_no_more(tmp_path: Path) -> None:
    async with upstream(hangs) as up, serving(paid({"up": up.url}, tmp_path)) as served:
        for number in range(MOST_LEFT + 2):
            async with asked(served, utterance(32_044 + 2 * number)) as task:
                await waiting(up, number + 1)
                await leave(served, task)
        await until(lambda: len(up.open) == MOST_LEFT)
        assert [call.was_left for call in up.calls] == [False] * MOST_LEFT + [True] * 2
        served.gateway.drain.cut_all()


async def test_another_gateway_joins_it(tmp_path: Path) -> None:
    gate = Gate()
    async with redis_server() as redis, upstream(gate) as up:
        shared: dict[str, Any] = {"cache": {"store": "redis"}, "redis": {"url": redis.url, "timeout": "1s"}}
        async with (
            serving(paid({"up": up.url}, tmp_path, **shared)) as here,
            serving(paid({"up": up.url}, tmp_path, **shared)) as there,
        ):
            async with asked(here) as first:
                await waiting(up, 1)
                await leave(here, first)
                async with asked(there) as second:
                    await until(lambda: there.gateway.drain.in_flight == 1)
                    gate.opened.set()
            assert (state(second.result()), len(up.calls)) == ("joined", 1)
