"""What a body is, told from its first bytes. Names and Content-Types lie; magic numbers do so less often."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from providers.types import Container

if TYPE_CHECKING:
    from providers.audio.content import Content

HEAD_BYTES = 512  # all that `sniff` looks at

MEDIA_TYPES: Final = {
    Container.WAV: "audio/wav",
    Container.FLAC: "audio/flac",
    Container.MP3: "audio/mpeg",
    Container.OGG: "audio/ogg",
    Container.MP4: "audio/mp4",
    Container.WEBM: "audio/webm",
    Container.AAC: "audio/aac",
    Container.AMR: "audio/amr",
    Container.AIFF: "audio/aiff",
    Container.CAF: "audio/x-caf",
    Container.ASF: "audio/x-ms-wma",
    Container.AU: "audio/basic",
    Container.W64: "audio/x-w64",
    Container.MPEGTS: "video/mp2t",
    Container.SAMPLES: "application/octet-stream",
}

EXTENSIONS: Final = {
    **{container: container.value for container in Container},
    Container.MP4: "m4a",
    Container.ASF: "wma",
    Container.MPEGTS: "ts",
}

# What people upload by mistake, named so that the answer can say what it was.
_NOT_AUDIO: Final = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "gzip-compressed data"),
    (b"(\xb5/\xfd", "zstd-compressed data"),
    (b"MThd", "a MIDI file"),
    (b"<!DOCTYPE", "an HTML page"),
    (b"<!doctype", "an HTML page"),
    (b"<html", "an HTML page"),
    (b"#EXTM3U", "an HLS playlist"),
    (b"<?xml", "an XML document"),
    (b"v=0", "an SDP session description"),
    (b"ffconcat", "a list of files for FFmpeg"),
)


def sniff(head: bytes) -> Container | None:
    """Return the container that begins so, or None. head: the first HEAD_BYTES of the body.

    After an ID3 tag that ends beyond the head an MP3 file is assumed; `identify` looks there.
    """
    tag_bytes = id3_bytes(head)
    if tag_bytes:
        return _by_signature(head[tag_bytes:]) or Container.MP3
    return _by_signature(head)


def identify(content: Content, sniffed: Container | None = None) -> Container | None:
    """Return the container of a whole body, or None. Skips an ID3 tag, which AAC and FLAC files wear too.

    sniffed: what its first bytes were taken for already. Only an MP3 file may have been assumed.
    """
    if sniffed is not None and sniffed is not Container.MP3:
        return sniffed
    head = content.read_at(0, HEAD_BYTES)
    tag_bytes = id3_bytes(head)
    if not tag_bytes:
        return sniff(head)
    return sniff(content.read_at(tag_bytes, HEAD_BYTES)) or Container.MP3


def id3_bytes(head: bytes) -> int:
    """Return the length of the ID3v2 tag that begins so, 0 where there is none (ID3v2.4, section 3.1)."""
    if len(head) < 10 or not head.startswith(b"ID3"):
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return 10 + size + (10 if head[5] & 0x10 else 0)


def _by_signature(head: bytes) -> Container | None:
    return next((container for matches, container in _SIGNATURES if matches(head)), None)


def name_of_other(head: bytes) -> str | None:
    """Name a well-known kind of file that is not audio."""
    return next((name for magic, name in _NOT_AUDIO if head.startswith(magic)), None)


def media_type(container: Container | None) -> str:
    """Return the type to label a container with; octet-stream where it is unknown."""
    return MEDIA_TYPES[container] if container else "application/octet-stream"


def file_name(container: Container | None) -> str:
    """Return a file name whose extension is true: some services decide by nothing else."""
    return f"audio.{EXTENSIONS[container]}" if container else "audio.bin"


def _is_adts(head: bytes) -> bool:
    """Tell by sync, layer 0 (which MP3 never has) and a sampling frequency that exists."""
    return len(head) > 2 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0 and head[2] >> 2 & 15 < 13


def _is_mpeg_audio(head: bytes) -> bool:
    """Tell by sync, version, layer II or III, bit rate and sample rate: sync alone is too weak.

    Layer I is dead, and text in UTF-16 begins like it.
    """
    return (
        len(head) > 3
        and head[0] == 0xFF
        and head[1] & 0xE0 == 0xE0
        and head[1] & 0x18 != 0x08
        and head[1] & 0x06 in {0x02, 0x04}
        and head[2] & 0xF0 not in {0x00, 0xF0}
        and head[2] & 0x0C != 0x0C
    )


_SIGNATURES: Final = (  # what is sent most first
    (lambda h: h[:4] in {b"RIFF", b"RF64", b"BW64"} and h[8:12] == b"WAVE", Container.WAV),
    (_is_mpeg_audio, Container.MP3),
    (lambda h: h[:4] == b"fLaC", Container.FLAC),
    (lambda h: h[:4] == b"OggS", Container.OGG),
    (lambda h: h[4:8] in {b"ftyp", b"moov", b"mdat", b"wide"}, Container.MP4),
    (lambda h: h[:4] == b"\x1aE\xdf\xa3", Container.WEBM),
    (lambda h: h[:4] == b"FORM" and h[8:12] in {b"AIFF", b"AIFC"}, Container.AIFF),
    (lambda h: h[:5] == b"#!AMR", Container.AMR),
    (lambda h: h[:4] == b"caff", Container.CAF),
    (lambda h: h[:16] == bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), Container.ASF),
    (lambda h: h[:4] == b".snd", Container.AU),
    (lambda h: h[:4] == b"riff" and h[24:28] == b"wave", Container.W64),
    (_is_adts, Container.AAC),
    (lambda h: h[:377:188] == b"GGG", Container.MPEGTS),  # the sync byte of three packets
)
