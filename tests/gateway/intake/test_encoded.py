"""Audio inside JSON and text comes out as it went in, in slices; what is no base64 is refused with its place."""

from __future__ import annotations

import asyncio
import base64
import json
import tempfile
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.intake.encoded import Decoded, decode_document, decode_text, looks_like_text
from gateway.intake.spool import SpoolBudget
from gateway.policies.addresses import MAX_ADDRESS_CHARACTERS
from gateway.problems import Problem
from providers.audio.content import Content, FileContent, MemoryContent

MIB = 1 << 20
AMPLE = 64 * MIB


def room() -> SpoolBudget:
    return SpoolBudget(memory_per_upload=MIB, memory_total=8 * MIB, disk_total=64 * MIB)


def noise(size: int) -> bytes:
    return blake3(b"noise").digest(length=size)


def in_file(body: bytes) -> FileContent:
    file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed with the content
    file.write(body)
    return FileContent(file, len(body))


def decoded(
    body: bytes | Content, path: tuple[str, ...] = ("inputs",), max_bytes: int = AMPLE
) -> tuple[bytes, dict[str, Any]]:
    return finished(body, lambda content, budget: decode_document(content, path, budget, max_bytes))


def decoded_text(body: bytes | Content, max_bytes: int = AMPLE) -> bytes:
    return finished(body, lambda content, budget: decode_text(content, budget, max_bytes))[0]


def finished(body: bytes | Content, work: Any) -> tuple[bytes, dict[str, Any]]:
    """Return the audio and the rest of the document; nothing is left in the budget, by a failure neither."""
    content, budget = MemoryContent(body) if isinstance(body, bytes) else body, room()
    try:
        made: Decoded = asyncio.run(work(content, budget))
    except Problem:
        assert (budget.memory_used, budget.disk_used) == (0, 0)
        raise
    finally:
        content.close()
    audio = b"".join(made.content.slices())
    assert made.digest == blake3(audio).hexdigest()
    made.spool.close()
    assert (budget.memory_used, budget.disk_used) == (0, 0)
    return audio, made.document


def named(body: bytes) -> tuple[str | None, dict[str, Any]]:
    """Return the address in a document, and the rest of it; there is no audio then."""
    budget = room()
    made = asyncio.run(decode_document(MemoryContent(body), ("inputs",), budget, AMPLE))
    assert made.content.size_bytes == 0
    made.spool.close()
    assert (budget.memory_used, budget.disk_used) == (0, 0)
    return made.address, made.document


def refusal(body: bytes, path: tuple[str, ...] = ("inputs",)) -> Problem:
    with pytest.raises(Problem) as told:
        decoded(body, path)
    return told.value


def as_written(text: str, how: str) -> str:
    """Return base64 as one encoder or another puts it into JSON."""
    match how:
        case "slashes":  # PHP
            return '"' + text.replace("/", "\\/") + '"'
        case "escapes":  # .NET
            return '"' + "".join(f"\\u{ord(c):04X}" if c in "+/=" else c for c in text) + '"'
        case "lines":  # Java's and Python's MIME encoders
            return json.dumps("\r\n".join(text[at : at + 76] for at in range(0, len(text), 76)))
        case "uri":
            return json.dumps(f"data:audio/webm;codecs=opus;base64,{text}")
        case "escaped uri":
            return '"' + f"data:audio/wav;base64,{text}".replace("/", "\\/") + '"'
    return json.dumps(text)


WAYS = ["plain", "slashes", "escapes", "lines", "uri", "escaped uri"]


@pytest.mark.parametrize("how", WAYS)
@given(audio=st.binary(max_size=400))
@example(audio=b"\xff\xef\xbe" * 50)  # all slashes and pluses
@settings(max_examples=40, deadline=None)
def test_audio_comes_out_as_it_went_in(how: str, audio: bytes) -> None:
    """However the encoder escaped, broke or labelled it."""
    text = as_written(base64.b64encode(audio).decode(), how)
    heard, document = decoded(f' {{"parameters": {{"a": [1]}} , "inputs" : {text} }}\n'.encode())
    assert heard == audio
    assert document == {"parameters": {"a": [1]}}


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("where", ["memory", "file"])
def test_large_audio_is_cut_anywhere(how: str, where: str) -> None:
    """Three slices and a bit, with an escape or a line break at every possible place of the cuts."""
    audio = noise(2_500_003)
    body = b'{"inputs":%b}' % as_written(base64.b64encode(audio).decode(), how).encode()
    assert decoded(body if where == "memory" else in_file(body))[0] == audio


@pytest.mark.parametrize("shift", range(8))
def test_an_escape_across_two_slices_is_read_whole(shift: int) -> None:
    text = "A" * (MIB - 8 + shift) + "/" * 64
    text += "A" * (-len(text) % 4)
    body = f'{{"inputs":{as_written(text, "escapes")}}}'.encode()
    assert decoded(body)[0] == base64.b64decode(text)


def test_the_audio_may_lie_deep() -> None:
    heard, document = decoded(b'{"version":"v","input":{"task":"x","audio":"QUJD"}}', ("input", "audio"))
    assert (heard, document) == (b"ABC", {"version": "v", "task": "x"})


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "not a JSON object"),
        (b"{}x", "not a JSON object"),
        (b'{"inputs":"QUJD"', "not a JSON object"),
        (b'{"inputs":"QU\nJD"}', "not a JSON object"),
        (b'{"inputs":"QUJD","n":NaN}', "not a JSON object"),
        (b'{"x":' + b"[" * 200_000, "not a JSON object"),
        (b"{}", "inputs: missing"),
        (b'{"input":"QUJD"}', "inputs: missing"),
        (b'{"inputs":7}', "expected a string of base64"),
        (b'{"inputs":null}', "expected a string of base64"),
        (b'{"inputs":["QUJD"]}', "expected a string of base64"),
        (b'{"inputs":"QUJ"}', "not base64"),
        (b'{"inputs":"QU-_"}', "not base64"),
        (b'{"inputs":"QQ==QUJD"}', "not base64"),
        (b'{"inputs":"QUJD\\\\"}', "not base64"),
        (b'{"inputs":"QUJD\\u00e9"}', "not base64"),
        ('{"inputs":"QUJDé"}'.encode(), "not base64"),
        (b'{"inputs":"/etc/passwd"}', "not base64"),
        (b'{"inputs":"file:///etc/passwd"}', "not base64"),
        (b'{"inputs":"data:audio/wav,abc"}', "expected a data URI with ;base64"),
        (b'{"inputs":"data:audio/wav;base64"}', "expected a data URI with ;base64"),
        (b'{"inputs":"QUJD","x":"%b"}' % (b"x" * MIB), "larger than"),
    ],
)
def test_what_is_wrong_is_named(body: bytes, says: str) -> None:
    problem = refusal(body)
    assert (problem.status, problem.type) == (400, "bad-request")
    assert says in problem.message
    assert "passwd" not in problem.message.replace("inputs", "")


def test_padding_ends_the_text_also_at_a_slice() -> None:
    """Else one clip would hide behind another."""
    first = base64.b64encode(b"x" * (3 * MIB // 4 - 1))
    assert len(first) == MIB
    assert "padding before the end" in refusal(b'{"inputs":"%b"}' % (first + b"QUJD")).message


@pytest.mark.parametrize("scheme", ["http://", "HTTPS://", "http:\\/\\/", " https://"])
def test_an_address_is_handed_on(scheme: str) -> None:
    """As it is written, with everything else beside it, and no audio."""
    address = f"{scheme}example.com/a.wav?X-Signature=a%2Fb"
    made, document = named(f'{{"inputs":"{address}","parameters":{{}}}}'.encode())
    assert (made, document) == (address.replace("\\", "").strip(), {"parameters": {}})


@pytest.mark.parametrize("length", [MAX_ADDRESS_CHARACTERS, MAX_ADDRESS_CHARACTERS + 1, 3 * MIB])
def test_no_more_of_an_address_is_kept_than_tells_that_it_is_too_long(length: int) -> None:
    address = "https://example.com/" + "a" * (length - 20)
    assert named(b'{"inputs":"%b"}' % address.encode())[0] == address[: MAX_ADDRESS_CHARACTERS + 1]


def test_an_address_with_a_space_in_it_stays_one_that_has_it() -> None:
    """White space is skipped in base64 alone: else another place would be asked."""
    assert named(b'{"inputs":"https://example.com/a b.wav\\n"}')[0] == "https://example.com/a b.wav"


def test_more_audio_than_allowed_is_413() -> None:
    body = b'{"inputs":"%b"}' % base64.b64encode(bytes(1001))
    with pytest.raises(Problem) as told:
        decoded(body, max_bytes=1000)
    assert (told.value.status, told.value.type) == (413, "too-large")


@given(st.binary(max_size=120) | st.text(max_size=60).map(lambda text: f'{{"inputs":"{text}"}}'.encode()))
@settings(max_examples=200, deadline=None)
def test_any_body_is_audio_or_a_problem(body: bytes) -> None:
    """Never another exception."""
    for read in (decoded, decoded_text):
        try:
            read(body)
        except Problem as problem:
            assert problem.status in {400, 422}  # noqa: PT017 - most bodies raise, a few do not


@pytest.mark.parametrize("break_every", [1, 3, 4, 76, 10_000])
def test_text_may_be_broken_into_lines(break_every: int) -> None:
    audio = noise(30_000 if break_every < 4 else 1_000_000)
    text = base64.b64encode(audio)
    lines = b"\r\n".join(text[at : at + break_every] for at in range(0, len(text), break_every))
    assert decoded_text(b"\n " + lines + b"\n") == audio
    assert decoded_text(in_file(b"data:audio/wav;base64,\n" + lines)) == audio


def test_text_and_no_text_are_told_apart() -> None:
    assert looks_like_text(b"QUJD\r\nQUJD==")
    assert looks_like_text(b"DATA:audio/wav;base64,QUJD")
    assert not looks_like_text(b"v=0 o=- 1")
    assert not looks_like_text(b"/etc/passwd\x00")


async def test_a_caller_who_leaves_takes_everything_along() -> None:
    """Cancelled while a thread decodes: the thread has ended, and nothing is left in the budget."""
    body = b'{"inputs":"%b"}' % base64.b64encode(bytes(12 * MIB))
    budget, content = room(), in_file(body)
    task = asyncio.get_running_loop().create_task(decode_document(content, ("inputs",), budget, AMPLE))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    content.close()
    assert (budget.memory_used, budget.disk_used) == (0, 0)
