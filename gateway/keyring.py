"""The keys that are good now. Requests read them from memory and wait for nothing."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import secrets
import string
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from pydantic import SecretStr, ValidationError

from config.auth import Key, OldSecret
from gateway.logs import event
from gateway.stores.shared import StoreLost

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
OVERLAP_S: Final = 3600.0  # for which a rotated key's old secret stays good, unless told
MOST_OVERLAP_S: Final = 30 * 86_400.0
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


def told(key: Key, now: datetime) -> dict[str, Any]:
    """Return everything of a key but its hashes, for people and programs."""
    document = key.model_dump(mode="json", exclude={"hash", "old"})
    is_overlapping = key.old is not None and now < key.old.until and not is_over(key, now)
    until = written(key.old.until) if key.old is not None and is_overlapping else None
    return {**document, "expired": is_over(key, now), "old_secret_until": until}


def written(moment: datetime) -> str:
    """Return a moment to the second, as in the configuration."""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotated:
    """A key's new secret, and until when the old one is good beside it; None: no longer."""

    secret: SecretStr
    old_until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Secret:
    """One that opens the door: a key's own, or the one it had before."""

    hash: str
    key: Key
    until: datetime | None

    def is_good(self, now: datetime) -> bool:
        return not is_over(self.key, now) and (self.until is None or now < self.until)


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
        self.now = now
        self._of_file: tuple[Key, ...] = ()
        self._stored: dict[str, Key] = {}
        self._documents: Mapping[str, str] = {}  # what the stored keys were read from
        self._revision: str | None = None  # of what was read
        self._by_start: dict[str, tuple[_Secret, ...]] = {}
        self._one_at_a_time = asyncio.Lock()
        self.is_lost = False  # the store, when it was last asked

    @property
    def is_unread(self) -> bool:
        """Tell whether there may be keys that were never read."""
        return self._store is not None and self._revision is None

    @property
    def has_admin(self) -> bool:
        """Tell whether an admin's key opens anything now."""
        now = self.now()
        return any(key.role == "admin" and not is_over(key, now) for key in (*self._of_file, *self._stored.values()))

    @property
    def of_file(self) -> tuple[Key, ...]:
        return self._of_file

    @property
    def stored(self) -> tuple[Key, ...]:
        return tuple(self._stored.values())

    def told(self) -> list[dict[str, Any]]:
        """Return every key but its hashes, the configuration's first, and where it is kept."""
        now = self.now()
        kept = (("file", self.of_file), ("store", self.stored))
        return [
            {**told(key, now), "kept_in": where} for where, of in kept for key in sorted(of, key=lambda each: each.name)
        ]

    def adopt(self, keys: Iterable[Key]) -> None:
        """Take these for the configuration's."""
        self._of_file = tuple(keys)
        self._index()

    def find(self, secret: str) -> Key | None:
        """Return the key, unless there is none, or it has expired, or it has had another secret for too long.

        Compared in constant time among those whose digest begins alike: of ten thousand keys that is one at most, and
        how a digest begins, whoever sent the secret can work out without us.
        """
        digest = digest_of(secret)
        found: _Secret | None = None
        for secret_of in self._by_start.get(digest[:_START], ()):  # all of them, always: time tells nothing of which
            if hmac.compare_digest(secret_of.hash, digest):
                found = secret_of
        return found.key if found is not None and found.is_good(self.now()) else None

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

    async def rotate(self, name: str, overlap_s: float) -> Rotated:
        """Give a key another secret. Raises NoStore, NoSuchKey, StoreLost.

        overlap_s: for how long the one it has is good beside it. One it had before that is good no longer.
        """
        store = self._its_store()
        await self.refresh()
        secret = new_secret()
        key = self._stored.get(name)
        if key is None:
            raise NoSuchKey
        old = _ending(key, self.now() + timedelta(seconds=overlap_s)) if overlap_s > 0 else None
        changed = key.model_copy(update={"hash": digest_of(secret.get_secret_value()), "old": old})
        if not await _in_time(store.replace(name, _document(changed))):
            raise NoSuchKey
        await self.refresh()
        return Rotated(secret=secret, old_until=None if old is None else old.until)

    async def revoke(self, name: str) -> None:
        """Forget a key, with the secret it had before too. Raises NoStore, NoSuchKey, StoreLost."""
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
        by_start: dict[str, tuple[_Secret, ...]] = {}
        for secret in (secret for key in (*self._stored.values(), *self._of_file) for secret in _secrets(key)):
            start = secret.hash[:_START]
            by_start[start] = (*by_start.get(start, ()), secret)
        self._by_start = by_start

    def _declare(self, *, lost: bool, reason: str) -> None:
        if lost and not self.is_lost:
            event("keys_lost", logging.WARNING, reason=reason)
        if self.is_lost and not lost:
            event("keys_back", logging.WARNING)
        self.is_lost = lost


def _secrets(key: Key) -> Iterator[_Secret]:
    if key.old is not None:
        yield _Secret(hash=key.old.hash, key=key, until=key.old.until)
    yield _Secret(hash=key.hash, key=key, until=None)


def _ending(key: Key, until: datetime) -> OldSecret:
    """Return the key's secret as one that ends then, or with the key."""
    return OldSecret(hash=key.hash, until=until if key.expires is None else min(until, key.expires))


async def _in_time(change: Awaitable[bool]) -> bool:
    try:
        async with asyncio.timeout(_PATIENCE_S):
            return await change
    except TimeoutError as error:
        raise StoreLost("it does not answer") from error


def _document(key: Key) -> str:
    return key.model_dump_json(exclude_defaults=True)
