"""Request bodies that several services share."""

from __future__ import annotations

import io
import json
from email import message_from_bytes
from email.message import Message
from typing import TYPE_CHECKING

import pybase64
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multipart import parse_form_data

from providers.bodies import AUDIO, json_body, json_post, json_with_audio, multipart
from providers.emulators.ear import as_audio
from providers.exchange import Base64
from providers.transport import piece_size
from tests.conftest import sample, sample_audio

if TYPE_CHECKING:
    from providers.exchange import Body, HttpRequest


def joined(body: Body) -> bytes:
    """Return the body as it goes over the wire."""
    whole = b""
    for piece in body:
        match piece:
            case bytes():
                part = piece
            case Base64(content):
                part = pybase64.b64encode(content.read_at(0, content.size_bytes))
            case _:
                part = piece.read_at(0, piece.size_bytes)
        assert len(part) == piece_size(piece)
        whole += part
    return whole


def parts(request: HttpRequest) -> list[tuple[str, str | None, str, bytes]]:
    """Read the form with the standard library: name, file name, type and value of each part."""
    head = f"content-type: {request.headers['content-type']}\r\n\r\n".encode()
    read = message_from_bytes(head + joined(request.body))
    found = []
    for part in read.get_payload():
        assert isinstance(part, Message)
        payload = part.get_payload(decode=True)
        assert isinstance(payload, bytes)
        name = str(part.get_param("name", header="content-disposition"))
        found.append((name, part.get_filename(), part.get_content_type(), payload))
    return found


def test_a_form_holds_the_fields_in_order_and_then_the_audio() -> None:
    fields = [("model", "m"), ("timestamp_granularities[]", "word"), ("timestamp_granularities[]", "segment")]
    request = multipart("https://x.example/v1", fields, sample_audio("slushy.mp3"), part="audio")

    assert (request.method, request.url) == ("POST", "https://x.example/v1")
    assert parts(request) == [
        *((name, None, "text/plain", value.encode()) for name, value in fields),
        ("audio", "audio.mp3", "audio/mpeg", sample("slushy.mp3")),
    ]


@pytest.mark.parametrize(
    ("name", "file_name", "media_type"),
    [
        ("slushy.m4a", "audio.m4a", "audio/mp4"),
        ("slushy.opus", "audio.ogg", "audio/ogg"),
        ("slushy.webm", "audio.webm", "audio/webm"),
    ],
)
def test_the_file_is_named_and_labelled_by_what_it_is(name: str, file_name: str, media_type: str) -> None:
    """OpenAI decides by the extension alone."""
    (part,) = parts(multipart("https://x.example", [], sample_audio(name)))

    assert part[:3] == ("file", file_name, media_type)


def test_what_nobody_knows_is_not_called_wav() -> None:
    (part,) = parts(multipart("https://x.example", [], as_audio(b"whatever")))

    assert part[:3] == ("file", "audio.bin", "application/octet-stream")


@given(value=st.text(max_size=60))
def test_any_prompt_comes_through_a_form(value: str) -> None:
    """Read with a parser of its own; half a surrogate pair, which has no UTF-8, becomes a question mark."""
    request = multipart("https://x.example", [("prompt", value)], as_audio(b"audio"))
    environ = {
        "REQUEST_METHOD": "POST",
        "CONTENT_TYPE": request.headers["content-type"],
        "wsgi.input": io.BytesIO(joined(request.body)),
    }
    forms, files = parse_form_data(environ, strict=True)

    assert forms["prompt"].encode() == value.encode(errors="replace")
    assert files["file"].raw == b"audio"


def test_each_form_has_a_boundary_of_its_own() -> None:
    """A caller who knew it could end the part in the middle of a prompt."""
    first, second = (multipart("https://x.example", [], as_audio(b"")).headers["content-type"] for _ in range(2))

    assert first != second


@pytest.mark.parametrize("data_uri", [False, True])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 1000])
def test_json_with_the_audio_inside(size: int, *, data_uri: bool) -> None:
    audio = as_audio(sample("slushy.wav")[:size])
    body = json_with_audio({"a": 1, "deep": {"inputs": AUDIO, "b": [2]}, "prompt": 'é"\n'}, audio, data_uri=data_uri)
    label = f"data:{audio.media_type};base64," if data_uri else ""
    encoded = pybase64.b64encode(sample("slushy.wav")[:size]).decode()

    assert json.loads(joined(body)) == {"a": 1, "deep": {"inputs": label + encoded, "b": [2]}, "prompt": 'é"\n'}


@given(prompt=st.text(max_size=40) | st.just(r"\u0000audio\u0000") | st.just(r"\\u0000audio"))
def test_a_prompt_is_never_taken_for_the_audio(prompt: str) -> None:
    body = json_with_audio({"prompt": prompt, "inputs": AUDIO}, as_audio(b"abc"), data_uri=False)

    assert json.loads(joined(body)) == {"prompt": prompt, "inputs": "YWJj"}


def test_json_without_a_place_for_the_audio_is_our_fault() -> None:
    with pytest.raises(ValueError, match="no field is AUDIO"):
        json_with_audio({"inputs": "x"}, as_audio(b"abc"), data_uri=False)


def test_plain_json_is_ascii() -> None:
    assert json_body({"text": "é"}) == (b'{"text": "\\u00e9"}',)


def test_a_post_of_json_says_what_it_is() -> None:
    request = json_post("https://a.example/jobs", {"n": 1})

    assert (request.method, request.url, request.body) == ("POST", "https://a.example/jobs", (b'{"n": 1}',))
    assert request.headers == {"content-type": "application/json"}
