"""Where answers are kept, and what that needs."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from config.cache import Cache, CacheStore
from config.settings import Settings


def test_a_file_has_a_path() -> None:
    with pytest.raises(ValidationError, match=r"cache\.path names no file"):
        Cache(store=CacheStore.SQLITE)
    assert Cache(store=CacheStore.SQLITE, path=Path("a.sqlite")).path == Path("a.sqlite")


def test_what_is_shared_has_a_redis() -> None:
    with pytest.raises(ValidationError, match="there is no redis section"):
        Settings.model_validate({"cache": {"store": "redis"}})
    assert Settings.model_validate({"cache": {"store": "redis"}, "redis": {}}).redis
