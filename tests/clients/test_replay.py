"""Requests recorded from clients of every version and language, sent again byte by byte with real audio in them.

tests/fixtures/hf-exchanges/requests.jsonl holds one request a line: its path and headers as they came (hosts, lengths
and boundaries aside), its body with the audio replaced by the name of its container, and what it must be answered with.
Direct hosts of providers have become the prefix under which the router serves them.
"""

from __future__ import annotations

import base64
import functools
import json
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from tests.conftest import encoded, sample, tone
from tests.wire import Reply, send

RECORDED = Path(__file__).parents[1] / "fixtures" / "hf-exchanges" / "requests.jsonl"
REQUESTS = [json.loads(line) for line in RECORDED.read_text().splitlines()]
BOUNDARY = "0123456789abcdef"


@functools.cache
def audio(container: str) -> bytes:
    """Return real audio in the container; no recording of speech is AAC alone."""
    if container == "aac":
        return encoded(tone(2.0, 16_000), 16_000, "adts", "aac")
    return sample(f"slushy.{container}")


class Rebuilt:
    """A recorded body with audio in it again."""

    def __init__(self, recorded: dict[str, Any]) -> None:
        self.audio = b""
        self.content_type: str | None = None
        match recorded:
            case {"raw": container}:
                self.body = self._audio(container)
            case {"base64": container}:
                self.body = base64.b64encode(self._audio(container))
            case {"json": document}:
                self.body = json.dumps(self._filled(document)).encode()
            case {"multipart": parts}:
                self.content_type = f"multipart/form-data; boundary={BOUNDARY}"
                self.body = b"".join([*map(self._part, parts), f"--{BOUNDARY}--\r\n".encode()])

    def _audio(self, container: str) -> bytes:
        self.audio = audio(container)
        return self.audio

    def _filled(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._filled(each) for name, each in value.items()}
        if isinstance(value, str) and "<base64 of " in value:
            prefix, _, rest = value.partition("<base64 of ")
            return prefix + base64.b64encode(self._audio(rest.removesuffix(">"))).decode()
        return value

    def _part(self, part: dict[str, str]) -> bytes:
        file = f'; filename="{part["filename"]}"' if "filename" in part else ""
        lines = [f"--{BOUNDARY}", f'Content-Disposition: form-data; name="{part["name"]}"{file}']
        if "content_type" in part:
            lines.append(f"Content-Type: {part['content_type']}")
        data = self._audio(part["audio"]) if "audio" in part else part["value"].encode()
        return "\r\n".join([*lines, "", ""]).encode() + data + b"\r\n"


@pytest.mark.parametrize(
    "recorded", REQUESTS, ids=lambda each: f"{each['source'].split(',')[0].replace(' ', '-')}-{each['case']}"
)
async def test_a_recorded_request_is_answered(digest_url: str, recorded: dict[str, Any]) -> None:
    rebuilt = Rebuilt(recorded["body"])
    headers = dict(recorded["headers"])
    if rebuilt.content_type:
        headers["Content-Type"] = rebuilt.content_type

    reply = await send(digest_url, recorded["path"], rebuilt.body, headers)

    expected = recorded["expect"]
    assert reply.status == expected["status"], reply.body
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-request-id"]
    assert reply.was_told_to_continue == ("Expect" in headers)
    if "type" in expected:
        refused(reply, expected["type"])
    else:
        heard(reply, rebuilt.audio, expected.get("times"))


def refused(reply: Reply, kind: str) -> None:
    answer = reply.json()
    assert answer["type"] == kind
    assert isinstance(answer["error"], str)


def heard(reply: Reply, sent: bytes, times: str | None) -> None:
    """Check the transcript, in whichever of the four shapes, and its times."""
    said = f"blake3 {blake3(sent).hexdigest()}"
    answer = reply.json()
    if isinstance(answer.get("output"), dict):  # Replicate's
        answer = {**answer["output"], "text": answer["output"]["transcription"]}
    if sent == audio("aac"):  # the provider behind takes none, so another file arrives there
        assert answer["text"].startswith("blake3 ")
        return
    assert answer["text"] == said
    pieces = answer.get("chunks") or answer.get("segments") or []
    assert [each["text"] for each in pieces] == {None: [], "segment": [said], "word": said.split()}[times]
    spans = [each["timestamp"] if "timestamp" in each else [each["start"], each["end"]] for each in pieces]
    assert all(isinstance(moment, float) for span in spans for moment in span)


def test_every_client_and_odd_shape_is_among_the_recordings() -> None:
    clients = {each["source"].split()[0] for each in REQUESTS}
    assert clients == {"huggingface_hub", "@huggingface/inference", "curl", "python-requests", "fetch"}
    assert {next(iter(each["body"])) for each in REQUESTS} == {"raw", "base64", "json", "multipart"}
    assert any(each["headers"].get("Transfer-Encoding") == "chunked" for each in REQUESTS)
