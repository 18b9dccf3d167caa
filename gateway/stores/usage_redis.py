"""The ledger as a Redis stream that every replica appends to."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway.stores.shared import StoreLost
from gateway.stores.usage import Row, Sum, UsageUnusable, summed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from gateway.stores.redis import Client, SharedStore
    from gateway.stores.usage import Batch, By, Period

_REMEMBER_S: Final = 86_400  # a batch: longer than any of them is tried
_AT_ONCE: Final = 200  # entries read: 4 ms of the event loop
_LATE_MS: Final = 3_600_000  # how far the server's clock may be from ours
_FIELDS: Final = Row.__struct_fields__


class RedisUsage:
    """One process's view. An entry of the stream is a row, field by field; "null" where something is not known."""

    def __init__(self, shared: SharedStore, max_rows: int) -> None:
        self._shared = shared
        self._stream = f"{shared.prefix}{{usage}}"  # in braces: a cluster keeps it and its batches together
        self._max_rows = max_rows
        self._append = files(__package__).joinpath("usage.lua").read_text()

    async def append(self, batch: Batch) -> None:
        keys = (self._stream, f"{self._stream}:batch:{batch.name}")
        values = [each for row in batch.rows for each in _written(row)]
        arguments: tuple[str | int, ...] = (self._max_rows, _REMEMBER_S, 2 * len(_FIELDS), *values)
        await self._run(lambda client: client.eval(self._append, len(keys), *keys, *arguments))

    async def trim(self, before: float) -> None:
        oldest = max(0, int(before * 1000))
        await self._run(lambda client: client.xtrim(self._stream, minid=oldest, approximate=True))

    async def sums(self, by: Sequence[By], period: Period) -> list[Sum]:
        sums: dict[tuple[str, ...], Sum] = {}
        async for part in self._parts(period):
            summed(part, by, sums)
        return list(sums.values())

    async def rows(self, period: Period) -> AsyncIterator[Row]:
        """Yield them as they were written: a row may be late by as long as the server was lost."""
        async for part in self._parts(period):
            for row in part:
                yield row

    async def close(self) -> None:
        """Leave the server's connections to their owner."""

    async def _parts(self, period: Period) -> AsyncIterator[list[Row]]:
        after = f"{max(0, int(period.since * 1000) - _LATE_MS)}"
        while True:
            entries = await self._run(
                lambda client, after=after: client.xrange(self._stream, min=after, count=_AT_ONCE)  # type: ignore[misc] # bound now
            )
            rows = [row for _, fields in entries if (row := _read(fields)) is not None]
            yield [row for row in rows if period.since <= row.at < period.until]
            if len(entries) < _AT_ONCE:
                return
            after = f"({entries[-1][0].decode()}"

    async def _run(self, work: Callable[[Client], Awaitable[Any]]) -> Any:  # noqa: ANN401 - as the command returns
        try:
            return await self._shared.run(work)
        except StoreLost as error:
            raise UsageUnusable(f"redis: {error}") from error


def _written(row: Row) -> list[str]:
    values = msgspec.structs.astuple(row)
    return [
        each
        for name, value in zip(_FIELDS, values, strict=True)
        for each in (name, "null" if value is None else str(value))
    ]


def _read(fields: Mapping[bytes, bytes]) -> Row | None:
    """Return an entry's row; None where somebody else wrote something else."""
    try:
        values = [fields[name.encode()].decode() for name in _FIELDS]
        return msgspec.convert(values, Row, strict=False)
    except (KeyError, UnicodeDecodeError, msgspec.ValidationError):
        return None
