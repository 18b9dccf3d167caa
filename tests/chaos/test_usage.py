"""The third invariant: what was charged is what was answered and not paid for before; a failure costs nothing."""

from __future__ import annotations

import asyncio
import math
import random
from typing import TYPE_CHECKING

import aiohttp
import pytest

from gateway.stores.usage import OK
from gateway.stores.usage_sqlite import SqliteUsage
from tests.chaos.load import MODEL, Client, Told, utterance
from tests.chaos.upstream import Call, hangs, resets_within_the_body, upstream
from tests.gateway.stores.usage_rows import all_rows
from tests.program import configuration, program

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.stores.usage import Row

BYTES_PER_S = 32_000
USD_PER_MINUTE = 0.06
CHANCE = random.Random(20231114)  # noqa: S311 - a load, the same each time


async def by_chance(call: Call) -> None:
    """Answer, or fail in one way or the other."""
    turn = call.number % 5
    if turn == 1:
        await call.hear()
        call.writer.write(call.reply(500, {"error": "no"}))
    elif turn == 2:
        await resets_within_the_body(call)
    else:
        await call.hear()
        call.writer.write(call.reply())


async def asked(client: Client) -> list[tuple[float, Told]]:
    """Ask with audio of many lengths, and some that is none; return lengths in seconds and answers."""
    lengths = [round(CHANCE.uniform(0.1, 4.0), 3) for _ in range(120)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(client.ask(utterance(44 + 2 * round(each * BYTES_PER_S / 2)))) for each in lengths]
        group.create_task(client.ask(b"no audio at all"))
    return [*zip(lengths, [task.result() for task in tasks], strict=True)]


async def rows_of(file: Path) -> dict[str, Row]:
    store = SqliteUsage(file, 10_000)
    rows = await all_rows(store)
    await store.close()
    assert len({each.request_id for each in rows}) == len(rows), "a request has one row"
    return {each.request_id: each for each in rows}


@pytest.mark.parametrize("workers", [1, 2])
async def test_what_was_charged_is_what_was_answered(workers: int, tmp_path: Path) -> None:
    """By the second, at least 2 s each; the file's own length counts. Nothing is left out when it ends."""
    price = {"usd_per_minute": USD_PER_MINUTE, "minimum": "2s", "step": "1s"}
    async with upstream(by_chance) as a, upstream(by_chance) as b:
        document = configuration(
            {"a": a.url, "b": b.url},
            model=MODEL,
            server={"workers": workers},
            usage={"path": str(tmp_path / "usage.sqlite")},
            reliability={
                "retries": {"limit": 0},
                "breakers": {"consecutive": 1000, "failure_rate": 1, "min_calls": 10_000},
            },
        )
        document["models"][MODEL]["targets"] = [
            {**each, "price": price} for each in document["models"][MODEL]["targets"]
        ]
        async with program(document, tmp_path) as served, aiohttp.ClientSession() as session:
            client = Client(served.url, session)
            told = await asked(client)
            served.process.terminate()
            await served.process.wait()
    rows = await rows_of(tmp_path / "usage.sqlite")
    assert rows.keys() == {each.request_id for each in client.log}
    charged_s = sum(max(2, math.ceil(length_s)) for length_s, answer in told if answer.status == 200)
    assert {answer.status for _, answer in told} == {200, 502}
    assert sum(each.billed_s or 0 for each in rows.values()) == charged_s
    assert sum(each.cost_usd or 0 for each in rows.values()) == pytest.approx(charged_s / 60 * USD_PER_MINUTE)
    for length_s, answer in told:
        row = rows[answer.request_id]
        assert row.audio_s == pytest.approx(length_s, abs=1e-3)
        assert (row.outcome == OK, row.billed_s == row.cost_usd == 0) == (answer.status == 200, answer.status != 200)
        assert row.attempts == (answer.attempts or 2)


async def test_who_hangs_up_is_charged_nothing(tmp_path: Path) -> None:
    async with upstream(hangs) as a:
        document = configuration({"a": a.url}, model=MODEL, usage={"path": str(tmp_path / "usage.sqlite")})
        async with program(document, tmp_path) as served, aiohttp.ClientSession() as session:
            asking = asyncio.get_running_loop().create_task(Client(served.url, session).ask())
            while not a.open:  # noqa: ASYNC110 - seen from outside
                await asyncio.sleep(0.01)
            asking.cancel()
            while a.open:  # noqa: ASYNC110 - seen from outside
                await asyncio.sleep(0.01)
    (row,) = (await rows_of(tmp_path / "usage.sqlite")).values()
    assert (row.outcome, row.billed_s, row.cost_usd) == ("cancelled", 0.0, 0.0)
    assert row.audio_s == pytest.approx(1.0, abs=0.01)
