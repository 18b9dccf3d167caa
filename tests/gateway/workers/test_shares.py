"""Limits that several workers keep together."""

from __future__ import annotations

from config.cache import CacheStore
from config.settings import Settings
from gateway.workers.shares import for_one_worker


def settings(workers: int) -> Settings:
    return Settings.model_validate(
        {
            "server": {
                "workers": workers,
                "max_in_flight": 10,
                "spool": {"memory_per_upload": "1MiB", "memory_total": "9MiB", "disk_total": "90MiB"},
            },
            "cache": {"max_bytes": "6MiB"},
            "providers": {"a": {"adapter": "openai", "api_key": "k"}},
            "models": {
                "m": {
                    "targets": [
                        {
                            "target": "a/x",
                            "max_concurrent": 7,
                            "requests_per_minute": 60,
                            "audio_seconds_per_minute": 1,
                        },
                        "a/y",
                        {"target": "a/z", "max_concurrent": 1},
                    ]
                }
            },
        }
    )


def test_what_is_there_at_once_is_divided() -> None:
    share = for_one_worker(settings(3), 3)

    assert share.server.max_in_flight == 3
    assert (share.server.spool.memory_total, share.server.spool.disk_total) == (3 << 20, 30 << 20)
    assert share.cache.max_bytes == 2 << 20
    assert [target.max_concurrent for target in share.models["m"].targets] == [2, None, 1]
    first = share.models["m"].targets[0]
    assert (first.requests_per_minute, first.audio_seconds_per_minute) == (20, 1)


def test_what_is_one_requests_own_is_not() -> None:
    whole = settings(3)
    share = for_one_worker(whole, 3)

    assert share.server.spool.memory_per_upload == whole.server.spool.memory_per_upload
    assert share.server.max_upload == whole.server.max_upload
    assert share.providers == whole.providers


def test_a_file_is_one_for_all() -> None:
    whole = settings(3)
    in_a_file = whole.cache.model_copy(update={"store": CacheStore.SQLITE})

    assert for_one_worker(whole.model_copy(update={"cache": in_a_file}), 3).cache == in_a_file


def test_a_worker_alone_has_everything() -> None:
    assert for_one_worker(settings(1), 1) == settings(1)


def test_the_workers_there_are_share_and_not_those_a_reload_asks_for() -> None:
    """Their number changes with a restart only."""
    assert for_one_worker(settings(1), 3).server.max_in_flight == 3
