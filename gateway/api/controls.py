"""What operators may ask of a process, or of all that share its port."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.metrics import Exposition
    from gateway.reload import Reloaded


@dataclass(frozen=True, slots=True, kw_only=True)
class Controls:
    """What operators are answered with: by a process for itself, or for all that share its port."""

    reload: Callable[[], Awaitable[Reloaded]]  # reads the configuration again
    status: Callable[[], Awaitable[dict[str, Any]]]
    metrics: Callable[[str], Awaitable[Exposition]]  # in the form that an Accept header asks for
    cache: Callable[[], Awaitable[dict[str, Any]]]
    purge: Callable[[], Awaitable[int]]  # forgets every answer; returns how many there were
