"""Sizes, durations and moments as people write them: 100MiB, 1.5 s, 4h, 7d, 2026-12-31."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time
from typing import Annotated, Final

from pydantic import BeforeValidator, ByteSize, Field

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|min|h|d)?\s*", re.IGNORECASE)


def seconds(value: object) -> object:
    """Return seconds from "90s", "1.5h" or a bare number. Raises ValueError."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("a duration is a number with ms, s, m, h or d, such as 90s or 4h")
    return float(match[1]) * _SECONDS[(match[2] or "s").lower()]


def moment(value: object) -> datetime:
    """Return a moment in UTC, from one with its offset or from a day, whose last second is meant. Raises ValueError."""
    read = _written_moment(value) if isinstance(value, str) else value
    if isinstance(read, datetime) and read.tzinfo is not None:
        try:
            return read.astimezone(UTC)
        except OverflowError as error:
            raise ValueError("a moment between the years 1 and 9999 was expected") from error
    if isinstance(read, date) and not isinstance(read, datetime):
        return datetime.combine(read, time(23, 59, 59), UTC)
    raise ValueError("a moment is a day such as 2026-12-31, or a time with its offset such as 2026-12-31T18:00:00Z")


def _written_moment(text: str) -> date | None:
    for read in (date.fromisoformat, datetime.fromisoformat):
        try:
            return read(text)
        except ValueError:
            continue
    return None


Seconds = Annotated[float, BeforeValidator(seconds), Field(gt=0, allow_inf_nan=False)]
SecondsOrNone = Annotated[float, BeforeValidator(seconds), Field(ge=0, allow_inf_nan=False)]  # 0: not at all
Bytes = Annotated[ByteSize, Field(gt=0)]
Moment = Annotated[datetime, BeforeValidator(moment)]
