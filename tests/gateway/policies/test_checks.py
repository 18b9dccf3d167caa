"""When a deployment is asked for its own sake."""

from __future__ import annotations

import math

import pytest

from gateway.policies.checks import is_due, pause_s


@pytest.mark.parametrize(
    ("called_at", "proves_itself", "admits", "due"),
    [
        (-math.inf, False, True, True),  # never called: at the start
        (940.0, False, True, True),
        (941.0, False, True, False),  # a caller asked 59 s ago: that told enough
        (999.0, True, True, True),  # its time alone is over
        (999.0, True, False, False),
        (0.0, False, False, False),  # left alone: it would only be hit while it is down
    ],
)
def test_due(called_at: float, *, proves_itself: bool, admits: bool, due: bool) -> None:
    assert is_due(1000.0, called_at, 60.0, proves_itself=proves_itself, admits=admits) is due


@pytest.mark.parametrize(("every_s", "pause"), [(None, 1.0), (60.0, 1.0), (2.0, 0.5), (0.001, 0.05)])
def test_pause(every_s: float | None, pause: float) -> None:
    """Often enough to be about on time, never a busy loop; and a reload may turn checks on at any time."""
    assert pause_s(every_s) == pause
