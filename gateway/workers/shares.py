"""What of a process's limits one of several workers may use, so that together they keep what the operator wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pydantic import ByteSize

from config.cache import CacheStore

if TYPE_CHECKING:
    from config.settings import Route, Settings, Spool, Target

_OF_A_TARGET: Final = ("max_concurrent", "requests_per_minute", "audio_seconds_per_minute")


def for_one_worker(settings: Settings, workers: int) -> Settings:
    """Return the settings with each limit on what is there at once divided by the workers, and at least 1.

    workers: as many as there are. The settings may name another number that only a start reads.
    """
    server = settings.server.model_copy(
        update={
            "max_in_flight": _share(settings.server.max_in_flight, workers),
            "spool": _spool(settings.server.spool, workers),
        }
    )
    cache = settings.cache
    if cache.store is not CacheStore.SQLITE:  # a file is one for all
        cache = cache.model_copy(update={"max_bytes": ByteSize(_share(cache.max_bytes, workers))})
    models = {name: _route(route, workers) for name, route in settings.models.items()}
    return settings.model_copy(update={"server": server, "cache": cache, "models": models})


def _spool(spool: Spool, workers: int) -> Spool:
    return spool.model_copy(
        update={
            name: type(whole)(_share(whole, workers))
            for name, whole in (
                ("memory_total", spool.memory_total),
                ("disk_total", spool.disk_total),
            )
        }
    )


def _route(route: Route, workers: int) -> Route:
    return route.model_copy(update={"targets": tuple(_target(each, workers) for each in route.targets)})


def _target(target: Target, workers: int) -> Target:
    wholes = {name: getattr(target, name) for name in _OF_A_TARGET}
    return target.model_copy(update={name: _share(each, workers) for name, each in wholes.items() if each is not None})


def _share(whole: int, workers: int) -> int:
    return max(1, whole // workers)
