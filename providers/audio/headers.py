"""Duration from the headers of wav, flac, ogg and mp3, in microseconds and without a decoder.

Sources: RIFF/WAVE (Microsoft 1991, RFC 2361), FLAC (RFC 9639), Ogg (RFC 3533), Opus in Ogg (RFC 7845),
Vorbis I section 4.2, MPEG audio frame header (ISO 11172-3), Xing/Info and VBRI headers.
A header that disagrees with the file's size gives None: somebody else must look closer.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from providers.types import Container

if TYPE_CHECKING:
    from providers.audio.content import Content

MIN_RATE_HZ, MAX_RATE_HZ, MAX_CHANNELS = 4_000, 384_000, 8
_OGG_TAIL_BYTES = 65_536  # a page is never longer
_PCM_WIDTHS = {1, 3, 0xFFFE}  # formats whose byte rate is exact: PCM, float, extensible


def duration_s(content: Content, container: Container | None) -> float | None:
    """Return the seconds of audio that the headers claim, or None where they cannot be believed."""
    read = _READERS.get(container) if container else None
    try:
        return read(content) if read else None
    except (struct.error, IndexError, ZeroDivisionError):
        return None


def _wav(content: Content) -> float | None:
    position, rate = 12, None
    while position + 8 <= content.size_bytes:
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
    if not (MIN_RATE_HZ <= rate <= MAX_RATE_HZ and 1 <= channels <= MAX_CHANNELS and byte_rate):
        return None
    if code in _PCM_WIDTHS and byte_rate != rate * channels * ((bits + 7) // 8):
        return None
    # 4 kHz at one bit a sample is the least that any telephone codec needs.
    return int(byte_rate) if 500 <= byte_rate <= rate * channels * 8 else None


def _flac(content: Content) -> float | None:
    head = content.read_at(4, 4 + 18)
    if head[0] & 0x7F != 0:  # STREAMINFO comes first, always
        return None
    packed = int.from_bytes(head[4 + 10 : 4 + 18], "big")
    rate, channels, bits = packed >> 44, (packed >> 41 & 7) + 1, (packed >> 36 & 31) + 1
    samples = packed & (1 << 36) - 1
    if not samples or not MIN_RATE_HZ <= rate <= MAX_RATE_HZ:
        return None
    seconds = samples / rate
    most_bytes = seconds * rate * channels * bits / 8
    # Longer than raw PCM by more than cover art and padding: the count is a lie.
    return float(seconds) if content.size_bytes <= most_bytes * 1.1 + 16_000_000 else None


def _ogg(content: Content) -> float | None:
    head = content.read_at(0, 128)
    serial = head[14:18]
    packet = head[27 + head[26] :]
    if packet.startswith(b"\x01vorbis"):
        rate, skip = struct.unpack("<I", packet[12:16])[0], 0
    elif packet.startswith(b"OpusHead"):
        rate, skip = 48_000, struct.unpack("<H", packet[10:12])[0]
    else:
        return None
    tail = content.read_at(max(0, content.size_bytes - _OGG_TAIL_BYTES), _OGG_TAIL_BYTES)
    last = tail.rfind(b"OggS")
    # Another stream, or a tail that was cut: the last page seen is not the end of this stream.
    if last < 0 or tail[last + 14 : last + 18] != serial or not MIN_RATE_HZ <= rate <= MAX_RATE_HZ:
        return None
    if not tail[last + 5] & 4:
        return None
    samples = struct.unpack("<q", tail[last + 6 : last + 14])[0] - skip
    seconds = samples / rate
    # 500 kbit/s for each of two channels is beyond any Opus or Vorbis stream; 4 kbit/s is below.
    plausible = seconds > 0 and 500 <= content.size_bytes / seconds <= 128_000
    return float(seconds) if plausible or 0 < seconds < 1 else None


def _mp3(content: Content) -> float | None:
    start = _after_id3(content)
    frame = content.read_at(start, 256)
    parsed = _mpeg_frame(frame)
    if parsed is None:
        return None
    rate, samples, kbps, side = parsed
    frames = _vbr_frames(frame, side)
    audio_bytes = content.size_bytes - start
    if frames:
        seconds = frames * samples / rate
        # 8 to 320 kbit/s with a little room for tags.
        return float(seconds) if 900 <= audio_bytes / seconds <= 48_000 else None
    # Constant bit rate is only a guess: a second frame with the same rate makes it a good one.
    following = _mpeg_frame(content.read_at(start + samples * kbps * 125 // rate, 4)) or _mpeg_frame(
        content.read_at(start + samples * kbps * 125 // rate + 1, 4)
    )
    return audio_bytes / (kbps * 125) if following and following[2] == kbps else None


def _after_id3(content: Content) -> int:
    head = content.read_at(0, 10)
    if not head.startswith(b"ID3"):
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return 10 + size + (10 if head[5] & 0x10 else 0)


_KBPS_1: Final = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBPS_2: Final = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES: Final = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


def _mpeg_frame(frame: bytes) -> tuple[int, int, int, int] | None:
    """Return rate in Hz, samples a frame, kbit/s and the Xing offset of a layer III frame."""
    if len(frame) < 4 or frame[0] != 0xFF or frame[1] & 0xE6 != 0xE2:
        return None
    version, rate_index = frame[1] >> 3 & 3, frame[2] >> 2 & 3
    if version == 1 or rate_index == 3 or frame[2] >> 4 in {0, 15}:
        return None
    mono = frame[3] >> 6 == 3
    if version == 3:
        return _RATES[3][rate_index], 1152, _KBPS_1[frame[2] >> 4], 4 + (17 if mono else 32)
    return _RATES[version][rate_index], 576, _KBPS_2[frame[2] >> 4], 4 + (9 if mono else 17)


def _vbr_frames(frame: bytes, side: int) -> int | None:
    if frame[side : side + 4] in {b"Xing", b"Info"} and frame[side + 7] & 1:
        return int.from_bytes(frame[side + 8 : side + 12], "big")
    if frame[36:40] == b"VBRI":
        return int.from_bytes(frame[50:54], "big")
    return None


_READERS: Final = {
    Container.WAV: _wav,
    Container.FLAC: _flac,
    Container.OGG: _ogg,
    Container.MP3: _mp3,
}
