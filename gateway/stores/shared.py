"""The store that replicas share, where one is configured. Redis's client is a fifth of what a process holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from config.stores import Redis
    from gateway.stores.redis import SharedStore


class StoreLost(Exception):
    """The shared store gave no usable answer. What it would have said is unknown; the caller has a fallback."""


def shared_store(settings: Redis | None, on_change: Callable[[bool], None]) -> SharedStore | None:
    """Return the configured store, not yet connected. Call it before anything waits: it loads the client.

    on_change: see SharedStore.
    """
    if settings is None:
        return None
    from gateway.stores.redis import SharedStore  # noqa: PLC0415 - 22 MB and 0.2 s that most processes do without

    return SharedStore(settings, on_change)
