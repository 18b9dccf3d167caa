"""The files of the page for people, read once."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from pathlib import PurePath
from typing import Final

TYPES: Final = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".mp3": "audio/mpeg",
}
_TEXT: Final = frozenset({".html", ".css", ".js", ".svg"})


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file of the page."""

    body: bytes
    media_type: str
    charset: str | None
    etag: str


def load_files() -> dict[str, File]:
    """Read every file of the page, some 100 kB in all."""
    folder = files("gateway") / "console"
    return {each.name: _file(each.name, each.read_bytes()) for each in folder.iterdir() if each.is_file()}


def _file(name: str, body: bytes) -> File:
    suffix = PurePath(name).suffix
    return File(
        body=body,
        media_type=TYPES[suffix],
        charset="utf-8" if suffix in _TEXT else None,
        etag=sha256(body).hexdigest()[:32],
    )
