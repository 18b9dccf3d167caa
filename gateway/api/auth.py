"""Who is calling. Keys are known by their hash and compared in constant time; a key in a URL is refused."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web
from pydantic import SecretStr
from yarl import URL

from config.limits import UNLIMITED, Limits
from config.settings import AuthMode
from gateway.keyring import KEY_BEGINS
from gateway.problems import Problem, bad_request, forbidden, unauthorized

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.keyring import Keyring

# `Bearer x`, fal's `Key x`, Replicate's old `Token x`, and `Bearer: x` as the specification page prints it.
_TOKEN = re.compile(r"(?:(?:bearer|key|token)(?: *:? +| *:? *$))?([!-~]*)", re.IGNORECASE)
_CREDENTIAL_NAMES: Final = frozenset({"api_key", "apikey", "key", "token", "access_token", "authorization", "hf_token"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who sent a request."""

    name: str
    role: str = "caller"
    models: tuple[str, ...] = ("*",)
    limits: Limits = UNLIMITED
    labels: Mapping[str, str] = field(default_factory=dict)
    token: SecretStr | None = field(default=None, repr=False)  # passthrough: the caller's own at the provider

    def may_use(self, model: str) -> bool:
        return any(fnmatchcase(model, pattern) for pattern in self.models)


CALLER = web.RequestKey("caller", Caller)
ANONYMOUS = Caller(name="anonymous", role="admin")  # mode none: loopback only


def authenticate(request: web.BaseRequest, mode: AuthMode, keyring: Keyring) -> Caller:
    """Return the caller. Raises Problem 401, with the same words for every wrong key."""
    if mode is AuthMode.NONE:
        return ANONYMOUS
    token = _token(request)
    if mode is AuthMode.PASSTHROUGH:
        return Caller(name="passthrough", token=SecretStr(token))
    return _by_key(token, keyring)


def admin_only(caller: Caller) -> None:
    """Raise Problem 403 unless the caller is an admin."""
    if caller.role != "admin":
        raise forbidden("this route wants an admin key")


def check_origin(request: web.BaseRequest, allowed: Sequence[str], mode: AuthMode) -> None:
    """Refuse what another web page's script sends: a loopback server is reachable from any page. Raises Problem 403."""
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None and origin not in allowed and not _is_own(request, origin, mode):
        raise forbidden("requests from that origin are not allowed; see server.cors_origins", "origin-not-allowed")
    if origin is None and request.headers.get("Sec-Fetch-Site") == "cross-site" and not _follows_a_link(request):
        raise forbidden("requests from other sites are not allowed; see server.cors_origins", "origin-not-allowed")


def refuse_key_in_url(request: web.BaseRequest) -> None:
    """Refuse a credential where logs and histories keep it. Raises Problem 400."""
    for name in request.query:
        if name.lower() in _CREDENTIAL_NAMES:
            raise bad_request(f"{name}: a credential does not belong in a URL, where logs keep it", param=name)
    if any(KEY_BEGINS in each for each in (request.path, *request.query, *request.query.values())):
        raise bad_request("a key does not belong in a URL, where logs keep it; send it as Authorization: Bearer <key>")


def _is_own(request: web.BaseRequest, origin: str, mode: AuthMode) -> bool:
    """Tell whether it is the origin of a page this server itself gave out.

    A name in Host can be made to lead here by whoever owns it (DNS rebinding), and its pages are then of our origin.
    Where every request needs a key, which no page has unless it is typed there, that gains its owner nothing. Without
    keys only an address or localhost is believed, and any other name must be listed: but to load the page's own files,
    which are the same for everybody, and from which it can say so.
    """
    host = request.headers.get(hdrs.HOST, "")
    is_hosts = origin in {f"http://{host}", f"https://{host}"}
    if mode is AuthMode.NONE:
        return is_hosts and (_is_address(host) or request.path.startswith("/console/"))
    # What a browser says of itself holds behind a proxy too that puts a Host of its own.
    return is_hosts or request.headers.get("Sec-Fetch-Site") == "same-origin"


def _follows_a_link(request: web.BaseRequest) -> bool:
    """Tell whether somebody comes to the page for people from elsewhere: it shows nothing, and nobody can frame it."""
    to = (request.method, request.path, request.headers.get("Sec-Fetch-Mode"), request.headers.get("Sec-Fetch-Dest"))
    return to == ("GET", "/", "navigate", "document")


def _is_address(host: str) -> bool:
    try:
        name = URL(f"http://{host}").host or ""
        return name == "localhost" or bool(ipaddress.ip_address(name))
    except ValueError:
        return False


def _token(request: web.BaseRequest) -> str:
    given = request.headers.getall(hdrs.AUTHORIZATION, [])
    if len(given) > 1:
        raise unauthorized("more than one Authorization header")
    if not given:
        raise unauthorized("a key is needed: Authorization: Bearer <key>")
    match = _TOKEN.fullmatch(given[0].strip())
    if match is None or not match[1]:
        raise unauthorized("the Authorization header is not: Bearer <key>")
    return match[1]


def _by_key(token: str, keyring: Keyring) -> Caller:
    key = keyring.find(token)
    if key is None and keyring.is_unread:
        raise Problem(
            status=429,  # not 503, at which the JS client would ask again at once and without end
            type="keys-unavailable",
            message="the store of keys has not answered yet; whether this one is known cannot be told",
            headers={"Retry-After": "1"},
        )
    if key is None:
        raise unauthorized("the key is not known here")
    return Caller(name=key.name, role=key.role, models=key.models, limits=key.limits, labels=key.labels)
