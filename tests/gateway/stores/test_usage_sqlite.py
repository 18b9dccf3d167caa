"""The ledger's file: what goes in comes out, also between processes; sums are what adding by hand gives."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings

from gateway.stores.usage import By, Period, UsageUnusable
from gateway.stores.usage_sqlite import SqliteUsage, usual_file
from tests.gateway.stores.usage_rows import (
    ALWAYS,
    BYS,
    DAY_S,
    NOON,
    ROWS,
    all_rows,
    batch,
    by_hand,
    in_order,
    row,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from gateway.stores.usage import Row


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteUsage]:
    made = SqliteUsage(tmp_path / "deep" / "usage.sqlite", 10_000)
    yield made
    await made.close()


async def test_what_is_written_is_read(store: SqliteUsage) -> None:
    """The oldest first; unknown stays unknown."""
    rows = [row(NOON + 1, audio_s=None, billed_s=None, cost_usd=None), row(NOON, request_id="é'\"", audio_s=3)]
    await store.append(batch(*rows))

    assert await all_rows(store) == rows[::-1]
    assert await all_rows(store, Period(NOON, NOON + 1)) == [rows[1]], "from since on, and before until"


@settings(deadline=None)
@given(rows=ROWS, by=BYS)
def test_sums_are_those_made_by_hand(
    tmp_path_factory: pytest.TempPathFactory, rows: Sequence[Row], by: list[By]
) -> None:
    async def told() -> None:
        store = SqliteUsage(tmp_path_factory.mktemp("sums") / "usage.sqlite", 10_000)
        await store.append(batch(*rows))
        for period in (ALWAYS, Period(NOON + DAY_S / 2, NOON + DAY_S)):
            assert in_order(await store.sums(by, period)) == by_hand(rows, by, period)
        await store.close()

    asyncio.run(told())


async def test_more_rows_than_are_read_at_once(store: SqliteUsage) -> None:
    """Many of them at the same moment."""
    rows = [row(NOON + at // 9000, request_id=str(at)) for at in range(25_000)]
    await store.append(batch(*rows))

    assert [each.request_id for each in await all_rows(store)] == [each.request_id for each in rows]


async def test_what_is_too_old_and_what_is_too_much_goes(store: SqliteUsage) -> None:
    await store.append(batch(*(row(NOON + at) for at in range(12_000))))
    await store.trim(NOON + 1000)
    assert [each.at for each in await all_rows(store)] == [NOON + at for at in range(2000, 12_000)]
    await store.trim(NOON + 11_998)
    assert [each.at for each in await all_rows(store)] == [NOON + 11_998, NOON + 11_999]


async def test_two_processes_write_at_the_same_time(store: SqliteUsage) -> None:
    other = SqliteUsage(store.file, 10_000)
    async with asyncio.TaskGroup() as group:
        for at in range(100):
            group.create_task((store, other)[at % 2].append(batch(*(row() for _ in range(50)))))
    assert [each.requests for each in await other.sums([], ALWAYS)] == [5000]
    await other.close()


async def test_a_file_that_is_none(tmp_path: Path) -> None:
    """It is tried again each time: whoever mends it need not restart anything."""
    taken = tmp_path / "taken"
    taken.touch()
    store = SqliteUsage(taken / "usage.sqlite", 10_000)
    for _ in range(2):
        with pytest.raises(UsageUnusable, match="taken"):
            await store.append(batch(row()))
    taken.unlink()
    await store.append(batch(row()))
    assert len(await all_rows(store)) == 1
    await store.close()


@pytest.mark.parametrize(
    ("environ", "file"),
    [
        ({"XDG_STATE_HOME": "/var/state"}, "/var/state/asr-gateway/usage.sqlite"),
        ({"XDG_STATE_HOME": "state"}, "{home}/.local/state/asr-gateway/usage.sqlite"),
        ({}, "{home}/.local/state/asr-gateway/usage.sqlite"),
    ],
)
def test_where_it_is_unless_told(environ: dict[str, str], file: str) -> None:
    assert usual_file(environ) == Path(file.format(home=os.path.expanduser("~")))  # noqa: PTH111 - what it is compared with
