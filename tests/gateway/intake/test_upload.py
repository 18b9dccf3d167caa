"""One clip has one digest, however it is sent; what a body is, its bytes decide."""

from __future__ import annotations

import asyncio
import base64
import json
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientSession, FormData
from blake3 import blake3

from tests.conftest import sample
from tests.gateway.intake.conftest import MAX_UPLOAD, is_free

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.gateway.intake.conftest import Receiver

CLIPS = {"in memory": sample("sb_spk2_snt1.flac")[:80_000], "in a file": sample("two_cities.flac")}
TEXTUAL = ("text/plain", "application/octet-stream", "audio/wav")


def form(clip: bytes, **fields: str) -> FormData:
    made = FormData(fields)
    made.add_field("file", BytesIO(clip), filename="a.mp3", content_type="audio/mpeg")
    return made


async def post(
    receiver: Receiver, body: Any, content_type: str | None = None, shape: str = "hf"
) -> tuple[int, dict[str, Any]]:
    headers = {"Content-Type": content_type} if content_type else {}
    async with ClientSession() as session, session.post(f"{receiver.url}/{shape}", data=body, headers=headers) as reply:
        return reply.status, await reply.json()


async def trickled(body: bytes, size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(body), size):
        yield body[at : at + size]
        await asyncio.sleep(0)


@pytest.mark.parametrize("clip", CLIPS.values(), ids=CLIPS.keys())
async def test_one_clip_has_one_digest(receiver: Receiver, clip: bytes) -> None:
    """Sent raw, chunked, as JSON, as text, as a data URI, as a form."""
    encoded = base64.b64encode(clip).decode()
    ways: list[tuple[Any, str | None, str]] = [
        (clip, "audio/flac", "hf"),
        (clip, "application/json", "hf"),  # what a JS client labels anything it does not know
        (trickled(clip, 1009), "application/octet-stream", "hf"),
        (json.dumps({"inputs": encoded}), "application/json", "hf"),
        (json.dumps({"inputs": encoded}), "audio/flac", "hf"),
        (trickled(json.dumps({"inputs": encoded}).encode(), 10_007), "application/json", "hf"),
        (json.dumps({"audio_url": f"data:audio/flac;base64,{encoded}"}), "application/json", "fal"),
        (encoded, "text/plain", "hf"),
        (encoded, "application/octet-stream", "hf"),
        (f"data:audio/flac;base64,{encoded}", "text/plain", "hf"),
        (form(clip), None, "hf"),
        (form(clip, model="x"), None, "openai"),
    ]
    for body, content_type, shape in ways:
        status, heard = await post(receiver, body, content_type, shape)
        assert (status, heard.get("digest"), heard.get("size")) == (200, blake3(clip).hexdigest(), len(clip)), heard


async def test_fields_and_documents_come_along(receiver: Receiver) -> None:
    body = json.dumps({"parameters": {"return_timestamps": True}, "inputs": "QUJD"})
    assert (await post(receiver, body))[1]["document"] == {"parameters": {"return_timestamps": True}}
    assert (await post(receiver, form(b"ABC", model="m", language="en")))[1]["fields"] == [
        ["model", "m"],
        ["language", "en"],
    ]


@pytest.mark.parametrize(
    "content_type",
    [
        'multipart/form-data; boundary="b:1"',
        "Multipart/Form-Data; charset=x; BOUNDARY=b:1",
        "multipart/mixed;boundary=b:1",
    ],
)
async def test_a_boundary_is_found_however_it_is_written(receiver: Receiver, content_type: str) -> None:
    body = b'--b:1\r\nContent-Disposition: form-data; name="file"\r\n\r\nABC\r\n--b:1--\r\n'
    assert (await post(receiver, body, content_type))[1].get("size") == 3


CASES: list[tuple[str, bytes, str, int, str]] = [
    # shape, body, content type, status, type
    ("hf", b"", "audio/wav", 400, "no-audio"),
    ("hf", b"", "application/json", 400, "no-audio"),
    ("openai", b"", "multipart/form-data; boundary=b", 400, "no-audio"),
    ("hf", b"[]", "application/json", 400, "bad-request"),
    ("hf", b'"QUJD"', "application/json", 400, "bad-request"),
    ("hf", b"QUJD", "application/json", 400, "bad-request"),
    ("hf", b"{", "application/json", 400, "bad-request"),
    ("hf", b"{}", "application/json", 400, "bad-request"),
    ("hf", b"x", "multipart/form-data; boundary=b", 400, "bad-request"),
    ("hf", b"--b", "multipart/form-data", 400, "bad-request"),
    ("hf", b"--b\r\n", "multipart/form-data; boundary=b", 400, "bad-request"),
    ("openai", b"fLaC", "audio/flac", 415, "unsupported-media-type"),
    ("openai", b"{}", "application/json", 415, "unsupported-media-type"),
    ("fal", b"fLaC", "audio/flac", 400, "unreadable-audio"),
    ("hf", b"%PDF-1.7", "application/pdf", 415, "unsupported-media-type"),
    ("hf", b"\x89PNG\r\n", "audio/wav", 415, "unsupported-media-type"),
    ("hf", b"PK\x03\x04", "", 415, "unsupported-media-type"),
    ("hf", b"\x00\x01\x02", "audio/wav", 400, "unreadable-audio"),
    ("hf", b"/etc/passwd", "text/plain", 400, "bad-request"),  # letters and slashes: base64 that does not come out
    ("hf", b"/etc/os-release", "text/plain", 400, "unreadable-audio"),
    ("hf", b"file:///etc/passwd", "text/plain", 400, "unreadable-audio"),
    ("hf", b"https://example.com/a.wav", "text/plain", 422, "url-input-disabled"),
    ("hf", b'{"inputs":"https://example.com/a.wav"}', "application/json", 422, "url-input-disabled"),
    ("fal", b'{"audio_url":"http://127.0.0.1/a.wav"}', "application/json", 422, "url-input-disabled"),
]


@pytest.mark.parametrize(("shape", "body", "content_type", "status", "kind"), CASES)
async def test_what_is_no_upload_is_told_so(
    receiver: Receiver, shape: str, body: bytes, content_type: str, status: int, kind: str
) -> None:
    told = await post(receiver, body, content_type, shape)
    assert (told[0], told[1]["type"]) == (status, kind), told


async def test_an_address_in_a_file_part_is_not_fetched(receiver: Receiver) -> None:
    told = await post(receiver, form(b"https://example.com/a.wav"), shape="openai")
    assert (told[0], told[1]["type"], told[1]["param"]) == (422, "url-input-disabled", "file")


@pytest.mark.parametrize("over", [0, 1])
async def test_the_limit_is_of_audio_however_it_is_sent(receiver: Receiver, over: int) -> None:
    """Base64 and forms carry more than the audio: that is not held against it."""
    clip = b"fLaC" + bytes(MAX_UPLOAD - 4 + over)
    encoded = base64.b64encode(clip)
    for body in (BytesIO(clip), BytesIO(b'{"inputs":"%b"}' % encoded), BytesIO(encoded), form(clip)):
        status, told = await post(receiver, body)
        assert (status, told.get("type")) == ((413, "too-large") if over else (200, None)), told


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip", "nonsense"])
async def test_a_compressed_body_is_refused_unread(receiver: Receiver, encoding: str) -> None:
    headers = {"Content-Encoding": encoding}
    async with (
        ClientSession() as session,
        session.post(f"{receiver.url}/hf", data=b"\x1f\x8b", headers=headers) as reply,
    ):
        assert (reply.status, (await reply.json())["type"]) == (415, "unsupported-media-type")


@pytest.mark.parametrize("kind", ["raw", "json", "form", "text"])
async def test_a_caller_who_leaves_half_way_leaves_nothing_behind(receiver: Receiver, kind: str) -> None:
    clip = sample("two_cities.flac")
    heads = {"raw": clip, "json": b'{"inputs":"' + base64.b64encode(clip), "text": base64.b64encode(clip)}
    heads["form"] = b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + clip
    content_type = "multipart/form-data; boundary=b" if kind == "form" else "text/plain"
    host, port = receiver.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /hf HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\nContent-Length: 2900000\r\n\r\n"
    writer.write(head.encode() + heads[kind])
    await writer.drain()
    await receiver.until(lambda budget: budget.disk_used > 0)
    writer.transport.abort()
    await receiver.until(is_free)
