"""What a service heard, by its digest, while it arrives: of a raw body, or of the file within a form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from blake3 import blake3
from multipart import MultipartSegment, PushMultipartParser

if TYPE_CHECKING:
    from collections.abc import Mapping


class Heard(Protocol):
    """Takes a body piece by piece, wherever it is cut."""

    def update(self, piece: bytes) -> object: ...
    def hexdigest(self) -> str: ...


class FormHeard:
    """The digest of the part `file` of a form."""

    def __init__(self, boundary: str) -> None:
        self._parser = PushMultipartParser(boundary)
        self._known = blake3()
        self._part = ""

    def update(self, piece: bytes) -> None:
        """Raise MultipartError where it is no form."""
        for event in self._parser.parse(piece):
            match event:
                case MultipartSegment():
                    self._part = event.name or ""
                case None:
                    self._part = ""
                case _ if self._part == "file":
                    self._known.update(bytes(event))

    def hexdigest(self) -> str:
        """Return the digest; raise MultipartError where the form has not come to its end."""
        self._parser.close()
        return self._known.hexdigest()


def heard_of(headers: Mapping[str, str]) -> Heard:
    """Return what takes the body that these headers, in lower case, announce."""
    kind, _, boundary = headers.get("content-type", "").partition("boundary=")
    return FormHeard(boundary.strip('"')) if kind.startswith("multipart/form-data") else blake3()
