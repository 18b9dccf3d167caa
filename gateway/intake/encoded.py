"""Audio inside text: a JSON document's base64 field, or a body that is base64 or a data URI.

A large document is read through a memory map and its audio decoded slice by slice: neither the document nor the audio
is ever whole in memory. A string is data. It is never a path, and an address in it is refused, not fetched.
"""

from __future__ import annotations

import asyncio
import binascii
import contextlib
import mmap
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import pybase64

from gateway.intake.spool import Spool
from gateway.problems import bad_request, url_input_disabled
from providers.audio.content import Content, FileContent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.intake.spool import SpoolBudget

_SLICE_CHARACTERS = 1 << 20  # a multiple of 4
_INLINE_BYTES = 512 * 1024  # decoding this much takes 0.2 ms; more goes to a thread
_DATA_URI = re.compile(rb"data:[\w.+/-]*(?:;[\w.+-]+=(?:[\w.+-]+|\"[^\"]*\"))*(;base64)?,", re.IGNORECASE)
_WHITE = re.compile(rb"\s+")
MAX_DOCUMENT_BYTES = 1 << 20  # of everything beside the audio


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a document held."""

    document: dict[str, Any]  # everything but the audio
    spool: Spool  # the audio; its owner closes it
    content: Content
    digest: str


async def decode_document(content: Content, path: tuple[str, ...], budget: SpoolBudget) -> Decoded:
    """Read a JSON object whose member at `path` is the audio as base64 or data URI. Raises Problem."""
    if content.size_bytes <= _INLINE_BYTES:
        return _decode_document(content, path, budget)
    return await asyncio.to_thread(_decode_document, content, path, budget)


async def decode_text(content: Content, budget: SpoolBudget) -> Decoded:
    """Read a body that is base64 or a data URI as a whole. Raises Problem."""
    return await asyncio.to_thread(_decode_text, content, budget)


def looks_like_text(head: bytes) -> bool:
    """Tell whether a body that is no known container may be base64 or a data URI."""
    return bool(re.fullmatch(rb"data:.*|[A-Za-z0-9+/=\s]+", head, re.DOTALL))


def _decode_document(content: Content, path: tuple[str, ...], budget: SpoolBudget) -> Decoded:
    with _mapped(content) as whole:
        document, raw = _take(whole, path)
        text = memoryview(raw)
        try:
            spool, audio, digest = _decode(_string(text, ".".join(path)), ".".join(path), budget)
        finally:
            text.release()
            del raw
    return Decoded(document, spool, audio, digest)


def _decode_text(content: Content, budget: SpoolBudget) -> Decoded:
    whole = b"".join(_WHITE.sub(b"", piece) for piece in content.slices())
    spool, audio, digest = _decode(memoryview(whole), "the body", budget)
    return Decoded({}, spool, audio, digest)


class _mapped:  # noqa: N801 - used as a function
    """The content as one buffer, without reading it where it is a file."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._map: mmap.mmap | None = None

    def __enter__(self) -> bytes | mmap.mmap:
        if isinstance(self._content, FileContent):
            self._map = mmap.mmap(self._content.fileno(), self._content.size_bytes, access=mmap.ACCESS_READ)
            return self._map
        return b"".join(self._content.slices(self._content.size_bytes or 1))

    def __exit__(self, *_: object) -> None:
        if self._map is not None:
            # A traceback may still hold a view of it; the map then goes with the last of them.
            with contextlib.suppress(BufferError):
                self._map.close()


def _take(whole: bytes | mmap.mmap, path: tuple[str, ...]) -> tuple[dict[str, Any], msgspec.Raw]:
    """Split a JSON object into its member at `path`, undecoded, and everything else, decoded."""
    members = _members(whole, "the body")
    outer: dict[str, Any] = {}
    for step in path[:-1]:
        outer |= _decoded({name: raw for name, raw in members.items() if name != step})
        if step not in members:
            raise bad_request(f"{step}: missing; expected an object", param=step)
        members = _members(members[step], step)
    name = path[-1]
    raw = members.pop(name, None)
    if raw is None:
        where = ".".join(path)
        raise bad_request(f"{where}: missing; expected the audio as base64", param=where)
    return outer | _decoded(members), raw


def _members(raw: bytes | mmap.mmap | msgspec.Raw, where: str) -> dict[str, msgspec.Raw]:
    try:
        return msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise bad_request(f"{where}: not a JSON object: {error}") from error


def _decoded(members: dict[str, msgspec.Raw]) -> dict[str, Any]:
    if sum(len(memoryview(raw)) for raw in members.values()) > MAX_DOCUMENT_BYTES:
        raise bad_request(f"the members beside the audio are larger than {MAX_DOCUMENT_BYTES} bytes")
    try:
        return {name: msgspec.json.decode(raw) for name, raw in members.items()}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise bad_request(f"the body is not JSON: {error}") from error


def _string(raw: memoryview, where: str) -> memoryview:
    """Return what is between the quotes; some encoders write a slash with a backslash before it."""
    if len(raw) < 2 or raw[0] != 0x22:
        raise bad_request(f"{where}: expected a string of base64", param=where)
    if _has_backslash(raw):
        return memoryview(msgspec.json.decode(raw, type=str).encode())
    return raw[1:-1]


def _has_backslash(raw: memoryview) -> bool:
    return any(b"\\" in bytes(raw[at : at + _SLICE_CHARACTERS]) for at in range(0, len(raw), _SLICE_CHARACTERS))


def _decode(text: memoryview, where: str, budget: SpoolBudget) -> tuple[Spool, Content, str]:
    """Decode base64 into a new spool, slice by slice."""
    encoded = text[_prefix_length(text, where) :]
    spool = Spool(budget)
    try:
        for piece in _pieces(encoded, where):
            spool.write_now(piece)
        content, digest = spool.finish_now()
    except BaseException:
        spool.close()
        raise
    return spool, content, digest


def _prefix_length(text: memoryview, where: str) -> int:
    head = bytes(text[:512])
    if re.match(rb"https?://", head, re.IGNORECASE):
        raise url_input_disabled(where)
    if head[:5].lower() != b"data:":
        return 0
    match = _DATA_URI.match(head)
    if match is None or not match[1]:
        raise bad_request(f"{where}: expected a data URI with ;base64", param=where)
    return match.end()


def _pieces(encoded: memoryview, where: str) -> Iterator[bytes]:
    for at in range(0, len(encoded), _SLICE_CHARACTERS):
        piece = encoded[at : at + _SLICE_CHARACTERS]
        try:
            decoded = pybase64.b64decode(piece, validate=True)
        except binascii.Error as error:
            raise bad_request(f"{where}: not base64: {error}", param=where) from error
        # Padding ends the text: base64 that goes on after it is two texts, of which only one would be heard.
        if len(decoded) < len(piece) // 4 * 3 and at + len(piece) < len(encoded):
            raise bad_request(f"{where}: not base64: padding before the end", param=where)
        yield decoded
