"""Who may call: keys by their hash, one place for them, no page of a stranger's, and every route shut but a few."""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from config.auth import Auth, AuthMode
from config.settings import Settings
from gateway.api.auth import ANONYMOUS, Caller, admin_only, authenticate, check_origin
from gateway.app import Gateway
from gateway.keyring import Keyring
from gateway.problems import Problem
from gateway.serve import Server
from gateway.stores.keys_sqlite import SqliteKeys
from tests.asking import MODEL, Served, key, serving, settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Emulate = Callable[..., Awaitable[str]]

NOW = datetime(2026, 12, 31, 12, tzinfo=UTC)
TWO_KEYS = Auth.model_validate(
    {
        "mode": "keys",
        "keys": [key("newsroom", "hf_gw_newsroom", models=["openai/*"]), key("boss", "hf_gw_boss", role="admin")],
    }
)


def asking(*headers: tuple[str, str], path: str = "/") -> web.Request:
    return make_mocked_request("POST", path, headers=CIMultiDict(headers))


def entering(auth: Auth, *headers: tuple[str, str], now: datetime = NOW) -> Caller:
    keyring = Keyring(None, now=lambda: now)
    keyring.adopt(auth.keys)
    return authenticate(asking(*headers), auth.mode, keyring)


def refusal(auth: Auth, *headers: tuple[str, str]) -> Problem:
    with pytest.raises(Problem) as told:
        entering(auth, *headers)
    return told.value


# --- keys


@pytest.mark.parametrize(
    "value",
    [
        "Bearer hf_gw_newsroom",
        "bearer   hf_gw_newsroom ",
        "Bearer: hf_gw_newsroom",  # as the specification page prints it
        "Key hf_gw_newsroom",  # fal
        "Token hf_gw_newsroom",  # Replicate's old form
        "hf_gw_newsroom",
    ],
)
def test_a_key_is_read_however_a_client_writes_it(value: str) -> None:
    caller = entering(TWO_KEYS, ("Authorization", value))
    assert (caller.name, caller.role, caller.models) == ("newsroom", "caller", ("openai/*",))


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer:",
        "Bearer wrong",
        "Bearer HF_GW_NEWSROOM",
        "Bearer hf_gw_newsroom x",
        "Bearer Bearer hf_gw_newsroom",
        "Basic aGZfZ3dfbmV3c3Jvb20=",
        "x Bearer hf_gw_newsroom",
        "Bearer hf_gw_newsroom\xff",
        hashlib.sha256(b"hf_gw_newsroom").hexdigest(),
        f"Bearer sha256:{hashlib.sha256(b'hf_gw_newsroom').hexdigest()}",  # the hash is no key
    ],
)
def test_anything_else_is_401(value: str) -> None:
    problem = refusal(TWO_KEYS, ("Authorization", value))
    assert (problem.status, problem.type) == (401, "unauthorized")
    assert "newsroom" not in problem.message


def test_no_header_and_two_headers_are_401() -> None:
    right = ("Authorization", "Bearer hf_gw_newsroom")
    assert refusal(TWO_KEYS).status == 401
    assert refusal(TWO_KEYS, right, right).status == 401
    assert refusal(TWO_KEYS, right, ("authorization", "Bearer x")).status == 401


def test_every_wrong_key_is_told_the_same() -> None:
    """However much of its beginning is right."""
    told = {
        refusal(TWO_KEYS, ("Authorization", f"Bearer {wrong}")).message for wrong in ("x", "hf_gw_newsroo", "hf_gw")
    }
    assert len(told) == 1


def test_an_expired_key_is_told_what_an_unknown_one_is() -> None:
    """From its moment on; who holds it learns nothing that a guesser does not."""
    auth = Auth.model_validate({"mode": "keys", "keys": [key("n", "hf_gw_short", expires=NOW, labels={"team": "a"})]})
    header = ("Authorization", "Bearer hf_gw_short")
    assert entering(auth, header, now=NOW - timedelta(seconds=1)).labels == {"team": "a"}
    assert refusal(auth, header).message == refusal(auth, ("Authorization", "Bearer x")).message
    assert refusal(auth, header).status == 401


def test_a_store_that_was_never_read_makes_a_key_neither_right_nor_wrong() -> None:
    """A client gives up for good at 401, and comes back after a 429."""
    keyring = Keyring(SqliteKeys(Path("never-opened")), now=lambda: NOW)
    with pytest.raises(Problem) as told:
        authenticate(asking(("Authorization", "Bearer hf_gw_a")), AuthMode.KEYS, keyring)
    assert (told.value.status, told.value.type, told.value.headers["Retry-After"]) == (429, "keys-unavailable", "1")
    keyring.adopt([key("a", "hf_gw_a")])
    assert authenticate(asking(("Authorization", "Bearer hf_gw_a")), AuthMode.KEYS, keyring).name == "a"


def test_mode_none_lets_anybody_in() -> None:
    assert entering(Auth(), ("Authorization", "Bearer anything")) is ANONYMOUS
    assert entering(Auth()) is ANONYMOUS


def test_passthrough_takes_the_callers_own_token_and_hides_it() -> None:
    caller = entering(Auth.model_validate({"mode": "passthrough"}), ("Authorization", "Bearer hf_own"))
    assert caller.token is not None
    assert caller.token.get_secret_value() == "hf_own"
    assert "hf_own" not in repr(caller)
    assert refusal(Auth.model_validate({"mode": "passthrough"})).status == 401


def test_models_are_named_or_matched() -> None:
    caller = Caller(name="x", models=("openai/*", "nvidia/parakeet"))
    assert caller.may_use("openai/whisper-1")
    assert caller.may_use("nvidia/parakeet")
    assert not caller.may_use("nvidia/parakeet-2")
    assert not caller.may_use("OpenAI/whisper-1")


def test_admin_only_is_for_admins() -> None:
    admin_only(Caller(name="x", role="admin"))
    with pytest.raises(Problem) as told:
        admin_only(Caller(name="x"))
    assert told.value.status == 403


# --- pages of strangers


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("localhost:8080", "http://localhost:8080"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("asr.example.com", "https://newsroom.example.com"),
    ],
)
def test_our_own_pages_and_listed_ones_may(host: str, origin: str) -> None:
    check_origin(asking(("Host", host), ("Origin", origin)), ["https://newsroom.example.com"], AuthMode.NONE)


@pytest.mark.parametrize(
    ("host", "headers"),
    [
        ("127.0.0.1:8080", [("Origin", "https://evil.example")]),
        ("127.0.0.1:8080", [("Origin", "null")]),
        ("127.0.0.1:8080", [("Origin", "")]),
        ("127.0.0.1:8080", [("Origin", "http://127.0.0.1:3000")]),
        ("127.0.0.1:8080", [("Origin", "http://127.0.0.1:8080.evil.example")]),
        ("127.0.0.1:8080", [("Origin", "https://newsroom.example.com.evil.example")]),
        ("127.0.0.1:8080", [("Sec-Fetch-Site", "cross-site")]),
        # A name that its owner has made to lead here: the browser believes it is one site.
        ("evil.example:8080", [("Origin", "http://evil.example:8080"), ("Sec-Fetch-Site", "same-origin")]),
        ("@127.0.0.1", [("Origin", "http://@127.0.0.1x")]),
        ("", [("Origin", "http://")]),
        ("[::1", [("Origin", "http://[::1")]),
    ],
)
def test_other_pages_may_not(host: str, headers: list[tuple[str, str]]) -> None:
    with pytest.raises(Problem) as told:
        check_origin(asking(("Host", host), *headers), ["https://newsroom.example.com"], AuthMode.NONE)
    assert (told.value.status, told.value.type) == (403, "origin-not-allowed")


@pytest.mark.parametrize("mode", [AuthMode.KEYS, AuthMode.PASSTHROUGH])
@pytest.mark.parametrize(
    ("host", "origin", "site"),
    [
        ("asr.example.com", "https://asr.example.com", "same-origin"),
        ("asr.example.com", "http://asr.example.com", None),  # plain http, where browsers say no more
        ("gateways", "https://asr.example.com", "same-origin"),  # a proxy has put a Host of its own
    ],
)
def test_a_page_under_a_public_name_may_where_a_key_is_needed(
    mode: AuthMode, host: str, origin: str, site: str | None
) -> None:
    """Whoever makes another name lead here has no key."""
    said = [("Sec-Fetch-Site", site)] if site else []
    request = asking(("Host", host), ("Origin", origin), *said)
    check_origin(request, [], mode)
    with pytest.raises(Problem):
        check_origin(request, [], AuthMode.NONE)


@pytest.mark.parametrize("site", ["same-site", "cross-site", "none", None])
def test_another_page_may_not_where_a_key_is_needed_either(site: str | None) -> None:
    said = [("Sec-Fetch-Site", site)] if site else []
    with pytest.raises(Problem):
        check_origin(asking(("Host", "asr.example.com"), ("Origin", "https://x.com"), *said), [], AuthMode.KEYS)


def test_a_page_under_a_name_that_is_not_believed_loads_and_can_say_so() -> None:
    named = (("Host", "asr.example.com"), ("Origin", "http://asr.example.com"))
    check_origin(asking(*named, path="/console/app.js"), [], AuthMode.NONE)
    for path in ("/", "/v1/models", "/consoles"):
        with pytest.raises(Problem):
            check_origin(asking(*named, path=path), [], AuthMode.NONE)
    with pytest.raises(Problem):
        check_origin(asking(named[0], ("Origin", "http://evil.example"), path="/console/app.js"), [], AuthMode.NONE)


def following(method: str, path: str, mode: str, dest: str) -> web.Request:
    said = {"Host": "x", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest}
    return make_mocked_request(method, path, headers=CIMultiDict(said))


def test_a_link_elsewhere_leads_to_the_page() -> None:
    check_origin(following("GET", "/", "navigate", "document"), [], AuthMode.NONE)


@pytest.mark.parametrize(
    ("method", "path", "mode", "dest"),
    [
        ("GET", "/", "navigate", "iframe"),
        ("GET", "/", "no-cors", "script"),
        ("POST", "/", "navigate", "document"),  # a form on a stranger's page
        ("GET", "/status", "navigate", "document"),
    ],
)
def test_it_leads_nowhere_else(method: str, path: str, mode: str, dest: str) -> None:
    with pytest.raises(Problem):
        check_origin(following(method, path, mode, dest), [], AuthMode.NONE)


def test_programs_send_no_origin() -> None:
    check_origin(asking(("Host", "evil.example")), [], AuthMode.NONE)
    check_origin(asking(("Host", "x"), ("Sec-Fetch-Site", "same-origin")), [], AuthMode.NONE)
    check_origin(asking(("Host", "x"), ("Sec-Fetch-Site", "none")), [], AuthMode.NONE)


# --- every route

PUBLIC = {
    ("GET", "/"),
    ("GET", "/console/{file}"),
    ("GET", "/health"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/api/tasks"),
    ("GET", "/api/models/{model}"),
    ("GET", "/api/{rest}"),
}
ADMIN = {
    ("GET", "/metrics"),
    ("GET", "/status"),
    ("GET", "/openapi.json"),
    ("POST", "/admin/reload"),
    ("GET", "/admin/cache"),
    ("POST", "/admin/cache/purge"),
    ("GET", "/admin/usage"),
    ("GET", "/admin/keys"),
    ("POST", "/admin/keys"),
    ("DELETE", "/admin/keys/{name}"),
    ("POST", "/admin/keys/{name}/rotate"),
}


def shut(urls: dict[str, str]) -> Settings:
    return settings(urls, auth=TWO_KEYS)


@pytest.fixture
async def served(emulate: Emulate) -> AsyncIterator[Served]:
    async with serving(shut({"up": await emulate("hf-inference")})) as made:
        yield made


@asynccontextmanager
async def serving_admin_port(urls: dict[str, str], auth: Auth) -> AsyncIterator[Served]:
    """Serve; whoever asks reaches the admin port."""
    gateway = Gateway(settings(urls, auth=auth, admin_port=0))
    server = Server(gateway)
    ports = await server.start()
    try:
        async with ClientSession() as session:
            yield Served(f"http://127.0.0.1:{ports.admin}", gateway, session, [])
    finally:
        await server.stop(0)


def routes(served: Served) -> list[tuple[str, str]]:
    """Return method and pattern of every route there is."""
    router = served.gateway.edge().site.paths
    return [(each.method, each.resource.canonical) for each in router.routes() if each.resource is not None]


async def answer(served: Served, method: str, path: str, **headers: str) -> tuple[int, Any]:
    """Ask for a pattern, its variables filled in with a model that exists."""
    url = served.url + path.replace("{model}", MODEL).replace("{rest}", "rest").replace("{name}", "nobody").replace(
        "{file}", "app.js"
    )
    async with served.session.request(method, url, headers=headers) as reply:
        return reply.status, await reply.read()


# For each mode and kind of route, what nobody, a caller's key and an admin's are told: 401, 403, or anything else (0).
EVERYBODY_IS_TOLD = {
    "none": {"public": (0, 0, 0), "call": (0, 0, 0), "look": (0, 0, 0), "admin": (401, 403, 0)},
    "keys": {"public": (0, 0, 0), "call": (401, 0, 0), "look": (401, 403, 0), "admin": (401, 403, 0)},
    "passthrough": {"public": (0, 0, 0), "call": (401, 0, 0), "look": (401, 403, 0), "admin": (401, 403, 0)},
}


def kind_of(method: str, path: str) -> str:
    route = (method.replace("HEAD", "GET"), path)
    if route in PUBLIC:
        return "public"
    return ("admin" if path.startswith("/admin/") else "look") if route in ADMIN else "call"


@pytest.mark.parametrize("mode", EVERYBODY_IS_TOLD)
async def test_every_route_in_every_mode(mode: str, emulate: Emulate) -> None:
    """The keys are the configuration's; in mode none and passthrough they open what is for operators, and no more."""
    auth = TWO_KEYS.model_copy(update={"mode": AuthMode(mode)})
    async with serving(settings({"up": await emulate("hf-inference")}, auth=auth)) as served:
        for method, path in routes(served):
            told = [
                (await answer(served, method, path, **headers))[0]
                for headers in ({}, {"Authorization": "Bearer hf_gw_newsroom"}, {"Authorization": "Bearer hf_gw_boss"})
            ]
            expected = EVERYBODY_IS_TOLD[mode][kind_of(method, path)]
            assert tuple(each if each in {401, 403} else 0 for each in told) == expected, (method, path, told)
            takes_any = mode == "passthrough" and kind_of(method, path) == "call"  # it is for the provider to say
            if expected[0] == 401 and not takes_any:
                assert (await answer(served, method, path, Authorization="Bearer hf_gw_nobody"))[0] == 401


@pytest.mark.parametrize("mode", ["none", "passthrough"])
async def test_where_there_is_no_admins_key_it_is_said_how_to_make_one(mode: str, emulate: Emulate) -> None:
    """A callers' key, or one that has expired, makes nobody an admin."""
    keys = [
        key("newsroom", "hf_gw_newsroom"),
        key("boss", "hf_gw_boss", role="admin", expires=datetime.min.replace(tzinfo=UTC)),
    ]
    auth = Auth.model_validate({"mode": mode, "keys": keys})
    async with serving(settings({"up": await emulate("hf-inference")}, auth=auth)) as served:
        for method, path in routes(served):
            kind = kind_of(method, path)
            if kind == "admin" or (kind == "look" and mode == "passthrough"):
                for headers in ({}, {"Authorization": "Bearer hf_gw_newsroom"}, {"Authorization": "Bearer hf_gw_boss"}):
                    status, body = await answer(served, method, path, **headers)
                    assert (status, method == "HEAD" or b"keys new --name operator --role admin" in body) == (403, True)


async def test_the_admin_port_shows_without_a_key_and_changes_with_one(emulate: Emulate) -> None:
    """It takes no audio, and a page of a stranger's is as unwelcome as elsewhere."""
    for mode in EVERYBODY_IS_TOLD:
        auth = TWO_KEYS.model_copy(update={"mode": AuthMode(mode)})
        async with serving_admin_port({"up": await emulate("hf-inference")}, auth) as served:
            table = [
                (each.method, each.resource.canonical)
                for each in served.gateway.admin_edge().site.paths.routes()
                if each.resource
            ]
            assert {("GET", "/health/ready"), ("GET", "/metrics"), ("GET", "/status")} < set(table)
            for method, path in table:
                told = (await answer(served, method, path))[0]
                assert told == 401 if path.startswith("/admin/") else told == 200, (mode, method, path)
                newsroom = {"Authorization": "Bearer hf_gw_newsroom"}
                told = (await answer(served, method, path, **newsroom))[0]
                assert told == 403 if path.startswith("/admin/") else told == 200, (mode, method, path)
                assert (await answer(served, method, path, Origin="https://evil.example"))[0] == 403
            assert (await answer(served, "GET", "/admin/cache", Authorization="Bearer hf_gw_boss"))[0] == 200
            for method, path in set(routes(served)) - set(table):
                assert (await answer(served, method, path, Authorization="Bearer hf_gw_boss"))[0] == 404, (method, path)


async def test_every_route_is_public_or_wants_a_key(served: Served) -> None:
    table = routes(served)
    assert len(table) > 15
    for method, path in table:
        status, _ = await answer(served, method, path)
        is_public = (method.replace("HEAD", "GET"), path) in PUBLIC
        assert (status != 401) == is_public, (method, path, status)
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH"):
        assert (await answer(served, method, "/no/such/route"))[0] == 401
        assert (await answer(served, method, "/api/models/../../metrics"))[0] == 401


async def test_every_key_opens_every_route_but_the_admins(served: Served) -> None:
    for method, path in routes(served):
        for secret in ("newsroom", "boss"):
            status, _ = await answer(served, method, path, Authorization=f"Bearer hf_gw_{secret}")
            is_shut = (method.replace("HEAD", "GET"), path) in ADMIN and secret != "boss"
            assert (status == 403) == is_shut, (method, path, secret, status)
            assert status != 401


async def test_no_route_answers_a_strangers_page(served: Served) -> None:
    """Not even with a key, nor the public ones."""
    for method, path in routes(served):
        for stranger in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            status, _ = await answer(served, method, path, Authorization="Bearer hf_gw_boss", **stranger)
            assert status == 403, (method, path, stranger)


@pytest.mark.parametrize("name", ["api_key", "key", "token", "access_token", "API_KEY", "hf_token", "Authorization"])
async def test_a_key_in_the_url_is_refused_everywhere(name: str, served: Served) -> None:
    """Also a right one, and where none is needed: the logs of every hop would keep it."""
    for method, path in routes(served):
        status, body = await answer(served, method, f"{path}?{name}=hf_gw_boss", Authorization="Bearer hf_gw_boss")
        assert status == 400, (method, path)
        assert b"hf_gw_boss" not in body
    assert "hf_gw_boss" not in str(served.lines)


async def test_a_key_without_a_model_is_not_told_of_it(served: Served) -> None:
    other = {"Authorization": "Bearer hf_gw_newsroom"}
    assert (await answer(served, "GET", f"/v1/models/{MODEL}", **other))[0] == 200
    assert (await answer(served, "GET", "/v1/models/groq/whisper", **other))[0] == 403


@pytest.mark.parametrize(
    "path", ["/models/hf_gw_boss", "/models/a?x=hf_gw_boss", "/models/a?hf_gw_boss", "/hf%5Fgw_boss/x"]
)
async def test_a_key_anywhere_in_the_url_is_refused(path: str, served: Served) -> None:
    """Whatever the parameter is called, and where a model's name belongs."""
    status, body = await answer(served, "POST", path, Authorization="Bearer hf_gw_boss")

    assert status == 400
    assert b"hf_gw_boss" not in body
