"""What may be asked of the ledger, and how it is told that something may not."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.stores.usage import By, Period, Sum
from gateway.stores.usage_query import as_document, in_order, read_by, read_period

NOW = 1_700_000_000.0  # 2023-11-14 22:13:20 UTC


@pytest.mark.parametrize(
    ("given_", "meant"),
    [("key,model", (By.KEY, By.MODEL)), (" day , key,", (By.DAY, By.KEY)), ("key,key", (By.KEY,)), ("", ())],
)
def test_names(given_: str, meant: tuple[By, ...]) -> None:
    assert read_by(given_) == meant


@pytest.mark.parametrize("given_", ["user", "key;model", "key,1", "KEY", "at", "key) --"])
def test_names_of_nothing(given_: str) -> None:
    with pytest.raises(ValueError, match="is not one of key, model, deployment, front, cache, outcome, day"):
        read_by(given_)


@pytest.mark.parametrize(
    ("since", "until", "meant"),
    [
        ("7d", None, Period(NOW - 7 * 86_400, NOW)),
        ("1.5h", "1h", Period(NOW - 5400, NOW - 3600)),
        ("2023-11-01", None, Period(1_698_796_800.0, NOW)),
        ("20231101", "2023-11-02T12:00", Period(1_698_796_800.0, 1_698_926_400.0)),
        ("2023-11-01T02:00+02:00", "1d", Period(1_698_796_800.0, NOW - 86_400)),
        ("99999999d", None, Period(0.0, NOW)),
    ],
)
def test_times(since: str, until: str | None, meant: Period) -> None:
    assert read_period(since, until, NOW) == meant


@pytest.mark.parametrize(
    ("since", "until", "fault"),
    [
        ("soon", None, "since: 'soon' is neither a duration such as 7d nor a date"),
        ("7", None, "since: '7' is neither"),
        ("7d", "2023-13-01", "until: '2023-13-01' is neither"),
        ("1d", "2d", "since '1d' is not before until '2d'"),
        ("2030-01-01", None, "is not before until 'now'"),
        ("0s", None, "is not before until 'now'"),
    ],
)
def test_times_that_are_none(since: str, until: str | None, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        read_period(since, until, NOW)


@given(since=st.text(max_size=30), until=st.none() | st.text(max_size=30), by=st.text(max_size=30))
def test_any_text_is_read_or_refused(since: str, until: str | None, by: str) -> None:
    try:
        period = read_period(since, until, NOW)
        names = read_by(by)
    except ValueError:
        return
    assert msgspec.json.encode(as_document([], names, period))


def test_the_dearest_comes_first_and_days_one_after_the_other() -> None:
    cheap, dear = Sum(names=("a",), requests=9, cost_usd=0.1), Sum(names=("b",), requests=1, cost_usd=0.2)

    assert in_order([cheap, dear], [By.KEY]) == [dear, cheap]
    assert in_order([dear, cheap], [By.DAY]) == [cheap, dear]


def test_the_answer_as_json_has_it() -> None:
    told = as_document([Sum(names=("newsroom",), requests=2, cost_usd=0.1 + 0.2)], [By.KEY], Period(0.0, NOW))

    assert (told["since"], told["until"], told["by"]) == (
        "1970-01-01T00:00:00+00:00",
        "2023-11-14T22:13:20+00:00",
        ["key"],
    )
    assert told["sums"] == [
        {
            "key": "newsroom",
            "requests": 2,
            "audio_s": 0.0,
            "billed_s": 0.0,
            "cost_usd": 0.3,
            "hits": 0,
            "failures": 0,
            "unpriced": 0,
        }
    ]
