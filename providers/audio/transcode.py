"""Audio into a container that a provider takes: FLAC, lossless and small, 16-bit WAV, or the samples a model hears."""

from __future__ import annotations

import io
import tempfile
from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING, Final, Literal, Self, cast

import av
from av.filter import Graph
from blake3 import blake3

from providers.audio.containers import media_type
from providers.audio.content import SLICE_BYTES, FileContent
from providers.audio.decode import frames
from providers.audio.unreadable import UnreadableAudio
from providers.types import Audio, Container

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from av.audio.frame import AudioFrame
    from av.filter.context import FilterContext

    from providers.audio.content import Content

_CODECS: Final[dict[Container, Literal["flac", "pcm_s16le", "pcm_f32le"]]] = {
    Container.FLAC: "flac",
    Container.WAV: "pcm_s16le",
    Container.SAMPLES: "pcm_f32le",
}
SAMPLES_HZ: Final = 16_000


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

    Nothing is resampled but for SAMPLES: what listens at the other end does that with the filter it was trained with.
    Raises UnreadableAudio, AudioTooLong, Abandoned; OSError where the disk is full. The caller closes the new content.
    """
    decoded = watched(frames(audio.content, max_duration_s=max_duration_s), is_abandoned)
    first = next(decoded)  # `frames` raises rather than yield nothing
    rate_hz = first.sample_rate
    converted = mono(chain((first,), decoded), rate_hz)
    if to is Container.SAMPLES:
        converted, rate_hz = heard_by_models(converted, rate_hz), SAMPLES_HZ
    with Recording(to, rate_hz, directory) as copy:
        for frame in converted:
            copy.write(frame)
        return copy.finished()


class Recording:
    """A file without a name that mono is written to. Closed at the end of a `with` unless it was finished."""

    def __init__(self, to: Container, rate_hz: int, directory: Path | None) -> None:
        """directory: where it is kept, the system's folder for temporary files if None."""
        self._to, self._rate_hz = to, rate_hz
        self._file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115 - lives as long as the Audio
        self._samples = 0
        self._is_finished = False
        self._output = av.open(self._file, "w", format=to.value)
        self._stream = self._output.add_stream(_CODECS[to], rate=rate_hz, layout="mono")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._is_finished:
            self._output.close()
            self._file.close()

    def write(self, frame: AudioFrame) -> None:
        self._samples += frame.samples
        self._output.mux(self._stream.encode(frame))

    def finished(self) -> Audio:
        """Return what was written; its content is the caller's to close."""
        self._output.mux(self._stream.encode(None))
        self._output.close()
        content = FileContent(self._file, self._file.seek(0, io.SEEK_END))
        digest = digest_of(content)
        self._is_finished = True
        return Audio(
            content=content,
            media_type=media_type(self._to),
            container=self._to,
            duration_s=self._samples / self._rate_hz,
            digest=digest,
        )


def digest_of(content: Content) -> str:
    """Return the blake3 of the content, hexadecimal. Blocking: a thread's work where it is large."""
    digest = blake3()
    for piece in content.slices(SLICE_BYTES):
        digest.update(piece)
    return digest.hexdigest()


def watched(decoded: Iterator[AudioFrame], is_abandoned: Callable[[], bool]) -> Iterator[AudioFrame]:
    """Yield the same frames for as long as somebody waits. Raises Abandoned."""
    for frame in decoded:
        if is_abandoned():
            raise Abandoned
        yield frame


def mono(decoded: Iterable[AudioFrame], rate_hz: int) -> Iterator[AudioFrame]:
    """Yield the same sound as 16-bit frames of one channel. Raises UnreadableAudio."""
    converter = av.AudioResampler(format="s16", layout="mono", rate=rate_hz)
    for frame in chain(decoded, (None,)):
        try:
            yield from converter.resample(frame)
        except ValueError as error:
            raise UnreadableAudio("the stream changes its format half way") from error


def heard_by_models(decoded: Iterable[AudioFrame], rate_hz: int) -> Iterator[AudioFrame]:
    """Yield 16-bit frames of one channel as 32-bit floats, from -1 to 1, at 16 kHz."""
    graph = Graph()
    source = graph.add_abuffer(sample_rate=rate_hz, format="s16", layout="mono", time_base=Fraction(1, rate_hz))
    # FFmpeg's own filter, made longer: as it comes it lets what is at 9 kHz through by -62 dB, and so by -95.
    resampler = graph.add("aresample", f"osr={SAMPLES_HZ}:osf=flt:filter_size=64:cutoff=0.95")
    sink = graph.add("abuffersink")
    source.link_to(resampler)
    resampler.link_to(sink)
    graph.configure()
    for frame in chain(decoded, (None,)):
        source.push(frame)
        yield from _ready(sink)


def _ready(sink: FilterContext) -> Iterator[AudioFrame]:
    """Yield what a filter has made so far."""
    while True:
        try:
            frame = cast("AudioFrame", sink.pull())
        except (av.BlockingIOError, av.EOFError):
            return
        frame.pts = None  # the encoder counts
        yield frame
