"""Any audio file to samples, through FFmpeg's libraries, with everything hostile kept out.

Whitelists: an uploaded text beginning `v=0` (SDP) makes FFmpeg open sockets; HLS, DASH and ffconcat name other
files. Caps are counted while decoding: 640 kB of FLAC hold an hour of silence, and headers lie.
"""

from __future__ import annotations

import contextlib
import io
import time
from typing import TYPE_CHECKING

import av
import av.error

from providers.audio.containers import HEAD_BYTES, identify, name_of_other
from providers.audio.content import ContentReader
from providers.audio.headers import MAX_CHANNELS, MAX_RATE_HZ, MIN_RATE_HZ
from providers.audio.unreadable import AudioTooLong, Probed, UnreadableAudio
from providers.types import Container

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from av.audio.codeccontext import AudioCodecContext
    from av.audio.frame import AudioFrame
    from av.container import InputContainer

    from providers.audio.content import Content

_OPTIONS = {
    "format_whitelist": "aac,aiff,amr,asf,caf,flac,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp3,ogg,wav,w64,au,mpegts",
    "protocol_whitelist": "",
}
_MOST_BROKEN_PACKETS = 100
# Decoding runs at 200 to 10,000 times real time: ten times is a decoder going round in circles.
_DECODE_TIME_PER_S = 0.1
_START_TIME_S = 10.0


def open_container(content: Content) -> InputContainer:
    """Open for demuxing. Raises UnreadableAudio."""
    reader = io.BufferedReader(ContentReader(content), 65_536)
    try:
        return av.open(reader, "r", options=dict(_OPTIONS), metadata_errors="ignore")
    except (av.error.FFmpegError, ValueError, IndexError, MemoryError) as error:
        raise UnreadableAudio(_why_unreadable(content)) from error


def audio_stream_of(container: InputContainer) -> av.AudioStream:
    """Return the first audio stream. Raises UnreadableAudio where there is none or it is absurd."""
    if not container.streams.audio:
        raise UnreadableAudio("the file holds no audio stream")
    stream = container.streams.audio[0]
    context: AudioCodecContext | None = stream.codec_context
    if context is None:
        raise UnreadableAudio("the audio is in a codec that is not known here")
    if not MIN_RATE_HZ <= context.sample_rate <= MAX_RATE_HZ:
        raise UnreadableAudio(f"a sample rate of {context.sample_rate} Hz is outside {MIN_RATE_HZ} to {MAX_RATE_HZ}")
    if not 1 <= context.channels <= MAX_CHANNELS:
        raise UnreadableAudio(f"{context.channels} channels are more than {MAX_CHANNELS}")
    return stream


def probe(content: Content) -> Probed:
    """Read what the container says of its audio. Raises UnreadableAudio."""
    with open_container(content) as container:
        stream = audio_stream_of(container)
        return Probed(
            duration_s=_claimed_duration_s(container, stream) or _walked_duration_s(container, stream),
            rate_hz=stream.codec_context.sample_rate,
            channels=stream.codec_context.channels,
        )


def _claimed_duration_s(container: InputContainer, stream: av.AudioStream) -> float | None:
    if stream.duration and stream.time_base:
        claimed = float(stream.duration * stream.time_base)
    else:
        claimed = (container.duration or 0) / av.time_base
    return claimed if claimed > 0 else None


def _walked_duration_s(container: InputContainer, stream: av.AudioStream) -> float | None:
    """Return where the last packet ends: what browsers record and encoders pipe says its length nowhere else."""
    end_s = counted_s = 0.0
    time_base = float(stream.time_base or 0)
    with contextlib.suppress(av.error.FFmpegError):  # cut off: what came before it counts
        for packet in container.demux(stream):
            length_s = (packet.duration or 0) * time_base
            counted_s += length_s
            if packet.pts is not None:
                end_s = max(end_s, packet.pts * time_base + length_s)
    return max(end_s, counted_s) or None


def frames(
    content: Content, *, max_duration_s: float, clock: Callable[[], float] = time.thread_time
) -> Iterator[AudioFrame]:
    """Yield decoded frames, skipping broken packets.

    Raises UnreadableAudio where nothing can be decoded, AudioTooLong at the first frame that passes max_duration_s
    at the stream's own rate. Blocking: call it in a thread.
    """
    with open_container(content) as container:
        stream = audio_stream_of(container)
        budget = Budget(max_duration_s, clock)
        decoded_any = False
        for frame in _tolerant(container, stream):
            budget.take(frame)
            decoded_any = True
            frame.pts = None  # gaps and jumps in a broken file's clock would become silence or errors further on
            yield frame
            budget.go_on()
        if not decoded_any:
            raise UnreadableAudio(_why_unreadable(content))


class Budget:
    """What decoding may cost, counted frame by frame.

    Its own processor time counts, not how long whoever wants the frames takes over them: a model that is busy with
    others hears a recording for hours.
    """

    def __init__(self, max_duration_s: float, clock: Callable[[], float] = time.thread_time) -> None:
        self._max_s = max_duration_s
        self._left_s = max_duration_s + 1e-6  # a sum of many floats may pass what it should equal
        self._clock = clock
        self._left_to_work_s = _START_TIME_S + max_duration_s * _DECODE_TIME_PER_S
        self._began_s = clock()

    def go_on(self) -> None:
        """Begin to count time again, perhaps in another thread."""
        self._began_s = self._clock()

    def take(self, frame: AudioFrame) -> None:
        """Count a frame. Raises AudioTooLong, UnreadableAudio."""
        channels = frame.layout.nb_channels
        if not MIN_RATE_HZ <= frame.sample_rate <= MAX_RATE_HZ or channels > MAX_CHANNELS:
            raise UnreadableAudio(f"the stream turned to {frame.sample_rate} Hz and {channels} channels half way")
        self._left_s -= frame.samples / frame.sample_rate
        if self._left_s < 0:
            raise AudioTooLong(self._max_s)
        now_s = self._clock()
        self._left_to_work_s -= now_s - self._began_s
        self._began_s = now_s
        if self._left_to_work_s < 0:
            raise UnreadableAudio("decoding took implausibly long")


def _tolerant(container: InputContainer, stream: av.AudioStream) -> Iterator[AudioFrame]:
    """Decode past broken packets: a truncated file still holds most of what was said."""
    broken = 0
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.error.FFmpegError:
            return  # the container breaks off here
        try:
            decoded = packet.decode()
        except (av.error.FFmpegError, IndexError):
            broken += 1
            if broken > _MOST_BROKEN_PACKETS:
                raise UnreadableAudio(f"more than {_MOST_BROKEN_PACKETS} broken packets") from None
            continue
        yield from decoded


def _why_unreadable(content: Content) -> str:
    container = identify(content)
    if container is None:
        other = name_of_other(content.read_at(0, HEAD_BYTES))
        return f"the bytes are {other}, not audio" if other else "the bytes are no audio container known here"
    if container is Container.MP4:
        return "the mp4 file is damaged or ends before its index (moov)"
    return f"the {container} file is damaged or cut off before any audio"
