"""Who is calling. Keys are known by their hash and compared in constant time; a key in a URL is refused."""

from __future__ import annotations

import ipaddress
import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

import msgspec
from aiohttp import hdrs, web
from pydantic import SecretStr
from yarl import URL

from config.auth import AuthMode
from config.limits import UNLIMITED, Limits
from gateway.keyring import KEY_BEGINS
from gateway.problems import Problem, bad_request, forbidden, unauthorized

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.keyring import Keyring

# `Bearer x`, fal's `Key x`, Replicate's old `Token x`, and `Bearer: x` as the specification page prints it.
_TOKEN = re.compile(r"(?:(?:bearer|key|token)(?: *:? +| *:? *$))?([!-~]*)", re.IGNORECASE)
# Routes that want no key, to read. A 404 for the rest of the Hub's API is among them, or clients think it private.
PUBLIC: Final = frozenset(
    {
        *("/health", "/health/live", "/health/ready", "/api/models/{model}", "/api/tasks", "/api/{rest}"),
        *("/", "/console/{file}"),  # the page for people: it shows nothing until a key is typed
    }
)
_ADMIN: Final = "/admin/"  # routes that want an admin key whatever the mode, on loopback and on the admin port too
_FOR_OPERATORS: Final = frozenset({"/status", "/metrics", "/openapi.json"})  # routes that show, and change nothing
NO_ADMIN_KEY: Final = (
    "this wants an admin key, and there is none. Make one (asr-gateway keys new --name operator --role admin), put "
    "what it prints under auth.keys, and send SIGHUP or start again"
)
_CREDENTIAL_NAMES: Final = frozenset({"api_key", "apikey", "key", "token", "access_token", "authorization", "hf_token"})


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who sent a request."""

    name: str
    role: str = "caller"
    models: tuple[str, ...] = ("*",)
    limits: Limits = UNLIMITED
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    token: SecretStr | None = None  # passthrough: the caller's own at the provider

    def may_use(self, model: str) -> bool:
        return any(fnmatchcase(model, pattern) for pattern in self.models)


ANONYMOUS = Caller(name="anonymous", role="admin")  # mode none: loopback only; no admin to routes under /admin/


def enter(request: web.BaseRequest, route: str, mode: AuthMode, keyring: Keyring) -> Caller | None:
    """Return who asks at the port for everybody, None where the route is public. Raises Problem 401, 403.

    route: its pattern.
    """
    if is_public(request.method, route):
        return None
    if is_admins(route) or (mode is AuthMode.PASSTHROUGH and route in _FOR_OPERATORS):
        return authenticate_operator(request, mode, keyring)
    return authenticate(request, mode, keyring)


def enter_admin_port(request: web.BaseRequest, route: str, mode: AuthMode, keyring: Keyring) -> Caller:
    """Return who asks at the port that only operators reach: to look they need no key. Raises Problem 401, 403."""
    return authenticate_operator(request, mode, keyring) if is_admins(route) else ANONYMOUS


def authenticate_operator(request: web.BaseRequest, mode: AuthMode, keyring: Keyring) -> Caller:
    """Return the admin whose key it is, in every mode. Raises Problem 401, 403.

    In mode none anybody on this machine could ask, any web page's script among them; in mode passthrough the callers'
    tokens are their providers' and say nothing of them here.
    """
    if mode is not AuthMode.KEYS and not (keyring.has_admin or keyring.is_unread):
        raise forbidden(NO_ADMIN_KEY, "no-admin-key")
    caller = _by_key(_token(request), keyring)
    admin_only(caller)
    return caller


def is_public(method: str, route: str) -> bool:
    """Tell whether no key is needed. To post to / is to ask for a transcript."""
    return route in PUBLIC and method in {hdrs.METH_GET, hdrs.METH_HEAD}


def is_admins(route: str) -> bool:
    """Tell whether a route wants an admin key in every mode."""
    return route.startswith(_ADMIN)


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
    query = request.query
    for name in query:
        if name.lower() in _CREDENTIAL_NAMES:
            raise bad_request(f"{name}: a credential does not belong in a URL, where logs keep it", param=name)
    if KEY_BEGINS in request.path or any(KEY_BEGINS in each for pair in query.items() for each in pair):
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
