"""Keys over HTTP: `GET` and `POST /admin/keys`, `DELETE /admin/keys/{name}`, `POST /admin/keys/{name}/rotate`."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
from aiohttp import hdrs, web
from pydantic import Field, ValidationError

from config.auth import Key
from config.section import Section
from config.settings import explain, refuse_uncounted
from gateway.api.auth import admin_only
from gateway.api.hf import json_response
from gateway.keyring import (
    MOST_OVERLAP_S,
    OVERLAP_S,
    NameTaken,
    NoStore,
    NoSuchKey,
    TooManyKeys,
    digest_of,
    is_over,
    new_secret,
    told,
    written,
)
from gateway.logs import event
from gateway.problems import Problem, bad_request, not_found, stalled, too_large
from gateway.stores.shared import StoreLost

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from gateway.api.request import Request
    from gateway.keyring import Keyring

_LARGEST_BYTES: Final = 64 << 10  # of a body
OUR_OWN: Final = frozenset({"hash", "created", "old"})
S = TypeVar("S", bound=Section)


class Rotation(Section):
    """The body of a rotation; it may be left out."""

    overlap_s: float = Field(OVERLAP_S, ge=0, le=MOST_OVERLAP_S, allow_inf_nan=False)


async def show(request: Request) -> web.StreamResponse:
    """Answer with every key but its secret and its hash."""
    return json_response({"keys": _keyring(request).told()})


async def make(request: Request) -> web.StreamResponse:
    """Answer 201 with a new key, this once."""
    keyring = _keyring(request)
    secret = new_secret().get_secret_value()
    key = _key(await _document(request), digest_of(secret), keyring.now())
    _check_counted(request, key)
    with _problems():
        await keyring.add(key)
    event("key_made", key=key.name, role=key.role, by=request.caller.name)
    return _secret_response({**told(key, keyring.now()), "key": secret}, HTTPStatus.CREATED)


async def rotate(request: Request) -> web.StreamResponse:
    """Answer with a key's new secret, this once, and until when the old one is good beside it."""
    keyring, name = _keyring(request), request.place.variables["name"]
    rotation = _checked(Rotation, await _document(request))
    with _problems():
        rotated = await keyring.rotate(name, rotation.overlap_s)
    event("key_rotated", key=name, by=request.caller.name)
    until = written(rotated.old_until) if rotated.old_until is not None else None
    answer = {"name": name, "key": rotated.secret.get_secret_value(), "old_secret_until": until}
    return _secret_response(answer, HTTPStatus.OK)


async def revoke(request: Request) -> web.StreamResponse:
    """Forget a key."""
    keyring, name = _keyring(request), request.place.variables["name"]
    with _problems():
        await keyring.revoke(name)
    event("key_revoked", key=name, by=request.caller.name)
    return web.Response(status=HTTPStatus.NO_CONTENT)


def _keyring(request: Request) -> Keyring:
    """Return the keys to an admin. Raises Problem 403."""
    admin_only(request.caller)
    return request.service.keyring


async def _document(request: Request) -> dict[str, Any]:
    """Return the body's JSON; an empty body is an empty object. Raises Problem 400, 408, 413."""
    patience_s = request.service.settings.server.body_timeout
    try:
        async with asyncio.timeout(patience_s):
            body = await request.content.read(_LARGEST_BYTES + 1)
            while len(body) <= _LARGEST_BYTES and (more := await request.content.read(_LARGEST_BYTES)):
                body += more
    except TimeoutError as error:
        raise stalled("the body did not arrive in time") from error
    if len(body) > _LARGEST_BYTES:
        raise too_large("the body", f"{_LARGEST_BYTES} bytes")
    try:
        return {} if not body else msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise bad_request('the body is not a JSON object such as {"name": "newsroom"}') from error


def _key(document: dict[str, Any], digest: str, now: datetime) -> Key:
    for name in OUR_OWN & document.keys():
        raise bad_request(f"{name}: the gateway makes the key itself", param=name)
    key = _checked(Key, {**document, "hash": digest, "created": now.replace(microsecond=0)})
    if is_over(key, now):
        message = "expires: that moment is over, so that the key would open nothing"
        raise Problem(status=422, type="invalid-parameter", message=message, param="expires")
    return key


def _checked(section: type[S], document: dict[str, Any]) -> S:
    """Raise Problem 422."""
    try:
        return section.model_validate(document)
    except ValidationError as error:
        fault = error.errors(include_input=False)[0]
        param = ".".join(map(str, fault["loc"]))[:80]
        message = explain(error).partition("\n")[0][:300]
        raise Problem(status=422, type="invalid-parameter", message=message, param=param) from error


def _check_counted(request: Request, key: Key) -> None:
    """Raise Problem 409 for limits that each of several workers would allow in full."""
    try:
        refuse_uncounted(request.service.settings, (key,))
    except ValueError as error:
        raise Problem(status=409, type="limits-not-counted", message=str(error)) from error


@contextmanager
def _problems() -> Iterator[None]:
    """Say what could not be done. A name is not repeated: by mistake it may be a key."""
    try:
        yield
    except NoStore as error:
        message = "auth.store is none: keys are made and ended in the configuration"
        raise Problem(status=409, type="no-key-store", message=message) from error
    except NameTaken as error:
        raise Problem(status=409, type="key-exists", message="there is a key of that name") from error
    except TooManyKeys as error:
        raise Problem(status=409, type="too-many-keys", message="the store has as many keys as it may") from error
    except NoSuchKey as error:
        raise not_found("the store has no key of that name", "unknown-key") from error
    except StoreLost as error:
        raise Problem(
            status=503,
            type="keys-unavailable",
            message="the store of keys does not answer",
            headers={"Retry-After": "1"},
        ) from error


def _secret_response(document: dict[str, Any], status: int) -> web.StreamResponse:
    response = json_response(document, status)
    response.headers[hdrs.CACHE_CONTROL] = "no-store"
    return response
