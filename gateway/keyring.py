"""The keys that are good now. Requests read them from memory and wait for nothing."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import string
from typing import TYPE_CHECKING, Final

from pydantic import SecretStr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from config.settings import Key

# Hugging Face clients send keys that begin hf_ through the router, any other to the provider's own host.
_PREFIX: Final = "hf_gw_"
_CHARACTERS: Final = string.ascii_letters + string.digits
_LENGTH: Final = 32  # 190 bits
_START: Final = len("sha256:") + 4


def new_secret() -> SecretStr:
    """Return a key that nobody has seen yet."""
    return SecretStr(_PREFIX + "".join(secrets.choice(_CHARACTERS) for _ in range(_LENGTH)))


def digest_of(secret: str) -> str:
    """Return what is kept of a key."""
    return "sha256:" + hashlib.sha256(secret.encode()).hexdigest()


class Keyring:
    """One process's keys, whichever configuration is in force."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        """now: the time in UTC."""
        self._now = now
        self._by_start: dict[str, tuple[Key, ...]] = {}

    def adopt(self, keys: Iterable[Key]) -> None:
        """Let these open the door, and no others. Of two with one secret, the later counts."""
        by_start: dict[str, tuple[Key, ...]] = {}
        for key in keys:
            start = key.hash[:_START]
            by_start[start] = (*by_start.get(start, ()), key)
        self._by_start = by_start

    def find(self, secret: str) -> Key | None:
        """Return the key, unless there is none or it has expired.

        Compared in constant time among those whose digest begins alike: of ten thousand keys that is one at most, and
        how a digest begins, whoever sent the secret can work out without us.
        """
        digest = digest_of(secret)
        found: Key | None = None
        for key in self._by_start.get(digest[:_START], ()):  # all of them, always: time tells nothing of which
            if hmac.compare_digest(key.hash, digest):
                found = key
        expired = found is not None and found.expires is not None and found.expires <= self._now()
        return None if expired else found
