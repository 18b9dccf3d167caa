"""Files that sound the same, whatever wraps them; and those of which nobody can be sure."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest

from providers.audio.sound import sound_digest
from providers.audio.unreadable import AudioTooLong, UnreadableAudio
from providers.emulators.ear import as_audio
from tests.conftest import encoded, sample, tone

STEREO = tone(2.0003, 16_000, channels=2)
WAV = encoded(STEREO, 16_000, "wav", "pcm_s16le")
FLAC = encoded(STEREO, 16_000, "flac", "flac")
MP3 = encoded(STEREO, 16_000, "mp3", "libmp3lame")


def digest(file: bytes, max_duration_s: float = 100.0) -> str:
    audio = as_audio(file)
    return sound_digest(audio.content, audio.container, max_duration_s=max_duration_s)


def with_flac_block(flac: bytes, kind: int, body: bytes) -> bytes:
    """Return a FLAC file with one more metadata block. Source: RFC 9639, section 8."""
    info, rest = flac[4:42], flac[42:]
    is_last = info[0] & 0x80
    block = bytes((kind | is_last,)) + len(body).to_bytes(3, "big") + body
    return b"fLaC" + bytes((info[0] & 0x7F,)) + info[1:] + block + rest


def with_flac_tags(flac: bytes, **tags: str) -> bytes:
    entries = [f"{name}={value}".encode() for name, value in tags.items()]
    sized = b"".join(len(each).to_bytes(4, "little") + each for each in entries)
    vendor = b"somebody"
    body = len(vendor).to_bytes(4, "little") + vendor + len(entries).to_bytes(4, "little") + sized
    return with_flac_block(flac, 4, body)


def with_flac_cover(flac: bytes) -> bytes:
    png = io.BytesIO()
    with av.open(png, "w", format="image2pipe") as output:
        stream = output.add_stream("png", rate=1)
        assert isinstance(stream, av.VideoStream)
        stream.width = stream.height = 8
        stream.pix_fmt = "rgb24"
        output.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((8, 8, 3), np.uint8))))
        output.mux(stream.encode(None))
    kind, mime, picture = (3).to_bytes(4, "big"), b"image/png", png.getvalue()
    sizes = b"".join(each.to_bytes(4, "big") for each in (8, 8, 24, 0, len(picture)))
    body = kind + len(mime).to_bytes(4, "big") + mime + (0).to_bytes(4, "big") + sizes + picture
    return with_flac_block(flac, 6, body)


def with_id3(mp3: bytes, title: str) -> bytes:
    """Return an MP3 file with a title in front. Source: ID3v2.3.0, sections 3.1 and 3.3."""
    text = b"\x00" + title.encode()
    frame = b"TIT2" + len(text).to_bytes(4, "big") + b"\x00\x00" + text
    size = bytes((len(frame) >> shift) & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\x00\x00" + size + frame + mp3


@pytest.mark.parametrize(
    "other",
    [
        FLAC,
        with_flac_tags(FLAC, TITLE="hello"),
        with_flac_cover(FLAC),
        encoded(STEREO, 16_000, "aiff", "pcm_s16be"),
        encoded(STEREO, 16_000, "flac", "flac", options={"compression_level": "12"}),
        WAV + b"LIST\x04\x00\x00\x00INFO",
    ],
    ids=["flac", "tags", "cover", "aiff", "compressed", "a chunk more"],
)
def test_the_same_samples_are_the_same_sound(other: bytes) -> None:
    assert other != WAV
    assert digest(other) == digest(WAV)


@pytest.mark.parametrize("codec", ["pcm_s24le", "pcm_s32le"])
def test_wider_samples_are_compared_as_such(codec: str) -> None:
    """16 bits in 24 may be the same sound, and may have been made from another: they are not taken for one."""
    assert digest(encoded(STEREO, 16_000, "wav", codec)) != digest(WAV)


def test_real_speech_in_both_wrappings() -> None:
    assert digest(sample("slushy.wav")) == digest(sample("slushy.flac"))


@pytest.mark.parametrize(
    "other",
    [
        tone(2.0003, 16_000, channels=1),
        tone(2.0, 16_000, channels=2),
        tone(2.0003, 16_000, channels=2, hz=441.0),
        STEREO[::-1] // 2,
    ],
    ids=["channels", "length", "samples", "level"],
)
def test_other_samples_are_another_sound(other: np.ndarray[tuple[int, int], np.dtype[np.int16]]) -> None:
    assert digest(encoded(other, 16_000, "wav", "pcm_s16le")) != digest(WAV)


def test_the_rate_is_a_part_of_the_sound() -> None:
    assert digest(encoded(STEREO, 8_000, "wav", "pcm_s16le")) != digest(WAV)


def test_one_sample_makes_another() -> None:
    changed = STEREO.copy()
    changed[1, -1] += 1
    assert digest(encoded(changed, 16_000, "flac", "flac")) != digest(FLAC)


def test_other_containers_are_compared_by_their_packets() -> None:
    """The same packets under other tags; the same sound encoded otherwise is not looked for."""
    assert digest(with_id3(MP3, "hello")) == digest(MP3)
    assert digest(encoded(STEREO, 16_000, "mp3", "libmp3lame", bit_rate=32_000)) != digest(MP3)
    assert digest(MP3) != digest(WAV)


def with_samples_changed(file: bytes) -> bytes:
    return file[:-500] + bytes(100) + file[-400:]


def with_another_length(file: bytes) -> bytes:
    """Say in STREAMINFO that there is a sample more."""
    return file[:25] + bytes((file[25] + 1,)) + file[26:]


@pytest.mark.parametrize(
    "damaged",
    [with_samples_changed(FLAC), FLAC[: len(FLAC) // 2], with_another_length(FLAC)],
    ids=["bits", "cut", "header"],
)
def test_what_does_not_decode_to_its_end_has_none(damaged: bytes) -> None:
    with pytest.raises(UnreadableAudio):
        digest(damaged)


@pytest.mark.parametrize("at", range(len(FLAC) - 1, len(FLAC) - 4000, -211))
def test_a_flipped_bit_is_never_taken_for_the_same(at: int) -> None:
    flipped = FLAC[:at] + bytes((FLAC[at] ^ 0x10,)) + FLAC[at + 1 :]
    try:
        assert digest(flipped) != digest(FLAC)
    except UnreadableAudio:
        return


def two_tracks() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as output:
        streams = [output.add_stream("pcm_s16le", rate=16_000, layout="stereo") for _ in range(2)]
        for stream in streams:
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(STEREO.T.reshape(1, -1)), "s16", "stereo")
            frame.sample_rate = 16_000
            output.mux(stream.encode(frame))
    return file.getvalue()


def test_two_tracks_are_not_one_sound() -> None:
    with pytest.raises(UnreadableAudio, match="2 streams"):
        digest(two_tracks())


def test_it_stops_where_it_is_too_long() -> None:
    with pytest.raises(AudioTooLong):
        digest(FLAC, max_duration_s=1.0)
