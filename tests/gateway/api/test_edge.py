"""Every answer has an id, a shape and a line in the log; browsers are told what they may."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from gateway.api.edge import Edge
from gateway.drain import Drain
from gateway.metrics import Metrics
from gateway.serve import Listener
from tests.asking import KEYS, MODEL, WAV, Served, serving, settings
from tests.watching import log_lines, samples

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from aiohttp import web

    from gateway.api.request import Request

    Emulate = Callable[..., Awaitable[str]]

LISTED = "https://newsroom.example.com"


@pytest.fixture
async def served(emulate: Emulate) -> AsyncIterator[Served]:
    async with serving(settings({"up": await emulate("hf-inference")}, cors_origins=[LISTED])) as made:
        yield made


async def ask(
    served: Served, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, Mapping[str, str], Any]:
    async with served.session.request(method, served.url + path, data=body, headers=headers) as reply:
        return reply.status, reply.headers, await reply.json() if reply.content_type == "application/json" else None


# --- ids


async def test_every_answer_has_an_id_that_the_log_has_too(served: Served) -> None:
    for method, path, body in (
        ("POST", f"/models/{MODEL}", WAV),
        ("POST", "/models/unknown", WAV),
        ("GET", "/nowhere", None),
        ("GET", "/health/live", None),
        ("OPTIONS", "/", None),
    ):
        _, headers, _ = await ask(served, method, path, body)
        assert [line["request_id"] for line in served.lines] == [headers["X-Request-Id"]]
        served.lines.clear()


@pytest.mark.parametrize("name", ["X-Request-Id", "X-Amzn-Trace-Id"])
async def test_a_callers_own_id_is_kept(name: str, served: Served) -> None:
    _, headers, _ = await ask(served, "GET", "/health/live", headers={name: "Root=1-67891233:abc.def"})
    assert headers["X-Request-Id"] == "Root=1-67891233:abc.def"


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "é", '"><script>', "a,b", "hf_gw_newsroom"])
async def test_an_id_that_is_unsafe_to_repeat_is_replaced(given: str, served: Served) -> None:
    _, headers, _ = await ask(served, "GET", "/health/live", headers={"X-Request-Id": given})
    assert len(headers["X-Request-Id"]) == 32


# --- routes that are none


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/nowhere", 404, "not-found"),
        ("POST", "/nowhere", 404, "not-found"),
        ("GET", "/v1/nowhere", 404, "not-found"),
        ("PUT", f"/models/{MODEL}", 405, "method-not-allowed"),
        ("GET", f"/models/{MODEL}", 405, "method-not-allowed"),
        ("DELETE", "/v1/audio/transcriptions", 405, "method-not-allowed"),
        ("POST", "/metrics", 405, "method-not-allowed"),
    ],
)
async def test_no_such_route_is_json_in_the_callers_dialect(
    method: str, path: str, status: int, kind: str, served: Served
) -> None:
    told = await ask(served, method, path)
    assert told[0] == status
    assert (told[2]["error"]["code"] if path.startswith("/v1/") else told[2]["type"]) == kind
    assert ("Allow" in told[1]) == (status == 405)
    assert served.lines[-1]["path"] == "none"


async def test_head_is_refused_without_a_body_and_the_connection_goes_on(served: Served) -> None:
    status, headers, _ = await ask(served, "HEAD", f"/models/{MODEL}")
    assert (status, headers["Allow"]) == (405, "POST")
    assert (await ask(served, "GET", "/health/live"))[0] == 200


async def test_the_log_has_the_pattern_of_a_path_and_never_the_path(served: Served) -> None:
    await ask(served, "POST", "/models/hf_secret_in_a_path", WAV)
    assert served.lines[-1]["path"] == "/models/{model}"
    assert "hf_secret" not in str(served.lines)


# --- browsers


async def test_a_listed_origin_is_let_in_and_told_what_it_may_read(served: Served) -> None:
    status, headers, _ = await ask(served, "POST", f"/models/{MODEL}", WAV, {"Origin": LISTED})
    assert (status, headers["Access-Control-Allow-Origin"], headers["Vary"]) == (200, LISTED, "Origin")
    assert "x-request-id" in headers["Access-Control-Expose-Headers"]
    status, headers, _ = await ask(served, "POST", f"/models/{MODEL}", b"", {"Origin": LISTED})
    assert (status, headers["Access-Control-Allow-Origin"]) == (400, LISTED)  # or its script could not read why


async def test_a_preflight_of_a_listed_origin_needs_no_key(emulate: Emulate) -> None:
    chosen = settings({"up": await emulate("hf-inference")}, cors_origins=[LISTED], auth=KEYS)
    async with serving(chosen) as served:
        wants = {
            "Origin": LISTED,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,x-stainless-os",
        }
        status, headers, _ = await ask(served, "OPTIONS", "/v1/audio/transcriptions", headers=wants)
        assert (status, headers["Access-Control-Allow-Origin"]) == (204, LISTED)
        assert headers["Access-Control-Allow-Headers"] == "authorization,x-stainless-os"
        assert "POST" in headers["Access-Control-Allow-Methods"]


@pytest.mark.parametrize("method", ["OPTIONS", "POST", "GET"])
async def test_other_origins_are_told_nothing(method: str, served: Served) -> None:
    status, headers, _ = await ask(served, method, f"/models/{MODEL}", headers={"Origin": "https://evil.example"})
    assert status == 403
    assert not [name for name in headers if name.lower().startswith("access-control")]


# --- mistakes of ours, and the end


async def edged(
    served: Served, handler: Callable[[Request], Awaitable[web.Response]], drain: Drain
) -> tuple[str, Listener]:
    """Serve one handler behind the edge."""
    site = served.gateway.edge().site
    site.paths.add_get("/handler", handler)
    edge = Edge(site, lambda: served.gateway.service, Metrics(), drain, lambda *_: None)
    listener = Listener(edge, served.gateway.settings.server)
    return f"http://127.0.0.1:{await listener.open('127.0.0.1', 0, None)}/handler", listener


async def closed(listener: Listener) -> None:
    listener.close()
    await listener.end()


@pytest.mark.parametrize("error", [KeyError("hf_secret"), TimeoutError("hf_secret"), ValueError("hf_secret")])
async def test_a_mistake_of_ours_is_500_without_its_words(error: Exception, served: Served) -> None:
    async def fails(request: Request) -> web.Response:
        raise error

    url, listener = await edged(served, fails, Drain())
    with log_lines() as lines:
        async with served.session.get(url) as reply:
            told = await reply.json()
            assert (reply.status, told["type"]) == (500, "internal")
            assert "secret" not in str(told)
    assert [line["event"] for line in lines] == ["unexpected", "request"]
    assert {line["request_id"] for line in lines} == {told["request_id"]}
    assert lines[-1]["cause"].startswith(f"{type(error).__name__} at ")
    await closed(listener)


async def test_a_request_that_is_cut_off_is_502_draining(served: Served) -> None:
    begun = asyncio.Event()

    async def waits(request: Request) -> web.Response:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    drain = Drain()
    url, listener = await edged(served, waits, drain)
    asked = asyncio.get_running_loop().create_task(served.session.get(url))
    await begun.wait()
    drain.is_draining = True
    drain.cut_all()
    async with await asked as reply:
        assert (reply.status, (await reply.json())["type"]) == (502, "draining")
        assert reply.headers["Connection"] == "close"
    await closed(listener)


async def test_requests_are_counted_by_what_they_were(served: Served) -> None:
    await ask(served, "POST", f"/models/{MODEL}", WAV)
    await ask(served, "POST", "/models/unknown", WAV)
    await ask(served, "GET", "/health/live")
    counted = samples(served.gateway)
    assert counted[f"asr_requests_total{{front=hf,model={MODEL},status=200}}"] == 1
    assert counted["asr_requests_total{front=hf,model=other,status=404}"] == 1
    assert counted["asr_requests_total{front=ops,model=none,status=200}"] == 1
    assert counted[f"asr_audio_seconds_total{{model={MODEL}}}"] == pytest.approx(13.69)
    assert counted["asr_upload_bytes_sum{}"] == 2 * len(WAV)
    assert counted["asr_attempts_total{deployment=up/whisper,kind=first,outcome=ok}"] == 1
    line = served.lines[0]
    assert (line["deployment"], line["attempts"], line["upload_bytes"]) == ("up/whisper", 1, len(WAV))
    assert line["audio_s"] == pytest.approx(13.69)
