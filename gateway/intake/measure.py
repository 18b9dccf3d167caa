"""An upload's container, media type and duration, before anything is sent anywhere."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gateway.intake.spool import INLINE_BYTES
from gateway.intake.threads import to_the_end
from gateway.problems import bad_audio, bad_request, too_long, unsupported_media
from providers.audio.containers import HEAD_BYTES, identify, media_type, name_of_other
from providers.audio.headers import duration_s
from providers.audio.unreadable import UnreadableAudio
from providers.types import Audio

if TYPE_CHECKING:
    from gateway.intake.upload import Upload
    from providers.audio.demux import Demuxer
    from providers.types import Container

LOWEST_BYTES_PER_S = 750  # 6 kbit/s, the thinnest Opus: where nothing tells, audio is at most this long


async def measure(upload: Upload, demuxer: Demuxer, *, max_duration_s: float) -> Audio:
    """Return the upload as Audio. Raises Problem: 400 unreadable, 413 too long, 415 no audio at all."""
    container = identify(upload.content, upload.sniffed)
    if container is None:
        raise _unknown(upload.content.read_at(0, HEAD_BYTES))
    seconds = await _duration_s(upload, container, demuxer)
    longest_s = seconds if seconds is not None else upload.content.size_bytes / LOWEST_BYTES_PER_S
    if longest_s > max_duration_s:
        raise too_long(longest_s, max_duration_s)
    return Audio(
        content=upload.content,
        media_type=media_type(container),
        container=container,
        duration_s=seconds,
        digest=upload.digest,
    )


async def _duration_s(upload: Upload, container: Container, demuxer: Demuxer) -> float | None:
    """Ask the headers, and a demuxer where they do not tell. Raises Problem 400."""
    by_headers = partial(duration_s, upload.content, container)
    seconds = by_headers() if upload.content.size_bytes <= INLINE_BYTES else await to_the_end(by_headers)
    if seconds is not None:
        return seconds
    try:
        return (await to_the_end(partial(demuxer.probe, upload.content))).duration_s
    except UnreadableAudio as error:
        raise bad_audio(f"{container.value}: {error}") from error


def _unknown(head: bytes) -> Exception:
    if not head:
        return bad_request("the audio is empty", kind="no-audio")
    if name := name_of_other(head):
        return unsupported_media(f"the upload is {name}, not audio")
    return bad_audio("the bytes are in no audio container known here")
