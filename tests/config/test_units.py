"""Sizes, durations and moments as people write them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from config.units import Bytes, Moment, Seconds, SecondsOrNone, seconds


class Some(BaseModel):
    """One of each."""

    wait: Seconds = 1.0
    grace: SecondsOrNone = 1.0
    room: Bytes = 1  # type: ignore[assignment] # a default is not checked
    until: Moment | None = None


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("250ms", 0.25),
        ("90s", 90.0),
        ("90", 90.0),
        (" 1.5 m ", 90.0),
        ("10min", 600.0),
        ("4h", 14_400.0),
        ("7d", 604_800.0),
        ("2H", 7200.0),
        (1.5, 1.5),
        (2, 2.0),
    ],
)
def test_durations(written: object, meant: float) -> None:
    assert Some(wait=written).wait == meant


@pytest.mark.parametrize(
    "written",
    [
        "",
        "soon",
        "1w",
        "-1s",
        "1s2",
        "1 000s",
        "inf",
        "nan",
        "1e3s",
        True,
        None,
        [],
        -0.5,
        0,
        "0s",
        float("inf"),
        float("nan"),
    ],
)
def test_no_durations(written: Any) -> None:
    with pytest.raises(ValidationError):
        Some(wait=written)


def test_none_at_all_where_that_has_a_meaning() -> None:
    assert Some(grace="0s").grace == 0
    with pytest.raises(ValidationError):
        Some(grace=-1.0)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("100MiB", 100 << 20),
        ("8GiB", 8 << 30),
        ("1kB", 1000),
        ("4KiB", 4096),
        ("512", 512),
        (512, 512),
        ("1.5MiB", 3 << 19),
    ],
)
def test_sizes(written: object, meant: int) -> None:
    assert Some(room=written).room == meant


@pytest.mark.parametrize("written", ["", "big", "-1MiB", "0", 0, -5, "1XB", None, []])
def test_no_sizes(written: Any) -> None:
    with pytest.raises(ValidationError):
        Some(room=written)


@given(st.floats(0.001, 1e6), st.sampled_from([("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86_400.0)]))
def test_any_number_in_any_unit(number: float, unit: tuple[str, float]) -> None:
    assert seconds(f"{number:f}{unit[0]}") == pytest.approx(float(f"{number:f}") * unit[1])


@given(st.text(max_size=8))
def test_any_text_is_a_duration_or_told_what_one_is(text: str) -> None:
    try:
        assert isinstance(seconds(text), float)
    except ValueError as error:
        assert "such as 90s or 4h" in str(error)  # noqa: PT017 - whichever it is


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (date(2026, 12, 31), datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("2026-12-31", datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("2026-12-31T18:00:00Z", datetime(2026, 12, 31, 18, tzinfo=UTC)),
        (datetime(2026, 12, 31, 18, tzinfo=timezone(timedelta(hours=2))), datetime(2026, 12, 31, 16, tzinfo=UTC)),
        ("9999-12-31", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_moments(written: Any, meant: datetime) -> None:
    """As YAML gives them, and as JSON does; a day lasts until its end."""
    assert Some(until=written).until == meant


@pytest.mark.parametrize(
    "written",
    ["", "soon", "2026-13-01", "2026-12-31T18:00:00", "9999-12-31T23:59:59-01:00", 1, True, [], "90d"],
)
def test_no_moments(written: Any) -> None:
    """A time without an offset is another moment wherever it is read."""
    with pytest.raises(ValidationError, match="moment"):
        Some(until=written)
