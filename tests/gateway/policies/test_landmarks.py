"""A download of minutes has some lines in the log, one of a second none."""

from __future__ import annotations

from itertools import pairwise

import pytest

from gateway.policies.landmarks import EVERY_S, NONE_YET, is_landmark


@pytest.mark.parametrize("whole_s", [1.0, 10.0, 60.0, 7200.0])
def test_a_download_has_eleven_lines_at_most_and_none_close_together(whole_s: float) -> None:
    lines, last = [], (NONE_YET, 0.0)
    for step in range(1001):
        share, now_s = step / 1000, whole_s * step / 1000
        if is_landmark(share, last[0], now_s - last[1]):
            lines.append((share, now_s))
            last = share, now_s
    assert len(lines) == {1.0: 0, 10.0: 5, 60.0: 11, 7200.0: 11}[whole_s]
    assert all(after[1] - before[1] >= EVERY_S for before, after in pairwise(lines))
