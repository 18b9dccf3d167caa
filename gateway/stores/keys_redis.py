"""Keys in the Redis that replicas share: one hash, and in a field that no key is named by, its revision."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from gateway.stores.redis import Client, SharedStore

_REVISION: Final = "#revision"
_PAGE: Final = 500  # documents at once: each round trip has the store's timeout
_CHANGE: Final = files("gateway.stores").joinpath("keys_change.lua").read_text()


class RedisKeys:
    """It keeps keys for as long as that Redis keeps anything: they have no time to live."""

    def __init__(self, shared: SharedStore) -> None:
        self._shared = shared
        self._name = f"{shared.prefix}keys"

    async def revision(self) -> str:
        return _text(await self._shared.run(self._ask_revision))

    async def read(self) -> dict[str, str]:
        """Read page by page. What changes meanwhile has another revision, and is read again for it."""
        documents: dict[str, str] = {}
        cursor = -1
        while cursor:
            cursor, page = await self._shared.run(_Page(self._name, max(0, cursor)))
            documents |= {_text(name): _text(document) for name, document in page.items()}
        documents.pop(_REVISION, None)
        return documents

    async def add(self, name: str, document: str) -> bool:
        return await self._change("add", name, document)

    async def replace(self, name: str, document: str) -> bool:
        return await self._change("replace", name, document)

    async def remove(self, name: str) -> bool:
        return await self._change("remove", name, "")

    async def close(self) -> None:
        """Close nothing: the connections are the process's."""

    def _ask_revision(self, client: Client) -> Awaitable[object]:
        return client.hget(self._name, _REVISION)

    async def _change(self, what: str, name: str, document: str) -> bool:
        def ask(client: Client) -> Awaitable[object]:
            return client.eval(_CHANGE, 1, self._name, what, name, document, _REVISION, uuid4().hex)

        return await self._shared.run(ask) == 1


class _Page:
    """One round trip of a reading."""

    def __init__(self, name: str, cursor: int) -> None:
        self._name = name
        self._cursor = cursor

    def __call__(self, client: Client) -> Awaitable[tuple[int, Any]]:
        return client.hscan(self._name, self._cursor, count=_PAGE)


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else ""
