"""What of a process's limits one of several workers may use, so that together they keep what the operator wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from config.settings import Route, Settings, Spool


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
    models = {name: _route(route, workers) for name, route in settings.models.items()}
    return settings.model_copy(update={"server": server, "models": models})


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
    targets = tuple(
        target
        if target.max_concurrent is None
        else target.model_copy(update={"max_concurrent": _share(target.max_concurrent, workers)})
        for target in route.targets
    )
    return route.model_copy(update={"targets": targets})


def _share(whole: int, workers: int) -> int:
    return max(1, whole // workers)
