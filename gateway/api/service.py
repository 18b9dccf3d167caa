"""What requests are answered with: the parts of one configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from config.auth import AuthMode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from config.settings import Settings
    from gateway.api.admission import Limiting
    from gateway.dispatch.caching import Caching
    from gateway.dispatch.routes import Routes
    from gateway.dispatch.service import Dispatcher
    from gateway.intake.upload import Intake
    from gateway.keyring import Keyring
    from gateway.observe import Observed
    from providers.audio.demux import Demuxer


@dataclass(slots=True, kw_only=True)
class Service:
    """One configuration's parts. A request keeps those that it began with, whatever is configured meanwhile."""

    settings: Settings
    intake: Intake
    demuxer: Demuxer
    routes: Routes
    accounts: Mapping[str, str]  # by the first segment of a pinned path
    dispatcher: Dispatcher
    caching: Caching
    limiting: Limiting
    keyring: Keyring  # the process's one
    book: Callable[[Observed, str], None]  # writes down what was paid beside a request, and its outcome
    in_use: int = 0  # requests that began with it and are not over
    on_idle: Callable[[], None] = lambda: None

    @property
    def names_are_public(self) -> bool:
        """Tell whether callers without a key may read the names of models."""
        return self.settings.auth.mode is AuthMode.NONE

    def used(self) -> _Used:
        """Keep it for a request."""
        return _Used(self)

    def begun(self) -> None:
        """Note a request."""
        self.in_use += 1

    def over(self) -> None:
        """Note that a request is over."""
        self.in_use -= 1
        if not self.in_use:
            self.on_idle()


class _Used:
    """A service while a request goes by it."""

    __slots__ = ("_service",)

    def __init__(self, service: Service) -> None:
        self._service = service

    def __enter__(self) -> None:
        self._service.begun()

    def __exit__(self, *_: object) -> None:
        self._service.over()
