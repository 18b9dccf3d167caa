"""Traces as a collector sees them: the real gateway, a real exporter, a receiver that decodes what it is sent."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientSession, TCPConnector, web

from config.limits import Limits
from config.settings import Settings
from config.tracing import Tracing
from tests.asking import KEYS, MODEL, WAV, key, serving, settings
from tests.chaos.upstream import answers, hangs, refused, upstream
from tests.collector import Collector, Seen, collector
from tests.conftest import sample, serve
from tests.integration.test_cache import kept
from tests.integration.test_single_flight import Gate, aboard, asked, until
from tests.program import program
from tests.watching import log_lines

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
REQUEST = "POST /models/{model}"


def traced(chosen: Settings, to: Collector, **tracing: Any) -> Settings:
    return chosen.model_copy(update={"tracing": Tracing(endpoint=to.url, **tracing)})


def named(spans: list[Seen]) -> list[str]:
    return [each.name for each in spans]


def assert_within(child: Seen, parent: Seen) -> None:
    assert parent.started_ns <= child.started_ns <= child.ended_ns <= parent.ended_ns


async def test_a_request_is_a_tree_of_its_stages_and_its_call() -> None:
    async with upstream(answers()) as up, collector() as to:
        async with serving(traced(kept({"up": up.url}), to)) as served:
            told = await served.post()
            line = served.line_of(told)
        (request,) = to.named(REQUEST)
        assert (request.kind, request.parent_id, request.is_error) == ("SERVER", "", False)
        assert request.trace_id == line["trace_id"]
        assert {**request.attributes, "asr.audio.duration": 0} == {
            "http.request.method": "POST",
            "http.route": "/models/{model}",
            "http.response.status_code": 200,
            "http.request.body.size": len(WAV),
            "url.scheme": "http",
            "gen_ai.operation.name": "transcription",
            "gen_ai.request.model": MODEL,
            "gen_ai.response.model": "whisper",
            "asr.request_id": told.headers["X-Request-Id"],
            "asr.front": "hf",
            "asr.caller": "anonymous",
            "asr.deployment": "up/whisper",
            "asr.cache": "miss",
            "asr.attempts": 1,
            "asr.audio.duration": 0,
            "asr.outcome": "ok",
        }
        below = to.below(request)
        assert named(below) == ["receive", "probe", "cache", "transcription up/whisper", "render"]
        for each in below:
            assert_within(each, request)
        call = below[3]
        assert (call.kind, call.is_error) == ("CLIENT", False)
        assert call.attributes == {
            "gen_ai.operation.name": "transcription",
            "gen_ai.provider.name": "hf-inference",
            "gen_ai.request.model": "whisper",
            "server.address": "127.0.0.1",
            "server.port": int(up.url.rpartition(":")[2]),
            "http.response.status_code": 200,
            "asr.deployment": "up/whisper",
            "asr.attempt.kind": "first",
            "asr.attempt.outcome": "ok",
        }
        assert request.resource["service.name"] == "asr-gateway"
        assert {each.trace_id for each in to.spans} == {request.trace_id}


async def test_a_hit_makes_no_call_and_links_to_the_one_that_was_paid_for() -> None:
    async with upstream(answers()) as up, collector() as to:
        async with serving(traced(kept({"up": up.url}), to)) as served:
            await served.post()
            await served.post()
        miss, hit = sorted(to.named(REQUEST), key=lambda each: each.started_ns)
        (call,) = to.attempts_of(miss)
        assert to.attempts_of(hit) == []
        assert (hit.attributes["asr.cache"], hit.links) == ("hit", ((call.trace_id, call.span_id),))
        assert miss.links == ()
        assert hit.trace_id != miss.trace_id


async def test_failover_is_two_calls_one_after_the_other() -> None:
    async with upstream(answers(503)) as one, upstream(answers()) as two, collector() as to:
        async with serving(traced(settings({"one": one.url, "two": two.url}), to)) as served:
            assert (await served.post()).status == 200
        (request,) = to.named(REQUEST)
        first, second = to.attempts_of(request)
        assert (first.is_error, first.attributes["error.type"]) == (True, "unavailable")
        assert (first.attributes["http.response.status_code"], first.attributes["asr.deployment"]) == (
            503,
            "one/whisper",
        )
        assert (second.is_error, second.attributes["asr.attempt.kind"]) == (False, "failover")
        assert first.ended_ns <= second.started_ns
        assert not request.is_error
        assert request.attributes["asr.attempts"] == 2


async def test_who_is_asked_again_counts_how_often() -> None:
    chosen = settings({"one": "http://127.0.0.1:1"})
    again = chosen.reliability.model_copy(
        update={"retries": chosen.reliability.retries.model_copy(update={"limit": 1, "base": 0.01, "budget": 1.0})}
    )
    async with collector() as to:
        async with serving(traced(chosen.model_copy(update={"reliability": again}), to)) as served:
            told = await served.post()
        assert told.status == 502
        (request,) = to.named(REQUEST)
        first, second = to.attempts_of(request)
        assert "http.request.resend_count" not in first.attributes
        assert (second.attributes["http.request.resend_count"], second.attributes["asr.attempt.kind"]) == (1, "retry")
        assert "http.response.status_code" not in second.attributes
        assert "backoff" in named(to.below(request))
        assert (request.is_error, request.attributes["error.type"]) == (True, "all-failed")


async def test_a_hedge_is_a_sibling_of_the_slow_one() -> None:
    async with upstream(hangs) as slow, upstream(answers()) as quick, collector() as to:
        chosen = settings({"slow": slow.url, "quick": quick.url})
        route = chosen.models[MODEL].model_copy(update={"hedge_after": 0.05})
        async with serving(traced(chosen.model_copy(update={"models": {MODEL: route}}), to)) as served:
            assert (await served.post()).headers["X-Gateway-Provider"] == "quick"
        (request,) = to.named(REQUEST)
        first, hedge = to.attempts_of(request)
        assert first.parent_id == hedge.parent_id == request.span_id
        assert (first.attributes["asr.attempt.outcome"], hedge.attributes["asr.attempt.kind"]) == ("cancelled", "hedge")
        assert hedge.started_ns < first.ended_ns
        assert not first.is_error, "that nobody needs it any more is no fault of its own"


async def test_who_joins_waits_and_links_to_the_leaders_call() -> None:
    gate = Gate()
    async with upstream(gate) as up, collector() as to:
        async with serving(traced(kept({"up": up.url}), to)) as served:
            async with asked(served, {}, {}, {}) as tasks:
                await until(lambda: aboard(served) == 3)
                gate.opened.set()
            assert [task.result().status for task in tasks] == [200] * 3
        requests = to.named(REQUEST)
        (leader,) = [each for each in requests if each.attributes["asr.cache"] == "miss"]
        joined = [each for each in requests if each.attributes["asr.cache"] == "joined"]
        (call,) = to.attempts_of(leader)
        assert len(joined) == 2
        for each in joined:
            assert each.links == ((call.trace_id, call.span_id),)
            assert to.attempts_of(each) == []
            assert "join" in named(to.below(each))


async def test_who_joins_a_call_that_fails_links_to_it_too() -> None:
    gate = Gate(500)
    async with upstream(gate) as up, collector() as to:
        async with serving(traced(kept({"up": up.url}), to)) as served:
            async with asked(served, {}, {}) as tasks:
                await until(lambda: aboard(served) == 2)
                gate.opened.set()
            lines = [served.line_of(task.result()) for task in tasks]
        (call,) = [each for each in to.spans if each.name.startswith("transcription ")]
        links = {each.span_id == call.parent_id: each.links for each in to.named(REQUEST)}
        assert links == {True: (), False: ((call.trace_id, call.span_id),)}
        assert all("up/whisper: unavailable after" in line["cause"] for line in lines)


async def test_a_call_whose_leader_has_left_is_linked_to_by_who_inherits_it() -> None:
    gate = Gate()
    async with upstream(gate) as up, collector() as to:
        async with serving(traced(kept({"up": up.url}), to)) as served, asked(served, {}) as first:
            await until(lambda: bool(up.calls))
            async with asked(served, {}) as others:
                await until(lambda: aboard(served) == 2)
                first[0].cancel()
                await until(lambda: served.gateway.drain.in_flight == 1)
                gate.opened.set()
            heir = served.line_of(others[0].result())
        (call,) = [each for each in to.spans if each.name.startswith("transcription ")]
        (inherited,) = [each for each in to.named(REQUEST) if each.trace_id == heir["trace_id"]]
        assert inherited.links == ((call.trace_id, call.span_id),)
        assert inherited.attributes["asr.attempts"] == 1
        (left,) = [each for each in to.named(REQUEST) if each.span_id == call.parent_id]
        assert (left.attributes["asr.outcome"], left.is_error) == ("cancelled", False)


async def test_a_limit_that_refuses_is_a_step() -> None:
    one = key("newsroom", "hf_gw_newsroom", limits=Limits(requests_per_minute=1))
    auth = KEYS.model_copy(update={"keys": (one,)})
    async with upstream(answers()) as up, collector() as to:
        async with serving(
            traced(settings({"up": up.url}, auth=auth), to), Authorization="Bearer hf_gw_newsroom"
        ) as served:
            assert [(await served.post()).status for _ in range(2)] == [200, 429]
        refused_one = next(each for each in to.named(REQUEST) if each.attributes["http.response.status_code"] == 429)
        assert "limits" in named(to.below(refused_one))
        assert to.attempts_of(refused_one) == []
        assert (refused_one.attributes["asr.outcome"], refused_one.is_error) == ("limit", False)
        assert refused_one.attributes["asr.caller"] == "newsroom"


async def test_an_upload_that_is_cut_off_ends_in_its_first_step() -> None:
    async with upstream(answers()) as up, collector() as to:
        async with serving(traced(settings({"up": up.url}), to)) as served:
            port = int(served.url.rpartition(":")[2])
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(
                f"POST /models/{MODEL} HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n".encode() + WAV[:999]
            )
            await writer.drain()
            await until(lambda: served.gateway.drain.in_flight == 1)
            writer.close()
            await until(lambda: any(line["event"] == "request" for line in served.lines))
        (request,) = to.named(REQUEST)
        assert named(to.below(request)) == ["receive"]
        assert request.attributes["asr.outcome"] in {"cancelled", "cut-off", "incomplete"}


# --- context in and out


class Heads:
    """Services that note what they are told besides."""

    def __init__(self) -> None:
        self.seen: list[dict[str, str]] = []

    async def answer(self, request: web.Request) -> web.Response:
        await request.read()
        self.seen.append({name.lower(): value for name, value in request.headers.items()})
        return web.json_response({"text": "heard"})


@asynccontextmanager
async def noting() -> AsyncIterator[tuple[str, Heads]]:
    heads, runners = Heads(), list[web.AppRunner]()
    app = web.Application(client_max_size=1 << 26)
    app.router.add_post("/{path:.*}", heads.answer)
    try:
        yield await serve(app, runners), heads
    finally:
        await runners[0].cleanup()


async def test_a_callers_trace_goes_on_here_and_behind() -> None:
    async with noting() as (url, heads), collector() as to:
        async with serving(traced(settings({"up": url}), to)) as served:
            told = await served.post(
                traceparent=PARENT, tracestate="rojo=00f067aa0ba902b7", baggage="userId=planted", Cookie="planted=1"
            )
            assert served.line_of(told)["trace_id"] == TRACE
        (request,) = to.named(REQUEST)
        assert (request.trace_id, request.parent_id, request.state) == (TRACE, SPAN, "rojo=00f067aa0ba902b7")
        (call,) = to.attempts_of(request)
        (head,) = heads.seen
        assert head["traceparent"] == f"00-{TRACE}-{call.span_id}-01"
        assert head["tracestate"] == "rojo=00f067aa0ba902b7"
        assert "baggage" not in head
        assert "planted" not in str(head)


@pytest.mark.parametrize("given", ["nonsense", f"ff-{TRACE}-{SPAN}-01", f"00-{'0' * 32}-{SPAN}-01"])
async def test_a_parent_that_is_none_begins_a_trace_of_our_own(given: str) -> None:
    async with upstream(answers()) as up, collector() as to:
        async with serving(traced(settings({"up": up.url}), to)) as served:
            assert (await served.post(traceparent=given)).status == 200
        (request,) = to.named(REQUEST)
        assert (request.trace_id != TRACE, request.parent_id) == (True, "")


@pytest.mark.parametrize(("propagate", "told"), [("own", True), ("all", True), ("none", False)])
async def test_a_server_of_ones_own_is_told_unless_nobody_is_to_be(propagate: str, told: bool) -> None:  # noqa: FBT001 - a parameter
    async with noting() as (url, heads), collector() as to:
        async with serving(traced(settings({"up": url}), to, propagate=propagate)) as served:
            assert (await served.post()).status == 200
        assert ("traceparent" in heads.seen[0]) is told


async def test_a_caller_who_does_not_sample_is_not_sampled() -> None:
    async with noting() as (url, heads), collector() as to:
        async with serving(traced(settings({"up": url}), to)) as served:
            told = await served.post(traceparent=PARENT[:-1] + "0")
            assert served.line_of(told)["trace_id"] == TRACE, "the log knows it all the same"
        assert to.spans == []
        assert heads.seen[0]["traceparent"].endswith("-00")


async def test_a_sample_is_of_the_traces_that_begin_here() -> None:
    async with upstream(answers()) as up, collector() as to:
        async with serving(traced(settings({"up": up.url}), to, sample=0.0)) as served:
            await served.post()
            await served.post(traceparent=PARENT)
        assert {each.trace_id for each in to.spans} == {TRACE}


async def test_a_stranger_cannot_have_traces_kept() -> None:
    """Whose key is not known may send what it likes: the collector's room is not its own to fill."""
    async with upstream(answers()) as up, collector() as to:
        async with serving(traced(settings({"up": up.url}, auth=KEYS), to, sample=0.0)) as served:
            assert (await served.post(traceparent=PARENT, Authorization="Bearer hf_gw_wrong")).status == 401
        assert to.spans == []


async def test_probes_and_scrapes_are_no_traces_unless_they_are_part_of_one() -> None:
    async with upstream(answers()) as up, collector() as to:
        async with serving(traced(settings({"up": up.url}), to)) as served:
            for headers in ({}, {"traceparent": PARENT}):
                async with served.session.get(f"{served.url}/health/live", headers=headers) as reply:
                    assert reply.status == 200
        assert named(to.spans) == ["GET /health/live"]


async def test_a_mistake_of_ours_is_an_error_with_its_kind() -> None:
    """A provider's failure too: what a 5xx was is in its span, its line and its answer."""
    async with upstream(answers(500)) as up, collector() as to:
        async with serving(traced(settings({"up": up.url}), to)) as served:
            told = await served.post()
            line = served.line_of(told)
        (request,) = to.named(REQUEST)
        assert (request.is_error, request.attributes["error.type"]) == (True, "all-failed")
        assert (line["outcome"], line["trace_id"]) == ("all-failed", request.trace_id)
        assert line["tries"] == [
            {
                "deployment": "up/whisper",
                "kind": "first",
                "outcome": "unavailable",
                "reason": line["tries"][0]["reason"],
                "http_status": 500,
                "seconds": line["tries"][0]["seconds"],
            }
        ]


async def test_a_number_leads_to_a_trace_that_is_kept() -> None:
    """Where the scraper asks for OpenMetrics, which has exemplars."""
    openmetrics = {"Accept": "application/openmetrics-text; version=1.0.0"}
    async with upstream(answers()) as up, collector() as to:
        for sample in (0.0, 1.0):
            async with serving(traced(settings({"up": up.url}), to, sample=sample)) as served:
                line = served.line_of(await served.post())
                async with served.session.get(f"{served.url}/metrics", headers=openmetrics) as reply:
                    shown = await reply.text()
            assert (f'# {{trace_id="{line["trace_id"]}"}}' in shown) is bool(sample)


# --- a collector that is not there


async def test_a_collector_that_is_gone_is_nobodys_trouble_but_the_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "1")
    async with upstream(answers()) as up, collector() as to:
        to.status = 500
        async with serving(traced(settings({"up": up.url}), to)) as served:
            for _ in range(3):
                assert (await served.post()).status == 200
                await until(lambda: any(line["event"] == "traces_lost" for line in served.lines))
            to.status = 200
            assert (await served.post()).status == 200
            await until(lambda: any(line["event"] == "traces_back" for line in served.lines))
            events = [line["event"] for line in served.lines if line["event"] != "request"]
        assert events == ["traces_lost", "traces_back"]
        assert to.named(REQUEST)


async def test_the_end_does_not_wait_for_a_collector_that_hangs() -> None:
    async with upstream(answers()) as up, upstream(hangs) as never:
        chosen = settings({"up": up.url}).model_copy(update={"tracing": Tracing(endpoint=never.url)})
        with log_lines() as lines:
            async with serving(chosen) as served:
                assert (await served.post()).status == 200
                clock = asyncio.get_running_loop().time
                began = clock()
            assert clock() - began < 8, "a batch has ten seconds, and the library's end thirty"
    assert "traces_cut_off" in [line["event"] for line in lines]


async def test_where_nobody_listens_requests_are_served() -> None:
    async with upstream(answers()) as up:
        chosen = settings({"up": up.url}).model_copy(update={"tracing": Tracing(endpoint=await refused())})
        async with serving(chosen) as served:
            assert (await served.post()).status == 200


# --- processes


async def test_what_the_environment_says_to_opentelemetry_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=trial")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "speech")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=newsroom")
    async with upstream(answers()) as up, collector() as to:
        async with serving(traced(settings({"up": up.url}), to, headers={"x-api-key": "collectors-key"})) as served:
            await served.post()
        resource, headers = to.spans[0].resource, to.headers[0]
        assert (resource["service.name"], resource["deployment.environment.name"]) == ("speech", "trial")
        assert (headers["x-tenant"], headers["x-api-key"]) == ("newsroom", "collectors-key")
        monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
        so_far = len(to.spans)
        async with serving(traced(settings({"up": up.url}), to)) as served:
            assert "trace_id" not in served.line_of(await served.post())
        assert len(to.spans) == so_far


async def test_workers_and_the_engine_each_tell_of_their_part(tmp_path: Path) -> None:
    async with collector() as to:
        document = {
            "server": {"workers": 2},
            "providers": {"local": {"adapter": "local"}},
            "models": {MODEL: {"targets": [{"target": "local/tiny.en", "substitute": True}]}},
            "tracing": {"endpoint": to.url, "service_name": "trial"},
        }
        async with program(document, tmp_path) as served, ClientSession(connector=TCPConnector(force_close=True)) as s:
            for _ in range(6):
                async with s.post(f"{served.url}/models/{MODEL}", data=sample("slushy.flac")) as reply:
                    assert reply.status == 200
            served.process.terminate()
            assert await served.process.wait() == 0
        requests = to.named(REQUEST)
        assert len(requests) == 6
        for request in requests:
            (call,) = to.attempts_of(request)
            (inference,) = to.below(call)
            assert (inference.name, inference.kind) == ("inference local/tiny.en", "SERVER")
            assert inference.resource["asr.process"] == "engine"
            assert request.resource["asr.process"] == "gateway"
            assert inference.trace_id == request.trace_id
        assert {each.resource["service.name"] for each in to.spans} == {"trial"}
        assert len({each.resource["service.instance.id"] for each in to.spans}) in {2, 3}, "one of each process"


IMPORTS = """
import sys
import gateway.cli, gateway.serve, gateway.workers.worker, gateway.workers.engine
print([name for name in sys.modules if name == "gateway.otlp" or name.startswith("opentelemetry.exporter")])
"""


def test_without_an_endpoint_what_sends_spans_is_not_even_imported() -> None:
    """The client of Redis imports some of OpenTelemetry wherever it is installed; the gateway does not."""
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
