"""What emulated services of Google share: errors as google.rpc.Status, times as text, fields in either spelling."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from providers.emulators.door import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMES: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}


def answer(refused: Refused) -> web.Response:
    """Return a refusal in google.rpc.Status. Its `reason` becomes an ErrorInfo."""
    error: dict[str, Any] = {
        "code": refused.status,
        "message": refused.said,
        "status": _NAMES.get(refused.status, "UNKNOWN"),
    }
    if reason := refused.more.get("reason"):
        info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com"}
        error["details"] = [info]
    return web.json_response({"error": error}, status=refused.status)


def offset(seconds: float) -> str:
    """Return a google.protobuf.Duration, to the millisecond."""
    return f"{seconds:.3f}s"


def in_snake_case(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return JSON with its names in snake case: proto-JSON takes either spelling."""
    match value:
        case dict():
            return {
                re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower(): in_snake_case(each)
                for name, each in value.items()
            }
        case list():
            return [in_snake_case(each) for each in value]
        case _:
            return value


def nested(value: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return an object within others; an empty one where there is none. Raises Refused where it is something else."""
    found: Any = value
    for name in names:
        found = found.get(name) or {}
        if not isinstance(found, dict):
            raise Refused(400, f"Invalid value at '{name}'")
    return dict(found)
