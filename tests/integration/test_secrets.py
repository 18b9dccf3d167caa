"""Nothing that callers or providers say is written anywhere: planted wherever it can be, then all of a run is searched.

And every 5xx leads from its id to its cause, in one line.
"""

from __future__ import annotations

import asyncio
import base64
import json
import math
import re
import signal
import sqlite3
from collections import Counter
from io import BytesIO
from itertools import product
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import yaml
from aiohttp import web

from providers.registry import PROVIDERS
from tests.asking import WAV, key
from tests.collector import collector
from tests.conftest import serve
from tests.integration.test_hostile import raw
from tests.program import program
from tests.running import PROGRAM
from tests.serving import emulated_account

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tests.program import Program

ALWAYS = ("hf-inference", "openai")
PLANTED = re.compile(r"planted[_-]?\w*", re.IGNORECASE)
SECRET = "planted_caller"
ADMIN = "planted_admin"
STATUSES = (200, 202, 301, 400, 401, 402, 403, 404, 409, 422, 429, 500, 503)
RIGHT = {"Authorization": f"Bearer {SECRET}", "User-Agent": "planted_agent", "Cookie": "planted=planted"}
MOST_TOGETHER = 10  # providers behind one gateway: a test's time is that of so many, however many there are
AT_ONCE = 8  # some providers are asked again and again until the deadline
FRONTS = (
    "/models/{model}",
    "/hf-inference/models/{model}",
    "/pipeline/automatic-speech-recognition/{model}",
    "/fal-ai/{model}",
    "/replicate/v1/models/{model}/predictions",
    "/api/v1/audio/transcriptions",
)


async def echo(request: web.Request) -> web.Response:
    """Answer as the path says, with all that was sent: its key, its audio, its fields."""
    heard = (await request.read())[:200].decode("latin-1")
    said = f"planted_reply {dict(request.headers)} {request.url} {heard}"
    status = int(request.match_info["status"])
    told = {"text": said, "error": {"message": said, "type": said, "code": said}, "detail": said, "message": said}
    body = json.dumps(told) if status != 503 else f"<html>{said}</html>"
    headers = {"X-Planted": "planted_header", "Location": "http://planted.example/planted", "Retry-After": "0"}
    return web.Response(status=status, text=body, content_type="application/json", headers=headers)


@pytest.fixture
async def echoing() -> Any:
    runners: list[web.AppRunner] = []
    app = web.Application(client_max_size=1 << 26)
    app.router.add_route("*", "/{status}/{rest:.*}", echo)
    yield await serve(app, runners)
    await runners[0].cleanup()


def groups() -> list[tuple[str, ...]]:
    """Return all providers in groups of about the same size; two that much else is asked of are in each."""
    names = sorted(PROVIDERS)
    count = math.ceil(len(names) / MOST_TOGETHER)
    return [tuple(dict.fromkeys((*names[at::count], *ALWAYS))) for at in range(count)]


def document(root: str, folder: Path, providers: Iterable[str] = ALWAYS, **more: Any) -> dict[str, Any]:
    """Return a configuration with an account for each of the providers and each way it may answer."""
    accounts, models = {}, {}
    for adapter in providers:
        for status in STATUSES:
            made = emulated_account(adapter, f"{root}/{status}", key="planted_provider_key")
            name = f"{adapter}-{status}"
            accounts[name] = {
                "adapter": adapter,
                "api_key": "planted_provider_key",
                "base_url": made.base_url,
                "base_urls": dict(made.base_urls),
                "options": dict(made.options),
            }
            models[f"m/{name}"] = {
                "targets": [{"target": f"{name}/{NATIVE.get(adapter, 'whisper')}", "substitute": True}]
            }
    keys = [key("a", SECRET), key("b", ADMIN, role="admin")]
    return {
        "auth": {"mode": "keys", "keys": [each.model_dump(mode="json", exclude_defaults=True) for each in keys]},
        "providers": accounts,
        "models": {**models, "*": {"targets": ["hf-inference-500/{model}"]}},
        "usage": {"store": "sqlite", "path": str(folder / "usage.sqlite")},
        "reliability": {"retries": {"limit": 0}},
        "server": {"deadline": {"base": 5, "per_audio_second": 0}},
        "redis": {"url": "redis://planted:planted_password@127.0.0.1:1/0"},
        **more,
    }


ADMINS_ASK = (
    *(("GET", path) for path in ("/status", "/metrics", "/admin/usage?by=planted", "/admin/keys", "/planted?planted")),
    *(("POST", path) for path in ("/admin/keys", "/admin/cache/purge", "/admin/keys/planted/rotate", "/admin/reload")),
    *(("DELETE", "/admin/keys/planted"), ("PUT", "/planted"), ("GET", "/v1/models/planted")),
)
NATIVE = {"fal-ai": "fal-ai/whisper", "openai": "whisper-1", "replicate": "vaibhavs10/incredibly-fast-whisper"}


def uploads() -> Iterator[tuple[str, Any, dict[str, str]]]:
    """Yield requests that say `planted` in every place there is: path, body, headers."""
    encoded = base64.b64encode(WAV).decode()
    asked = {"inputs": encoded, "parameters": {"prompt": "planted_prompt", "language": "planted_language"}}
    for front in FRONTS:
        path = front.format(model="m/hf-inference-500")
        yield path, WAV, RIGHT
        yield path, b'{"planted_broken', {**RIGHT, "Content-Type": "application/json"}
        yield path, json.dumps(asked).encode(), {**RIGHT, "Content-Type": "application/json"}
        yield f"{path}?language=planted&planted=planted", WAV, RIGHT
        yield path, WAV, {"Authorization": "Bearer planted_wrong_key"}
        yield path, b"planted_no_audio" * 100, RIGHT
    path = "/models/m/hf-inference-500"
    yield path, WAV, {**RIGHT, "traceparent": "planted", "tracestate": "planted", "baggage": "planted=planted"}
    yield path, WAV, {**RIGHT, "X-Request-Id": "planted id", "X-Gateway-Timeout": "planted"}
    yield path, WAV, {**RIGHT, "Cache-Control": "planted", "Content-Type": "planted/planted"}
    yield path, WAV, {**RIGHT, "Origin": "https://planted.example", "Referer": "https://planted.example"}
    yield path, b"https://planted.example/planted.wav?signature=planted", RIGHT
    yield f"{path}?api_key=planted_key", WAV, RIGHT
    yield f"/models/{'planted_' * 40}?planted", WAV, {"Authorization": "Bearer planted_wrong"}
    yield "/planted/path?planted", WAV, RIGHT
    yield "/planted_account/models/m/x", WAV, RIGHT


def form(model: str) -> aiohttp.FormData:
    made = aiohttp.FormData({"model": model, "prompt": "planted_prompt", "planted_field": "planted"})
    made.add_field("file", BytesIO(WAV), filename="planted_name.wav", content_type="audio/wav")
    return made


async def say_it_all(url: str, session: aiohttp.ClientSession, providers: Iterable[str]) -> list[tuple[str, int]]:
    """Send everything; return each answer's request id and status."""
    told: list[tuple[str, int]] = []
    places = asyncio.Semaphore(AT_ONCE)

    async def send(method: str, path: str, body: Any, headers: dict[str, str]) -> None:
        async with session.request(method, url + path, data=body, headers=headers, allow_redirects=False) as reply:
            await reply.read()
            told.append((reply.headers.get("X-Request-Id", ""), reply.status))

    async def send_to(model: str) -> None:
        async with places:
            await send("POST", f"/models/{model}", WAV, RIGHT)

    async with asyncio.TaskGroup() as group:
        for adapter, status in product(providers, STATUSES):
            group.create_task(send_to(f"m/{adapter}-{status}"))
    for path, body, headers in uploads():
        await send("POST", path, body, headers)
    for path in ("/v1/audio/transcriptions", "/deepinfra/v1/openai/audio/transcriptions"):
        for model in ("m/openai-200", "m/openai-500", "m/planted_model"):
            await send("POST", path, form(model), RIGHT)
    admin = {"Authorization": f"Bearer {ADMIN}"}
    for method, path in ADMINS_ASK:
        body = b'{"name": "planted planted", "role": "planted"}' if path == "/admin/keys" and method == "POST" else None
        for headers in (admin, RIGHT, {"Authorization": "Bearer planted_wrong"}):
            await send(method, path, body, headers)
    for broken in (
        b"GET / HTTP/1.1\r\nAuthorization: Bearer planted_key\x00\r\n\r\n",
        b"planted_method / HTTP/1.1\r\n\r\n",
        b"GET /planted\xff HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nplanted header: planted\r\n\r\n",
        b"POST /models/m/openai-200 HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\nplanted",
    ):
        await raw(url, broken)
    return told


async def say_it_badly(served: Program) -> None:
    """Reload what cannot be used, with secrets in it; then what can."""
    good = served.file.read_text()
    for bad in (
        good.replace("planted_provider_key", "planted key with spaces", 1),
        good + "\nodd_section: planted_value\n",
        good + "\nproviders: {planted: planted\n",
        good.replace("mode: keys", "mode: [planted]", 1),
    ):
        refusals = events(served).count("reload_refused")
        served.file.write_text(bad)
        served.process.send_signal(signal.SIGHUP)
        while events(served).count("reload_refused") == refusals:  # noqa: ASYNC110 - a pipe has no such event
            await asyncio.sleep(0.02)
    served.file.write_text(good)


def events(served: Program) -> list[str]:
    """Return the names of events, in whichever form they were written."""
    if served.lines:
        return [line["event"] for line in served.lines]
    return [line.split()[2] for line in served.written if re.match(r"\d\d:\d\d:\d\d\.\d{3} ", line)]


async def seen_by_admins(url: str, session: aiohttp.ClientSession) -> str:
    found = []
    for path in ("/metrics", "/status", "/admin/usage?by=key,model,deployment,outcome", "/admin/keys", "/health/ready"):
        async with session.get(url + path, headers={"Authorization": f"Bearer {ADMIN}"}) as reply:
            found.append(await reply.text())
    return "\n".join(found)


def test_no_provider_is_left_out() -> None:
    assert {each for group in groups() for each in group} == set(PROVIDERS)
    assert max(map(len, groups())) <= MOST_TOGETHER + len(ALWAYS)


@pytest.mark.parametrize("providers", groups(), ids=lambda group: group[0])
@pytest.mark.parametrize(("form_of_log", "workers"), [("json", 1), ("json", 2), ("text", 1)])
async def test_a_whole_run_tells_no_secret(
    form_of_log: str, workers: int, providers: tuple[str, ...], echoing: str, tmp_path: Path
) -> None:
    async with collector() as to:
        configured = document(
            echoing,
            tmp_path,
            providers,
            logs={"format": form_of_log, "level": "debug"},
            tracing={"endpoint": to.url, "propagate": "all", "headers": {"x-api-key": "planted_collector_key"}},
        )
        configured["server"]["workers"] = workers
        async with program(configured, tmp_path) as served, aiohttp.ClientSession() as session:
            told = await say_it_all(served.url, session, providers)
            shown = await seen_by_admins(served.url, session)
            await say_it_badly(served)
            served.process.terminate()
            assert await served.process.wait() == 0
    statuses = Counter(status for _, status in told)
    assert {200, 400, 401, 403, 404, 422, 502} <= statuses.keys(), statuses
    assert "request" in events(served)
    assert "not_http" in events(served)
    assert to.spans
    assert PLANTED.findall("".join(served.written)) == []
    assert PLANTED.findall(shown) == []
    assert PLANTED.findall(str(to.spans)) == []
    assert PLANTED.findall(b"".join(to.bodies).decode("latin-1")) == []
    assert PLANTED.findall(ledger(tmp_path / "usage.sqlite")) == []
    if form_of_log == "json":
        assert_each_failure_is_told(served, told)


def ledger(file: Path) -> str:
    with sqlite3.connect(file) as opened:
        rows = opened.execute("select * from sqlite_master").fetchall()
        (table,) = [row[1] for row in rows if row[0] == "table" and "usage" in row[1]] or [rows[0][1]]
        kept = opened.execute(f"select * from {table}").fetchall()  # noqa: S608 - the schema's own name
    assert len(kept) > 50
    return str(kept)


def assert_each_failure_is_told(served: Program, told: list[tuple[str, int]]) -> None:
    """Check that the id of each 5xx finds one line, and that this line says why."""
    lines: dict[str, list[dict[str, Any]]] = {}
    for line in served.lines:
        lines.setdefault(line.get("request_id", ""), []).append(line)
    failed = [request_id for request_id, status in told if status >= 500]
    assert len(failed) > 20
    for request_id in failed:
        (line,) = lines[request_id]
        assert line["cause"]
        assert line["level"] == "error"
        assert len(line["tries"]) == line["attempts"] > 0
        assert all(each["outcome"] not in {"", "ok"} for each in line["tries"])


async def test_a_worker_that_crashes_quotes_nobody(echoing: str, tmp_path: Path) -> None:
    """What Python itself would write when a process ends by an error has the error's message in it."""
    configured = document(echoing, tmp_path, usage={"store": "sqlite", "path": str(tmp_path / "planted_folder" / "x")})
    configured["server"]["spool"] = {"directory": str(tmp_path / "planted_spool"), "memory_per_upload": 4096}
    (tmp_path / "planted_spool").mkdir()
    async with program(configured, tmp_path) as served, aiohttp.ClientSession() as session:
        (tmp_path / "planted_spool").rmdir()
        async with session.post(f"{served.url}/models/m/openai-200", data=WAV, headers=RIGHT) as reply:
            assert reply.status >= 500
            request_id = reply.headers["X-Request-Id"]
        served.process.terminate()
        await served.process.wait()
    told = [line for line in served.lines if line.get("request_id") == request_id]
    assert [line["event"] for line in told][-1] == "request"
    assert told[-1]["cause"]
    written = [line for line in served.written if line.startswith("{") and '"usage_unusable"' not in line]
    assert PLANTED.findall("".join(written)) == []


async def test_a_start_that_fails_quotes_no_secret(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    for broken in (
        {"providers": {"a": {"adapter": "openai", "api_key": "planted key"}}},
        {"tracing": {"endpoint": "http://planted:planted@collector"}},
        {"redis": {"url": "nonsense://planted:planted@x"}},
        {"auth": {"mode": "keys", "keys": [{"name": "a", "hash": "planted"}]}},
    ):
        file.write_text(yaml.safe_dump(broken))
        process = await asyncio.create_subprocess_exec(
            *(str(PROGRAM), "serve", "--config", str(file)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        assert process.returncode
        assert PLANTED.findall(said.decode()) == []
