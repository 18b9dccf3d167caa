"""Local models on Ray Serve, in replicas that come and go with the queue, addressed like any `asr-gateway engine`.

`serve run deploy/ray/serve.yaml` from a checkout. A replica is the engine's own parts behind Ray's HTTP proxy: the
contract is `providers.local.wire`, the batches are those of LocalModel. Ray places, restarts and scales.
"""

from __future__ import annotations

import logging
import os
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from ray import serve
from starlette.responses import JSONResponse, Response

from config.settings import AccountSettings, Settings
from deploy.ray.loads import Loads
from gateway.engines import LocalModels
from gateway.hearing import Hearing, lets_in
from gateway.intake.spool import spool_budget
from providers.local.provider import NAME
from providers.types import Account, Deployment

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from gateway.fleet import LocalBackend
    from gateway.hearing import Told

_LOG: Final = logging.getLogger("ray.serve")  # what Ray writes to the replica's own file
_KEY_VARIABLE: Final = "ASR_GATEWAY_ENGINE_KEY"
_FAILURES: Final = 3  # with no success between: the device is broken, and another replica may have another
_LOOK_EVERY_S: Final = 0.1
_GOES_WITHIN_S: Final = 120.0  # a model that makes room for another may finish what it has


class Arguments(BaseModel):
    """What is served."""

    model_config = ConfigDict(extra="forbid")

    models: tuple[str, ...] = Field(min_length=1)  # those that may be asked for, as an account `local` names them
    models_per_replica: int = Field(1, ge=1)  # of those loaded at once; the one that was asked for longest ago goes
    account: dict[str, Any] = {}  # device, compute_type and the like, as of an account `local`
    server: dict[str, Any] = {}  # max_upload, spool


class Held:
    """A model for as long as its replica has it."""

    def __init__(self, model: LocalBackend) -> None:
        self.model = model
        self._is_gone = False

    def __del__(self) -> None:
        """Close it, when nothing runs on it any more. Ray calls this in a thread, and Python once more."""
        if self._is_gone:
            return
        self._is_gone = True
        until = time.monotonic() + _GOES_WITHIN_S
        while self.model.waiting and time.monotonic() < until:
            time.sleep(_LOOK_EVERY_S)
        self.model.close()


class NotLoaded(Exception):
    """A model is missing, so that it is not among those that are kept."""

    def __init__(self, model: LocalBackend) -> None:
        super().__init__(str(model.missing))
        self.model = model


class Engine:
    """One replica."""

    def __init__(self, told: dict[str, Any]) -> None:
        """told: see Arguments. Raises ValueError where the key is empty."""
        arguments = Arguments.model_validate(told)
        settings, account = Settings(server=arguments.server), AccountSettings(adapter=NAME, **arguments.account)
        make = LocalModels(on_batch=lambda *_: None)

        async def load(name: str) -> Held:
            return await _loaded(name, account, make)

        self._names = arguments.models
        self._key = _key()
        kept = serve.multiplexed(max_num_models_per_replica=arguments.models_per_replica)(load)
        self._load: Loads[LocalBackend] = Loads(partial(_had, kept))
        self._hearing = Hearing(self._held, spool_budget(settings), settings.server.max_upload)
        self._failures = 0

    async def __call__(self, request: Request) -> Response:
        """Answer as `asr-gateway engine` does."""
        asked, name = (request.method, request.url.path), request.query_params.get("model", "")
        if asked == ("GET", "/health"):
            return JSONResponse({"status": "ready"})
        if not lets_in(self._key, request.headers.get("authorization", "")):
            return JSONResponse({"error": "this engine wants a key"}, status_code=401)
        if asked == ("GET", "/model"):
            return _response(await self._hearing.model(name))
        if asked == ("POST", "/transcribe"):
            return self._noted(await self._hearing.transcribe(name, request.headers, request.stream()))
        return Response(status_code=404)

    async def check_health(self) -> None:
        """Raise where another replica had better take this one's place."""
        if self._failures >= _FAILURES:
            raise RuntimeError(f"the last {self._failures} jobs failed")

    async def _held(self, name: str) -> LocalBackend | None:
        """Return a model that may be asked for, loaded if it can be. Ray keeps those asked for lately."""
        return await self._load(name) if name in self._names else None

    def _noted(self, told: Told) -> Response:
        if told.failed:
            self._failures += 1
        elif told.outcome == "ok":
            self._failures = 0
        return _response(told)


def build(told: dict[str, Any]) -> serve.Application:
    """Return the application of what serve.yaml says under `args`. How many replicas, and on what, it says besides."""
    return serve.deployment(Engine).bind(Arguments.model_validate(told).model_dump())


def _key() -> SecretStr | None:
    """Return what gateways must send. Raises ValueError where it is empty, BadConfiguration where it is no key."""
    key = os.environ.get(_KEY_VARIABLE)
    if key is None:
        _LOG.warning("Whoever reaches the port may use these models: %s is not set.", _KEY_VARIABLE)
        return None
    secret = AccountSettings(adapter=NAME, api_key=SecretStr(key)).secret()
    if not secret:
        raise ValueError(f"{_KEY_VARIABLE} is empty: it would let in whoever sends none")
    return secret


async def _had(kept: Callable[[str], Awaitable[Held]], name: str) -> LocalBackend:
    """Return a model, also one that is missing."""
    try:
        return (await kept(name)).model
    except NotLoaded as error:
        return error.model


async def _loaded(name: str, account: AccountSettings, make: LocalModels) -> Held:
    """Load a model. Raises NotLoaded."""
    deployment = Deployment(account=Account(name=NAME, adapter=NAME, base_urls={}), native_model=name)
    model = make(deployment, account)
    await model.load()
    if not model.ready:
        raise NotLoaded(model)
    return Held(model)


def _response(told: Told) -> Response:
    return Response(told.body, status_code=told.status, media_type="application/json")
