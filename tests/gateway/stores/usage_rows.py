"""Rows for the tests of the ledger's stores, and what they come to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from gateway.stores.usage import Batch, By, Period, Row, summed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.stores.usage import Sum, UsageStore

DAY_S = 86_400.0
NOON = 1_700_000_000.0
ALWAYS = Period(0.0, 1e12)


def row(at: float = NOON, **more: Any) -> Row:
    """Return a row of an answered request."""
    return Row(
        **{
            "at": at,
            "request_id": "id",
            "key": "newsroom",
            "model": "whisper-1",
            "deployment": "openai/whisper-1",
            "front": "openai",
            "audio_s": 12.0,
            "billed_s": 15.0,
            "cost_usd": 0.25,
            "cache": "miss",
            "outcome": "ok",
            "attempts": 1,
            "seconds": 0.5,
            **more,
        }
    )


FEW = st.sampled_from(["a", "b", "ä/é", "it's; --"])
SECONDS = st.none() | st.integers(0, 1000).map(lambda n: n / 8)  # sums of eighths are exact in any order
ROWS = st.lists(
    st.builds(
        row,
        at=st.integers(0, 4).map(lambda days: NOON + days * DAY_S / 2),
        key=FEW,
        model=FEW,
        deployment=FEW,
        audio_s=SECONDS,
        billed_s=SECONDS,
        cost_usd=SECONDS,
        cache=st.sampled_from(["bypass", "miss", "hit", "stale", "joined"]),
        outcome=st.sampled_from(["ok", "cancelled", "all-failed", "abandoned"]),
    ),
    max_size=20,
)
BYS = st.lists(st.sampled_from(By), unique=True, max_size=3)


def batch(*rows: Row, name: str = "one") -> Batch:
    return Batch(name=name, rows=rows)


def by_hand(rows: Sequence[Row], by: Sequence[By], period: Period = ALWAYS) -> list[Sum]:
    """Return the sums that a store is to give."""
    sums: dict[tuple[str, ...], Sum] = {}
    summed((each for each in rows if period.since <= each.at < period.until), by, sums)
    return in_order(sums.values())


def in_order(sums: Any) -> list[Sum]:
    return sorted(sums, key=lambda each: each.names)


async def all_rows(store: UsageStore, period: Period = ALWAYS) -> list[Row]:
    return [each async for each in store.rows(period)]
