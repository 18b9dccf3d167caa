"""A replica's models: loaded for Ray, which keeps those that were asked for lately."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from gateway.engines import Loaded, LocalModels
from gateway.heap import give_back
from providers.local.loading import Download, NotCompiled
from providers.local.provider import NAME
from providers.types import Account, Deployment

if TYPE_CHECKING:
    from collections.abc import Callable

    from config.settings import AccountSettings
    from gateway.fleet import LocalBackend
    from providers.local.models import ModelMissing

LOG: Final = logging.getLogger("ray.serve")  # what Ray writes to the replica's own file
_LOOK_EVERY_S: Final = 0.1
_FIRST_AGAIN_S: Final = 10.0  # what the Hub did not give just now it may give soon
_LAST_AGAIN_S: Final = 300.0
_GOES_WITHIN_S: Final = 120.0  # a model that makes room for another may finish what it has


class Held:
    """A model for as long as its replica has it."""

    def __init__(self, model: LocalBackend, is_due: Callable[[LocalBackend], bool]) -> None:
        """is_due: whether somebody for whom it was loaded has not had it yet."""
        self.model = model
        self._is_due = is_due
        # Ray awaits what it finds by this name at the model; Python looks for it at the class, and finds nothing.
        self.__del__ = self._leave

    async def _leave(self) -> None:
        """Close it, when those it was loaded for have had it and nothing runs on it any more."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _GOES_WITHIN_S
        while (self._is_due(self.model) or self.model.waiting) and loop.time() < until:  # noqa: ASYNC110 - nobody is told
            await asyncio.sleep(_LOOK_EVERY_S)
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self.model.close()
        give_back()  # else the heap keeps what a model leaves, and after ten of them is three times as large


class NotLoaded(Exception):
    """A model is missing, so that it is not among those that are kept."""

    def __init__(self, model: LocalBackend) -> None:
        super().__init__(str(model.missing))
        self.model = model


class Missing:
    """Models that could not be loaded, for ever longer: before Ray tries one again it lets go of one that could be.

    Gateways ask for such a model every second.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[str, tuple[LocalBackend, float]] = {}
        self._again_s: dict[str, float] = {}

    def note(self, name: str, model: LocalBackend) -> None:
        again_s = self._again_s.get(name, _FIRST_AGAIN_S)
        self._until[name] = model, self._clock() + again_s
        self._again_s[name] = min(2 * again_s, _LAST_AGAIN_S)

    def get(self, name: str) -> LocalBackend | None:
        """Return the model where trying to load it again would be too soon."""
        model, until = self._until.get(name, (None, 0.0))
        return model if self._clock() < until else None


class Loader:
    """Loads models of an account."""

    def __init__(self, account: AccountSettings) -> None:
        self._account = account
        self._make = LocalModels(on_batch=lambda *_: None, on_load=_log_load)

    async def __call__(self, name: str) -> LocalBackend:
        """Load a model. Raises NotLoaded."""
        deployment = Deployment(account=Account(name=NAME, adapter=NAME, base_urls={}), native_model=name)
        model = self._make(deployment, self._account)
        await model.load()
        if not model.ready:
            raise NotLoaded(model)
        return model


def _log_load(model: str, engine: str, told: Download | NotCompiled | Loaded | ModelMissing | None) -> None:
    """Write down how far a long download is, and how loading a model ended."""
    if isinstance(told, Download):
        LOG.info("model_downloading model=%s engine=%s bytes=%d of_bytes=%d", model, engine, *told)
    elif isinstance(told, Loaded):
        LOG.info("model_loaded model=%s engine=%s seconds=%.3f bytes=%d", model, engine, *told)
    elif isinstance(told, NotCompiled):
        LOG.warning("model_not_compiled model=%s engine=%s reason=%s", model, engine, told.reason)
    elif told is not None:
        LOG.warning("model_not_loaded model=%s engine=%s reason=%s", model, engine, told)
