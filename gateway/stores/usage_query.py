"""What is asked of the ledger: by what, and of which time; and the answer in plain values."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from config.units import seconds
from gateway.stores.usage import By, Period

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.stores.usage import Sum


def read_by(given: str) -> tuple[By, ...]:
    """Read names with commas between them. Raises ValueError."""
    names = [each.strip() for each in given.split(",") if each.strip()]
    unknown = [each for each in names if each not in set(By)]
    if unknown:
        raise ValueError(f"by: {unknown[0][:40]!r} is not one of {', '.join(By)}")
    return tuple(dict.fromkeys(By(each) for each in names))


def read_period(since: str, until: str | None, now: float) -> Period:
    """Read two moments, each a date, a date and time, or how long ago it was: 2026-11-01, 7d. Raises ValueError.

    until: None for now. now: seconds since 1970; what has no time zone is UTC.
    """
    period = Period(_moment("since", since, now), now if until is None else _moment("until", until, now))
    if period.since >= period.until:
        raise ValueError(f"since {since[:40]!r} is not before until {(until or 'now')[:40]!r}")
    return period


def in_order(sums: Iterable[Sum], by: Sequence[By]) -> list[Sum]:
    """Return the dearest first; days one after the other."""
    named = sorted(sums, key=lambda each: each.names)
    return named if By.DAY in by else sorted(named, key=lambda each: (-each.cost_usd, -each.requests))


def as_document(sums: Sequence[Sum], by: Sequence[By], period: Period) -> dict[str, Any]:
    """Return the answer as JSON has it: moments in ISO 8601, seconds, US dollars."""
    return {
        "since": _written(period.since),
        "until": _written(period.until),
        "by": list(by),
        "sums": [_as_fields(each, by) for each in sums],
    }


def _as_fields(one: Sum, by: Sequence[By]) -> dict[str, Any]:
    figures = asdict(one)
    names = figures.pop("names")
    # A sum of floats is a hair off what it says.
    rounded = {name: round(value, 9) if isinstance(value, float) else value for name, value in figures.items()}
    return {**dict(zip(map(str, by), names, strict=True)), **rounded}


def _moment(name: str, given: str, now: float) -> float:
    if given.strip().isdigit():  # seconds, or a date without dashes
        return _date(name, given)
    try:
        ago_s = seconds(given)
    except ValueError:
        return _date(name, given)
    return max(0.0, now - float(str(ago_s)))


def _date(name: str, given: str) -> float:
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        raise ValueError(
            f"{name}: {given[:40]!r} is neither a duration such as 7d nor a date such as 2026-11-01"
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _written(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")
