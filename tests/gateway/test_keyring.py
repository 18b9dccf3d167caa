"""Keys: how they look, and which open the door."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from gateway.keyring import Keyring, digest_of, new_secret
from tests.asking import key

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
    keyring = Keyring(now=lambda: NOW)
    keyring.adopt(key(f"k{n}", f"hf_gw_{n}") for n in range(2_000))
    for n in range(2_000):
        found = keyring.find(f"hf_gw_{n}")
        assert found is not None
        assert found.name == f"k{n}"
    assert [keyring.find(f"hf_gw_{n}") for n in range(2_000, 4_000)] == [None] * 2_000


def test_a_key_ends_at_its_moment() -> None:
    moment = NOW - timedelta(microseconds=1)
    keyring = Keyring(now=lambda: moment)
    keyring.adopt([key("a", "hf_gw_a", expires=NOW)])
    assert keyring.find("hf_gw_a") is not None
    moment = NOW
    assert keyring.find("hf_gw_a") is None


def test_keys_that_are_not_adopted_again_are_gone() -> None:
    keyring = Keyring(now=lambda: NOW)
    keyring.adopt([key("a", "hf_gw_a"), key("b", "hf_gw_b")])
    keyring.adopt([key("b", "hf_gw_b")])
    assert keyring.find("hf_gw_a") is None
    assert keyring.find("hf_gw_b") is not None
