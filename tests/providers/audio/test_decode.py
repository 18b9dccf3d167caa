"""Any audio file to frames, with everything hostile kept out."""

from __future__ import annotations

import contextlib
import io
import itertools
import random
import socket
import struct
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.audio.containers import sniff
from providers.audio.content import MemoryContent
from providers.audio.decode import frames, probe
from providers.audio.headers import duration_s
from providers.audio.samples import read_samples
from providers.audio.unreadable import AudioTooLong, UnreadableAudio
from tests.conftest import AUDIO, encoded, sample, tone

if TYPE_CHECKING:
    from collections.abc import Iterator


def seconds_of(body: bytes, *, max_duration_s: float = 600) -> float:
    return sum(f.samples / f.sample_rate for f in frames(MemoryContent(body), max_duration_s=max_duration_s))


@pytest.mark.parametrize(
    ("name", "seconds"),
    [("slushy." + kind, 13.69) for kind in ("wav", "flac", "mp3", "ogg", "opus", "webm", "m4a")]
    + [("fr_dictee.aiff", 2.53), ("jfk.flac", 11.0)],
)
def test_decodes_every_container(name: str, seconds: float) -> None:
    assert seconds_of(sample(name)) == pytest.approx(seconds, abs=0.08)


@pytest.mark.parametrize(
    ("form", "codec", "rate_hz", "bit_rate"),
    [
        ("amr", "libopencore_amrnb", 8_000, 12_200),
        ("adts", "aac", 16_000, None),
        ("asf", "wmav2", 44_100, 64_000),
        ("caf", "alac", 44_100, None),
        ("mpegts", "aac", 44_100, None),
        ("matroska", "aac", 44_100, None),
        ("wav", "adpcm_ima_wav", 16_000, None),
        ("w64", "pcm_s24le", 48_000, None),
    ],
)
def test_decodes_what_else_a_recorder_may_write(form: str, codec: str, rate_hz: int, bit_rate: int | None) -> None:
    body = encoded(tone(3, rate_hz), rate_hz, form, codec, bit_rate=bit_rate)

    assert seconds_of(body) == pytest.approx(3, abs=0.15)


# Texts that name other things -----------------------------------------------------------------------------------------


@pytest.fixture
def listeners() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Listen on one UDP and one TCP port of loopback."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
    ):
        for each in (udp, tcp):
            each.bind(("127.0.0.1", 0))
            each.setblocking(False)  # noqa: FBT003 - the socket's own signature
        tcp.listen()
        yield udp, tcp


SDP = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {udp} RTP/AVP 0\na=rtpmap:0 PCMU/8000\n"
TEXTS = {
    "sdp": SDP,
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:{tcp}/a.ts\n#EXT-X-ENDLIST\n",
    "hls of a file": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{file}\n#EXT-X-ENDLIST\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT9S"><Period><AdaptationSet mimeType="audio/mp4"><Representation id="1" bandwidth="9">'
    "<BaseURL>http://127.0.0.1:{tcp}/a.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>",
    "ffconcat": "ffconcat version 1.0\nfile '{file}'\n",
    "ffconcat of a url": "ffconcat version 1.0\nfile 'http://127.0.0.1:{tcp}/a.wav'\n",
    "ffmetadata": ";FFMETADATA1\ntitle=x\n",
    "subtitles": "1\n00:00:00,000 --> 00:00:01,000\nhello\n",
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_that_names_other_things_is_refused_and_nothing_is_opened(
    name: str, listeners: tuple[socket.socket, socket.socket]
) -> None:
    udp, tcp = listeners
    text = TEXTS[name].format(udp=udp.getsockname()[1], tcp=tcp.getsockname()[1], file=(AUDIO / "slushy.wav").resolve())
    with pytest.raises(UnreadableAudio):
        next(frames(MemoryContent(text.encode()), max_duration_s=60))
    with pytest.raises(BlockingIOError):
        udp.recv(1)
    with pytest.raises(BlockingIOError):
        tcp.accept()


def test_without_the_whitelists_ffmpeg_would_open_them(listeners: tuple[socket.socket, socket.socket]) -> None:
    """The case above proves something: this is what an upload does where nobody asked for the lists."""
    _, tcp = listeners
    text = TEXTS["hls"].format(tcp=tcp.getsockname()[1])
    with pytest.raises(av.error.FFmpegError):
        av.open(io.BytesIO(text.encode()), "r", format="hls", timeout=0.5)
    connection, _ = tcp.accept()
    connection.close()


# What is no audio -----------------------------------------------------------------------------------------------------

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360000002000001e221bc330000000049454e44ae426082"
)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "no audio container"),
        (b"\0" * 5_000, "no audio container"),
        (b"just text", "no audio container"),
        (PNG, "a PNG image, not audio"),
        (b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n", "a PDF document, not audio"),
        (b"PK\x03\x04" + bytes(100), "a ZIP archive, not audio"),
        (b"RIFF\x10\0\0\0WAVEnothing of the kind", "the wav file is damaged"),
        (b"fLaC", "the flac file is damaged"),
        (b"OggS" + bytes(200), "the ogg file is damaged"),
    ],
)
def test_says_what_was_seen(body: bytes, message: str) -> None:
    with pytest.raises(UnreadableAudio, match=message):
        list(frames(MemoryContent(body), max_duration_s=60))
    with pytest.raises(UnreadableAudio, match=message):
        probe(MemoryContent(body))


def test_mp4_without_its_index_says_so() -> None:
    """The index is at the end: a cut-off file holds no audio that can be found."""
    with pytest.raises(UnreadableAudio, match=r"ends before its index \(moov\)"):
        seconds_of(sample("slushy.m4a")[:40_000])


@pytest.mark.parametrize("form", ["wav", "flac"])
def test_a_file_of_no_samples_is_unreadable(form: str) -> None:
    """Nothing was recorded; silence would have samples."""
    body = wav(seconds=0) if form == "wav" else encoded(np.zeros((1, 0), np.int16), 16_000, "flac", "flac")
    with pytest.raises(UnreadableAudio, match="cut off before any audio"):
        seconds_of(body)


def test_a_codec_nobody_knows_is_unreadable() -> None:
    with pytest.raises(UnreadableAudio, match="codec that is not known"):
        seconds_of(sample("slushy.m4a").replace(b"mp4a", b"zzzz").replace(b"esds", b"zzzz"))


def test_a_film_without_sound_is_unreadable() -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        stream = output.add_stream("mpeg4", rate=24)
        stream.width = stream.height = 64
        output.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        output.mux(stream.encode(None))
    with pytest.raises(UnreadableAudio, match="no audio stream"):
        seconds_of(file.getvalue())


# Forged headers -------------------------------------------------------------------------------------------------------


def wav(*, rate_hz: int = 16_000, channels: int = 1, seconds: float = 1) -> bytes:
    data = bytes(round(seconds * 32_000))
    fmt = struct.pack("<HHIIHH", 1, channels, rate_hz, rate_hz * channels * 2 & 0xFFFFFFFF, channels * 2 & 0xFFFF, 16)
    return b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0" + fmt + b"data" + struct.pack("<I", len(data)) + data


@pytest.mark.parametrize("rate_hz", [1, 3_999, 384_001, 655_350, 2**31])
def test_an_absurd_sample_rate_is_refused_before_the_first_frame(rate_hz: int) -> None:
    """32 kB at a sample rate of 1 claim to be 16,000 s, and would be resampled to a gigabyte."""
    with pytest.raises(UnreadableAudio):
        next(frames(MemoryContent(wav(rate_hz=rate_hz)), max_duration_s=60_000))


@pytest.mark.parametrize("channels", [9, 64, 65_535])
def test_too_many_channels_are_refused(channels: int) -> None:
    with pytest.raises(UnreadableAudio):
        next(frames(MemoryContent(wav(channels=channels)), max_duration_s=60))


@pytest.mark.parametrize("channels", [1, 2, 3, 5, 7, 8])
def test_any_number_of_channels_that_exists_is_mixed(channels: int) -> None:
    assert len(read_samples(MemoryContent(wav(channels=channels)), max_duration_s=60)) == pytest.approx(
        16_000 / channels, abs=1
    )


def test_eight_planes_of_samples_are_mixed() -> None:
    """PyAV 18 reads past the eighth: that is a crash, not an error."""
    file = io.BytesIO()
    with av.open(file, "w", format="adts") as output:
        stream = output.add_stream("aac", rate=16_000, layout="7.1")
        for frame in frames(MemoryContent(wav(channels=8, seconds=8)), max_duration_s=60):
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))

    assert len(read_samples(MemoryContent(file.getvalue()), max_duration_s=60)) == pytest.approx(16_000, abs=2_100)


# Bombs ----------------------------------------------------------------------------------------------------------------


class Counted(MemoryContent):
    """Counts how far somebody has read."""

    furthest = 0

    def read_at(self, offset: int, size: int) -> bytes:
        got = super().read_at(offset, size)
        self.furthest = max(self.furthest, offset + len(got))
        return got


@pytest.fixture(scope="module")
def flac_hour() -> bytes:
    return encoded(np.zeros((1, 3600 * 8_000), np.int16), 8_000, "flac", "flac")


@pytest.fixture(scope="module")
def opus_hour() -> bytes:
    """Repeat one packet of silence, 20 ms long, for an hour."""
    file = io.BytesIO()
    with av.open(file, "w", format="ogg") as output:
        stream = output.add_stream("libopus", rate=48_000, layout="mono", options={"frame_duration": "20"})
        assert isinstance(stream, av.AudioStream)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4_800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 48_000
        packet = bytes(next(iter([*stream.encode(frame), *stream.encode(None)])))
        for number in range(3600 * 50):
            repeated = av.Packet(packet)
            repeated.stream, repeated.time_base = stream, Fraction(1, 48_000)
            repeated.pts = repeated.dts = number * 960
            repeated.duration = 960
            output.mux(repeated)
    return file.getvalue()


@pytest.mark.parametrize("bomb", ["flac_hour", "opus_hour"])
def test_an_hour_of_silence_is_stopped_at_the_cap(bomb: str, request: pytest.FixtureRequest) -> None:
    """A small file holds an hour: what is decoded ends at the limit, and the rest is not even read."""
    body: bytes = request.getfixturevalue(bomb)
    content = Counted(body)
    decoded = 0.0
    with pytest.raises(AudioTooLong, match="longer than 60 s") as caught:  # noqa: PT012 - what came before counts
        for frame in frames(content, max_duration_s=60):
            decoded += frame.samples / frame.sample_rate

    assert len(body) < 1_500_000
    assert 59 < decoded <= 60
    assert content.furthest < len(body) / 2 or bomb == "opus_hour"  # Ogg is asked for its last page first
    assert caught.value.limit_s == 60
    with pytest.raises(AudioTooLong):
        read_samples(MemoryContent(body), max_duration_s=60)


def test_audio_as_long_as_the_limit_passes() -> None:
    """A sum of many floats must not fall over the edge."""
    body = encoded(tone(30, 44_100), 44_100, "wav", "pcm_s16le")

    assert seconds_of(body, max_duration_s=30) == pytest.approx(30)
    with pytest.raises(AudioTooLong):
        seconds_of(body, max_duration_s=29.9)


def test_decoding_that_takes_far_too_long_is_given_up() -> None:
    """Ten seconds to start, then ten times real time."""
    hours = itertools.count(step=3600)
    with pytest.raises(UnreadableAudio, match="implausibly long"):
        list(frames(MemoryContent(sample("slushy.flac")), max_duration_s=60, clock=lambda: next(hours)))


def test_whoever_takes_long_over_the_frames_gets_them_all() -> None:
    """A model that is busy hears the rest of a recording when its turn comes."""
    now_s, heard_s = [0.0], 0.0
    for frame in frames(MemoryContent(sample("slushy.flac")), max_duration_s=60, clock=lambda: now_s[0]):
        heard_s += frame.samples / frame.sample_rate
        now_s[0] += 3600
    assert heard_s == pytest.approx(seconds_of(sample("slushy.flac")))


# Damage ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def long_ones() -> dict[str, bytes]:
    wave = np.tile(np.frombuffer(sample("slushy.wav")[-438_080:], np.int16), 4)[np.newaxis]
    return {
        "flac": encoded(wave, 16_000, "flac", "flac"),
        "mp3": encoded(wave, 16_000, "mp3", "libmp3lame", bit_rate=32_000),
        "aac": encoded(wave, 16_000, "adts", "aac"),
        "amr": encoded(wave[:, ::2].copy(), 8_000, "amr", "libopencore_amrnb", bit_rate=12_200),
        "ogg": encoded(np.repeat(wave, 3, axis=1), 48_000, "ogg", "libopus", bit_rate=24_000),
    }


@pytest.mark.parametrize("kind", ["flac", "mp3", "aac", "amr", "ogg"])
def test_a_file_cut_off_still_holds_most_of_what_was_said(kind: str, long_ones: dict[str, bytes]) -> None:
    body = long_ones[kind]
    whole = seconds_of(body)

    assert whole == pytest.approx(4 * 13.69, abs=0.2)
    assert seconds_of(body[: len(body) * 3 // 4]) == pytest.approx(whole * 3 / 4, rel=0.1)


def test_an_mp4_in_fragments_may_be_cut_off_too() -> None:
    """What browsers record: its index comes first, in pieces."""
    body = encoded(tone(20, 16_000), 16_000, "mp4", "aac", options={"movflags": "frag_keyframe+empty_moov"})

    assert body.index(b"moov") < body.index(b"mdat")
    assert seconds_of(body[: len(body) // 2]) == pytest.approx(10, abs=1)


@pytest.mark.parametrize(("kind", "kept"), [("flac", 0.8), ("mp3", 0.9), ("aac", 0.9), ("amr", 0.9), ("ogg", 0.7)])
def test_a_file_with_flipped_bits_still_holds_most_of_what_was_said(
    kind: str, kept: float, long_ones: dict[str, bytes]
) -> None:
    """Fifteen of them. Each costs Ogg a page, which is a second; FLAC a block."""
    body = bytearray(long_ones[kind])
    chance = random.Random(7)  # noqa: S311 - damage, not cryptography
    for _ in range(15):
        body[chance.randrange(2_000, len(body))] ^= 1 << chance.randrange(8)

    assert seconds_of(bytes(body)) > kept * seconds_of(long_ones[kind])


def test_a_file_of_broken_packets_is_given_up() -> None:
    """A hundred are tolerated: a stream of nothing else must end."""
    packets = encoded(tone(20, 16_000), 16_000, "adts", "aac")
    at, frame_starts = 0, []
    while at < len(packets):
        frame_starts.append(at)
        at += (packets[at + 3] & 3) << 11 | packets[at + 4] << 3 | packets[at + 5] >> 5
    body = bytearray(packets)
    for start, end in itertools.pairwise([*frame_starts[20:], len(packets)]):
        body[start + 7 : end] = b"\xff" * (end - start - 7)
    with pytest.raises(UnreadableAudio, match="more than 100 broken packets"):
        seconds_of(bytes(body))


SOME = [sample(name)[:6_000] for name in ("slushy.wav", "slushy.flac", "slushy.ogg", "slushy.mp3", "slushy.webm")]
SOME += [encoded(tone(0.5, 16_000), 16_000, "mp4", "aac"), encoded(tone(0.5, 16_000), 16_000, "adts", "aac")]


@given(body=st.sampled_from(SOME), changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=8))
@settings(deadline=None, max_examples=150)
def test_any_damage_is_audio_or_unreadable(body: bytes, changes: list[tuple[int, int]]) -> None:
    """Nothing but the two errors of this module comes out, of probing and of decoding."""
    damaged = bytearray(body)
    for at, value in changes:
        damaged[at] = value
    with contextlib.suppress(UnreadableAudio, AudioTooLong):
        assert seconds_of(bytes(damaged)) > 0
    with contextlib.suppress(UnreadableAudio):
        found = probe(MemoryContent(bytes(damaged)))
        assert found.duration_s is None or found.duration_s > 0


class Pipe(io.RawIOBase):
    """A sink that cannot seek: an encoder never comes back to write the length."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.written += bytes(data)
        return len(data)


@pytest.mark.parametrize(("format_", "codec", "rate_hz"), [("webm", "libopus", 48_000), ("flac", "flac", 16_000)])
def test_a_length_that_is_written_nowhere_is_where_the_last_packet_ends(format_: str, codec: str, rate_hz: int) -> None:
    """What a browser records, and what an encoder writes into a pipe."""
    pipe = Pipe()
    options = {"live": "1"} if format_ == "webm" else {}
    with av.open(pipe, "w", format=format_, options=options) as output:
        stream = output.add_stream(codec, rate=rate_hz, layout="mono")
        assert isinstance(stream, av.AudioStream)
        converter = av.AudioResampler(format="s16", layout="mono", rate=rate_hz, frame_size=960)
        for frame in itertools.chain(frames(MemoryContent(sample("slushy.wav")), max_duration_s=60), (None,)):
            for piece in converter.resample(frame):
                output.mux(stream.encode(piece))
        output.mux(stream.encode(None))
    content = MemoryContent(bytes(pipe.written))

    assert duration_s(content, sniff(content.read_at(0, 64))) is None
    assert probe(content).duration_s == pytest.approx(13.69, abs=0.05)
