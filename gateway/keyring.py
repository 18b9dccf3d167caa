"""The keys that are good now. Requests read them from memory and wait for nothing."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import secrets
import string
from typing import TYPE_CHECKING, Final

from pydantic import SecretStr, ValidationError

from config.settings import Key
from gateway.logs import event
from gateway.stores.redis import StoreLost

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from gateway.stores.keys import KeyStore

# Hugging Face clients send keys that begin hf_ through the router, any other to the provider's own host.
KEY_BEGINS: Final = "hf_gw_"
_CHARACTERS: Final = string.ascii_letters + string.digits
_LENGTH: Final = 32  # 190 bits
_START: Final = len("sha256:") + 4
_READ_EVERY_S: Final = 1.0
_PATIENCE_S: Final = 2.0  # with a store that hangs
_MOST_KEYS: Final = 10_000  # in a store; each process keeps them all in memory


def new_secret() -> SecretStr:
    """Return a key that nobody has seen yet."""
    return SecretStr(KEY_BEGINS + "".join(secrets.choice(_CHARACTERS) for _ in range(_LENGTH)))


def digest_of(secret: str) -> str:
    """Return what is kept of a key."""
    return "sha256:" + hashlib.sha256(secret.encode()).hexdigest()


def is_over(key: Key, now: datetime) -> bool:
    """Tell whether a key has expired."""
    return key.expires is not None and key.expires <= now


class NoStore(Exception):
    """There is no store, so that no key can be changed."""


class NameTaken(Exception):
    """There is a key of that name."""


class NoSuchKey(Exception):
    """The store has no key of that name."""


class TooManyKeys(Exception):
    """The store has as many as it may."""


class Keyring:
    """One process's keys, of the configuration in force and of the store.

    What the store says is read beside the requests, every second: for so long may a key that was revoked elsewhere
    still open the door. While the store says nothing, what it said last counts.
    """

    def __init__(self, store: KeyStore | None, now: Callable[[], datetime]) -> None:
        """now: the time in UTC."""
        self._store = store
        self._now = now
        self._of_file: tuple[Key, ...] = ()
        self._stored: dict[str, Key] = {}
        self._documents: Mapping[str, str] = {}  # what the stored keys were read from
        self._revision: str | None = None  # of what was read
        self._by_start: dict[str, tuple[Key, ...]] = {}
        self._one_at_a_time = asyncio.Lock()
        self.is_lost = False  # the store, when it was last asked

    @property
    def is_unread(self) -> bool:
        """Tell whether there may be keys that were never read."""
        return self._store is not None and self._revision is None

    @property
    def has_admin(self) -> bool:
        """Tell whether an admin's key opens anything now."""
        now = self._now()
        return any(key.role == "admin" and not is_over(key, now) for key in (*self._of_file, *self._stored.values()))

    @property
    def of_file(self) -> tuple[Key, ...]:
        return self._of_file

    @property
    def stored(self) -> tuple[Key, ...]:
        return tuple(self._stored.values())

    def adopt(self, keys: Iterable[Key]) -> None:
        """Take these for the configuration's."""
        self._of_file = tuple(keys)
        self._index()

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
        return None if found is None or is_over(found, self._now()) else found

    async def watch(self) -> None:
        """Follow the store. Never returns."""
        while True:
            await self.refresh()
            await asyncio.sleep(_READ_EVERY_S)

    async def refresh(self) -> None:
        """Take up what the store says now."""
        if self._store is None:
            return
        try:
            async with self._one_at_a_time, asyncio.timeout(_PATIENCE_S):
                await self._read(self._store)
        except (StoreLost, TimeoutError) as error:
            self._declare(lost=True, reason=str(error) or "it does not answer")
        else:
            self._declare(lost=False, reason="")

    async def add(self, key: Key) -> None:
        """Keep a new key. Raises NoStore, NameTaken, TooManyKeys, StoreLost."""
        store = self._its_store()
        await self.refresh()
        if any(each.name == key.name for each in self._of_file):
            raise NameTaken
        if len(self._stored) >= _MOST_KEYS:
            raise TooManyKeys
        if not await _in_time(store.add(key.name, _document(key))):
            raise NameTaken
        await self.refresh()

    async def rotate(self, name: str) -> SecretStr:
        """Return a key's new secret; the old one is none from now on. Raises NoStore, NoSuchKey, StoreLost."""
        store = self._its_store()
        await self.refresh()
        secret = new_secret()
        key = self._stored.get(name)
        if key is None:
            raise NoSuchKey
        changed = key.model_copy(update={"hash": digest_of(secret.get_secret_value())})
        if not await _in_time(store.replace(name, _document(changed))):
            raise NoSuchKey
        await self.refresh()
        return secret

    async def revoke(self, name: str) -> None:
        """Forget a key. Raises NoStore, NoSuchKey, StoreLost."""
        if not await _in_time(self._its_store().remove(name)):
            raise NoSuchKey
        await self.refresh()

    async def close(self) -> None:
        if self._store is not None:
            await self._store.close()

    def _its_store(self) -> KeyStore:
        if self._store is None:
            raise NoStore
        return self._store

    async def _read(self, store: KeyStore) -> None:
        revision = await store.revision()
        if revision == self._revision:
            return
        documents = await store.read()
        self._stored = dict(self._parsed(documents))
        self._documents, self._revision = documents, revision
        self._index()

    def _parsed(self, documents: Mapping[str, str]) -> Iterator[tuple[str, Key]]:
        """Yield every key that can be read; those of before are not read again."""
        for name, document in documents.items():
            if self._documents.get(name) == document and name in self._stored:
                yield name, self._stored[name]
                continue
            try:
                yield name, Key.model_validate_json(document)
            except ValidationError:  # another version's, perhaps
                event("key_unreadable", logging.WARNING, key=name)

    def _index(self) -> None:
        """Of two with one secret, the configuration's counts."""
        by_start: dict[str, tuple[Key, ...]] = {}
        for key in (*self._stored.values(), *self._of_file):
            start = key.hash[:_START]
            by_start[start] = (*by_start.get(start, ()), key)
        self._by_start = by_start

    def _declare(self, *, lost: bool, reason: str) -> None:
        if lost and not self.is_lost:
            event("keys_lost", logging.WARNING, reason=reason)
        if self.is_lost and not lost:
            event("keys_back", logging.WARNING)
        self.is_lost = lost


async def _in_time(change: Awaitable[bool]) -> bool:
    try:
        async with asyncio.timeout(_PATIENCE_S):
            return await change
    except TimeoutError as error:
        raise StoreLost("it does not answer") from error


def _document(key: Key) -> str:
    return key.model_dump_json(exclude_defaults=True)
