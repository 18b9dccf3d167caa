"""Duration from the headers of wav, flac, ogg and mp3, in microseconds and without a decoder.

Sources: RIFF/WAVE (Microsoft 1991, RFC 2361), FLAC (RFC 9639), Ogg (RFC 3533), Opus in Ogg (RFC 7845),
Vorbis I section 4.2, MPEG audio frame header (ISO 11172-3), Xing/Info and VBRI headers.
A header that disagrees with the rest of the file gives None: somebody else must look closer.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from providers.audio.containers import id3_bytes
from providers.types import Container

if TYPE_CHECKING:
    from providers.audio.content import Content

MIN_RATE_HZ, MAX_RATE_HZ, MAX_CHANNELS = 4_000, 384_000, 8
_EXACT_WAV = {1, 3, 6, 7, 0xFFFE}  # PCM, float, A-law, mu-law, extensible: the byte rate follows from the rest
_MOST_WAV_CHUNKS = 64
_FLAC_TAIL_BYTES = 65_536  # holds the last frame but for 8 channels of noise
_MOST_FLAC_SYNCS = 64  # two bytes of noise look like one once in 32 kB
_OGG_WHOLE_BYTES = 4 * 1024 * 1024  # an Ogg file up to this size is looked at whole, for streams chained to the first


def duration_s(content: Content, container: Container | None) -> float | None:
    """Return the seconds of audio that the headers claim, or None where they cannot be believed."""
    read = _READERS.get(container) if container else None
    try:
        return read(content) if read else None
    except (struct.error, IndexError, ZeroDivisionError):
        return None


def _wav(content: Content) -> float | None:
    position, rate = 12, None
    for _ in range(_MOST_WAV_CHUNKS):
        name, size = struct.unpack("<4sI", content.read_at(position, 8))
        if name == b"fmt ":
            rate = _wav_byte_rate(content.read_at(position + 8, 16))
            if rate is None:
                return None
        elif name == b"data":
            present = content.size_bytes - position - 8
            return min(size, present) / rate if rate and size else None
        position += 8 + size + size % 2
    return None


def _wav_byte_rate(fmt: bytes) -> int | None:
    code, channels, rate, byte_rate, _, bits = struct.unpack("<HHIIHH", fmt)
    plausible = MIN_RATE_HZ <= rate <= MAX_RATE_HZ and 1 <= channels <= MAX_CHANNELS and code in _EXACT_WAV
    return int(byte_rate) if plausible and byte_rate == rate * channels * ((bits + 7) // 8) else None


def _flac(content: Content) -> float | None:
    start = id3_bytes(content.read_at(0, 10))
    head = content.read_at(start, 4 + 4 + 34)
    if head[:4] != b"fLaC" or head[4] & 0x7F != 0:  # STREAMINFO comes first, always
        return None
    packed = int.from_bytes(head[18:26], "big")
    rate, samples = packed >> 44, packed & (1 << 36) - 1
    if not samples or not MIN_RATE_HZ <= rate <= MAX_RATE_HZ:
        return None
    block_size = int.from_bytes(head[8:10], "big")
    return samples / rate if _last_flac_sample(content, block_size) == samples else None


def _last_flac_sample(content: Content, block_size: int) -> int | None:
    """Return where the last frame ends, in samples. block_size: of streams whose blocks are all alike."""
    tail = content.read_at(max(0, content.size_bytes - _FLAC_TAIL_BYTES), _FLAC_TAIL_BYTES) + bytes(16)
    position = len(tail)
    for _ in range(_MOST_FLAC_SYNCS):
        position = max(tail.rfind(sync, 0, position) for sync in (b"\xff\xf8", b"\xff\xf9"))
        if position < 0:
            return None
        end = _flac_frame_end(tail[position : position + 16], block_size)
        if end is not None:
            return end
    return None


def _flac_frame_end(frame: bytes, block_size: int) -> int | None:
    """Read a frame header (RFC 9639, section 9.1); None where its check does not come out."""
    size_code, rate_code = frame[2] >> 4, frame[2] & 15
    width = max(1, 8 - (frame[4] ^ 0xFF).bit_length())  # of the coded number: as in UTF-8, up to 7 bytes
    number = frame[4] & 0x7F >> (width if width > 1 else 0)
    for byte in frame[5 : 4 + width]:
        number = number << 6 | byte & 0x3F
    at = 4 + width
    extra = {6: 1, 7: 2}.get(size_code, 0)
    length = int.from_bytes(frame[at : at + extra], "big") + 1 if extra else _flac_block(size_code)
    at += extra + {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if not length or _crc8(frame[:at]) != frame[at]:
        return None
    return (number if frame[1] & 1 else number * block_size) + length


def _flac_block(code: int) -> int:
    if code == 1:
        return 192
    return 144 << code if 2 <= code <= 5 else 1 << code if code >= 8 else 0


def _crc8(header: bytes) -> int:
    remainder = 0
    for byte in header:
        remainder ^= byte
        for _ in range(8):
            remainder = (remainder << 1 ^ (0x07 if remainder & 0x80 else 0)) & 0xFF
    return remainder


def _ogg(content: Content) -> float | None:
    if content.size_bytes > _OGG_WHOLE_BYTES:
        return None
    whole = content.read_at(0, content.size_bytes)
    if whole.count(b"OggS\0\x02") != 1:  # other streams, beside this one or after it
        return None
    head = whole[:128]
    packet = head[27 + head[26] :]
    if packet.startswith(b"\x01vorbis"):
        rate, skip = struct.unpack("<I", packet[12:16])[0], 0
    elif packet.startswith(b"OpusHead"):
        rate, skip = 48_000, struct.unpack("<H", packet[10:12])[0]
    else:
        return None
    last = whole[whole.rfind(b"OggS") :]
    page_bytes = 27 + last[26] + sum(last[27 : 27 + last[26]])
    is_last = last[5] & 4 and last[14:18] == head[14:18] and len(last) == page_bytes
    if not is_last or not MIN_RATE_HZ <= rate <= MAX_RATE_HZ:  # cut off, or another stream's page
        return None
    seconds = (struct.unpack("<q", last[6:14])[0] - skip) / rate
    # 500 kbit/s for each of two channels is beyond any Opus or Vorbis stream; 4 kbit/s is below.
    plausible = seconds > 0 and 500 <= content.size_bytes / seconds <= 128_000
    return float(seconds) if plausible or 0 < seconds < 1 else None


def _mp3(content: Content) -> float | None:
    start = id3_bytes(content.read_at(0, 10))
    first = content.read_at(start, 256)
    frame = _mpeg_frame(first)
    if frame is None:
        return None
    audio_bytes = content.size_bytes - start - _id3v1_bytes(content)
    frames = _vbr_frames(first, frame.side_bytes)
    if frames:
        seconds = (frames * frame.samples - _padding(first, frame.side_bytes)) / frame.rate_hz
        # 8 to 320 kbit/s with a little room for tags.
        return seconds if seconds > 0 and 900 <= audio_bytes / seconds <= 48_000 else None
    return audio_bytes / (frame.kbps * 125) if _is_constant(content, start, audio_bytes, frame) else None


def _is_constant(content: Content, start: int, audio_bytes: int, first: _Frame) -> bool:
    """Tell whether frames of the first one's bit rate stand where a constant bit rate puts them."""
    frame_bytes = first.samples * first.kbps * 125 / first.rate_hz
    frames = int(audio_bytes / frame_bytes)
    for number in (1, 2, frames // 4, frames // 2, frames * 3 // 4, frames - 1):
        near = content.read_at(start + int(number * frame_bytes), 5)  # padding may have moved it by one byte
        if first not in {_mpeg_frame(near), _mpeg_frame(near[1:])}:
            return False
    return frames > 2


def _id3v1_bytes(content: Content) -> int:
    return 128 if content.read_at(max(0, content.size_bytes - 128), 3) == b"TAG" else 0


class _Frame(NamedTuple):
    """What the header of a layer III frame says."""

    rate_hz: int
    samples: int
    kbps: int
    side_bytes: int  # header and side information: where a Xing header would stand


_KBPS_1: Final = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBPS_2: Final = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES: Final = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


def _mpeg_frame(frame: bytes) -> _Frame | None:
    if len(frame) < 4 or frame[0] != 0xFF or frame[1] & 0xE6 != 0xE2:
        return None
    version, rate_index = frame[1] >> 3 & 3, frame[2] >> 2 & 3
    if version == 1 or rate_index == 3 or frame[2] >> 4 in {0, 15}:
        return None
    mono = frame[3] >> 6 == 3
    if version == 3:
        return _Frame(_RATES[3][rate_index], 1152, _KBPS_1[frame[2] >> 4], 4 + (17 if mono else 32))
    return _Frame(_RATES[version][rate_index], 576, _KBPS_2[frame[2] >> 4], 4 + (9 if mono else 17))


def _vbr_frames(frame: bytes, side: int) -> int | None:
    if frame[side : side + 4] in {b"Xing", b"Info"} and frame[side + 7] & 1:
        return int.from_bytes(frame[side + 8 : side + 12], "big")
    if frame[36:40] == b"VBRI":
        return int.from_bytes(frame[50:54], "big")
    return None


def _padding(frame: bytes, side: int) -> int:
    """Return the samples that the encoder added at both ends, where a LAME tag follows the Xing header."""
    if frame[side + 120 : side + 124] not in {b"LAME", b"Lavc", b"Lavf"}:
        return 0
    both = int.from_bytes(frame[side + 141 : side + 144], "big")
    return (both >> 12) + (both & 0xFFF)


_READERS: Final = {
    Container.WAV: _wav,
    Container.FLAC: _flac,
    Container.OGG: _ogg,
    Container.MP3: _mp3,
}
