"""Answers as they are kept: compact, of a version, and read with suspicion."""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.dispatch.answers import Answer, Attempt
from providers.types import Transcript  # noqa: TC001 - msgspec reads it where it decodes what is kept

if TYPE_CHECKING:
    from gateway.dispatch.routes import Route

_VERSION: Final = b"\x01"
_NAME: Final = b"\x02"  # not an answer, but the key of one
_LONGEST_NAME: Final = 65
_LEVEL: Final = 1  # words with their times come down to a sixth; a higher level gains a tenth and costs as much again
_MOST_BYTES: Final = 64 << 20  # unpacked: a hundred hours with a time for each word. What is more was not written here
_INLINE_WORDS: Final = 2000  # packing so many takes 2 ms; more goes to a thread
_INLINE_BYTES: Final = 64 << 10


class _Kept(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    transcript: Transcript
    deployment: str
    ignored: tuple[str, ...] = ()
    attempts: tuple[Attempt, ...] = ()


def name_of(key: str) -> bytes:
    """Return the bytes to keep where an answer is kept under another key."""
    return _NAME + key.encode()


def named_in(value: bytes) -> str | None:
    """Return the key under which the answer is kept, where it is another."""
    is_one = value[:1] == _NAME and len(value) <= _LONGEST_NAME and value.isascii()
    return value[1:].decode() if is_one else None


async def pack(answer: Answer) -> bytes:
    """Return the bytes to keep."""
    heard = answer.transcript
    if len(heard.words) + len(heard.segments) <= _INLINE_WORDS:
        return _packed(answer)
    return await asyncio.to_thread(_packed, answer)


async def unpack(value: bytes, route: Route) -> Answer | None:
    """Return what was kept; None where these bytes are something else, or the deployment is not on the route."""
    kept = _unpacked(value) if len(value) <= _INLINE_BYTES else await asyncio.to_thread(_unpacked, value)
    if kept is None:
        return None
    deployment = next((each for each in route.deployments if each.name == kept.deployment), None)
    if deployment is None:
        return None
    return Answer(transcript=kept.transcript, deployment=deployment, ignored=kept.ignored, attempts=kept.attempts)


def _packed(answer: Answer) -> bytes:
    kept = _Kept(
        transcript=answer.transcript,
        deployment=answer.deployment.name,
        ignored=answer.ignored,
        attempts=answer.attempts,
    )
    return _VERSION + zlib.compress(msgspec.msgpack.encode(kept), _LEVEL)


def _unpacked(value: bytes) -> _Kept | None:
    if value[:1] != _VERSION:
        return None
    try:
        unzip = zlib.decompressobj()
        plain = unzip.decompress(value[1:], _MOST_BYTES)
        return msgspec.msgpack.decode(plain, type=_Kept) if unzip.eof else None
    except (zlib.error, msgspec.DecodeError):
        return None
