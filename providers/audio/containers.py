"""What a body is, told from its first bytes. Names and Content-Types lie; magic numbers do so less often."""

from __future__ import annotations

from typing import Final

from providers.types import Container

HEAD_BYTES = 64  # all that `sniff` looks at

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
    (b"<html", "an HTML page"),
)


def sniff(head: bytes) -> Container | None:
    """Return the container that begins so, or None. head: the first HEAD_BYTES of the body."""
    for matches, container in _SIGNATURES:
        if matches(head):
            return container
    return None


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
    return len(head) > 2 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0


def _is_mpeg_audio(head: bytes) -> bool:
    """Sync, a version, a layer, a bit rate and a sample rate that exist: sync alone is too weak."""
    return (
        len(head) > 3
        and head[0] == 0xFF
        and head[1] & 0xE0 == 0xE0
        and head[1] & 0x18 != 0x08
        and head[1] & 0x06 != 0
        and head[2] & 0xF0 not in {0x00, 0xF0}
        and head[2] & 0x0C != 0x0C
    )


_SIGNATURES: Final = (
    (lambda h: h[:4] in {b"RIFF", b"RF64", b"BW64"} and h[8:12] == b"WAVE", Container.WAV),
    (lambda h: h[:4] == b"fLaC", Container.FLAC),
    (lambda h: h[:4] == b"OggS", Container.OGG),
    (lambda h: h[:3] == b"ID3", Container.MP3),
    (lambda h: h[4:8] in {b"ftyp", b"moov", b"mdat"}, Container.MP4),
    (lambda h: h[:4] == b"\x1aE\xdf\xa3", Container.WEBM),
    (lambda h: h[:4] == b"FORM" and h[8:12] in {b"AIFF", b"AIFC"}, Container.AIFF),
    (lambda h: h[:5] == b"#!AMR", Container.AMR),
    (lambda h: h[:4] == b"caff", Container.CAF),
    (lambda h: h[:16] == bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), Container.ASF),
    (lambda h: h[:4] == b".snd", Container.AU),
    (lambda h: h[:4] == b"riff" and h[24:28] == b"wave", Container.W64),
    (_is_adts, Container.AAC),
    (_is_mpeg_audio, Container.MP3),
)
