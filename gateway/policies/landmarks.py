"""Which steps of a long download are worth a line of the log."""

from __future__ import annotations

from typing import Final

EVERY_S: Final = 2.0  # a line at most
_TENTHS: Final = 10
NONE_YET: Final = -1.0


def is_landmark(share: float, last_share: float, since_s: float) -> bool:
    """Tell whether it is: a further tenth, so that a download has eleven lines at most, however long it takes.

    share: of what is to be downloaded. last_share: of the last landmark, or NONE_YET. since_s: then, or its start.
    """
    return since_s >= EVERY_S and int(share * _TENTHS) > int(last_share * _TENTHS)
