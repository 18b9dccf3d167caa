"""What is uploaded: real speech as WAV and MP3 of any size, in three forms, no two requests with the same bytes."""

from __future__ import annotations

import functools
import itertools
import json
import struct
from base64 import b64encode
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.everything import OPENAI_MODEL, PATHS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_AUDIO = Path(__file__).parents[1] / "audio"
_BOUNDARY = "bench-5f0c1b7e"
UNIQUE_BYTES = 6  # of samples, written anew for each request; six are eight base64 characters, without padding
_JOIN_BELOW = 256 * 1024  # smaller bodies go out in one piece; larger ones are not copied


class Form(StrEnum):
    """How a client sends audio."""

    RAW = "HF raw"
    JSON = "HF JSON"
    MULTIPART = "OpenAI multipart"


@dataclass(frozen=True, slots=True)
class Body:
    """A body with a gap for what makes it unique."""

    form: Form
    path: str
    content_type: str
    head: bytes
    tail: bytes
    fill: Callable[[bytes], bytes]  # unique bytes of the audio, as they stand in the body
    audio_head: bytes
    audio_tail: bytes

    @property
    def audio_bytes(self) -> int:
        return len(self.audio_head) + UNIQUE_BYTES + len(self.audio_tail)

    @property
    def size_bytes(self) -> int:
        return len(self.head) + len(self.fill(bytes(UNIQUE_BYTES))) + len(self.tail)

    def pieces(self, unique: bytes) -> list[bytes]:
        """Return what goes over the wire."""
        pieces = [self.head, self.fill(unique), self.tail]
        return [b"".join(pieces)] if len(self.tail) < _JOIN_BELOW else pieces

    def audio(self, unique: bytes) -> bytes:
        """Return the audio alone: what a digest is of."""
        return b"".join((self.audio_head, unique, self.audio_tail))


def uniques(cell: int) -> Iterator[bytes]:
    """Yield bytes that no other request of a run has. cell: of the measurement, and of one process in it alone."""
    return (cell.to_bytes(2, "little") + count.to_bytes(UNIQUE_BYTES - 2, "little") for count in itertools.count())


@functools.cache
def body(form: Form, size_bytes: int) -> Body:
    """Return a body with so many bytes of audio: WAV where Hugging Face's clients send it, MP3 as OpenAI's do."""
    if form is Form.MULTIPART:
        audio, at = mp3(size_bytes)
        return _multipart(audio[:at], audio[at + UNIQUE_BYTES :])
    audio, at = wav(size_bytes)
    head, tail = audio[:at], audio[at + UNIQUE_BYTES :]
    if form is Form.RAW:
        return Body(form, PATHS["hf"], "audio/wav", head, tail, bytes, head, tail)
    before, after = json.dumps({"inputs": "AUDIO", "parameters": {"return_timestamps": False}}).split("AUDIO")
    json_head, json_tail = before.encode() + b64encode(head), b64encode(tail) + after.encode()
    return Body(form, PATHS["hf"], "application/json", json_head, json_tail, b64encode, head, tail)


def wav(size_bytes: int) -> tuple[bytes, int]:
    """Return 16 kHz mono speech, again and again, and where six bytes of samples may be changed."""
    speech = (_AUDIO / "slushy.wav").read_bytes()
    samples = speech[speech.index(b"data") + 8 :]
    data = (size_bytes - 44) & ~1
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 16_000, 32_000, 2, 16)
    head = struct.pack("<4sI4s", b"RIFF", data + 36, b"WAVE") + fmt + struct.pack("<4sI", b"data", data)
    return head + _filled(samples, data), 48  # of the fourth sample on: before it are 48 bytes, a multiple of three


def mp3(size_bytes: int) -> tuple[bytes, int]:
    """Return speech as MP3, again and again, and where six bytes of a frame's samples may be changed."""
    speech = (_AUDIO / "slushy.mp3").read_bytes()
    whole = speech[_id3_bytes(speech) :]
    return _filled(whole, size_bytes), (size_bytes - 40) // 3 * 3  # in the last frame: nobody looks for it there


def _id3_bytes(speech: bytes) -> int:
    """Return the length of the tag before the first frame (ID3v2.4, section 3.1: 7 bits to a byte)."""
    if speech[:3] != b"ID3":
        return 0
    size = functools.reduce(lambda total, byte: total << 7 | byte, speech[6:10], 0)
    return 10 + size


def _filled(part: bytes, size: int) -> bytes:
    return (part * (size // len(part) + 1))[:size]


def _multipart(head: bytes, tail: bytes) -> Body:
    before = (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="model"\r\n\r\n{OPENAI_MODEL}\r\n'
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="speech.mp3"\r\n'
        "Content-Type: audio/mpeg\r\n\r\n"
    ).encode()
    after = f"\r\n--{_BOUNDARY}--\r\n".encode()
    content_type = f"multipart/form-data; boundary={_BOUNDARY}"
    path = PATHS["openai"]
    return Body(Form.MULTIPART, path, content_type, before + head, tail + after, bytes, head, tail)
