"""What a caller asks for in headers, in any dialect: less time, an answer of a certain age, or only the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import hdrs

from config.cache import CacheScope
from config.units import seconds
from gateway.api.auth import admin_only
from gateway.dispatch.caching import Asking
from gateway.dispatch.fingerprint import scope_of_token
from gateway.policies.cache_control import ANY, parse
from gateway.problems import invalid_parameter

if TYPE_CHECKING:
    from gateway.api.auth import Caller
    from gateway.api.request import Request

TIMEOUT: Final = "X-Gateway-Timeout"
DRY_RUN: Final = "X-Gateway-Dry-Run"
_YES, _NO = frozenset({"true", "1", "yes"}), frozenset({"", "false", "0", "no"})
_LONGEST_S = 86_400.0


def asking(request: Request, scope: CacheScope) -> Asking:
    """Return what the caller's headers say of time and cache. Raises Problem 422."""
    given = request.headers.getall(hdrs.CACHE_CONTROL, None)
    control = ANY if given is None else parse(",".join(given))
    return Asking(scope=_scope(request.caller, scope), timeout_s=timeout_s(request), control=control)


def _scope(caller: Caller, scope: CacheScope) -> str:
    """Say whose answers a caller is given. A token that nobody here knows opens no answers but its own."""
    if caller.token is not None:
        return scope_of_token(caller.token.get_secret_value())
    return "shared" if scope is CacheScope.SHARED else f"caller:{caller.name}"


def timeout_s(request: Request) -> float | None:
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


def is_dry_run(request: Request) -> bool:
    """Tell whether only the plan is wanted. It tells of prices and health, so that it is for admins. Raises Problem."""
    said = request.headers.get(DRY_RUN)
    if said is None:
        return False
    given = said.strip().lower()
    if given not in _YES | _NO:
        raise invalid_parameter(DRY_RUN, given, "true or false")
    if given in _YES:
        admin_only(request.caller)
    return given in _YES
