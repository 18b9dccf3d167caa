"""What is heard in a file, whatever wraps it: two files with one digest decode to the same samples.

For WAV, AIFF and FLAC of whole numbers, the samples themselves at their own rate: FLAC's MD5 of them is its encoder's
word alone. For everything else, the packets with what a decoder is told of them: that file with other tags.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import av
import av.error
from av.stream import Disposition
from blake3 import blake3

from providers.audio.decode import Budget, audio_stream_of, open_container
from providers.audio.unreadable import UnreadableAudio
from providers.types import Container

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av.audio.frame import AudioFrame
    from av.container import InputContainer

    from providers.audio.content import Content

_EXACT: Final = frozenset({Container.WAV, Container.AIFF, Container.FLAC})
_PACKED: Final = {"s16": 2, "s32": 4}  # FFmpeg's form of a sample: bytes. 24 bits come as the upper part of 32


def sound_digest(content: Content, kind: Container | None, *, max_duration_s: float) -> str:
    """Return a blake3, hexadecimal. Blocking, and C code fed by strangers: `Demuxer.sound` does it in a child.

    Raises UnreadableAudio where the file holds more than one sound, or anything in it cannot be decoded: what a
    provider would make of that nobody knows. AudioTooLong.
    """
    known = blake3()
    with open_container(content) as container:
        stream = _only_stream(container)
        form = stream.codec_context.format.packed.name
        is_exact = kind in _EXACT and form in _PACKED and _is_whole(stream)
        for piece in _samples(container, stream, max_duration_s) if is_exact else _packets(container, stream, kind):
            known.update(piece)
    return known.hexdigest()


def _only_stream(container: InputContainer) -> av.AudioStream:
    """Return the one sound there is. A picture of the cover is none."""
    others = [each for each in container.streams if not each.disposition & Disposition.attached_pic]
    if len(others) != 1:
        raise UnreadableAudio(f"{len(others)} streams where one is expected")
    return audio_stream_of(container)


def _is_whole(stream: av.AudioStream) -> bool:
    """Tell whether samples are kept as the whole numbers they are."""
    name = stream.codec_context.name
    return name == "flac" or name.startswith("pcm_s")


def _samples(container: InputContainer, stream: av.AudioStream, max_duration_s: float) -> Iterator[bytes]:
    """Yield what the samples are, then the samples, interleaved."""
    form = stream.codec_context.format.packed.name
    rate_hz, channels = stream.codec_context.sample_rate, stream.codec_context.channels
    yield _head("samples", form, rate_hz, channels, _layout(stream))
    stream.codec_context.options = {"err_detect": "crccheck+bitstream+buffer+explode"}
    budget, converter, count = Budget(max_duration_s), av.AudioResampler(format=form), 0
    for frame in _decoded(container, stream):
        budget.take(frame)
        if (frame.sample_rate, frame.layout.nb_channels) != (rate_hz, channels):
            raise UnreadableAudio("the stream changes half way")
        count += frame.samples
        for packed in [frame] if frame.format.name == form else converter.resample(frame):
            yield bytes(packed.planes[0])[: packed.samples * channels * _PACKED[form]]
    claimed = stream.duration
    if claimed and claimed * (stream.time_base or 0) * rate_hz != count:
        raise UnreadableAudio("there are fewer samples than the header says")


def _decoded(container: InputContainer, stream: av.AudioStream) -> Iterator[AudioFrame]:
    """Yield all frames. FFmpeg passes over a damaged one without a word: what is missing shows in the count."""
    packets = frames = 0
    try:
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise UnreadableAudio("a packet is damaged")
            packets += packet.duration or 0
            for frame in packet.decode():
                frames += frame.samples
                yield frame
    except (av.error.FFmpegError, IndexError) as error:
        raise UnreadableAudio("not all of it can be decoded") from error
    if packets * (stream.time_base or 0) * stream.codec_context.sample_rate != frames:
        raise UnreadableAudio("not all of it could be decoded")


def _packets(container: InputContainer, stream: av.AudioStream, kind: Container | None) -> Iterator[bytes]:
    """Yield what a decoder is told of the packets, then the packets with their times."""
    told = stream.codec_context
    yield _head("packets", kind, told.name, told.sample_rate, told.channels, _layout(stream), stream.time_base)
    yield _head(stream.start_time, bytes(told.extradata or b"").hex())
    try:
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise UnreadableAudio("a packet is damaged")
            left_out = packet.get_sidedata("skip_samples") if packet.has_sidedata("skip_samples") else b""
            yield _head(packet.pts, packet.duration, packet.size, bytes(left_out).hex())
            yield bytes(packet)
    except av.error.FFmpegError as error:
        raise UnreadableAudio("the container breaks off") from error


def _layout(stream: av.AudioStream) -> str:
    """Return which channel is which, where that is more than left and right: headers may leave it unsaid."""
    channels = stream.codec_context.channels
    return stream.codec_context.layout.name if channels > 2 else ""


def _head(*parts: object) -> bytes:
    return ("|".join(map(str, parts)) + "\n").encode()
