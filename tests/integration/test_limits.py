"""Limits and budgets as callers meet them: real sockets, the real gateway, counted in its own memory."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from config.auth import Auth
from config.cache import Cache
from config.limits import GatewayLimits, Limits
from config.usage import Usage
from gateway.policies.spend import Period, window_of
from gateway.state import unix_s
from gateway.stores.limits_seeded import SeededLimits
from tests.asking import MODEL, Served, Told, key, serving, settings
from tests.conftest import encoded, tone
from tests.faulty import Faulty, answers, faulty, hangs, slow
from tests.watching import samples

if TYPE_CHECKING:
    from collections.abc import Mapping

    from config.settings import Settings

HEARD = answers(200, {"text": "hello"})
FAILS = answers(500, {"error": "no"})
TEN_S = encoded(tone(10, 8000), 8000, "wav", "pcm_s16le")
BEARER = {"Authorization": "Bearer hf_gw_newsroom"}


def limited(
    upstream: Faulty,
    *,
    own: Mapping[str, Any] | None = None,
    model: Mapping[str, Any] | None = None,
    gateway: Mapping[str, Any] | None = None,
    usd_per_minute: float | None = None,
) -> Settings:
    """Return one model at the upstream, and a key with limits of its own."""
    chosen = settings({"up": upstream.url}, auth=keys(own or {}))
    route = chosen.models[MODEL]
    target = route.targets[0].model_copy(update={"usd_per_minute": usd_per_minute})
    route = route.model_copy(update={"targets": (target,), "limits": Limits.model_validate(model or {})})
    limits = GatewayLimits.model_validate(gateway or {})
    return chosen.model_copy(update={"models": {MODEL: route}, "limits": limits})


def keys(own: Mapping[str, Any]) -> Auth:
    newsroom = key("newsroom", "hf_gw_newsroom", limits=own)
    return Auth.model_validate({"mode": "keys", "keys": [newsroom, key("other", "hf_gw_other")]})


async def ask(served: Served, **headers: str) -> Told:
    return await served.post(body=TEN_S, **{**BEARER, **headers})


def left(told: Told, name: str) -> int:
    """Return what RateLimit says is left of a policy."""
    match = re.search(rf'"{name}";r=(\d+);t=\d+', told.headers["RateLimit"])
    assert match, told.headers["RateLimit"]
    return int(match[1])


async def test_who_has_no_limit_is_told_of_none() -> None:
    async with faulty(HEARD) as up, serving(limited(up)) as served:
        told = await ask(served)
        assert told.status == 200
        assert not [name for name in told.headers if name.lower().startswith("ratelimit")]


async def test_requests_in_a_minute() -> None:
    async with faulty(HEARD) as up, serving(limited(up, own={"requests_per_minute": 2})) as served:
        first, second, third = [await ask(served) for _ in range(3)]
        assert [first.status, second.status, third.status] == [200, 200, 429]
        assert first.headers["RateLimit-Policy"] == '"requests";q=2;w=60'
        assert first.headers["RateLimit"] == '"requests";r=1;t=30'
        assert third.type == "limit"
        assert third.message == "this key is at its limit of 2 requests per minute"
        assert third.headers["RateLimit-Policy"] == '"requests";q=2;w=60'
        assert third.headers["RateLimit"] == '"requests";r=0;t=60'
        assert third.headers["Retry-After"] == "30"
        assert (await ask(served, Authorization="Bearer hf_gw_other")).status == 200
        assert samples(served.gateway)["asr_limited_total{kind=requests,scope=key}"] == 1
        assert up.calls == 3


async def test_the_openai_front_is_told_in_its_own_shape() -> None:
    async with faulty(HEARD) as up, serving(limited(up, own={"requests_per_minute": 1}), **BEARER) as served:
        assert (await served.openai(TEN_S)).status == 200
        told = await served.openai(TEN_S)
        assert (told.status, told.type) == (429, "limit")
        assert told.headers["Retry-After"] == "60"


async def test_what_never_came_to_a_job_was_a_request() -> None:
    async with faulty(HEARD) as up, serving(limited(up, own={"requests_per_minute": 2})) as served:
        for _ in range(2):
            assert (await served.post(body=b"nonsense", **BEARER)).status == 400
        assert (await ask(served)).status == 429


async def test_audio_in_a_minute_and_the_last_request_beyond_it() -> None:
    async with faulty(HEARD) as up, serving(limited(up, own={"audio_seconds_per_minute": 25})) as served:
        told = [await ask(served) for _ in range(4)]
        assert [each.status for each in told] == [200, 200, 200, 429]
        assert left(told[0], "audio-seconds-per-minute") == 15
        assert told[3].message == "this key is at its limit of 25 audio seconds per minute"
        assert 10 <= int(told[3].headers["Retry-After"]) <= 15  # 5 s of debt, and one to ask with


async def test_what_fails_gives_its_audio_and_money_back_and_not_its_request() -> None:
    own = {"requests_per_minute": 5, "audio_seconds_per_day": 15, "usd_per_day": 1.5}
    async with faulty(FAILS) as up, serving(limited(up, own=own, usd_per_minute=6)) as served:
        for _ in range(5):
            assert (await ask(served)).status == 502
        told = await ask(served)
        assert told.message == "this key is at its limit of 5 requests per minute"
        assert (left(told, "audio-seconds-per-day"), left(told, "budget-per-day")) == (15, 150)


async def test_a_budget_is_not_overrun() -> None:
    async with faulty(HEARD) as up:
        async with serving(limited(up, own={"usd_per_day": 2.5}, usd_per_minute=6)) as served:  # a dollar each
            told = [await ask(served) for _ in range(3)]
            assert [each.status for each in told] == [200, 200, 429]
            assert told[0].headers["RateLimit-Policy"] == '"budget-per-day";q=250;w=86400;qu="usd-cents"'
            assert [left(each, "budget-per-day") for each in told] == [150, 50, 50]
            assert told[2].type == "budget"
            assert told[2].message == "this key has not enough left for this of its budget of 2.5 USD per day"
            now = unix_s()
            midnight_s = window_of(now, Period.DAY).end - now
            assert int(told[2].headers["Retry-After"]) == pytest.approx(midnight_s, abs=3)
            assert told[2].headers["x-should-retry"] == "false"
            assert samples(served.gateway)["asr_limited_total{kind=usd,scope=key}"] == 1
        assert up.calls == 2


async def test_what_all_callers_together_may_spend_is_told_to_none_of_them() -> None:
    async with faulty(HEARD) as up, serving(limited(up, gateway={"usd_per_month": 1}, usd_per_minute=6)) as served:
        assert (await ask(served)).status == 200
        told = await ask(served, Authorization="Bearer hf_gw_other")
        assert (told.status, told.type) == (429, "budget")
        assert "1" not in told.message
        assert "RateLimit" not in told.headers


async def test_a_models_limits_are_for_all_its_callers() -> None:
    async with faulty(HEARD) as up, serving(limited(up, model={"requests_per_minute": 1})) as served:
        first = await ask(served)
        assert first.headers["RateLimit"] == '"model-requests";r=0;t=60'
        told = await ask(served, Authorization="Bearer hf_gw_other")
        assert told.message == "the model, for all its callers, is at its limit of 1 requests per minute"


@pytest.mark.parametrize("whose", ["own", "model", "gateway"])
async def test_places_are_given_back(whose: str) -> None:
    async with faulty(slow) as up, serving(limited(up, **{whose: {"concurrent": 1}})) as served:  # type: ignore[arg-type]
        async with asyncio.TaskGroup() as group:
            first = group.create_task(ask(served))
            await up.called.wait()
            told = await ask(served)
            up.go_on.set()
        assert (first.result().status, told.status, told.type) == (200, 429, "limit")
        assert told.headers["Retry-After"] == "1"
        assert (await ask(served)).status == 200
        assert isinstance(served.gateway.state.counters, SeededLimits)
        assert len(served.gateway.state.counters) == 0


@pytest.mark.parametrize("limit", [{"concurrent": 1}, {"concurrent": 1, "usd_per_day": 1.5}])
async def test_who_leaves_gives_its_place_back_and_not_what_was_begun(limit: dict[str, float]) -> None:
    async with faulty(hangs) as up, serving(limited(up, own=limit, usd_per_minute=6)) as served:
        asked = asyncio.get_running_loop().create_task(ask(served))
        await up.called.wait()
        asked.cancel()
        await up.left.wait()
        await served.at_rest()
        told = asyncio.get_running_loop().create_task(ask(served))
        if "usd_per_day" in limit:
            assert (await told).type == "budget", "it was perhaps billed"
        else:
            up.called.clear()
            await up.called.wait()
            told.cancel()


async def test_a_hit_is_told_what_is_true_after_it() -> None:
    """Of audio and money it uses nothing, and is not told otherwise; it is a request."""
    own = {"requests_per_minute": 10, "audio_seconds_per_day": 1000, "usd_per_day": 10}
    async with faulty(HEARD) as up:
        chosen = limited(up, own=own, usd_per_minute=6).model_copy(update={"cache": Cache()})
        async with serving(chosen) as served:
            told = [await ask(served) for _ in range(3)]
    assert [each.headers["X-Gateway-Cache"] for each in told] == ["miss", "hit", "hit"]
    assert [left(each, "requests") for each in told] == [9, 8, 7]
    assert [left(each, "audio-seconds-per-day") for each in told] == [990, 990, 990]
    assert [left(each, "budget-per-day") for each in told] == [900, 900, 900]


async def test_who_is_refused_is_booked_under_the_model_it_named() -> None:
    """In the path, before the body is read, or in the body, where it was read."""
    async with faulty(HEARD) as up, serving(limited(up, model={"requests_per_minute": 1}), **BEARER) as served:
        told = [await served.openai(TEN_S) for _ in range(2)]
        assert (told[1].status, served.line_of(told[1])["model"]) == (429, MODEL)
    async with faulty(HEARD) as up, serving(limited(up, own={"requests_per_minute": 1}), **BEARER) as served:
        told = [await ask(served), await ask(served), await served.openai(TEN_S)]
        assert [each.status for each in told] == [200, 429, 429]
        assert [served.line_of(each)["model"] for each in told] == [MODEL, MODEL, ""]
        unknown = await served.post("/models/nobody/knows-it", TEN_S)
        assert (unknown.status, served.line_of(unknown)["model"]) == (429, "other")


async def test_a_refused_upload_is_not_read() -> None:
    async with faulty(HEARD) as up, serving(limited(up, own={"requests_per_minute": 1})) as served:
        assert (await ask(served)).status == 200
        port = int(served.url.rpartition(":")[2])
        read, reply = await send_until_refused(port, 100_000_000)
        assert reply.startswith(b"HTTP/1.1 429 ")
        assert b"Connection: close" in reply
        assert read < 1 << 18


async def send_until_refused(port: int, size: int) -> tuple[int, bytes]:
    """Send a body for as long as anybody takes it; return how much of it was read, and the answer."""
    loop = asyncio.get_running_loop()
    head = (
        f"POST /models/{MODEL} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: {BEARER['Authorization']}\r\n"
        f"Content-Length: {size}\r\n\r\n"
    )
    with socket.socket() as sock:
        sock.settimeout(0)
        await loop.sock_connect(sock, ("127.0.0.1", port))
        await loop.sock_sendall(sock, head.encode())
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < size:
                async with asyncio.timeout(0.5):
                    await loop.sock_sendall(sock, bytes(4096))
                sent += 4096
        return sent - in_the_kernel(sock.getsockname()[1], port), await loop.sock_recv(sock, 4096)


def in_the_kernel(client: int, server: int) -> int:
    """Return how many bytes from one loopback port to the other have been sent and not been read."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    queues = {(int(row[1][-4:], 16), int(row[2][-4:], 16)): row[4].split(":") for row in rows}
    return int(queues[client, server][0], 16) + int(queues[server, client][1], 16)


async def test_a_reload_keeps_what_was_counted() -> None:
    async with faulty(HEARD) as up, serving(limited(up, own={"requests_per_minute": 2})) as served:
        assert (await ask(served)).status == 200
        await served.gateway.adopt(limited(up, own={"requests_per_minute": 4}))
        told = await ask(served)  # half of a minute's were used, whatever their number
        assert told.headers["RateLimit"] == '"requests";r=1;t=45'
        await served.gateway.adopt(limited(up))
        assert (await ask(served)).status == 200
        await served.gateway.adopt(limited(up, own={"requests_per_minute": 4}))
        assert [(await ask(served)).status for _ in range(2)] == [200, 429]


async def test_a_restart_does_not_begin_budgets_anew() -> None:
    """The ledger knows what was spent: it is told of everything when the process ends."""
    async with faulty(HEARD) as up:
        for expected in (200, 200, 429):
            async with serving(limited(up, own={"usd_per_day": 2.5}, usd_per_minute=6)) as served:
                told = await ask(served)
                assert told.status == expected
        assert (told.type, left(told, "budget-per-day"), up.calls) == ("budget", 50, 2)


@pytest.mark.parametrize(("when_lost", "status"), [("closed", 429), ("open", 200)])
async def test_budgets_whose_ledger_cannot_be_read_close_unless_told(
    when_lost: str, status: int, tmp_path: Path
) -> None:
    async with faulty(HEARD) as up:
        chosen = limited(up, own={"usd_per_day": 2.5}, gateway={"when_lost": when_lost}, usd_per_minute=6)
        settings = chosen.model_copy(update={"usage": Usage(path=tmp_path)})  # a folder
        async with serving(settings) as served:
            told = await ask(served)
            assert told.status == status
            assert status == 200 or told.type == "budget"
