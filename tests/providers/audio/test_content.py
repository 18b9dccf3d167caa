"""Bytes that can be read again."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.audio.content import SLICE_BYTES, ContentReader, FileContent, MemoryContent

if TYPE_CHECKING:
    from collections.abc import Callable

    from providers.audio.content import Content


def in_file(*buffers: bytes) -> FileContent:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the content
    file.writelines(buffers)
    file.flush()
    return FileContent(file, sum(map(len, buffers)))


BOTH = pytest.mark.parametrize("make", [MemoryContent, in_file])


@BOTH
def test_slices_are_the_whole_in_order_and_again(make: Callable[..., Content]) -> None:
    content = make(b"abc", b"", b"defgh")

    assert content.size_bytes == 8
    assert list(content.slices(3)) == list(content.slices(3)) == [b"abc", b"def", b"gh"]
    assert list(content.slices()) == [b"abcdefgh"]
    content.close()


@BOTH
def test_nothing_has_no_slices(make: Callable[..., Content]) -> None:
    content = make()

    assert list(content.slices()) == []
    assert content.read_at(0, 10) == b""
    content.close()


@BOTH
def test_two_readers_do_not_disturb_each_other(make: Callable[..., Content]) -> None:
    """A hedge reads the same upload while the first attempt still does."""
    content = make(bytes(range(100)))
    first, second = content.slices(10), content.slices(40)

    assert (next(first), next(second), next(first)) == (
        bytes(range(10)),
        bytes(range(40)),
        bytes(range(10, 20)),
    )
    content.close()


@given(
    buffers=st.lists(st.binary(max_size=20), max_size=5),
    offset=st.integers(0, 120),
    size=st.integers(0, 120),
)
def test_read_at_is_a_slice_of_the_whole(buffers: list[bytes], offset: int, size: int) -> None:
    whole = b"".join(buffers)
    for content in (MemoryContent(*buffers), in_file(*buffers)):
        assert content.read_at(offset, size) == whole[offset : offset + size]
        content.close()


def test_slices_encode_to_base64_without_padding_between() -> None:
    assert SLICE_BYTES % 3 == 0


def test_memory_keeps_buffers_as_they_came() -> None:
    """Writing them to a socket costs no copy."""
    buffers = (b"a" * 10, b"b" * 10)
    content = MemoryContent(*buffers)

    assert all(kept is given for kept, given in zip(content.buffers(), buffers, strict=True))
    assert content.in_memory
    content.close()
    assert content.buffers() == ()


def test_a_file_without_a_name_is_read_and_then_gone() -> None:
    content = in_file(b"x" * 100_000)
    descriptor = content.fileno()

    assert not content.in_memory
    assert os.fstat(descriptor).st_nlink == 0
    assert content.read_at(99_999, 10) == b"x"
    content.close()
    with pytest.raises(ValueError, match="closed file"):
        content.read_at(0, 1)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


@BOTH
def test_a_reader_seeks_like_a_file(make: Callable[..., Content]) -> None:
    content = make(b"0123456789")
    with ContentReader(content) as reader:
        assert (reader.readable(), reader.seekable()) == (True, True)
        assert (reader.seek(4), reader.read(2), reader.tell()) == (4, b"45", 6)
        assert (reader.seek(-1, os.SEEK_CUR), reader.read(1)) == (5, b"5")
        assert (reader.seek(-3, os.SEEK_END), reader.read()) == (7, b"789")
        assert (reader.seek(100), reader.read(5)) == (100, b"")
        with pytest.raises(ValueError, match="cannot seek"):
            reader.seek(-1)
        with pytest.raises(ValueError, match="cannot seek"):
            reader.seek(-11, os.SEEK_END)
        with pytest.raises(ValueError, match="cannot seek"):
            reader.seek(0, 9)
    content.close()


@given(
    body=st.binary(max_size=300), moves=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 400), st.integers(0, 50)))
)
def test_a_reader_reads_what_a_file_object_would(body: bytes, moves: list[tuple[int, int, int]]) -> None:
    real = io.BytesIO(body)
    ours = io.BufferedReader(ContentReader(MemoryContent(body[:7], body[7:])), 16)
    for whence, offset, size in moves:
        assert ours.seek(offset, whence) == real.seek(offset, whence)
        assert ours.read(size) == real.read(size)


def test_a_large_file_comes_back_byte_for_byte() -> None:
    body = os.urandom(3 * SLICE_BYTES + 1)
    content = in_file(body)
    digest = hashlib.sha256()
    for piece in content.slices():
        digest.update(piece)

    assert digest.digest() == hashlib.sha256(body).digest()
    content.close()
