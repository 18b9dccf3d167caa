"""A Lua script beside its caller, sent by its digest where the server knows it."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.stores.redis import Client


class Script:
    """One of this package's .lua files, with what it needs of the others."""

    def __init__(self, name: str, *, after: str = "", calls: Sequence[str] = ()) -> None:
        """after: the file whose names it uses. calls: scripts that it calls, as functions of KEYS and ARGV."""
        functions = (f"local function {each}(KEYS, ARGV)\n{_text(each)}end\n" for each in calls)
        # Scripts are made with the store they are for, by when the client is loaded: without one, it never is.
        from redis.exceptions import NoScriptError  # noqa: PLC0415 - see above

        self._unknown = NoScriptError
        self._text = "\n".join([*([_text(after)] if after else ()), *functions, _text(name)])
        self._digest = hashlib.sha1(self._text.encode()).hexdigest()  # noqa: S324 - Redis names scripts so

    async def run(self, client: Client, keys: Sequence[str], arguments: Sequence[str | bytes | int]) -> Any:  # noqa: ANN401 - as the script returns
        """Return what it returns, after one round trip; two where the server has been started since."""
        try:
            return await client.evalsha(self._digest, len(keys), *keys, *arguments)
        except self._unknown:
            return await client.eval(self._text, len(keys), *keys, *arguments)


def _text(name: str) -> str:
    return files(__package__).joinpath(f"{name}.lua").read_text()
