"""Keys over HTTP: shown once, to an admin's key alone, and to nobody where none is asked for."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from config.auth import Auth
from config.stores import Redis
from tests.asking import MODEL, WAV, Served, key, serving, settings
from tests.program import OPERATOR, OPERATORS_KEY
from tests.redis_server import redis_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    Emulate = Callable[..., Awaitable[str]]

BOSS = {"Authorization": "Bearer hf_gw_boss"}


@asynccontextmanager
async def with_keys(url: str, **store: Any) -> AsyncIterator[Served]:
    keys = [key("boss", "hf_gw_boss", role="admin"), key("newsroom", "hf_gw_newsroom")]
    auth = Auth.model_validate({"mode": "keys", "keys": keys, **store})
    async with serving(settings({"up": url}, auth=auth)) as made:
        await made.gateway.state.keyring.refresh()
        yield made


@pytest.fixture
async def served(emulate: Emulate, tmp_path: Path) -> AsyncIterator[Served]:
    async with with_keys(await emulate("hf-inference"), store="sqlite", path=tmp_path / "keys.sqlite") as made:
        yield made


async def ask(
    served: Served, method: str, path: str, json: Any = None, headers: Mapping[str, str] = BOSS
) -> tuple[int, dict[str, Any]]:
    async with served.session.request(method, f"{served.url}/admin/keys{path}", json=json, headers=headers) as reply:
        assert reply.status not in {200, 201} or method == "GET" or reply.headers["Cache-Control"] == "no-store"
        return reply.status, await reply.json() if reply.status != 204 else {}


async def test_a_key_from_its_making_to_its_end(served: Served) -> None:
    asked = {"name": "desk", "models": ["openai/*"], "labels": {"team": "a"}, "expires": "9999-12-31"}
    status, made = await ask(served, "POST", "", asked)
    assert (status, made["name"], made["expires"]) == (201, "desk", "9999-12-31T23:59:59Z")
    first = made["key"]
    assert (await served.post(body=WAV, Authorization=f"Bearer {first}")).status == 200
    assert made["created"] is not None
    status, rotated = await ask(served, "POST", "/desk/rotate", {"overlap_s": 0})
    assert (status, rotated["old_secret_until"]) == (200, None)
    assert (await served.post(body=WAV, Authorization=f"Bearer {first}")).status == 401
    assert (await served.post(body=WAV, Authorization=f"Bearer {rotated['key']}")).status == 200
    assert await ask(served, "DELETE", "/desk") == (204, {})
    assert (await served.post(body=WAV, Authorization=f"Bearer {rotated['key']}")).status == 401
    events = [(line["event"], line["key"], line["by"]) for line in served.lines if line["event"].startswith("key_")]
    assert events == [(f"key_{what}", "desk", "boss") for what in ("made", "rotated", "revoked")]
    assert "hf_gw_" not in str(served.lines)


@pytest.mark.parametrize(("body", "overlap_s"), [(None, 3600), ({}, 3600), ({"overlap_s": 60.5}, 60.5)])
async def test_a_rotated_keys_old_secret_is_good_for_a_while(served: Served, body: Any, overlap_s: float) -> None:
    """For an hour unless told; the end of the key is the end of both."""
    first = (await ask(served, "POST", "", {"name": "desk"}))[1]["key"]
    before = datetime.now(UTC)
    _, rotated = await ask(served, "POST", "/desk/rotate", body)
    until = datetime.fromisoformat(rotated["old_secret_until"])
    assert timedelta(seconds=overlap_s - 1) <= until - before <= timedelta(seconds=overlap_s + 30)
    listed = (await ask(served, "GET", ""))[1]["keys"][-1]
    assert (listed["name"], listed["old_secret_until"]) == ("desk", rotated["old_secret_until"])
    for status in (200, 401):
        for secret in (first, rotated["key"]):
            assert (await served.post(body=WAV, Authorization=f"Bearer {secret}")).status == status
        await ask(served, "DELETE", "/desk")


@pytest.mark.parametrize(
    "body", [{"overlap_s": -1}, {"overlap_s": 30 * 86_400 + 1}, {"overlap_s": "x"}, {"overlap": 1}]
)
async def test_what_is_no_overlap_changes_nothing(served: Served, body: Any) -> None:
    first = (await ask(served, "POST", "", {"name": "desk"}))[1]["key"]
    status, told = await ask(served, "POST", "/desk/rotate", body)
    assert (status, told["type"], told["param"]) == (422, "invalid-parameter", next(iter(body)))
    assert (await served.post(body=WAV, Authorization=f"Bearer {first}")).status == 200


async def test_a_list_has_neither_keys_nor_hashes(served: Served) -> None:
    _, made = await ask(served, "POST", "", {"name": "desk", "role": "admin"})
    status, told = await ask(served, "GET", "")
    assert status == 200
    assert [(each["name"], each["role"], each["kept_in"]) for each in told["keys"]] == [
        ("boss", "admin", "file"),
        ("newsroom", "caller", "file"),
        ("desk", "admin", "store"),
    ]
    assert made["key"] not in str(told)
    assert "sha256" not in str(told)


@pytest.mark.parametrize(
    ("document", "status", "kind", "param"),
    [
        ({}, 422, "invalid-parameter", "name"),
        ({"name": "a b"}, 422, "invalid-parameter", "name"),
        ({"name": "a", "rol": "admin"}, 422, "invalid-parameter", "rol"),
        ({"name": "a", "expires": "soon"}, 422, "invalid-parameter", "expires"),
        ({"name": "a", "expires": "2020-01-01"}, 422, "invalid-parameter", "expires"),
        ({"name": "a", "hash": "sha256:" + "0" * 64}, 400, "bad-request", "hash"),
        ({"name": "a", "old": {"hash": "sha256:" + "0" * 64, "until": "9999-12-31"}}, 400, "bad-request", "old"),
        ([], 400, "bad-request", None),
        ({"name": "boss"}, 409, "key-exists", None),
        ({"name": "x" * 70_000}, 413, "too-large", None),
    ],
)
async def test_what_is_no_key_is_refused(served: Served, document: Any, status: int, kind: str, param: object) -> None:
    code, told = await ask(served, "POST", "", document)
    assert (code, told["type"], told.get("param")) == (status, kind, param)


async def test_a_name_that_is_none_is_not_repeated(served: Served) -> None:
    """By mistake it may be a key."""
    for method, path in (("DELETE", "/hf_planted"), ("POST", "/hf_planted/rotate"), ("DELETE", "/boss")):
        status, told = await ask(served, method, path)
        assert (status, told["type"]) == (404, "unknown-key")
        assert "planted" not in str(told)
    assert "planted" not in str(served.lines)


async def test_a_callers_key_changes_nothing(served: Served) -> None:
    for headers, expected in (({"Authorization": "Bearer hf_gw_newsroom"}, 403), ({}, 401)):
        for method, path in (("GET", ""), ("POST", ""), ("DELETE", "/boss"), ("POST", "/boss/rotate")):
            assert (await ask(served, method, path, {"name": "a"}, headers))[0] == expected


async def test_without_a_store_the_file_is_where_keys_end(emulate: Emulate) -> None:
    async with with_keys(await emulate("hf-inference")) as served:
        assert [each["name"] for each in (await ask(served, "GET", ""))[1]["keys"]] == ["boss", "newsroom"]
        for method, path in (("POST", ""), ("DELETE", "/boss"), ("POST", "/boss/rotate")):
            status, told = await ask(served, method, path, None if path else {"name": "a"})
            assert (status, told["type"]) == (409, "no-key-store")


async def test_a_store_that_is_gone_is_told(emulate: Emulate, tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("no database" * 200)
    async with with_keys(await emulate("hf-inference"), store="sqlite", path=tmp_path / "notes") as served:
        status, told = await ask(served, "POST", "", {"name": "a"})
        assert (status, told["type"]) == (503, "keys-unavailable")
        assert (await served.post(body=WAV, Authorization="Bearer hf_gw_newsroom")).status == 200
        assert (await served.post(body=WAV, Authorization="Bearer hf_gw_other")).status == 429
        assert served.gateway.status() == "degraded"


async def test_a_redis_that_dies_takes_no_key_along(emulate: Emulate) -> None:
    """What was last read counts; one line says that nothing new is learned."""
    async with redis_server() as redis:
        auth = Auth.model_validate(
            {"mode": "keys", "store": "redis", "keys": [key("boss", "hf_gw_boss", role="admin")]}
        )
        chosen = settings({"up": await emulate("hf-inference")})
        chosen = chosen.model_copy(update={"auth": auth, "redis": Redis(url=SecretStr(redis.url))})
        async with serving(chosen) as served:
            _, made = await ask(served, "POST", "", {"name": "desk"})
            await redis.kill()
            for _ in range(5):
                await served.gateway.state.keyring.refresh()
            assert (await served.post(body=WAV, Authorization=f"Bearer {made['key']}")).status == 200
            assert (await served.post(body=WAV, Authorization="Bearer hf_gw_x")).status == 401
            assert (await ask(served, "DELETE", "/desk"))[0] == 503
            assert [line["event"] for line in served.lines if line["event"].startswith("keys_")] == ["keys_lost"]


async def test_in_mode_none_nobody_is_given_a_key_without_one(emulate: Emulate) -> None:
    """Anybody on the machine could ask, and a key outlives the mode."""
    for auth, expected in ((None, 401), (Auth(), 403)):
        async with serving(settings({"up": await emulate("hf-inference")}, auth=auth)) as served:
            for method, path in (("GET", ""), ("POST", ""), ("DELETE", "/a"), ("POST", "/a/rotate")):
                assert (await ask(served, method, path, {"name": "a"}))[0] == expected
            assert (await served.post(f"/models/{MODEL}")).status == 200


@pytest.mark.parametrize("mode", ["none", "passthrough"])
async def test_a_stored_admins_key_is_one_in_every_mode(emulate: Emulate, tmp_path: Path, mode: str) -> None:
    auth = Auth.model_validate({"mode": mode, "store": "sqlite", "path": tmp_path / "k", "keys": [OPERATORS_KEY]})
    async with serving(settings({"up": await emulate("hf-inference")}, auth=auth)) as served:
        _, made = await ask(served, "POST", "", {"name": "second", "role": "admin"}, OPERATOR)
        assert (await ask(served, "GET", "", None, {"Authorization": f"Bearer {made['key']}"}))[0] == 200


async def test_limits_that_each_worker_would_allow_in_full_are_refused(emulate: Emulate, tmp_path: Path) -> None:
    """As in the configuration: a key made while the gateway runs is no way around it."""
    keys = [key("boss", "hf_gw_boss", role="admin")]
    auth = Auth.model_validate({"mode": "keys", "keys": keys, "store": "sqlite", "path": tmp_path / "keys.sqlite"})
    several = settings({"up": await emulate("hf-inference")}, auth=auth)
    several = several.model_copy(update={"server": several.server.model_copy(update={"workers": 2})})
    async with serving(several) as served:
        status, told = await ask(served, "POST", "", {"name": "desk", "limits": {"requests_per_minute": 3}})
        assert (status, told["type"]) == (409, "limits-not-counted")
        assert "auth.keys.desk.limits is set, server.workers is 2" in told["error"]
        assert (await ask(served, "POST", "", {"name": "desk"}))[0] == 201
