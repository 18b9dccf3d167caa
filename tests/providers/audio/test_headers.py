"""Duration from headers: exact on honest files, None on what lies."""

from __future__ import annotations

import json
import math
import re
import struct

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from providers.audio.containers import identify
from providers.audio.content import MemoryContent
from providers.audio.decode import frames
from providers.audio.headers import duration_s
from providers.types import Container
from tests.conftest import AUDIO, encoded, sample, tone

NAMES = [each["file"] for each in json.loads((AUDIO / "manifest.json").read_text())["samples"]]
BY_HEADER = {Container.WAV, Container.FLAC, Container.MP3, Container.OGG}
ENOUGH_S = 0.12  # what codecs add at the ends


def claimed_s(body: bytes) -> float | None:
    content = MemoryContent(body)
    return duration_s(content, identify(content))


def decoded_s(body: bytes) -> float:
    return sum(frame.samples / frame.sample_rate for frame in frames(MemoryContent(body), max_duration_s=3600))


def wav(
    seconds: float = 2.0,
    *,
    code: int = 1,
    channels: int = 1,
    rate_hz: int = 16_000,
    byte_rate: int | None = None,
    bits: int = 16,
    data_size: int | None = None,
    before: bytes = b"",
    after: bytes = b"",
    magic: bytes = b"RIFF",
) -> bytes:
    data = bytes(round(seconds * 16_000) * 2)
    honest = rate_hz * channels * bits // 8 if byte_rate is None else byte_rate
    fmt = struct.pack("<HHIIHH", code, channels, rate_hz, honest, channels * bits // 8, bits)
    size = len(data) if data_size is None else data_size
    return (
        magic
        + struct.pack("<I", 0xFFFFFFFF)
        + b"WAVE"
        + before
        + struct.pack("<4sI", b"fmt ", 16)
        + fmt
        + struct.pack("<4sI", b"data", size)
        + data
        + after
    )


@pytest.mark.parametrize("name", NAMES)
def test_agrees_with_decoding_on_every_recording(name: str) -> None:
    body = sample(name)
    claimed = claimed_s(body)

    if identify(MemoryContent(body)) in BY_HEADER:
        assert claimed == pytest.approx(decoded_s(body), abs=ENOUGH_S)
    else:
        assert claimed is None


@pytest.mark.parametrize(
    ("form", "codec", "rate_hz", "bit_rate"),
    [
        ("wav", "pcm_s16le", 48_000, None),
        ("wav", "pcm_s24le", 44_100, None),
        ("wav", "pcm_f32le", 48_000, None),
        ("wav", "pcm_u8", 8_000, None),
        ("wav", "pcm_mulaw", 8_000, None),
        ("wav", "pcm_alaw", 8_000, None),
        ("flac", "flac", 8_000, None),
        ("flac", "flac", 44_100, None),
        ("flac", "flac", 96_000, None),
        ("mp3", "libmp3lame", 8_000, 8_000),
        ("mp3", "libmp3lame", 16_000, 32_000),
        ("mp3", "libmp3lame", 44_100, 128_000),
        ("mp3", "libmp3lame", 48_000, 320_000),
        ("ogg", "libopus", 48_000, 24_000),
    ],
)
@pytest.mark.parametrize("seconds", [0.6, 7.0])
def test_agrees_with_decoding_on_what_ffmpeg_writes(
    form: str, codec: str, rate_hz: int, bit_rate: int | None, seconds: float
) -> None:
    body = encoded(tone(seconds, rate_hz, channels=2), rate_hz, form, codec, bit_rate=bit_rate)

    assert claimed_s(body) == pytest.approx(decoded_s(body), abs=ENOUGH_S)


# WAV ------------------------------------------------------------------------------------------------------------------


def test_wav_chunks_are_skipped() -> None:
    """A chunk of odd length is padded."""
    assert claimed_s(wav(before=b"LIST\x03\0\0\0abc\0bext\x02\0\0\0ab", after=b"LIST\x04\0\0\0abcd")) == 2.0


@pytest.mark.parametrize("data_size", [0xFFFFFFFF, 0x7FFFFFFF, 64_001])
def test_wav_that_claims_more_than_is_there_has_what_is_there(data_size: int) -> None:
    """A recorder that writes to a pipe cannot know the size: it writes the largest."""
    assert claimed_s(wav(data_size=data_size)) == 2.0


def test_rf64_says_so_in_another_chunk() -> None:
    ds64 = struct.pack("<4sIQQQI", b"ds64", 28, 10**10, 10**10, 10**10, 0)
    assert claimed_s(wav(magic=b"RF64", before=ds64, data_size=0xFFFFFFFF)) == 2.0


@pytest.mark.parametrize(
    "body",
    [
        wav(data_size=0),
        wav(byte_rate=8_000),
        wav(byte_rate=320_000_000),
        wav(byte_rate=0),
        wav(rate_hz=1, byte_rate=2),
        wav(rate_hz=655_350),
        wav(channels=0),
        wav(channels=9),
        wav(bits=0),
        wav(code=0x11, bits=4),  # ADPCM: the byte rate is whatever the header says
        wav()[:30],
        wav().replace(b"fmt ", b"junk"),
        wav(before=b"junk\0\0\0\0" * 100),
    ],
    ids=range(13),
)
def test_wav_that_cannot_be_believed_is_left_to_others(body: bytes) -> None:
    assert claimed_s(body) is None


def test_a_million_empty_chunks_are_not_walked() -> None:
    """Each would cost a read on the event loop."""

    class Counting(MemoryContent):
        reads = 0

        def read_at(self, offset: int, size: int) -> bytes:
            self.reads += 1
            return super().read_at(offset, size)

    content = Counting(b"RIFF\xff\xff\xff\xffWAVE" + b"junk\0\0\0\0" * 1_000_000)

    assert duration_s(content, Container.WAV) is None
    assert content.reads < 100


# FLAC -----------------------------------------------------------------------------------------------------------------


def with_sample_count(body: bytes, count: int) -> bytes:
    """Forge the 36 bits of STREAMINFO that say how many samples there are."""
    packed = int.from_bytes(body[18:26], "big") >> 36 << 36 | count
    return body[:18] + packed.to_bytes(8, "big") + body[26:]


@pytest.mark.parametrize("count", [0, 1, 16, 219_039, 219_041, 2**36 - 1])
def test_flac_with_a_forged_count_is_left_to_others(count: int) -> None:
    """The last frame says where it stands; slushy.flac has 219,040 samples."""
    assert claimed_s(with_sample_count(sample("slushy.flac"), 219_040)) == 13.69
    assert claimed_s(with_sample_count(sample("slushy.flac"), count)) is None


def test_flac_cut_off_is_left_to_others() -> None:
    assert claimed_s(sample("slushy.flac")[:100_000]) is None


def test_flac_of_silence_and_with_a_tag_behind_is_known() -> None:
    body = encoded(np.zeros((1, 160_000), np.int16), 16_000, "flac", "flac")

    assert claimed_s(body) == 10.0
    assert claimed_s(body + b"TAG" + bytes(125)) == 10.0


def test_flac_full_of_false_frames_is_not_searched_for_ever() -> None:
    assert claimed_s(sample("slushy.flac") + b"\xff\xf8" * 40_000) is None


def test_flac_whose_first_block_is_not_the_stream_info_is_left_to_others() -> None:
    body = sample("slushy.flac")
    assert claimed_s(body[:4] + b"\x04" + body[5:]) is None


# Ogg ------------------------------------------------------------------------------------------------------------------


def test_ogg_cut_off_in_a_page_is_left_to_others() -> None:
    for name in ("slushy.ogg", "slushy.opus"):
        body = sample(name)
        last = body.rfind(b"OggS")
        assert [claimed_s(body[:at]) for at in (len(body) - 1, last + 40, last + 20, last, last - 100, 100)] == [
            None
        ] * 6


def test_ogg_streams_one_after_another_are_left_to_others() -> None:
    """The last page knows only its own stream."""
    assert claimed_s(sample("slushy.ogg") * 2) is None  # even of the same serial number
    assert claimed_s(sample("slushy.ogg") + sample("slushy.opus")) is None


def test_ogg_whose_last_page_is_of_another_stream_is_left_to_others() -> None:
    body = bytearray(sample("slushy.opus"))
    body[body.rfind(b"OggS") + 14] ^= 1

    assert claimed_s(bytes(body)) is None


@pytest.mark.parametrize("granule", [-1, 0, 48, 2**62])
def test_ogg_with_an_impossible_end_is_left_to_others(granule: int) -> None:
    body = bytearray(sample("slushy.opus"))
    at = body.rfind(b"OggS") + 6
    body[at : at + 8] = struct.pack("<q", granule)

    assert claimed_s(bytes(body)) is None


def test_ogg_beyond_a_few_megabytes_is_left_to_others() -> None:
    assert claimed_s(sample("slushy.ogg") + bytes(5_000_000)) is None


def test_ogg_with_another_codec_is_left_to_others() -> None:
    assert claimed_s(sample("slushy.opus").replace(b"OpusHead", b"Speex   ")) is None


# MP3 ------------------------------------------------------------------------------------------------------------------


def mp3(samples: np.ndarray[tuple[int, int], np.dtype[np.int16]], **options: str) -> bytes:
    """Return a file without an ID3 tag, with a Xing header unless write_xing="0"."""
    return encoded(samples, 16_000, "mp3", "libmp3lame", bit_rate=32_000, options={"id3v2_version": "0", **options})


def test_mp3_of_constant_bit_rate_needs_no_xing_header() -> None:
    body = mp3(tone(20, 16_000), write_xing="0")

    assert b"Xing" not in body
    assert b"Info" not in body
    assert claimed_s(body) == pytest.approx(decoded_s(body), abs=ENOUGH_S)
    assert claimed_s(body + b"TAG" + bytes(125)) == pytest.approx(decoded_s(body), abs=ENOUGH_S)


def test_mp3_behind_a_large_tag_is_found() -> None:
    tag = b"ID3\x03\0\0" + bytes((0, 0x1F, 0x7F, 0x7F)) + bytes(0x1F << 14 | 0x7F << 7 | 0x7F)
    for body in (mp3(tone(20, 16_000)), mp3(tone(20, 16_000), write_xing="0")):
        assert claimed_s(tag + body) == pytest.approx(decoded_s(body), abs=ENOUGH_S)


def test_mp3_of_varying_bit_rate_without_xing_header_is_left_to_others() -> None:
    """Its first two seconds are of one rate: looking at the first frames alone would take the rest for the same."""
    quiet, loud = (
        mp3(np.zeros((1, 32_000), np.int16), write_xing="0"),
        encoded(
            np.random.default_rng(1).integers(-9_000, 9_000, (1, 320_000), np.int16),
            16_000,
            "mp3",
            "libmp3lame",
            bit_rate=96_000,
            options={"id3v2_version": "0", "write_xing": "0"},
        ),
    )
    assert claimed_s(quiet) is not None
    assert claimed_s(quiet + loud) is None


@pytest.mark.parametrize("count", [0, 1, 2**32 - 1])
def test_mp3_with_a_forged_frame_count_is_left_to_others(count: int) -> None:
    """Beyond 8 to 320 kbit/s the count is a lie; a count of none is looked at like a file without the header."""
    body = bytearray(mp3(tone(20, 16_000)))
    at = max(body.find(b"Xing"), body.find(b"Info")) + 8
    body[at : at + 4] = struct.pack(">I", count)
    claimed = claimed_s(bytes(body))

    assert claimed is None or (count == 0 and claimed == pytest.approx(20, abs=0.2))


def test_mp3_with_a_xing_header_but_no_padding_told_is_a_little_longer() -> None:
    body = mp3(tone(20, 16_000))

    assert claimed_s(body) == 20.0
    assert claimed_s(re.sub(b"Lav[cf]|LAME", b"XXXX", body)) == pytest.approx(20.1, abs=0.1)


def test_mp3_with_fraunhofers_header_is_known() -> None:
    """VBRI stands at a fixed place; its frame count is 14 bytes further."""
    body = bytearray(mp3(tone(20, 16_000), write_xing="0"))
    body[36:40], body[50:54] = b"VBRI", struct.pack(">I", 556)

    assert claimed_s(bytes(body)) == pytest.approx(556 * 576 / 16_000)


def test_mp3_whose_first_frame_is_none_is_left_to_others() -> None:
    assert duration_s(MemoryContent(b"ID3\x03" + bytes(400)), Container.MP3) is None
    assert duration_s(MemoryContent(b"\xff\xeb\x90\x64" + bytes(400)), Container.MP3) is None


def test_mp3_cut_to_its_first_frame_is_left_to_others() -> None:
    assert claimed_s(mp3(tone(20, 16_000), write_xing="0")[:400]) is None


# Anything -------------------------------------------------------------------------------------------------------------

HEADS = [sample(name)[:400] for name in ("slushy.wav", "slushy.flac", "slushy.ogg", "slushy.opus", "slushy.mp3")]


def mutated(draw: st.DrawFn) -> bytes:
    body = bytearray(draw(st.sampled_from(HEADS)) + draw(st.binary(max_size=300)))
    for _ in range(draw(st.integers(0, 6))):
        body[draw(st.integers(0, len(body) - 1))] = draw(st.integers(0, 255))
    return bytes(body)


@given(body=st.binary(max_size=600) | st.composite(mutated)(), container=st.sampled_from(Container))
@example(body=b"", container=Container.WAV)
@example(body=b"fLaC" + bytes(38), container=Container.FLAC)
def test_any_bytes_have_a_duration_or_none(body: bytes, container: Container) -> None:
    """Nothing is raised, and nothing comes out that is no number of seconds."""
    for as_container in (container, identify(MemoryContent(body))):
        seconds = duration_s(MemoryContent(body), as_container)
        assert seconds is None or (math.isfinite(seconds) and seconds >= 0)
