"""The name an answer is kept under: everything that can change it, and nothing else.

Not the file's name or media type, which callers invent; not the form in which the answer is written; no header.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

import msgspec
from blake3 import blake3
from pydantic import BaseModel

from providers.types import TranscriptionJob

if TYPE_CHECKING:
    from gateway.dispatch.routes import Route
    from providers.types import Account, Deployment

_SCHEMA: Final = 1  # of what is kept: another one finds none of the old
# All but the audio, so that one that is new cannot be forgotten.
_FIELDS: Final = tuple(name for name in TranscriptionJob.__struct_fields__ if name != "audio")
_VALUES: Final = attrgetter(*_FIELDS)
_OF_TOKENS: Final = "asr-gateway 2026-11 cache scope of a caller's own token"


def key_of(job: TranscriptionJob, route: Route, scope: str, audio: str | None = None) -> str:
    """Return the key, hexadecimal.

    scope: whose answers these are. audio: what tells the audio from any other, its digest unless given.
    """
    form = {
        "schema": _SCHEMA,
        "scope": scope,
        "audio": audio or job.audio.digest,
        "job": dict(zip(_FIELDS, _VALUES(job), strict=True)),
        "on_unsupported": route.on_unsupported,
        "route": [_deployment(each) for each in route.deployments],
    }
    return blake3(msgspec.json.encode(form, order="sorted", enc_hook=_plain)).hexdigest()


def scope_of_token(token: str) -> str:
    """Return the scope of a caller who is known by a token alone, from which the token cannot be told."""
    return "token:" + blake3(token.encode(), derive_key_context=_OF_TOKENS).hexdigest()


def _deployment(to: Deployment) -> tuple[object, ...]:
    named = _account(to.account), to.native_model
    return named if to.options is None else (*named, to.options)


def _account(account: Account) -> tuple[object, ...]:
    """Return what decides which models those names stand for there. Not the key: a new one opens the same door."""
    return account.name, account.adapter, dict(account.base_urls), dict(account.options)


def _plain(value: Any) -> object:  # noqa: ANN401 - whatever a job holds
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True)
    raise NotImplementedError(f"{type(value).__name__} has no form in a key")
