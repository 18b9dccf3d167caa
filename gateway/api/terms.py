"""What a caller asks for in headers, in any dialect: less time, or only the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from config.units import seconds
from gateway.api.auth import CALLER, admin_only
from gateway.problems import invalid_parameter

if TYPE_CHECKING:
    from aiohttp import web

TIMEOUT: Final = "X-Gateway-Timeout"
DRY_RUN: Final = "X-Gateway-Dry-Run"
_YES, _NO = frozenset({"true", "1", "yes"}), frozenset({"", "false", "0", "no"})
_LONGEST_S = 86_400.0


def timeout_s(request: web.Request) -> float | None:
    """Return the time the caller allows: seconds, or a duration such as 90s or 2m. Raises Problem 422."""
    given = request.headers.get(TIMEOUT)
    if given is None:
        return None
    try:
        asked = float(str(seconds(given)))
    except ValueError:
        asked = 0.0
    if not 0 < asked <= _LONGEST_S:
        raise invalid_parameter(TIMEOUT, given, "a duration above 0 and up to a day, such as 90s or 2m")
    return asked


def is_dry_run(request: web.Request) -> bool:
    """Tell whether only the plan is wanted. It tells of prices and health, so that it is for admins. Raises Problem."""
    given = request.headers.get(DRY_RUN, "").strip().lower()
    if given not in _YES | _NO:
        raise invalid_parameter(DRY_RUN, given, "true or false")
    if given in _YES:
        admin_only(request[CALLER])
    return given in _YES
