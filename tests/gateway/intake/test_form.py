"""Forms are read as they arrive, cut anywhere; what is no form is a 400."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.intake.form import MAX_FIELD_BYTES, Form
from gateway.intake.spool import SpoolBudget
from gateway.problems import Problem
from tests.conftest import sample

if TYPE_CHECKING:
    from collections.abc import Iterable

MIB = 1 << 20
WAV = sample("slushy.wav")
END = b"--b--\r\n"


def part(name: str, value: bytes, *, more: str = "") -> bytes:
    return f'--b\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + value + b"\r\n"


def file_part(name: str = "file", value: bytes = WAV) -> bytes:
    return part(name, value, more='; filename="../../etc/a.wav"\r\nContent-Type: text/plain')


def read(chunks: Iterable[bytes], *, boundary: str = "b", max_bytes: int = MIB) -> tuple[list[tuple[str, str]], str]:
    """Return the fields and the file's digest. Raises Problem; the budget is free again in any case."""
    budget = SpoolBudget(memory_per_upload=1000, memory_total=MIB, disk_total=64 * MIB)
    form = Form(budget, ("file", "audio"))

    arriving = iter(chunks)

    async def arrived() -> bytes:
        return next(arriving, b"")

    async def whole() -> str:
        await form.read(arrived, boundary, max_bytes)
        return (await form.file("file").finish())[1]

    try:
        return form.fields, asyncio.run(whole())
    finally:
        if form.spool:
            form.spool.close()
        assert (budget.memory_used, budget.disk_used) == (0, 0)


def refusal(body: bytes, *, boundary: str = "b", max_bytes: int = MIB) -> Problem:
    with pytest.raises(Problem) as told:
        read([body], boundary=boundary, max_bytes=max_bytes)
    return told.value


def cut(body: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(body), *(each % len(body) for each in cuts)})
    return [body[a:b] for a, b in itertools.pairwise(places)]


@given(cuts=st.lists(st.integers(0, 2**31), max_size=30))
@settings(max_examples=60, deadline=None)
def test_cut_anywhere_it_is_the_same_form(cuts: list[int]) -> None:
    body = part("model", b"m/x") + file_part() + part("t[]", b"word") + part("t[]", "sé".encode()) + END
    fields, digest = read(cut(body, cuts))
    assert fields == [("model", "m/x"), ("t[]", "word"), ("t[]", "sé")]
    assert digest == blake3(WAV).hexdigest()


def test_byte_by_byte_at_the_boundaries() -> None:
    """Audio full of what looks like a boundary's beginning stays audio."""
    audio = b"\r\n--\r\n--a\r\n-\r\n--b" * 50
    assert b"\r\n--b" in audio
    tricky = audio.replace(b"\r\n--b", b"\r\n--c")
    body = file_part(value=tricky) + END
    assert read([bytes([each]) for each in body])[1] == blake3(tricky).hexdigest()


def test_an_empty_file_is_a_file() -> None:
    assert read([file_part(value=b"") + END])[1] == blake3(b"").hexdigest()


def test_what_follows_the_form_is_not_part_of_it() -> None:
    assert read([file_part() + END, b"epilogue"])[1] == blake3(WAV).hexdigest()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (file_part(), "malformed"),  # no end
        (file_part()[:-2] + b"\n--b--\n", "malformed"),  # the delimiter begins with LF alone
        (file_part().replace(b"\r\n", b"\n") + b"--b--\n", "malformed"),
        (b"--b\r\n\r\nx\r\n" + END, "malformed"),  # no Content-Disposition
        (b"--b\r\nContent-Disposition: attachment; name=x\r\n\r\nx\r\n" + END, "malformed"),
        (b"--b\r\nno header\r\n\r\nx\r\n" + END, "malformed"),
        (b"--b\r\n" + b"X: y\r\n" * 9 + b"\r\nx\r\n" + END, "malformed"),
        (b"--b\r\nX: " + b"y" * 9_000 + b"\r\n\r\nx\r\n" + END, "malformed"),
        (b"no boundary at all", "malformed"),
        (part("x", b"y") * 257 + END, "malformed"),
        (part("model", b"m") + END, "file: missing"),
        (file_part() + file_part() + END, "second audio file"),
        (file_part() + file_part("audio") + END, "second audio file"),
        (part("prompt", b"\xff") + file_part() + END, "not UTF-8"),
    ],
)
def test_what_is_wrong_is_named(body: bytes, says: str) -> None:
    problem = refusal(body)
    assert problem.status == 400
    assert says in problem.message


@pytest.mark.parametrize("boundary", ["\n", "ü", "b\nc", "x" * 5_000])
def test_a_strange_boundary_is_a_400(boundary: str) -> None:
    assert refusal(file_part() + END, boundary=boundary).status == 400


def test_a_file_larger_than_allowed_is_413() -> None:
    problem = refusal(file_part() + END, max_bytes=len(WAV) - 1)
    assert (problem.status, problem.type) == (413, "too-large")


def test_a_field_larger_than_allowed_is_413() -> None:
    problem = refusal(part("prompt", b"x" * (MAX_FIELD_BYTES + 1)) + file_part() + END)
    assert (problem.status, problem.type) == (413, "too-large")


@given(
    damage=st.lists(st.tuples(st.integers(0, 2**31), st.sampled_from(b'\r\n-:;="b\x00\xff')), max_size=30),
    cuts=st.lists(st.integers(0, 2**31), max_size=5),
)
@settings(max_examples=120, deadline=None)
def test_a_damaged_form_is_a_form_or_a_problem(damage: list[tuple[int, int]], cuts: list[int]) -> None:
    """Never another exception."""
    body = bytearray(part("model", b"m") + file_part(value=b"fLaC" * 20) + END)
    for place, byte in damage:
        body[place % len(body)] = byte
    try:
        read(cut(bytes(body), cuts))
    except Problem as problem:
        assert problem.status in {400, 413}  # noqa: PT017 - most are no forms any more, a few still are
