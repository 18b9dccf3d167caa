"""Limits of everybody, of keys and of models, and the starts that could not keep them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from config.faults import BadConfiguration
from config.limits import Limits
from config.settings import load

if TYPE_CHECKING:
    from pathlib import Path

KEY = {"name": "newsroom", "hash": "sha256:" + "0" * 64}
BASE = {"providers": {"a": {"adapter": "local"}}, "models": {"m": {"targets": ["a/b"]}}}
LIMITED: list[tuple[str, dict[str, Any]]] = [
    ("limits", {"limits": {"requests_per_minute": 60}}),
    ("auth.keys.newsroom.limits", {"auth": {"mode": "keys", "keys": [{**KEY, "limits": {"usd_per_day": 1}}]}}),
    ("models.m.limits", {"models": {"m": {"targets": ["a/b"], "limits": {"concurrent": 2}}}}),
]


def document(*parts: dict[str, Any], workers: int, store: str) -> dict[str, Any]:
    joined: dict[str, Any] = {**BASE, "server": {"workers": workers}}
    for part in parts:
        joined |= part
    return {**joined, "limits": {**joined.get("limits", {}), "store": store}}


def read(folder: Path, content: dict[str, Any]) -> Any:
    file = folder / "gateway.yaml"
    file.write_text(yaml.safe_dump(content))
    return load(file)


def test_nothing_is_limited_unless_told() -> None:
    assert not Limits().is_set


def test_a_keys_and_a_models_own(tmp_path: Path) -> None:
    settings = read(tmp_path, document(LIMITED[1][1], LIMITED[2][1], workers=1, store="memory"))
    assert settings.auth.keys[0].limits == Limits(usd_per_day=1)
    assert settings.models["m"].limits == Limits(concurrent=2)


@pytest.mark.parametrize(("where", "limited"), LIMITED, ids=[each[0] for each in LIMITED])
def test_workers_that_would_each_allow_all_of_it_do_not_start(
    tmp_path: Path, where: str, limited: dict[str, Any]
) -> None:
    with pytest.raises(BadConfiguration, match=f"{where} is set, server.workers is 2 and limits.store is memory"):
        read(tmp_path, document(limited, workers=2, store="memory"))
    read(tmp_path, document(limited, workers=1, store="memory"))
    read(tmp_path, document(limited, {"redis": {}}, workers=2, store="redis"))


def test_without_limits_workers_need_no_store(tmp_path: Path) -> None:
    read(tmp_path, document(workers=2, store="memory"))


def test_a_shared_store_has_an_address(tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration, match=r"limits\.store is redis, but there is no redis section"):
        read(tmp_path, document(LIMITED[0][1], workers=1, store="redis"))


def test_a_wrong_name_is_told_with_the_right_one(tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration, match=r"request_per_minute.*did you mean requests_per_minute"):
        read(tmp_path, {**BASE, "limits": {"request_per_minute": 1}})
