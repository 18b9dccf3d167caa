"""What calls cost that no caller asked for: lost races and second opinions, which their key pays; and checks."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest

from config.reliability import Reliability
from gateway.state import unix_s
from gateway.stores.usage import OK
from tests.asking import MODEL, serving
from tests.chaos.load import utterance
from tests.chaos.upstream import answers, hangs, never_listens, upstream
from tests.integration.test_paid_calls import BEARER, USD_PER_MINUTE, WAV_USD, paid, rows_of
from tests.integration.test_single_flight import until
from tests.serving import NOT_KEPT
from tests.watching import samples

if TYPE_CHECKING:
    from pathlib import Path

    from tests.asking import Served, Told

ONCE: Any = pytest.approx(WAV_USD, rel=0.01)
TWICE: Any = pytest.approx(2 * WAV_USD, rel=0.01)


def cost(served: Served, account: str) -> float:
    return samples(served.gateway).get(f"asr_cost_usd_total{{deployment={account}/whisper}}", 0.0)


def left_usd(told: Told) -> float:
    """Return what was left of a budget once the request was answered."""
    return int(told.headers["RateLimit"].partition(";r=")[2].partition(";")[0]) / 100


async def test_a_race_that_was_lost_is_paid_where_all_of_it_was_sent(tmp_path: Path) -> None:
    """By its own price and under its own name in the metrics; by the key in the ledger and in its budget."""
    async with upstream(hangs) as one, upstream(answers()) as two:
        chosen = paid(
            {"one": one.url, "two": two.url},
            tmp_path,
            key_limits={"usd_per_day": 100},
            route={"hedge_after": 0.1},
            cache=NOT_KEPT,
        )
        async with serving(chosen) as served:
            told = await served.post(**BEARER)
            one.act = answers()
            again = await served.post(**BEARER)
            assert (told.status, told.headers["X-Gateway-Provider"], len(two.calls)) == (200, "two", 1)
            assert one.calls[0].was_left
            assert (cost(served, "one"), cost(served, "two")) == (TWICE, ONCE)
            assert left_usd(told) == pytest.approx(100 - 2 * WAV_USD, abs=0.02)
            assert left_usd(again) == pytest.approx(100 - 3 * WAV_USD, abs=0.02)
    raced, plain = await rows_of(tmp_path)
    assert (raced.deployment, raced.cost_usd, raced.outcome) == ("two/whisper", TWICE, OK)
    assert plain.cost_usd == ONCE


async def test_a_race_that_was_lost_before_it_was_sent_costs_nothing(tmp_path: Path) -> None:
    """Who reads nothing has nothing to bill; the upload is larger than what the system takes on its own."""
    async with upstream(never_listens) as one, upstream(answers()) as two:
        chosen = paid({"one": one.url, "two": two.url}, tmp_path, route={"hedge_after": 0.1}, cache=NOT_KEPT)
        async with serving(chosen) as served:
            told = await served.post(body=BytesIO(utterance(20_000_000)), **BEARER)
            assert (told.status, told.headers["X-Gateway-Provider"]) == (200, "two")
            assert cost(served, "one") == 0
    (row,) = await rows_of(tmp_path)
    assert row.cost_usd == pytest.approx(20_000_000 / 32_000 / 60 * USD_PER_MINUTE, rel=0.01)


async def test_a_second_opinion_is_paid_beside_the_first(tmp_path: Path) -> None:
    async with upstream(answers(body={"text": ""})) as one, upstream(answers()) as two:
        chosen = paid({"one": one.url, "two": two.url}, tmp_path)
        async with serving(chosen) as served:
            told = await served.post(**BEARER)
            again = await served.post(**BEARER)
            assert (told.headers["X-Gateway-Provider"], told.headers["X-Gateway-Attempts"]) == ("two", "2")
            assert again.headers["X-Gateway-Cache"] == "hit"
            assert (cost(served, "one"), cost(served, "two")) == (ONCE, ONCE)
    doubted, hit = await rows_of(tmp_path)
    assert (doubted.deployment, doubted.cost_usd, hit.cost_usd) == ("two/whisper", TWICE, 0.0)
    assert doubted.billed_s == pytest.approx(2 * 13.69, abs=0.01)


async def test_a_check_is_paid_by_nobodys_key(tmp_path: Path) -> None:
    """Under a name that no key can have; one that costs nothing has no row."""
    always = Reliability.model_validate({"check_every": "1s"})
    async with upstream(answers()) as up, upstream(answers()) as free:
        chosen = paid({"up": up.url, "free": free.url}, tmp_path, reliability=always)
        targets = chosen.models[MODEL].targets
        targets = (targets[0], targets[1].model_copy(update={"usd_per_minute": 0.0}))
        route = chosen.models[MODEL].model_copy(update={"targets": targets})
        async with serving(chosen.model_copy(update={"models": {MODEL: route}})) as served:
            await until(lambda: cost(served, "up") > 0 and bool(free.calls))
            assert cost(served, "free") == 0
    row = (await rows_of(tmp_path))[0]
    assert (row.key, row.model, row.deployment, row.front) == ("gateway:check", MODEL, "up/whisper", "check")
    assert (row.audio_s, row.outcome) == (0.5, OK)
    assert row.cost_usd == pytest.approx(0.5 / 60 * USD_PER_MINUTE)
    assert row.at == pytest.approx(unix_s(), abs=60)
