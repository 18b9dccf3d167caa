"""The last minute's calls, counted in bounded room."""

from __future__ import annotations

from gateway.dispatch.recent import QUIET, LastMinute, Recent


def test_calls_errors_and_times_are_told() -> None:
    recent = Recent()
    for seconds in (0.2, 5.0, 0.4):
        recent.answered(1000.0, seconds)
    recent.errored(1001.0)
    recent.neither(1002.0)

    assert recent.told(1010.0) == LastMinute(calls=5, errors=1, median_s=0.4)


def test_what_is_older_than_a_minute_is_gone() -> None:
    recent = Recent()
    recent.answered(1000.0, 9.0)
    recent.errored(1030.0)

    assert recent.told(1059.0).calls == 2
    assert recent.told(1061.0) == LastMinute(calls=1, errors=1)
    assert recent.told(1100.0) == QUIET


def test_it_stays_small_and_counts_all() -> None:
    """However many calls there are: only their times are a sample, of the latest."""
    recent = Recent()
    for at in range(100_000):
        recent.answered(1000.0 + at / 1000, 1.0)

    told = recent.told(1100.0)
    assert 50_000 < told.calls <= 60_000
    assert len(recent._times) == 200
    assert len(recent._slices) == 12


def test_a_clock_that_goes_back_is_forgiven() -> None:
    recent = Recent()
    recent.errored(1000.0)
    recent.errored(990.0)

    assert recent.told(1000.0).errors == 2
