"""Request bodies that several services share: multipart forms and JSON with the audio inside."""

from __future__ import annotations

import json
from os import urandom
from typing import TYPE_CHECKING, TypeAlias

from providers.audio.containers import file_name
from providers.exchange import Base64, Body, HttpRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from providers.types import Audio

Fields: TypeAlias = "Iterable[tuple[str, str]]"
_MARK = "\x00audio\x00"


def multipart(url: str, fields: Fields, audio: Audio, *, part: str = "file") -> HttpRequest:
    """Build a POST of a form: the fields in order, then the audio, named and labelled by what it is."""
    boundary = urandom(16).hex()
    head = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields
    )
    head += (
        f'--{boundary}\r\nContent-Disposition: form-data; name="{part}"; filename="{file_name(audio.container)}"\r\n'
        f"Content-Type: {audio.media_type}\r\n\r\n"
    )
    return HttpRequest(
        method="POST",
        url=url,
        headers={"content-type": f"multipart/form-data; boundary={boundary}"},
        # Half a surrogate pair, which JSON can smuggle in, has no UTF-8.
        body=(head.encode(errors="replace"), audio.content, f"\r\n--{boundary}--\r\n".encode()),
    )


def json_with_audio(fields: Mapping[str, object], audio: Audio, *, data_uri: bool) -> Body:
    """Build a JSON body in which AUDIO stands for the base64 of the audio, bare or as a data URI."""
    head, found, tail = json.dumps(fields).partition(json.dumps(AUDIO)[1:-1])
    if not found:
        raise ValueError("no field is AUDIO")
    label = f"data:{audio.media_type};base64," if data_uri else ""
    return (head.encode() + label.encode(), Base64(audio.content), tail.encode())


AUDIO = _MARK
"""The value that `json_with_audio` replaces. A caller's text cannot hold it: NUL is refused at the edge."""


def json_post(url: str, fields: Mapping[str, object]) -> HttpRequest:
    """Build a POST of plain JSON."""
    return HttpRequest(method="POST", url=url, headers={"content-type": "application/json"}, body=json_body(fields))


def json_body(fields: Mapping[str, object]) -> Body:
    """Build a plain JSON body."""
    return (json.dumps(fields).encode(),)
