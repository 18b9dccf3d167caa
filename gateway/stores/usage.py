"""The ledger's rows, what a store of them does, and how they are summed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

OK: Final = "ok"
"""The outcome of a request that was answered."""
ABANDONED: Final = "abandoned"
"""The outcome of what was paid for a request that was over: its own row says what became of it."""
CHECKS: Final = "gateway:check"
"""Who pays for the checks of deployments: no key can be called so."""
NOT_PAID: Final = frozenset({"hit", "stale", "joined"})
"""Of the cache: somebody had paid for the answer already."""


class UsageUnusable(Exception):
    """The ledger can be neither written nor read now; the message says why."""


class Row(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One request, at its end. Holds no audio, text, prompt or credential."""

    at: float  # seconds since 1970, UTC
    request_id: str
    key: str  # the caller's name
    model: str  # from the configuration, or "other"; "none" where none was read
    deployment: str  # from the configuration; "none" where nobody answered
    front: str
    audio_s: float | None
    billed_s: float | None
    cost_usd: float | None  # None where no price is known
    cache: str  # bypass, miss, hit, joined, stale
    outcome: str  # ok, cancelled, the stable word of the problem; or abandoned: a second row, of what was paid later
    attempts: int
    seconds: float  # to answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Rows that are written together, once: a store that cannot tell whether it wrote them is given them again."""

    name: str  # like no other
    rows: Sequence[Row]


class Period(NamedTuple):
    """Seconds since 1970, UTC: from `since` on, and before `until`."""

    since: float
    until: float


class By(StrEnum):
    """What usage can be summed by."""

    KEY = "key"
    MODEL = "model"
    DEPLOYMENT = "deployment"
    FRONT = "front"
    CACHE = "cache"
    OUTCOME = "outcome"
    DAY = "day"  # of UTC


@dataclass(slots=True, kw_only=True)
class Sum:
    """What some requests come to together."""

    names: tuple[str, ...]  # of what they have in common, in the order that was asked for
    requests: int = 0
    audio_s: float = 0.0  # of those that were answered
    billed_s: float = 0.0
    cost_usd: float = 0.0  # as far as it is known
    hits: int = 0  # answers that were paid for before, or by another request
    failures: int = 0  # without an answer
    unpriced: int = 0  # answered by a deployment that has no known price

    def add(self, row: Row) -> None:
        """Count a row."""
        is_ok, is_request = row.outcome == OK, row.outcome != ABANDONED
        self.requests += is_request
        self.audio_s += (row.audio_s or 0.0) if is_ok else 0.0
        self.billed_s += row.billed_s or 0.0
        self.cost_usd += row.cost_usd or 0.0
        self.hits += row.cache in NOT_PAID
        self.failures += is_request and not is_ok
        self.unpriced += is_ok and row.cost_usd is None


class UsageStore(Protocol):
    """Where rows are kept. Every method raises UsageUnusable."""

    async def append(self, batch: Batch) -> None: ...
    async def trim(self, before: float) -> None:
        """Delete what is older than a moment in seconds since 1970, and the oldest of what is too much."""
        ...

    async def sums(self, by: Sequence[By], period: Period) -> list[Sum]:
        """Return a sum for each combination there is, in no order."""
        ...

    def rows(self, period: Period) -> AsyncIterator[Row]:
        """Yield what was kept, the oldest first."""
        ...

    async def close(self) -> None: ...


def summed(rows: Iterable[Row], by: Sequence[By], sums: dict[tuple[str, ...], Sum]) -> None:
    """Add rows to the sums of their kind."""
    for row in rows:
        names = tuple(_name(row, each) for each in by)
        sums.setdefault(names, Sum(names=names)).add(row)


def _name(row: Row, by: By) -> str:
    if by is By.DAY:
        return datetime.fromtimestamp(row.at, UTC).date().isoformat()
    return str(getattr(row, by.value))
