"""What a body is, told from its first bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.audio.containers import (
    EXTENSIONS,
    HEAD_BYTES,
    MEDIA_TYPES,
    file_name,
    id3_bytes,
    identify,
    media_type,
    name_of_other,
    sniff,
)
from providers.audio.content import MemoryContent
from providers.types import Container
from tests.conftest import encoded, sample, tone

ENCODED = [
    ("wav", "pcm_s16le", 16_000, None, Container.WAV),
    ("flac", "flac", 16_000, None, Container.FLAC),
    ("mp3", "libmp3lame", 44_100, None, Container.MP3),
    ("mp2", "mp2", 44_100, None, Container.MP3),
    ("ogg", "libopus", 48_000, None, Container.OGG),
    ("webm", "libopus", 48_000, None, Container.WEBM),
    ("matroska", "aac", 44_100, None, Container.WEBM),
    ("mp4", "aac", 44_100, None, Container.MP4),
    ("ipod", "alac", 44_100, None, Container.MP4),
    ("mov", "pcm_s16le", 44_100, None, Container.MP4),
    ("adts", "aac", 16_000, None, Container.AAC),
    ("amr", "libopencore_amrnb", 8_000, 12_200, Container.AMR),
    ("aiff", "pcm_s16be", 16_000, None, Container.AIFF),
    ("caf", "alac", 44_100, None, Container.CAF),
    ("asf", "wmav2", 44_100, 64_000, Container.ASF),
    ("au", "pcm_s16be", 16_000, None, Container.AU),
    ("w64", "pcm_s16le", 16_000, None, Container.W64),
    ("mpegts", "aac", 44_100, None, Container.MPEGTS),
]


def id3(body_bytes: int, *, footer: bool = False) -> bytes:
    """Return an ID3v2.4 tag that holds so many bytes."""
    size = bytes(body_bytes >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x04\x00" + (b"\x10" if footer else b"\x00") + size + bytes(body_bytes + 10 * footer)


@pytest.mark.parametrize(("form", "codec", "rate_hz", "bit_rate", "expected"), ENCODED)
def test_knows_what_ffmpeg_writes(
    form: str, codec: str, rate_hz: int, bit_rate: int | None, expected: Container
) -> None:
    body = encoded(tone(0.5, rate_hz), rate_hz, form, codec, bit_rate=bit_rate)

    assert sniff(body[:HEAD_BYTES]) is expected
    assert identify(MemoryContent(body)) is expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("slushy.flac", Container.FLAC),
        ("slushy.m4a", Container.MP4),
        ("slushy.mp3", Container.MP3),
        ("slushy.ogg", Container.OGG),
        ("slushy.opus", Container.OGG),
        ("slushy.wav", Container.WAV),
        ("slushy.webm", Container.WEBM),
        ("fr_dictee.aiff", Container.AIFF),
    ],
)
def test_knows_what_people_upload(name: str, expected: Container) -> None:
    assert sniff(sample(name)[:HEAD_BYTES]) is expected


@pytest.mark.parametrize("magic", [b"RIFF", b"RF64", b"BW64"])
def test_wave_files_beyond_four_gigabytes_are_wave_files(magic: bytes) -> None:
    assert sniff(magic + b"\xff\xff\xff\xffWAVEds64") is Container.WAV
    assert sniff(magic + b"\xff\xff\xff\xffAVI LIST") is None


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("fff15080", Container.AAC),  # ADTS, MPEG-4, no CRC
        ("fff95080", Container.AAC),  # ADTS, MPEG-2, no CRC
        ("fff05080", Container.AAC),  # ADTS with CRC
        ("fff17c80", None),  # a sampling frequency index that does not exist
        ("fffb9064", Container.MP3),  # MPEG-1 layer III
        ("fff39064", Container.MP3),  # MPEG-2 layer III
        ("ffe39064", Container.MP3),  # MPEG-2.5 layer III
        ("fffd9064", Container.MP3),  # layer II
        ("fffb0064", None),  # free bit rate: nobody writes it, noise does
        ("fffbf064", None),  # bit rate 15
        ("fffb9c64", None),  # sample rate 3
        ("ffeb9064", None),  # version 1
    ],
)
def test_tells_adts_from_mp3_by_the_layer(head: str, expected: Container | None) -> None:
    assert sniff(bytes.fromhex(head)) is expected


def test_text_in_utf16_is_no_mp3() -> None:
    """Its byte order mark is a valid sync of layer I."""
    assert sniff("hello world, this is text".encode("utf-16")) is None


@pytest.mark.parametrize("tag", [id3(20), id3(20, footer=True), id3(2_000), id3(300_000)])
@pytest.mark.parametrize(
    ("form", "codec", "expected"),
    [("mp3", "libmp3lame", Container.MP3), ("adts", "aac", Container.AAC), ("flac", "flac", Container.FLAC)],
)
def test_looks_behind_an_id3_tag(tag: bytes, form: str, codec: str, expected: Container) -> None:
    """Music shops put one on AAC and FLAC too."""
    body = encoded(tone(0.3, 44_100), 44_100, form, codec)
    untagged = body[id3_bytes(body) :]

    assert identify(MemoryContent(tag + untagged)) is expected


def test_a_tag_that_fills_the_head_is_taken_for_mp3() -> None:
    assert sniff(id3(5_000)[:HEAD_BYTES]) is Container.MP3
    assert identify(MemoryContent(id3(5_000))) is Container.MP3


@given(st.binary(max_size=2 * HEAD_BYTES))
def test_any_bytes_are_a_container_or_not(body: bytes) -> None:
    assert sniff(body) in {None, *Container}
    assert identify(MemoryContent(body)) is sniff(body[:HEAD_BYTES]) or body.startswith(b"ID3")


@pytest.mark.parametrize("body", [b"", b"\0" * 600, b"{}", b"hello", b"ID3", b"\xff", b"\xff\xf1", b"ftyp"])
def test_what_is_nothing_is_called_nothing(body: bytes) -> None:
    assert sniff(body) is None


def test_names_what_people_upload_by_mistake() -> None:
    assert name_of_other(b"%PDF-1.7") == "a PDF document"
    assert name_of_other(b"\x89PNG\r\n\x1a\n") == "a PNG image"
    assert name_of_other(b"<!doctype html>") == "an HTML page"
    assert name_of_other(b"#EXTM3U\n") == "an HLS playlist"
    assert name_of_other(sample("slushy.wav")[:64]) is None


def test_every_container_has_a_type_and_a_true_extension() -> None:
    assert set(MEDIA_TYPES) == set(EXTENSIONS) == set(Container)
    assert (media_type(Container.MP4), file_name(Container.MP4)) == ("audio/mp4", "audio.m4a")
    assert (media_type(None), file_name(None)) == ("application/octet-stream", "audio.bin")
