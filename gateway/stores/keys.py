"""Where keys that are made at run time are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gateway.stores.keys_redis import RedisKeys
from gateway.stores.keys_sqlite import SqliteKeys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from config.auth import Auth
    from gateway.stores.redis import SharedStore


class KeyStore(Protocol):
    """Documents by the key's name. Everything raises StoreLost where the store gives no usable answer."""

    async def revision(self) -> str:
        """Return what is another word after each change."""
        ...

    async def read(self) -> Mapping[str, str]:
        """Return all there are."""
        ...

    async def add(self, name: str, document: str) -> bool:
        """Keep a new one; False where the name is taken."""
        ...

    async def replace(self, name: str, document: str) -> bool:
        """Keep another under a name; False where there is none."""
        ...

    async def remove(self, name: str) -> bool:
        """Forget one; False where there is none."""
        ...

    async def close(self) -> None: ...


def key_store(auth: Auth, shared: SharedStore | None) -> KeyStore | None:
    """Return the configured store, not yet opened."""
    if auth.store == "sqlite" and auth.path is not None:
        return SqliteKeys(auth.path)
    if auth.store == "redis" and shared is not None:
        return RedisKeys(shared)
    return None
