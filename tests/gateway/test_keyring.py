"""Keys: how they look, and which open the door."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from gateway.keyring import Keyring, NameTaken, NoStore, NoSuchKey, digest_of, new_secret
from gateway.stores.shared import StoreLost
from tests.asking import key
from tests.watching import log_lines

NOW = datetime(2026, 12, 31, tzinfo=UTC)


def test_a_new_key_begins_as_hugging_face_clients_want_and_is_like_no_other() -> None:
    made = {new_secret().get_secret_value() for _ in range(100)}
    assert len(made) == 100
    assert all(re.fullmatch(r"hf_gw_[A-Za-z0-9]{32}", each) for each in made)
    assert "hf_gw" not in repr(new_secret())


def test_a_digest_is_what_sha256sum_prints() -> None:
    assert digest_of("abc") == "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_each_key_is_found_by_its_secret_alone() -> None:
    """Among so many that some digests begin alike."""
    keyring = Keyring(None, now=lambda: NOW)
    keyring.adopt(key(f"k{n}", f"hf_gw_{n}") for n in range(2_000))
    for n in range(2_000):
        found = keyring.find(f"hf_gw_{n}")
        assert found is not None
        assert found.name == f"k{n}"
    assert [keyring.find(f"hf_gw_{n}") for n in range(2_000, 4_000)] == [None] * 2_000


def test_a_key_ends_at_its_moment() -> None:
    moment = NOW - timedelta(microseconds=1)
    keyring = Keyring(None, now=lambda: moment)
    keyring.adopt([key("a", "hf_gw_a", expires=NOW)])
    assert keyring.find("hf_gw_a") is not None
    moment = NOW
    assert keyring.find("hf_gw_a") is None


def test_keys_that_are_not_adopted_again_are_gone() -> None:
    keyring = Keyring(None, now=lambda: NOW)
    keyring.adopt([key("a", "hf_gw_a"), key("b", "hf_gw_b")])
    keyring.adopt([key("b", "hf_gw_b")])
    assert keyring.find("hf_gw_a") is None
    assert keyring.find("hf_gw_b") is not None


class Kept:
    """A store in memory, of which a test says whether it answers."""

    def __init__(self) -> None:
        self.documents: dict[str, str] = {}
        self.changes = 0
        self.answers = True

    async def revision(self) -> str:
        if not self.answers:
            raise StoreLost("gone")
        return str(self.changes)

    async def read(self) -> dict[str, str]:
        return dict(self.documents)

    async def add(self, name: str, document: str) -> bool:
        return name not in self.documents and await self.replaced(name, document)

    async def replace(self, name: str, document: str) -> bool:
        return name in self.documents and await self.replaced(name, document)

    async def replaced(self, name: str, document: str) -> bool:
        self.changes += 1
        self.documents[name] = document
        return True

    async def remove(self, name: str) -> bool:
        self.changes += 1
        return self.documents.pop(name, None) is not None

    async def close(self) -> None:
        """Close nothing."""


async def test_a_key_of_the_store_is_good_until_it_is_revoked_or_rotated() -> None:
    """In another process too, from its next look on."""
    store = Kept()
    one, other = Keyring(store, now=lambda: NOW), Keyring(store, now=lambda: NOW)
    await one.add(key("a", "hf_gw_a", models=["openai/*"]))
    await other.refresh()
    found = other.find("hf_gw_a")
    assert found is not None
    assert (found.name, found.models) == ("a", ("openai/*",))
    rotated = await one.rotate("a", 0)
    secret = rotated.secret.get_secret_value()
    assert rotated.old_until is None
    await other.refresh()
    assert other.find("hf_gw_a") is None
    assert other.find(secret) == found.model_copy(update={"hash": digest_of(secret)})
    await one.revoke("a")
    await other.refresh()
    assert one.find(secret) is None
    assert other.find(secret) is None
    assert "hf_gw" not in str(store.documents)


async def test_a_rotated_key_has_both_secrets_until_the_overlap_is_over() -> None:
    """In every process, by its own clock."""
    now = NOW
    store = Kept()
    one, other = Keyring(store, now=lambda: now), Keyring(store, now=lambda: now)
    await one.add(key("a", "hf_gw_a", models=["openai/*"]))
    rotated = await one.rotate("a", 3600)
    secret = rotated.secret.get_secret_value()
    await other.refresh()
    for keyring in (one, other):
        assert keyring.find("hf_gw_a") == keyring.find(secret) == keyring.stored[0]
        assert keyring.told()[0]["old_secret_until"] == "2026-12-31T01:00:00Z"
    now = NOW + timedelta(seconds=3600)
    for keyring in (one, other):
        assert keyring.find("hf_gw_a") is None
        assert keyring.find(secret) is not None
        assert keyring.told()[0]["old_secret_until"] is None
    assert "hf_gw" not in str(store.documents)


async def test_only_the_latest_old_secret_is_good_and_revoking_ends_both() -> None:
    keyring = Keyring(Kept(), now=lambda: NOW)
    await keyring.add(key("a", "hf_gw_a"))
    second = (await keyring.rotate("a", 3600)).secret.get_secret_value()
    third = (await keyring.rotate("a", 3600)).secret.get_secret_value()
    assert [keyring.find(each) is None for each in ("hf_gw_a", second, third)] == [True, False, False]
    await keyring.revoke("a")
    assert (keyring.find(second), keyring.find(third)) == (None, None)


async def test_an_old_secret_is_not_good_for_longer_than_its_key() -> None:
    now = NOW
    keyring = Keyring(Kept(), now=lambda: now)
    await keyring.add(key("a", "hf_gw_a", expires=NOW + timedelta(minutes=1)))
    rotated = await keyring.rotate("a", 3600)
    assert rotated.old_until == NOW + timedelta(minutes=1)
    now = NOW + timedelta(minutes=1)
    assert (keyring.find("hf_gw_a"), keyring.find(rotated.secret.get_secret_value())) == (None, None)


def test_what_is_told_of_keys_has_no_hash() -> None:
    keyring = Keyring(None, now=lambda: NOW)
    old = {"hash": digest_of("hf_gw_o"), "until": NOW + timedelta(days=1)}
    keyring.adopt([key("b", "hf_gw_b", old=old, created=NOW), key("a", "hf_gw_a", role="admin", expires=NOW, old=old)])
    over, good = keyring.told()
    assert (over["name"], over["expired"], over["old_secret_until"]) == ("a", True, None)
    assert (good["created"], good["expired"]) == ("2026-12-31T00:00:00Z", False)
    assert (good["old_secret_until"], good["kept_in"]) == ("2027-01-01T00:00:00Z", "file")
    assert "sha256" not in str(keyring.told())
    assert not keyring.has_admin


async def test_what_cannot_be_changed_is_told() -> None:
    keyring = Keyring(Kept(), now=lambda: NOW)
    keyring.adopt([key("file", "hf_gw_file")])
    await keyring.add(key("a", "hf_gw_a"))
    for name in ("a", "file"):
        with pytest.raises(NameTaken):
            await keyring.add(key(name, "hf_gw_b"))
    for name in ("file", "b"):
        with pytest.raises(NoSuchKey):
            await keyring.revoke(name)
        with pytest.raises(NoSuchKey):
            await keyring.rotate(name, 60)
    with pytest.raises(NoStore):
        await Keyring(None, now=lambda: NOW).revoke("a")


async def test_a_store_that_is_gone_is_told_once_and_its_keys_stay() -> None:
    store = Kept()
    keyring = Keyring(store, now=lambda: NOW)
    store.answers = False
    with log_lines() as lines:
        await keyring.refresh()
        assert (keyring.is_unread, keyring.is_lost) == (True, True)
        store.answers = True
        await keyring.add(key("a", "hf_gw_a"))
        store.answers = False
        for _ in range(3):
            await keyring.refresh()
        assert keyring.find("hf_gw_a") is not None
        assert (keyring.is_unread, keyring.is_lost) == (False, True)
    assert [line["event"] for line in lines] == ["keys_lost", "keys_back", "keys_lost"]


async def test_a_document_that_cannot_be_read_stands_in_no_others_way() -> None:
    store = Kept()
    keyring = Keyring(store, now=lambda: NOW)
    await keyring.add(key("a", "hf_gw_a"))
    await store.replaced("b", '{"name": "b", "of_another": "version"}')
    with log_lines() as lines:
        await keyring.refresh()
    assert [(line["event"], line["key"]) for line in lines] == [("key_unreadable", "b")]
    assert [each.name for each in keyring.stored] == ["a"]
