"""Local models on Ray Serve, in replicas that come and go with the queue, addressed like any `asr-gateway engine`.

`serve run deploy/ray/serve.yaml` from a checkout. A replica is the engine's own parts behind Ray's HTTP proxy: the
contract is `providers.local.wire`, the batches are those of LocalModel. Ray places, restarts and scales.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from ray import serve
from starlette.responses import JSONResponse, Response

from config.settings import AccountSettings, Settings
from deploy.ray.held import LOG, Held, Loader, Missing, NotLoaded
from deploy.ray.loads import Loads
from gateway.hearing import Hearing, lets_in
from gateway.intake.spool import spool_budget
from providers.local.provider import NAME
from providers.local.wire import multiplexed_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from gateway.fleet import LocalBackend
    from gateway.hearing import Told

_KEY_VARIABLE: Final = "ASR_GATEWAY_ENGINE_KEY"
_FAILURES: Final = 3  # with no success between: the device is broken, and another replica may have another


class Arguments(BaseModel):
    """What is served."""

    model_config = ConfigDict(extra="forbid")

    models: tuple[str, ...] = Field(min_length=1)  # those that may be asked for, as an account `local` names them
    models_per_replica: int = Field(1, ge=1)  # at once: the first at the start, then the one asked for longest ago goes
    account: dict[str, Any] = {}  # device, compute_type and the like, as of an account `local`
    server: dict[str, Any] = {}  # max_upload, spool


class Parts(NamedTuple):
    """What the arguments say, read as a gateway reads it."""

    models: tuple[str, ...]
    models_per_replica: int
    account: AccountSettings
    settings: Settings
    key: SecretStr | None


class Failures:
    """How many jobs failed since one went well."""

    def __init__(self) -> None:
        self._count = 0

    def note(self, told: Told) -> None:
        if told.failed:
            self._count += 1
        elif told.outcome == "ok":
            self._count = 0

    def check(self) -> None:
        """Raise where they are too many."""
        if self._count >= _FAILURES:
            raise RuntimeError(f"the last {self._count} jobs failed")


class Engine:
    """One replica."""

    def __init__(self, told: dict[str, Any]) -> None:
        """told: see Arguments. Raises as `read`."""
        parts = read(told)
        loader = Loader(parts.account)

        async def load(model_id: str) -> Held:
            return Held(await loader(unquote(model_id)), self._load.is_due)

        self._names = parts.models
        self._key = parts.key
        kept = serve.multiplexed(max_num_models_per_replica=parts.models_per_replica)(load)
        self._missing = Missing()
        self._load: Loads[LocalBackend] = Loads(partial(_had, kept, self._missing))
        self._first = list(parts.models[: parts.models_per_replica])
        self._hearing = Hearing(self._held, spool_budget(parts.settings), parts.settings.server.max_upload)
        self._failures = Failures()

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
            told = await self._hearing.transcribe(name, request.headers, request.stream())
            self._failures.note(told)
            return _response(told)
        return Response(status_code=404)

    async def check_health(self) -> None:
        """Raise where another replica had better take this one's place.

        Ray asks before it sends a replica anything. Models are loaded then: requests go to replicas that have theirs,
        and to one that had none only when the others are full.
        """
        while self._first:
            await self._load(self._first.pop())  # the first in the list last: it is the last to make room
        self._failures.check()

    async def _held(self, name: str) -> LocalBackend | None:
        """Return a model that may be asked for, loaded if it can be. Ray keeps those asked for lately."""
        if name not in self._names:
            return None
        return self._missing.get(name) or await self._load(name)


def build(told: dict[str, Any]) -> serve.Application:
    """Return the application of what serve.yaml says under `args`. How many replicas, and on what, it says besides.

    Raises as `read`: Ray then leaves the replicas alone that it has.
    """
    read(told)
    return serve.deployment(Engine).bind(told)


def read(told: dict[str, Any]) -> Parts:
    """Read Arguments. Raises ValueError for what cannot be meant, an empty key too; BadConfiguration for a bad one."""
    arguments = Arguments.model_validate(told)
    return Parts(
        models=arguments.models,
        models_per_replica=arguments.models_per_replica,
        account=AccountSettings(adapter=NAME, **arguments.account),
        settings=Settings(server=arguments.server),
        key=_key(),
    )


def _key() -> SecretStr | None:
    """Return what gateways must send. Raises ValueError where it is empty, BadConfiguration where it is no key."""
    key = os.environ.get(_KEY_VARIABLE)
    if key is None:
        LOG.warning("Whoever reaches the port may use these models: %s is not set.", _KEY_VARIABLE)
        return None
    secret = AccountSettings(adapter=NAME, api_key=SecretStr(key)).secret()
    if not secret:
        raise ValueError(f"{_KEY_VARIABLE} is empty: it would let in whoever sends none")
    return secret


async def _had(kept: Callable[[str], Awaitable[Held]], missing: Missing, name: str) -> LocalBackend:
    """Return a model, also one that is missing. Ray knows it by what it was told in the request's header."""
    try:
        return (await kept(multiplexed_id(name))).model
    except NotLoaded as error:
        missing.note(name, error.model)
        return error.model


def _response(told: Told) -> Response:
    return Response(told.body, status_code=told.status, media_type="application/json")
