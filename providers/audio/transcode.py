"""Audio into a container that a provider takes: FLAC, lossless and small, or 16-bit WAV."""

from __future__ import annotations

import io
import tempfile
from itertools import chain
from typing import IO, TYPE_CHECKING, Final, Literal

import av
from blake3 import blake3

from providers.audio.containers import media_type
from providers.audio.content import SLICE_BYTES, FileContent
from providers.audio.decode import UnreadableAudio, frames
from providers.types import Audio, Container

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from av.audio.frame import AudioFrame

    from providers.audio.content import Content

_CODECS: Final[dict[Container, Literal["flac", "pcm_s16le"]]] = {Container.FLAC: "flac", Container.WAV: "pcm_s16le"}


class Abandoned(Exception):
    """Nobody is waiting any more."""


def transcode(
    audio: Audio,
    to: Container,
    *,
    max_duration_s: float,
    directory: Path | None = None,
    is_abandoned: Callable[[], bool] = lambda: False,
) -> Audio:
    """Return the same utterance in another container: its own sample rate, mono, 16-bit. Blocking.

    directory: where the copy is kept, the system's folder for temporary files if None.
    is_abandoned: asked at each frame.

    Nothing is resampled: what listens at the other end does that with the filter it was trained with.
    Raises UnreadableAudio, AudioTooLong, Abandoned; OSError where the disk is full. The caller closes the new content.
    """
    file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115 - lives as long as the Audio
    try:
        seconds = _encode(to, file, _watched(frames(audio.content, max_duration_s=max_duration_s), is_abandoned))
    except BaseException:
        file.close()
        raise
    content = FileContent(file, file.seek(0, io.SEEK_END))
    return Audio(
        content=content,
        media_type=media_type(to),
        container=to,
        duration_s=seconds,
        digest=digest_of(content),
    )


def digest_of(content: Content) -> str:
    """Return the blake3 of the content, hexadecimal. Blocking: a thread's work where it is large."""
    digest = blake3()
    for piece in content.slices(SLICE_BYTES):
        digest.update(piece)
    return digest.hexdigest()


def _watched(decoded: Iterator[AudioFrame], is_abandoned: Callable[[], bool]) -> Iterator[AudioFrame]:
    for frame in decoded:
        if is_abandoned():
            raise Abandoned
        yield frame


def _encode(to: Container, file: IO[bytes], decoded: Iterator[AudioFrame]) -> float:
    """Write the file; return its seconds."""
    first = next(decoded)  # `frames` raises rather than yield nothing
    samples = 0
    with av.open(file, "w", format=to.value) as output:
        stream = output.add_stream(_CODECS[to], rate=first.sample_rate, layout="mono")
        converter = av.AudioResampler(format="s16", layout="mono", rate=first.sample_rate)
        for frame in chain((first,), decoded, (None,)):
            for mono in _mixed(converter, frame):
                samples += mono.samples
                output.mux(stream.encode(mono))
        output.mux(stream.encode(None))
    return samples / first.sample_rate


def _mixed(converter: av.AudioResampler, frame: AudioFrame | None) -> list[AudioFrame]:
    try:
        return converter.resample(frame)
    except ValueError as error:
        raise UnreadableAudio("the stream changes its format half way") from error
