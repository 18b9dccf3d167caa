"""The Hugging Face front over a real socket: every path, body and header its clients send, and what they can read.

The upload's digest comes back as text from an emulated provider, so each answer proves that the very bytes arrived.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from config.auth import Auth, AuthMode, Key
from config.settings import AccountSettings, Settings
from gateway.api.hf import chunks, pinned_paths
from providers.types import Segment, Timestamps, Transcript
from tests.conftest import KEY, sample, sample_audio, serve
from tests.serving import routed, running
from tests.wire import Reply, send

MODEL = "openai/whisper-large-v3"
CLIP = sample("slushy.ogg")
CLIP_64 = base64.b64encode(CLIP).decode()
HEARD = f"blake3 {blake3(CLIP).hexdigest()}"
FORM = "multipart/form-data; boundary=cut"


def account(url: str, *, adapter: str = "hf-inference", key: str | None = KEY) -> AccountSettings:
    return AccountSettings(adapter=adapter, base_url=url, api_key=SecretStr(key) if key else None)


@pytest.fixture
async def gateway(emulate: Callable[..., Awaitable[str]]) -> AsyncIterator[str]:
    """Serve one model from an account named `hub`."""
    async with running(routed(MODEL, {"hub": account(await emulate("hf-inference"))}, f"hub/{MODEL}")) as (url, _):
        yield url


def heard(reply: Reply) -> dict[str, Any]:
    """Return a transcript's JSON after checking what every client relies on."""
    assert reply.status == 200, reply.body
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-request-id"]
    answer: dict[str, Any] = reply.json()
    assert isinstance(answer["text"], str)
    return answer


def told(reply: Reply, status: int, kind: str) -> dict[str, Any]:
    """Return an error's JSON after checking what every client relies on."""
    assert reply.status == status, reply.body
    assert reply.headers["content-type"] == "application/json"
    answer: dict[str, Any] = reply.json()
    assert isinstance(answer["error"], str)
    assert "\n" not in answer["error"]
    assert answer["type"] == kind
    assert answer["request_id"] == reply.headers["x-request-id"]
    assert "x-error-code" not in reply.headers
    return answer


def form(*parts: tuple[str, str | bytes]) -> bytes:
    """Return a form; bytes become a file."""
    lines = []
    for name, value in parts:
        file = '; filename="a"' if isinstance(value, bytes) else ""
        data = value if isinstance(value, bytes) else value.encode()
        lines += [f'--cut\r\ncontent-disposition: form-data; name="{name}"{file}\r\n\r\n'.encode(), data, b"\r\n"]
    return b"".join([*lines, b"--cut--\r\n"])


def inputs(**beside: Any) -> bytes:
    return json.dumps({"inputs": CLIP_64, **beside}).encode()


# --- paths


@pytest.mark.parametrize(
    "path",
    [
        f"/models/{MODEL}",
        f"/models/{MODEL}/",
        "/models/openai%2Fwhisper-large-v3",
        f"/models/{MODEL}/pipeline/automatic-speech-recognition",
        f"/models/{MODEL}/pipeline/automatic-speech-recognition/",
        f"/hf-inference/models/{MODEL}",
        f"/hf-inference/models/{MODEL}/",
        f"/hf-inference/models/{MODEL}/pipeline/automatic-speech-recognition",
        f"/pipeline/automatic-speech-recognition/{MODEL}",
        f"/pipeline/automatic-speech-recognition/{MODEL}/",
        f"/hub/models/{MODEL}",
        f"/hub/models/{MODEL}/",
        "/",
        "/predict",
        "/predict/",
        "/v1",
        "/v1/",
        f"/models/{MODEL}?_subdomain=queue",
    ],
)
async def test_paths(gateway: str, path: str) -> None:
    assert heard(await send(gateway, path, CLIP))["text"] == HEARD


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/models/nobody/knows", "unknown-model"),
        ("/models/openai/whisper-large", "unknown-model"),
        (f"/models/../{MODEL}", "unknown-model"),
        (f"/models/%2e%2e/{MODEL}", "unknown-model"),
        ("/models/a%20b", "unknown-model"),
        ("/models/" + "x" * 4000, "unknown-model"),
        ("/hf-inference/models/%00", "unknown-model"),
        ("/nobody/models/" + MODEL, "not-found"),
        ("/models/", "not-found"),
        ("/some/prefix", "not-found"),
    ],
)
async def test_paths_that_lead_nowhere(gateway: str, path: str, kind: str) -> None:
    assert len(told(await send(gateway, path, CLIP), 404, kind)["error"]) < 400


async def test_a_misspelt_model_is_told_the_nearest(gateway: str) -> None:
    assert MODEL in told(await send(gateway, "/models/openai/whisper-large-v2", CLIP), 404, "unknown-model")["error"]


async def test_another_method_is_405_and_says_which(gateway: str) -> None:
    reply = await send(gateway, f"/models/{MODEL}", method="DELETE")
    told(reply, 405, "method-not-allowed")
    assert "POST" in reply.headers["allow"]


async def test_the_host_header_does_not_matter(gateway: str) -> None:
    heard(await send(gateway, f"/models/{MODEL}", CLIP, {"host": "router.huggingface.co"}))


async def test_the_body_names_the_model_where_the_path_does_not(gateway: str) -> None:
    heard(await send(gateway, "/", inputs(model=MODEL)))
    heard(await send(gateway, "/", form(("file", CLIP), ("model", MODEL)), {"content-type": FORM}))
    told(await send(gateway, "/", inputs(model="nobody/knows")), 404, "unknown-model")
    assert told(await send(gateway, "/", inputs(model=7)), 400, "bad-request")["param"] == "model"


async def test_an_error_under_v1_has_this_fronts_shape(gateway: str) -> None:
    """`/v1/audio` speaks OpenAI, whose `error` is an object; a base_url that ends in /v1 does not make it OpenAI's."""
    for path in ("/v1", "/v1/"):
        told(await send(gateway, path, b""), 400, "no-audio")


@pytest.mark.parametrize("path", ["/api/v1/audio/transcriptions", f"/models/{MODEL}/v1/audio/transcriptions"])
async def test_openais_form_is_taken_where_people_append_it(gateway: str, path: str) -> None:
    """Inference Endpoints serve the first; the second is seen in applications. Both answer as OpenAI does."""
    headers = {"content-type": FORM}
    reply = await send(gateway, path, form(("model", MODEL), ("file", CLIP)), headers)
    assert heard(reply)["text"] == HEARD
    refused = await send(gateway, path, form(("nonsense", "1"), ("model", MODEL), ("file", CLIP)), headers)
    assert (refused.status, json.loads(refused.body)["error"]["param"]) == (400, "nonsense")


async def test_without_a_default_model_the_root_says_what_to_do(emulate: Callable[..., Awaitable[str]]) -> None:
    served = routed(MODEL, {"hub": account(await emulate("hf-inference"))}, f"hub/{MODEL}")
    async with running(served.model_copy(update={"default_model": None})) as (url, _):
        assert "/models/{model}" in told(await send(url, "/", CLIP), 404, "unknown-model")["error"]


# --- bodies: content decides, whatever the header says

RAW_TYPES = [
    "audio/ogg",
    "audio/flac",
    "audio/webm;codecs=opus",
    "video/webm",
    "audio/vnd.wave",
    "application/json",
    "application/x-www-form-urlencoded",
    "application/octet-stream",
    "text/plain;charset=UTF-8",
    "multipart/form-data",
    "nonsense",
    "",
]


@pytest.mark.parametrize("content_type", RAW_TYPES)
async def test_raw_audio_under_any_type(gateway: str, content_type: str) -> None:
    assert heard(await send(gateway, "/", CLIP, {"content-type": content_type}))["text"] == HEARD


@pytest.mark.parametrize("content_type", [each for each in RAW_TYPES if "multipart" not in each])
async def test_json_under_any_type(gateway: str, content_type: str) -> None:
    body = inputs(parameters={"return_timestamps": True})
    answer = heard(await send(gateway, "/", body, {"content-type": content_type}))
    assert (answer["text"], len(answer["chunks"])) == (HEARD, 1)


async def test_audio_and_json_without_any_type(gateway: str) -> None:
    for body in (CLIP, inputs()):
        assert heard(await send(gateway, "/", body))["text"] == HEARD


@pytest.mark.parametrize(
    "container",
    ["slushy.flac", "slushy.wav", "slushy.mp3", "slushy.ogg", "slushy.opus", "slushy.m4a", "slushy.webm"],
)
async def test_containers(gateway: str, container: str) -> None:
    clip = sample(container)
    answer = heard(await send(gateway, "/", clip))
    assert answer["text"] == f"blake3 {blake3(clip).hexdigest()}"


@pytest.mark.parametrize(
    "body",
    [
        CLIP_64.encode(),
        base64.encodebytes(CLIP),
        f"data:audio/ogg;base64,{CLIP_64}".encode(),
        f"data:audio/mpeg;codecs=opus;base64,{CLIP_64}".encode(),
        inputs(),
        b"  \r\n" + inputs(),
        json.dumps({"inputs": f"data:video/webm;base64,{CLIP_64}"}).encode(),
        json.dumps({"inputs": CLIP_64}).replace("/", "\\/").encode(),
        json.dumps({"parameters": {}, "inputs": CLIP_64}, indent=2).encode(),
        inputs(parameters=None, options=None, model=None),
        inputs(parameters={}, options={"wait_for_model": True, "use_cache": False}),
    ],
    ids=lambda body: body[:24].decode(errors="replace"),
)
async def test_audio_as_text(gateway: str, body: bytes) -> None:
    answer = heard(await send(gateway, "/", body, {"content-type": "text/plain"}))
    assert answer == {"text": HEARD}


async def test_forms(gateway: str) -> None:
    for part in ("file", "audio", "inputs"):
        assert heard(await send(gateway, "/", form((part, CLIP)), {"content-type": FORM}))["text"] == HEARD
    body = form(("return_timestamps", "true"), ("file", CLIP), ("parameters", '{"top_k": 5}'), ("options", "{}"))
    assert heard(await send(gateway, "/", body, {"content-type": FORM}))["chunks"]


async def test_chunked_upload_and_expectation(gateway: str) -> None:
    for headers in (
        {"transfer-encoding": "chunked"},
        {"expect": "100-continue"},
        {"expect": "100-continue", "transfer-encoding": "chunked"},
    ):
        reply = await send(gateway, "/", CLIP, headers)
        assert heard(reply)["text"] == HEARD
        assert reply.was_told_to_continue == ("expect" in headers)


@pytest.mark.parametrize(
    ("body", "content_type", "status", "kind", "param"),
    [
        (b"", "audio/flac", 400, "no-audio", None),
        (b'{"inputs":"sample1.flac"}', "audio/flac", 400, "bad-request", "inputs"),  # the documentation's JS snippet
        (b'{"inputs":""}', "", 400, "no-audio", None),
        (b'{"inputs":null}', "", 400, "bad-request", "inputs"),
        (b'{"inputs":["a"]}', "", 400, "bad-request", "inputs"),
        (b'{"inputs":"/etc/passwd"}', "", 400, "bad-request", "inputs"),
        (b'{"inputs":"/etc/pam"}', "", 400, "unreadable-audio", None),  # base64, as it happens, and still no path
        (b'{"inputs":"https://example.com/a.flac"}', "", 422, "url-input-disabled", "inputs"),
        (b'{"inputs":"HTTP://example.com/a.flac"}', "", 422, "url-input-disabled", "inputs"),
        (b"{}", "application/json", 400, "bad-request", "inputs"),
        (b'{"inputs":', "application/json", 400, "bad-request", None),
        (b'["inputs"]', "application/json", 400, "bad-request", None),
        (b'{"inputs":"' + b"A" * 64 + b'"}', "", 400, "unreadable-audio", None),
        (inputs(parameters=[1]), "", 400, "bad-request", "parameters"),
        (inputs(return_timestamps=True), "", 422, "invalid-parameter", "return_timestamps"),
        (inputs(parameters={"beams": 3}), "", 422, "invalid-parameter", "beams"),
        (inputs(parameters={"top_k": -1}), "", 422, "invalid-parameter", "top_k"),
        (inputs(parameters={"generation_parameters": 5}), "", 422, "invalid-parameter", "generation_parameters"),
        (inputs(provider_options={"nobody": {}}), "", 422, "invalid-parameter", "provider_options.nobody"),
        (b"no audio at all, and no text that would be base64!", "audio/wav", 400, "unreadable-audio", None),
        (b"\x89PNG\r\n\x1a\n" + bytes(99), "audio/wav", 415, "unsupported-media-type", None),
        (form(("text", "hi")), FORM, 400, "bad-request", "file"),
        (form(("file", "https://example.com/a.mp3")), FORM, 422, "url-input-disabled", "file"),
        (form(("file", CLIP), ("audio", CLIP)), FORM, 400, "bad-request", "audio"),
        (form(("file", CLIP), ("surprise", "1")), FORM, 422, "invalid-parameter", "surprise"),
    ],
    ids=lambda value: value[:40].decode(errors="replace") if isinstance(value, bytes) else None,
)
async def test_bodies_that_are_refused(
    gateway: str, body: bytes, content_type: str, status: int, kind: str, param: str | None
) -> None:
    reply = await send(gateway, "/", body, {"content-type": content_type})
    assert told(reply, status, kind).get("param") == param


@given(body=st.binary(max_size=300) | st.text(max_size=200).map(lambda text: b'{"inputs":"' + text.encode() + b'"}'))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_body_is_the_callers_fault_at_worst(gateway: str, body: bytes) -> None:
    reply = await send(gateway, "/", body)
    assert reply.status in {400, 415, 422}
    told(reply, reply.status, reply.json()["type"])


# --- parameters, wherever they stand


async def test_query_parameters_are_read(gateway: str) -> None:
    """The JS client has no other channel."""
    words = heard(await send(gateway, f"/models/{MODEL}?return_timestamps=word&language=en", CLIP))["chunks"]
    assert [each["text"] for each in words] == HEARD.split()
    assert heard(await send(gateway, "/?return_timestamps=true", CLIP))["chunks"][0]["text"] == HEARD
    assert "chunks" not in heard(await send(gateway, "/?return_timestamps=false&temperature=0", CLIP))
    assert told(await send(gateway, "/?top_k=many", CLIP), 422, "invalid-parameter")["param"] == "top_k"


async def test_the_bodys_parameters_win_over_the_querys(gateway: str) -> None:
    body = inputs(parameters={"return_timestamps": False, "generation_parameters": {"top_k": 5}})
    assert "chunks" not in heard(await send(gateway, "/?return_timestamps=true&top_k=-1", body))


@pytest.mark.parametrize("name", ["api_key", "token", "Authorization", "hf_token"])
async def test_a_credential_in_the_url_is_refused_and_not_repeated(gateway: str, name: str) -> None:
    reply = await send(gateway, f"/?{name}=hf_secret", CLIP)
    assert told(reply, 400, "bad-request")["param"] == name
    assert b"hf_secret" not in reply.body


@pytest.mark.parametrize("holder", ["generation_parameters", "generate_kwargs", "generate"])
async def test_all_sixteen_reach_the_provider(holder: str) -> None:
    """An upstream that repeats what it was sent."""
    sixteen = {
        "temperature": 0.2, "top_k": 5, "top_p": 0.9, "typical_p": 0.9, "epsilon_cutoff": 0.1, "eta_cutoff": 0.1,
        "max_length": 99, "max_new_tokens": 98, "min_length": 1, "min_new_tokens": 1, "do_sample": True,
        "early_stopping": "never", "num_beams": 4, "num_beam_groups": 2, "penalty_alpha": 0.0, "use_cache": True,
    }  # fmt: skip
    body = inputs(parameters={holder: {**sixteen, "language": None}, "return_timestamps": "word"})
    async with upstream(_repeat_parameters) as url:
        received = json.loads(heard(await send(url, "/", body))["text"])
    assert received == {"generation_parameters": sixteen, "return_timestamps": "word"}


async def _repeat_parameters(request: web.Request) -> web.Response:
    said = json.dumps((await request.json())["parameters"])
    return web.json_response({"text": said, "chunks": [{"text": "said", "timestamp": [0, 1]}]})


# --- answers


async def test_chunks_come_only_when_asked_for(gateway: str) -> None:
    assert heard(await send(gateway, "/", CLIP)) == {"text": HEARD}
    [chunk] = heard(await send(gateway, "/?return_timestamps=true", CLIP))["chunks"]
    assert chunk == {"text": HEARD, "timestamp": [0.0, 13.69]}


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ({"text": ""}, []),
        ({"text": "", "chunks": []}, []),
        ({"text": "a b", "chunks": [{"text": "a b", "timestamp": [1.0, None]}]}, [["a b", [1.0, 13.69]]]),
        (
            {
                "text": "a b c d",
                "chunks": [{"text": "a b", "timestamp": [1, None]}, {"text": "c d", "timestamp": [2, 3]}],
            },
            [["a b", [1.0, 2.0]], ["c d", [2.0, 3.0]]],
        ),
    ],
)
async def test_every_end_is_a_number(reply: dict[str, Any], expected: list[Any]) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response(reply)

    async with upstream(answer) as url:
        got = heard(await send(url, "/", inputs(parameters={"return_timestamps": True})))
    assert got["text"] == reply["text"]
    assert [[each["text"], each["timestamp"]] for each in got["chunks"]] == expected


def test_words_asked_for_and_not_given_become_segments() -> None:
    """Better the times there are than none."""
    transcript = Transcript(text="10 000 men", segments=(Segment(text="10 000 men", start_s=0.0, end_s=1.0),))
    assert chunks(transcript, Timestamps.WORD, sample_audio("slushy.ogg")) == [
        {"text": "10 000 men", "timestamp": [0.0, 1.0]}
    ]


async def test_the_answer_says_how_it_was_come_by(gateway: str) -> None:
    reply = await send(gateway, "/?chunk_length_s=30", CLIP, {"x-request-id": "my-own-1"})
    headers = reply.headers
    assert headers["x-request-id"] == "my-own-1"
    assert headers["x-gateway-provider"] == "hub"
    assert headers["x-gateway-model"] == MODEL
    assert headers["x-gateway-attempts"] == "1"
    assert headers["x-gateway-ignored-parameters"] == "chunk_length_s"
    assert float(headers["x-audio-duration"]) == pytest.approx(13.69, abs=0.01)
    assert float(headers["x-compute-time"]) >= 0


# --- limits, overload, upstream faults


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (bytes(200_000), {}),
        (b"OggS" + bytes(200_000), {"transfer-encoding": "chunked"}),
        (b'{"inputs":"' + b"A" * 300_000 + b'"}', {}),
        (b'{"inputs":"' + b"A" * 300_000 + b'"}', {"transfer-encoding": "chunked"}),
        (form(("file", bytes(200_000))), {"content-type": FORM}),
        (b"OggS" + bytes(200_000), {"expect": "100-continue"}),
    ],
)
async def test_too_much_is_413_with_the_limit(
    emulate: Callable[..., Awaitable[str]], body: bytes, headers: dict[str, str]
) -> None:
    accounts = {"hub": account(await emulate("hf-inference"))}
    if body[:1] == b"\0":
        body = b"OggS" + body
    async with running(routed(MODEL, accounts, f"hub/{MODEL}", max_upload=80_000)) as (url, _):
        reply = await send(url, "/", body, headers)
        assert "80000 bytes" in told(reply, 413, "too-large")["error"] or b"bytes" in reply.body
        assert reply.headers["connection"] == "close"
        heard(await send(url, "/", CLIP))


@pytest.mark.parametrize(
    ("upstream_status", "headers", "status", "kind"),
    [
        (503, {}, 502, "all-failed"),
        (500, {}, 502, "all-failed"),
        (401, {}, 502, "credentials-rejected"),
        (402, {}, 502, "all-failed"),
        (200, {}, 502, "all-failed"),  # HTML under 200
        (429, {"retry-after": "7"}, 429, "rate-limited"),
    ],
)
async def test_a_failing_upstream_is_never_passed_on_as_it_is(
    upstream_status: int, headers: dict[str, str], status: int, kind: str
) -> None:
    """Above all no 503: the JS client would send the upload again at once, without end."""

    async def fail(_: web.Request) -> web.Response:
        return web.Response(status=upstream_status, text="<html>the provider's own words</html>", headers=headers)

    async with upstream(fail) as url:
        reply = await send(url, "/", CLIP)
    told(reply, status, kind)
    assert b"own words" not in reply.body
    assert reply.headers.get("retry-after", "0") >= headers.get("retry-after", "0")


# --- who calls


KEYS = Auth(
    mode=AuthMode.KEYS,
    keys=(Key(name="news", hash=f"sha256:{hashlib.sha256(b'hf_gw_key').hexdigest()}", models=("openai/*",)),),
)


@pytest.mark.parametrize(
    "value", ["Bearer hf_gw_key", "bearer hf_gw_key", "Bearer: hf_gw_key", "Key hf_gw_key", "Token hf_gw_key"]
)
async def test_every_scheme_that_clients_send(emulate: Callable[..., Awaitable[str]], value: str) -> None:
    async with guarded(KEYS, {"hub": account(await emulate("hf-inference"))}, f"hub/{MODEL}") as url:
        heard(await send(url, "/", CLIP, {"authorization": value}))


async def test_keys_are_wanted_for_audio_and_not_for_the_preflight(emulate: Callable[..., Awaitable[str]]) -> None:
    async with guarded(KEYS, {"hub": account(await emulate("hf-inference"))}, f"hub/{MODEL}") as url:
        for headers in ({}, {"authorization": "Bearer hf_wrong"}, {"authorization": ""}):
            reply = await send(url, f"/models/{MODEL}", CLIP, headers)
            assert "hf_wrong" not in told(reply, 401, "unauthorized")["error"]
            assert reply.headers["www-authenticate"] == "Bearer"
        told(await send(url, "/models/a/b", CLIP, {"authorization": "Key hf_gw_key"}), 403, "model-not-allowed")
        assert (await send(url, f"/models/{MODEL}", method="OPTIONS")).status == 204


async def test_cors(emulate: Callable[..., Awaitable[str]]) -> None:
    accounts = {"hub": account(await emulate("hf-inference"))}
    origin = "https://app.example"
    async with running(routed(MODEL, accounts, f"hub/{MODEL}", cors_origins=(origin,))) as (url, _):
        wanted = "authorization, content-type, x-hf-bill-to, user-agent, x-use-cache, x-wait-for-model"
        asking = {"origin": origin, "access-control-request-method": "POST", "access-control-request-headers": wanted}
        preflight = await send(url, f"/models/{MODEL}", b"", asking, method="OPTIONS")
        assert preflight.status == 204
        assert set(wanted.split(", ")) <= set(preflight.headers["access-control-allow-headers"].split(", "))
        reply = await send(url, "/", CLIP, {"origin": origin})
        heard(reply)
        assert reply.headers["access-control-allow-origin"] == origin
        for name in ("x-request-id", "x-compute-time", "retry-after"):
            assert name in reply.headers["access-control-expose-headers"]
        told(await send(url, "/", CLIP, {"origin": "https://evil.example"}), 403, "origin-not-allowed")


# --- accounts in the path


def test_adapters_name_an_account_only_where_it_is_alone() -> None:
    accounts = {"fal": "fal-ai", "eu": "deepinfra", "us": "deepinfra", "hub": "hf-inference", "replicate": "openai"}
    assert pinned_paths(accounts) == {
        "fal": "fal",
        "fal-ai": "fal",
        "eu": "eu",
        "us": "us",
        "hub": "hub",
        "openai": "replicate",
        "replicate": "replicate",
    }


async def test_a_path_pins_an_account(emulate: Callable[..., Awaitable[str]]) -> None:
    accounts = {
        "hub": account(await emulate("hf-inference")),
        "deep": account(await emulate("deepinfra"), adapter="deepinfra"),
    }
    async with running(routed(MODEL, accounts, f"hub/{MODEL}", f"deep/{MODEL}")) as (url, _):
        for segment, answered in (("hub", "hub"), ("deep", "deep"), ("deepinfra", "deep"), ("hf-inference", "hub")):
            reply = await send(url, f"/{segment}/models/{MODEL}", CLIP)
            assert heard(reply)["text"] == HEARD
            assert reply.headers["x-gateway-provider"] == answered


async def test_a_pinned_account_is_not_stood_in_for(emulate: Callable[..., Awaitable[str]]) -> None:
    accounts = {
        "hub": account(await emulate("hf-inference")),
        "deep": account(await emulate("deepinfra"), adapter="deepinfra", key="wrong"),
    }
    async with running(routed(MODEL, accounts, f"deep/{MODEL}", f"hub/{MODEL}")) as (url, _):
        heard(await send(url, f"/hf-inference/models/{MODEL}", CLIP))  # names no account: fails over
        assert "deep/" in told(await send(url, f"/deep/models/{MODEL}", CLIP), 502, "credentials-rejected")["error"]
        told(await send(url, "/deep/models/nobody/knows", CLIP), 404, "unknown-model")


async def test_the_callers_own_token_reaches_the_account_its_path_pins(
    emulate: Callable[..., Awaitable[str]],
) -> None:
    passthrough = Auth(mode=AuthMode.PASSTHROUGH)
    accounts = {
        "hub": account(await emulate("hf-inference"), key=None),
        "deep": account(await emulate("deepinfra"), adapter="deepinfra", key=None),
    }
    mine = {"authorization": f"Bearer {KEY}"}
    async with guarded(passthrough, accounts, f"deep/{MODEL}", f"hub/{MODEL}") as url:
        for segment, answered in (("hub", "hub"), ("deep", "deep"), ("deepinfra", "deep"), ("hf-inference", "hub")):
            reply = await send(url, f"/{segment}/models/{MODEL}", CLIP, mine)
            assert heard(reply)["text"] == HEARD
            assert reply.headers["x-gateway-provider"] == answered
        for path in (f"/models/{MODEL}", "/"):
            told(await send(url, path, CLIP, mine), 403, "account-needed")
        told(await send(url, f"/hub/models/{MODEL}", CLIP), 401, "unauthorized")
        reply = await send(url, f"/hub/models/{MODEL}", CLIP, {"authorization": "Bearer hf_not_mine"})
        assert "hf_not_mine" not in told(reply, 401, "unauthorized")["error"]


# --- servers


class upstream:  # noqa: N801 - used as a function
    """A gateway whose one provider is this handler."""

    def __init__(self, handler: Callable[[web.Request], Awaitable[web.Response]]) -> None:
        self._app = web.Application()
        self._app.router.add_post("/models/{model:.+}", handler)
        self._runners: list[web.AppRunner] = []

    async def __aenter__(self) -> str:
        served = routed(MODEL, {"hub": account(await serve(self._app, self._runners))}, f"hub/{MODEL}")
        self._running = running(served)
        return (await self._running.__aenter__())[0]

    async def __aexit__(self, *error: object) -> None:
        await self._running.__aexit__(None, None, None)
        await asyncio.gather(*(runner.cleanup() for runner in self._runners))


class guarded:  # noqa: N801 - used as a function
    """A gateway that wants a key."""

    def __init__(self, auth: Auth, accounts: dict[str, AccountSettings], *targets: str) -> None:
        served: Settings = routed(MODEL, accounts, *targets)
        self._running = running(served.model_copy(update={"auth": auth}))

    async def __aenter__(self) -> str:
        return (await self._running.__aenter__())[0]

    async def __aexit__(self, *error: object) -> None:
        await self._running.__aexit__(None, None, None)
