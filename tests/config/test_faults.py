"""What is wrong with a configuration, in words that an operator knows: none of pydantic's."""

from __future__ import annotations

import re

import pytest
from pydantic import ValidationError

from config import faults
from config.auth import Key
from config.settings import Settings, explain

HASH = "sha256:" + "0" * 64


def said(**document: object) -> str:
    with pytest.raises(ValidationError) as caught:
        Settings(**document)  # type: ignore[arg-type] # it is to be refused
    return explain(caught.value)


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({"server": {"port": "x"}}, "server.port: expected a whole number"),
        ({"server": {"port": 1.5}}, "server.port: expected a whole number"),
        ({"server": {"port": 70_000}}, "server.port: must be 65535 or less"),
        ({"server": {"workers": 0}}, "server.workers: must be 1 or more"),
        ({"server": {"drain": "x"}}, "server.drain: a duration is a number with ms, s, m, h or d, such as 90s or 4h"),
        ({"server": {"keep_alive": 0}}, "server.keep_alive: must be more than 0"),
        ({"server": {"max_upload": "some"}}, "server.max_upload: expected a size such as 100MiB"),
        ({"server": {"max_upload": "5 elephants"}}, "server.max_upload: expected a size such as 100MiB"),
        ({"server": {"host": []}}, "server.host: expected text"),
        ({"server": {"cors_origins": "a"}}, "server.cors_origins: expected a list"),
        ({"server": []}, "server: expected keys with values"),
        ({"models": []}, "models: expected keys with values"),
        ({"auth": {"mode": "open"}}, "auth.mode: expected 'none', 'keys' or 'passthrough'"),
        ({"auth": {"store": "file"}}, "auth.store: expected 'none', 'sqlite' or 'redis'"),
        ({"auth": {"path": []}}, "auth.path: expected a path"),
        ({"auth": {"keys": [{"name": "a b", "hash": HASH}]}}, "auth.keys.0.name: expected letters, digits"),
        ({"auth": {"keys": [{"name": "a", "hash": "x"}]}}, "auth.keys.0.hash: expected sha256: and 64 hexadecimal"),
        ({"auth": {"keys": [{"name": "a"}]}}, "auth.keys.0.hash: is missing"),
        ({"providers": {"a": {"adapter": "x", "base_url": "ftp://x"}}}, "base_url: expected an http:// or https://"),
        ({"models": {"m": {"targets": []}}}, "models.m.targets: expected 1 or more"),
        ({"models": {"m": {"targets": ["/x"]}}}, "models.m.targets.0.target: expected an account's name, a slash"),
        (
            {"providers": {"a": {"adapter": "x"}}, "models": {"m": {"targets": [{"target": "a/b", "substitute": 7}]}}},
            "models.m.targets.0.substitute: expected true or false",
        ),
        ({"limits": {"usd_per_day": "much"}}, "limits.usd_per_day: expected a number"),
    ],
)
def test_it_is_said_in_our_words(document: dict[str, object], sentence: str) -> None:
    message = said(**document)

    assert sentence in message
    assert not re.search("Input|instance|parse|pydantic|String|Field", message)


def test_every_pattern_of_a_key_has_words() -> None:
    """What an operator types most."""
    with pytest.raises(ValidationError) as caught:
        Key.model_validate({"name": "", "hash": "", "labels": {"a b": "c\n"}})
    assert "the form" not in explain(caught.value)


def test_what_has_no_words_here_keeps_its_own() -> None:
    assert faults.in_words("of_another_version", {}, "Value error, so it is") == "so it is"
    assert faults.in_words("string_pattern_mismatch", {"pattern": "^x$"}, "") == "expected the form ^x$"
