"""`@huggingface/inference` 4, the JavaScript client, against running gateways. `make install` installs it.

It has no setting for the Hub's and the router's addresses: `endpointUrl` names one route, a `fetch` of one's own moves
them all. Parameters it sends only to third-party providers; to hf-inference they go in the query.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from tests.clients.hf_calls import MODEL, Call, Results
from tests.conftest import AUDIO
from tests.serving import digesting, emulated_account, in_a_thread, routed, running_in_a_thread

HERE = Path(__file__).parent / "js"
SAID = "ask not what your country can do for you"
JFK = AUDIO / "jfk.flac"
PROVIDERS = {
    "hf-inference": "flac",
    "fal-ai": "mp3",
    "replicate": "flac",
    "deepinfra": "flac",
}  # fal takes no FLAC there
TYPES = {
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "opus": "audio/ogg;codecs=opus",
    "m4a": "audio/mp4",
    "webm": "audio/webm;codecs=opus",
}


def clip(extension: str) -> Path:
    return AUDIO / f"slushy.{extension}"


def digest(extension: str) -> str:
    return f"blake3 {blake3(clip(extension).read_bytes()).hexdigest()}"


def call(
    file: Path | None,
    *,
    url: str | None = None,
    provider: str | None = None,
    type: str | None = "audio/flac",  # noqa: A002 - the Blob's own word
    input: str = "data",  # noqa: A002 - the client's own word
    **args: Any,
) -> Call:
    """Describe a call: to one route, or by a provider's name with everything moved to the gateway."""
    named = {"model": MODEL, **({"provider": provider} if provider else {})}
    return {
        "file": str(file) if file else None,
        "type": type,
        "input": input,
        "args": {**({} if url else named), **args},
        "client": {"token": "hf_x", "options": {"endpointUrl": url} if url else {}},
        "redirect": url is None,
    }


def results_of(calls: dict[str, Call], gateway: str) -> Results:
    done = subprocess.run(
        ["node", "calls.mjs"],
        cwd=HERE,
        input=json.dumps({"gateway": gateway, "calls": calls}),
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    results: Results = json.loads(done.stdout)
    return results


def test_it_is_version_4() -> None:
    installed = HERE / "node_modules" / "@huggingface" / "inference" / "package.json"
    assert json.loads(installed.read_text())["version"].startswith("4.")


# --- what was said


@pytest.fixture(scope="module")
def heard(gateway_url: str) -> Results:
    """Make every call that needs a real answer, in one process."""
    url = f"{gateway_url}/models/{MODEL}"
    return results_of(
        {
            "endpointUrl": call(JFK, url=url),
            "words": call(JFK, url=f"{url}?return_timestamps=word"),
            "segments": call(JFK, url=f"{url}?return_timestamps=true"),
            "hf-inference": call(JFK, provider="hf-inference"),
            "deepinfra": call(JFK, provider="deepinfra", parameters={"return_timestamps": True}),
            "fal-ai": call(clip("mp3"), provider="fal-ai", type="audio/mpeg", parameters={"chunk_level": "word"}),
        },
        gateway_url,
    )


@pytest.mark.parametrize("name", ["endpointUrl", "words", "segments", "hf-inference", "deepinfra"])
def test_speech_is_heard(heard: Results, name: str) -> None:
    assert SAID in heard[name]["text"]


@pytest.mark.parametrize(("name", "least"), [("words", 20), ("segments", 1), ("deepinfra", 1), ("fal-ai", 30)])
def test_chunks(heard: Results, name: str, least: int) -> None:
    chunks = heard[name]["chunks"]
    assert len(chunks) >= least
    assert " ".join(each["text"].strip() for each in chunks) == heard[name]["text"]
    assert all(0 <= start <= end <= 13.8 for start, end in (each["timestamp"] for each in chunks))


def test_chunks_are_left_out_where_nobody_asked(heard: Results) -> None:
    assert heard["endpointUrl"]["chunks"] is heard["hf-inference"]["chunks"] is None


# --- by which way it came, and what goes wrong


@pytest.fixture(scope="module")
def quick(digest_url: str) -> Results:
    """Make the calls whose way, form or fault is what matters."""
    url = f"{digest_url}/models/{MODEL}"
    calls = {each: call(clip(each), url=url, type=TYPES[each]) for each in TYPES}
    calls |= {
        f"{provider} {given}": call(clip(kind), provider=provider, type=TYPES[kind], input=given)
        for provider, kind in PROVIDERS.items()
        for given in ("data", "inputs")
    }
    calls |= {f"fal-ai {each}": call(clip(each), provider="fal-ai", type=TYPES[each]) for each in ("wav", "webm")}
    calls |= {
        "auto": call(clip("flac")),
        "provider auto": call(clip("flac"), provider="auto"),
        "root": call(clip("flac"), url=digest_url),
        "buffer": call(clip("flac"), url=url, input="buffer"),
        "untyped": call(clip("flac"), url=url, type=None),
        "mislabelled": call(clip("flac"), url=url, type="application/json"),
        "base64": call(clip("flac"), url=url, input="base64"),
        "deepinfra buffer": call(clip("flac"), provider="deepinfra", input="buffer"),
        "verbose": call(
            clip("flac"),
            provider="deepinfra",
            parameters={"response_format": "verbose_json", "timestamp_granularities": ["segment"], "temperature": 0.1},
        ),
        "replicate language": call(clip("flac"), provider="replicate", parameters={"language": "en"}),
        "word query": call(clip("flac"), url=f"{url}?return_timestamps=word&language=en"),
        "unknown": call(clip("flac"), url=f"{digest_url}/models/openai/whisper-large-v2"),
        "unmapped": call(clip("flac"), provider="replicate", model="openai/whisper-large-v2"),
        "range": call(clip("flac"), url=f"{url}?top_k=-1"),
        "not audio": call(None, url=url),
        "fal parameter": call(clip("mp3"), provider="fal-ai", type="audio/mpeg", parameters={"surprise": 1}),
        "deepinfra parameter": call(clip("flac"), provider="deepinfra", parameters={"temperature": 3}),
    }
    return results_of(calls, digest_url)


@pytest.mark.parametrize("extension", TYPES)
def test_every_container(quick: Results, extension: str) -> None:
    assert quick[extension]["text"] == digest(extension)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("given", ["data", "inputs"])
def test_every_provider(quick: Results, provider: str, given: str) -> None:
    assert quick[f"{provider} {given}"]["text"] == digest(PROVIDERS[provider])


@pytest.mark.parametrize("extension", ["wav", "webm"])
def test_fals_relabelled_audio(quick: Results, extension: str) -> None:
    """The client calls WAV audio/x-wav there, and WebM video/webm."""
    assert quick[f"fal-ai {extension}"]["text"] == digest(extension)


@pytest.mark.parametrize(
    "name",
    [
        *("auto", "provider auto", "root", "buffer", "untyped", "mislabelled", "base64", "deepinfra buffer", "verbose"),
        *("replicate language", "word query"),
    ],
)
def test_every_form_of_a_good_call(quick: Results, name: str) -> None:
    assert quick[name]["text"] == digest("flac")


def test_times(quick: Results) -> None:
    assert [each["text"] for each in quick["word query"]["chunks"]] == digest("flac").split()
    assert quick["verbose"]["chunks"] == [{"text": digest("flac"), "timestamp": [0, 13.69]}]


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("unknown", 404, "near it are: openai/whisper-large-v3"),
        ("unmapped", 404, "near it are: openai/whisper-large-v3"),
        ("range", 422, "top_k: -1 is not allowed; expected an integer from 0 to 1000000"),
        ("not audio", 400, "neither audio in a container known here"),
        ("fal parameter", 422, "surprise: not a parameter known here"),
        ("deepinfra parameter", 422, "temperature: 3 is not allowed; expected a number from 0 to 2"),
    ],
)
def test_the_user_reads_our_reason(quick: Results, name: str, status: int, words: str) -> None:
    told = quick[name]
    assert words in told["message"]
    assert told["status"] == status
    assert told["requestId"]


def test_too_much_is_told_as_such() -> None:
    with in_a_thread(partial(digesting, MODEL, max_upload=100_000)) as url:
        told = results_of(
            {"raw": call(clip("flac"), url=url), "fal": call(clip("wav"), provider="fal-ai", type=TYPES["wav"])}, url
        )
    for each in told.values():
        assert "is larger than the limit of" in each["message"]
        assert each["status"] == 413


class _AlwaysLoading(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(503)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def loading_url() -> Iterator[str]:
    """Return a gateway whose provider answers 503, as models that are not loaded did."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _AlwaysLoading) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        account = emulated_account("hf-inference", f"http://127.0.0.1:{server.server_port}")
        with running_in_a_thread(routed(MODEL, {"hub": account}, f"hub/{MODEL}")) as url:
            yield url
        server.shutdown()


def test_an_overloaded_provider_does_not_make_the_client_hammer(loading_url: str) -> None:
    """A 503 it would send again at once, for ever."""
    told = results_of({"loading": call(clip("flac"), url=loading_url)}, loading_url)["loading"]
    assert told["status"] in {429, 502}
    assert told["sent"] == 1
    assert "every deployment" in told["message"]
