"""Calls of `huggingface_hub` in a process of their own: some of its addresses are read once, when it is imported.

`results_of` starts this file with one version of the package first on the path. It reads from standard input
{"gateway": url, "by": "constants" | "client_factory", "calls": {name: {"client", "audio", "kind", "model", ...}}}
and writes what each call gave: {"text", "chunks"} or {"error", "message", "request_id"}.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

MODEL = "openai/whisper-large-v3"
Call = dict[str, Any]
Results = dict[str, dict[str, Any]]

KINDS: dict[str, Callable[[str], Any]] = {
    "path": str,
    "pathlib": Path,
    "bytes": lambda name: Path(name).read_bytes(),
    "url": str,
}


def call(audio: Path, kind: str = "path", *, model: str | None = None, extra: Any = None, **client: Any) -> Call:
    """Describe a call of InferenceClient."""
    return {
        "client": {"api_key": "hf_x", **client},
        "audio": str(audio),
        "kind": kind,
        "model": model,
        "extra_body": extra,
    }


def awaited(of: Call) -> Call:
    """Describe the same call of AsyncInferenceClient."""
    return {**of, "async": True}


def ways(audio: Path, gateway: str, site: str, providers: Sequence[str | None]) -> dict[str, Call]:
    """Describe every provider mode with every kind of input, blocking and async. site: where audio can be had."""
    made = {}
    for provider in (*providers, "url"):
        where = {"base_url": gateway} if provider == "url" else {"provider": provider, "model": MODEL}
        for kind in ("path", "pathlib", "bytes"):
            made[f"{provider} {kind}"] = call(audio, kind, **where)
        made[f"{provider} url"] = {**call(audio, "url", **where), "audio": f"{site}/{audio.name}"}
    return {**made, **{f"async {name}": awaited(each) for name, each in made.items()}}


def results_of(
    calls: dict[str, Call], gateway: str, *, home: Path, by: str = "constants", package: Path | None = None
) -> Results:
    """Make the calls, Hub and router pointed at the gateway. package: where another version is installed."""
    environ = {**os.environ, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1", "PYTHONPATH": str(package or "")}
    if by == "constants":
        environ["HF_ENDPOINT"] = gateway
    done = subprocess.run(
        [sys.executable, __file__],
        input=json.dumps({"gateway": gateway, "by": by, "calls": calls}),
        capture_output=True,
        text=True,
        env=environ,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    results: Results = json.loads(done.stdout)
    return results


def main() -> None:
    """Do what standard input asks for."""
    asked = json.load(sys.stdin)
    warnings.filterwarnings("ignore", category=DeprecationWarning)  # 1.x and 2.x announce a change of raw uploads
    if asked["by"] == "constants":
        redirect_by_constants(asked["gateway"])
    else:
        redirect_by_client_factory(asked["gateway"])
    json.dump({name: result(each) for name, each in asked["calls"].items()}, sys.stdout)


def redirect_by_constants(gateway: str) -> None:
    """Move the router before InferenceClient is imported; HF_ENDPOINT has moved the Hub."""
    from huggingface_hub import constants  # noqa: PLC0415 - before anything else of the package

    constants.INFERENCE_PROXY_TEMPLATE = f"{gateway}/{{provider}}"


def redirect_by_client_factory(gateway: str) -> None:
    """Move every origin on its way out. The Host header stays the router's."""
    import httpx2  # noqa: PLC0415 - newer versions only
    from huggingface_hub import set_async_client_factory, set_client_factory  # noqa: PLC0415

    to = httpx2.URL(gateway)

    class Sync(httpx2.HTTPTransport):
        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            request.url = request.url.copy_with(scheme=to.scheme, host=to.host, port=to.port)
            return super().handle_request(request)

    class Async(httpx2.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            request.url = request.url.copy_with(scheme=to.scheme, host=to.host, port=to.port)
            return await super().handle_async_request(request)

    set_client_factory(lambda: httpx2.Client(transport=Sync(), timeout=None))
    set_async_client_factory(lambda: httpx2.AsyncClient(transport=Async(), timeout=None))


def result(wanted: Call) -> dict[str, Any]:
    audio = KINDS[wanted["kind"]](wanted["audio"])
    options = {"model": wanted.get("model"), "extra_body": wanted.get("extra_body")}
    try:
        heard = asyncio.run(wait(wanted, audio, options)) if wanted.get("async") else block(wanted, audio, options)
    except Exception as error:  # noqa: BLE001 - whatever the package raises is what the test is about
        said = f"{error} {getattr(error, 'response_error_payload', '')}"
        return {"error": type(error).__name__, "message": said, "request_id": getattr(error, "request_id", None)}
    chunks = None if heard.chunks is None else [[each.text, each.timestamp] for each in heard.chunks]
    return {"text": heard.text, "chunks": chunks}


def block(wanted: Call, audio: Any, options: dict[str, Any]) -> Any:
    from huggingface_hub import InferenceClient  # noqa: PLC0415 - after the redirection

    return InferenceClient(**wanted["client"]).automatic_speech_recognition(audio, **options)


async def wait(wanted: Call, audio: Any, options: dict[str, Any]) -> Any:
    from huggingface_hub import AsyncInferenceClient  # noqa: PLC0415 - after the redirection

    async with AsyncInferenceClient(**wanted["client"]) as client:
        return await client.automatic_speech_recognition(audio, **options)


if __name__ == "__main__":
    main()
