"""Sizes and durations as people write them: 100MiB, 1.5 s, 4h, 7d."""

from __future__ import annotations

import re
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


Seconds = Annotated[float, BeforeValidator(seconds), Field(gt=0, allow_inf_nan=False)]
SecondsOrNone = Annotated[float, BeforeValidator(seconds), Field(ge=0, allow_inf_nan=False)]  # 0: not at all
Bytes = Annotated[ByteSize, Field(gt=0)]
