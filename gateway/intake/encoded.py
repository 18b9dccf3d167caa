"""Audio inside text: a JSON document's base64 field, or a body that is base64 or a data URI.

A large document is read through a memory map and its audio decoded slice by slice: neither the document nor the audio
is ever whole in memory. A string is data. It is never a path, and an address in it is handed on as it is.

White space inside base64 is skipped, as MIME (RFC 2045, section 6.8) and `base64` on a command line break lines; any
other character outside the alphabet of RFC 4648, section 4, is refused.
"""

from __future__ import annotations

import binascii
import contextlib
import mmap
import re
import threading
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
import pybase64

from gateway.intake.spool import INLINE_BYTES, Spool
from gateway.intake.threads import to_the_end
from gateway.policies.addresses import MAX_ADDRESS_CHARACTERS
from gateway.problems import bad_request, too_large
from providers.audio.content import Content, FileContent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from gateway.intake.spool import SpoolBudget

_SLICE_CHARACTERS = 1 << 18  # so much of a text, and its bytes, is held by each thread that decodes
_ESCAPE_CHARACTERS = 6  # \u002b
_DATA_URI = re.compile(rb"data:[\w.+/-]*(?:;[\w.+-]+=(?:[\w.+-]+|\"[^\"]*\"))*(;base64)?,", re.IGNORECASE)
_ONE_AT_A_TIME = threading.Lock()  # who looks through a document holds Python's lock all the while: none waits longer
_WHITE = b" \t\r\n"
MAX_DOCUMENT_BYTES = 1 << 20  # of everything beside the audio


class Decoded(msgspec.Struct, frozen=True):
    """What a document held."""

    document: dict[str, Any]  # everything but the audio
    spool: Spool  # the audio; its owner closes it
    content: Content
    digest: str
    address: str | None = None  # where the audio is, if that is what was sent; there is none in the spool then


async def decode_document(content: Content, path: tuple[str, ...], budget: SpoolBudget, max_bytes: int) -> Decoded:
    """Read a JSON object whose member at `path` is the audio as base64 or data URI, or its address. Raises Problem.

    max_bytes: of audio.
    """
    return await _decode(content, partial(_decode_document, path=path, max_bytes=max_bytes), budget)


async def decode_text(content: Content, budget: SpoolBudget, max_bytes: int) -> Decoded:
    """Read a body that is base64, a data URI or an address as a whole. Raises Problem. max_bytes: of audio."""
    return await _decode(content, partial(_decode_text, max_bytes=max_bytes), budget)


def looks_like_text(head: bytes) -> bool:
    """Tell whether a body that is no known container may be base64 or a data URI."""
    return bool(re.fullmatch(rb"(?i:data:).*|[A-Za-z0-9+/=\s]+", head, re.DOTALL))


def looks_like_address(head: bytes) -> bool:
    """Tell whether a string says where audio is, instead of holding it."""
    return head[:8].lower().startswith((b"http://", b"https://"))


def address_in(text: bytes) -> str | None:
    """Return the address that a text is, up to one character more than an address may have; None where it is none."""
    bare = text.lstrip(_WHITE)  # no copy where there is nothing to strip
    if not looks_like_address(bare):
        return None
    return bare[: MAX_ADDRESS_CHARACTERS + 1].rstrip(_WHITE).decode(errors="replace")


_Work: TypeAlias = "Callable[[Content, Spool], tuple[dict[str, Any], str | None]]"


async def _decode(content: Content, work: _Work, budget: SpoolBudget) -> Decoded:
    """Decode into a new spool: here while that takes no time, else in a thread, which has ended before this does."""
    spool = Spool(budget)
    try:
        if content.size_bytes <= INLINE_BYTES:
            document, address = work(content, spool)
        else:
            document, address = await to_the_end(partial(work, content, spool))
        audio, digest = await spool.finish()
    except BaseException:
        spool.close()
        raise
    return Decoded(document, spool, audio, digest, address)


def _decode_document(
    content: Content, spool: Spool, *, path: tuple[str, ...], max_bytes: int
) -> tuple[dict[str, Any], str | None]:
    where = ".".join(path)
    with _mapped(content) as whole:
        document, raw = _taken(whole, path)
        with memoryview(raw) as text:
            address = _write_audio(_let_go(_string_pieces(text, where), whole), where, spool, max_bytes)
        del raw
    return document, address


def _decode_text(content: Content, spool: Spool, *, max_bytes: int) -> tuple[dict[str, Any], str | None]:
    return {}, _write_audio(content.slices(), "the body", spool, max_bytes)


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


def _taken(whole: bytes | mmap.mmap, path: tuple[str, ...]) -> tuple[dict[str, Any], msgspec.Raw]:
    """Do what `_take` does. It looks at every page of a map: they are let go before another document's are read."""
    if not isinstance(whole, mmap.mmap):
        return _take(whole, path)
    with _ONE_AT_A_TIME:
        taken = _take(whole, path)
        whole.madvise(mmap.MADV_DONTNEED)  # they are the file's: what is looked at again comes from there
    return taken


def _let_go(pieces: Iterator[bytes], whole: bytes | mmap.mmap) -> Iterator[bytes]:
    """Yield the pieces, and keep no page of the map that they were read from."""
    for piece in pieces:
        if isinstance(whole, mmap.mmap):
            whole.madvise(mmap.MADV_DONTNEED)
        yield piece


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


def _string_pieces(raw: memoryview, where: str) -> Iterator[bytes]:
    """Yield what is between the quotes: some encoders write a slash, others a plus, with a backslash before it."""
    if len(raw) < 2 or raw[0] != 0x22:
        raise bad_request(f"{where}: expected a string of base64", param=where)
    at, end = 1, len(raw) - 1
    while at < end:
        piece = bytes(raw[at : min(end, at + _SLICE_CHARACTERS)])
        cut = piece.rfind(b"\\", -_ESCAPE_CHARACTERS)
        if cut > 0 and at + len(piece) < end:  # an escape may go on in the next piece: let it begin there
            piece = piece[:cut]
        at += len(piece)
        yield _unescaped(piece, where) if b"\\" in piece else piece


def _unescaped(piece: bytes, where: str) -> bytes:
    try:
        return msgspec.json.decode(b'"%b"' % piece, type=str).encode()
    except (msgspec.DecodeError, UnicodeError) as error:
        raise bad_request(f"{where}: not base64: {error}", param=where) from error


def _write_audio(pieces: Iterator[bytes], where: str, spool: Spool, max_bytes: int) -> str | None:
    """Decode base64, which may begin as a data URI, into the spool; return the address that stands there instead."""
    first = next(pieces, b"")
    if (address := address_in(first)) is not None:
        return address
    for audio in _bytes_of(_without_prefix(_without_white(chain((first,), pieces)), where), where):
        spool.write_now(audio)
        if spool.size_bytes > max_bytes:
            raise too_large("the audio", f"the limit of {max_bytes} bytes")
    return None


def _without_white(pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        has_white = any(white in piece for white in (b" ", b"\t", b"\r", b"\n"))  # four searches cost less than a copy
        text = piece.translate(None, _WHITE) if has_white else piece
        if text:
            yield text


def _without_prefix(pieces: Iterator[bytes], where: str) -> Iterator[bytes]:
    first = next(pieces, b"")
    yield first[_prefix_length(first, where) :]
    yield from pieces


def _prefix_length(text: bytes, where: str) -> int:
    head = text[:512]
    if head[:5].lower() != b"data:":
        return 0
    match = _DATA_URI.match(head)
    if match is None or not match[1]:
        raise bad_request(f"{where}: expected a data URI with ;base64", param=where)
    return match.end()


def _bytes_of(pieces: Iterable[bytes], where: str) -> Iterator[bytes]:
    """Decode pieces of one base64 text, cut anywhere."""
    rest, padded = b"", False
    for piece in pieces:
        # Padding ends the text: base64 that goes on after it is two texts, of which only one would be heard.
        if padded and piece:
            raise bad_request(f"{where}: not base64: padding before the end", param=where)
        text = rest + piece
        whole = len(text) & ~3
        yield _decoded_base64(text[:whole], where)
        rest, padded = text[whole:], text[:whole].endswith(b"=")
    if rest:
        raise bad_request(f"{where}: not base64: its length is no multiple of four", param=where)


def _decoded_base64(text: bytes, where: str) -> bytes:
    try:
        return pybase64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise bad_request(f"{where}: not base64: {error}", param=where) from error
