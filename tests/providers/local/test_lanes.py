"""Who is heard next, and with whom: pure bookkeeping, driven by hand."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.emulators.ear import as_audio
from providers.local.engine import RATE_HZ, Piece
from providers.local.lanes import Lanes, Waiting
from providers.types import Transcript, TranscriptionJob

if TYPE_CHECKING:
    from collections.abc import Iterator

AUDIO = as_audio(b"")


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


def waiting(
    loop: asyncio.AbstractEventLoop,
    name: str,
    *,
    lane: str = "",
    key: str = "",
    rows: int = 1,
    since_s: float = 0.0,
    duration_s: float = 0.0,
) -> Waiting:
    """Return a piece of a lane; of its own where none is named."""
    job = TranscriptionJob(model=name, audio=AUDIO)
    samples = np.zeros(round(duration_s * RATE_HZ), np.float32)
    answer: asyncio.Future[Transcript] = loop.create_future()
    piece = Piece(job=job, samples=samples, start_s=0.0)
    return Waiting(piece=piece, lane=lane or name, key=key, rows=rows, since_s=since_s, answer=answer)


def names(batch: list[Waiting]) -> list[str]:
    return [each.piece.job.model for each in batch]


def taken(lanes: Lanes, limit: int, now_s: float = 0.0) -> list[str]:
    """Take the batch whose turn it is."""
    batch = next(lanes.batches(limit))
    lanes.take(batch, now_s)
    return names(batch.waiting)


def filled(*queue: Waiting) -> Lanes:
    lanes = Lanes()
    for each in queue:
        lanes.add(each)
    return lanes


def test_an_utterance_of_many_pieces_lets_the_others_in_between(loop: asyncio.AbstractEventLoop) -> None:
    long = [waiting(loop, f"long {n}", lane="long", since_s=n) for n in range(100)]
    lanes = filled(*long, waiting(loop, "short", since_s=200))

    assert taken(lanes, 2, now_s=201) == ["long 0", "short"]
    assert taken(lanes, 2, now_s=202) == ["long 1", "long 2"]
    lanes.add(waiting(loop, "other", key="other", since_s=203))
    assert taken(lanes, 2, now_s=204) == ["long 3", "long 4"], "it has waited since 202"
    assert taken(lanes, 2, now_s=205) == ["other"], "though pieces of the first have waited since 5"


def test_what_is_no_longer_than_the_eldest_goes_with_it(loop: asyncio.AbstractEventLoop) -> None:
    """A batch takes as long as its longest piece."""
    lengths = {"eldest": 3.0, "long": 30.0, "short": 1.0, "middle": 4.0}
    lanes = filled(*(waiting(loop, name, duration_s=length_s) for name, length_s in lengths.items()))

    assert taken(lanes, 3) == ["eldest", "short", "middle"]
    assert taken(lanes, 3) == ["long"]


def test_a_piece_of_more_rows_than_the_limit_is_heard_alone(loop: asyncio.AbstractEventLoop) -> None:
    lanes = filled(waiting(loop, "one"), waiting(loop, "beams", rows=9), waiting(loop, "two"))

    first = next(lanes.batches(8))
    assert (names(first.waiting), first.full) == (["one", "two"], True), "full: something did not fit"
    lanes.take(first, 1.0)
    assert taken(lanes, 8) == ["beams"]
    assert list(lanes.batches(8)) == []


def test_those_that_failed_are_next_and_in_their_order(loop: asyncio.AbstractEventLoop) -> None:
    lanes = filled(*(waiting(loop, name, lane="a", since_s=since) for since, name in enumerate("abcd")))
    first = next(lanes.batches(2))
    lanes.take(first, 10.0)
    lanes.add(waiting(loop, "late", since_s=5.0))
    lanes.put_back(first.waiting)

    assert [taken(lanes, 1, now_s=20.0 + n) for n in range(5)] == [["a"], ["late"], ["b"], ["c"], ["d"]]


def test_a_suspect_is_heard_alone(loop: asyncio.AbstractEventLoop) -> None:
    lanes = filled(*(waiting(loop, name) for name in "abc"))
    batch = next(lanes.batches(2))
    lanes.take(batch, 1.0)
    for each in batch.waiting:
        each.alone = True
    lanes.put_back(batch.waiting)

    assert sorted(taken(lanes, 8)[0] for _ in range(3)) == ["a", "b", "c"]


PIECES = st.lists(
    st.tuples(
        st.sampled_from("abcd"),  # lane
        st.sampled_from("xy"),  # key
        st.integers(1, 5),  # rows
        st.sampled_from([0.0, 0.01, 0.02]),  # s
        st.booleans(),  # abandoned
    ),
    max_size=40,
)


@given(pieces=PIECES, limit=st.integers(1, 6))
def test_each_is_heard_once_among_its_like_and_soon(
    loop: asyncio.AbstractEventLoop, pieces: list[tuple[str, str, int, float, bool]], limit: int
) -> None:
    """In as many batches as there are lanes, each lane has had its turn."""
    lanes, all_of_them = Lanes(), []
    for at, (lane, key, rows, duration_s, _) in enumerate(pieces):
        each = waiting(loop, str(at), lane=lane, key=key, rows=rows, since_s=at, duration_s=duration_s)
        all_of_them.append(each)
        lanes.add(each)
    for each, (*_, abandoned) in zip(all_of_them, pieces, strict=True):
        if abandoned:
            each.answer.cancel()
    heard: list[str] = []
    passed_over = dict.fromkeys("abcd", 0)
    now = 1000.0
    while batch := next(lanes.batches(limit), None):
        lanes.take(batch, now)
        now += 1
        assert len({each.key for each in batch.waiting}) == 1
        assert sum(each.rows for each in batch.waiting) <= limit or len(batch.waiting) == 1
        heard += names(batch.waiting)
        served = {each.lane for each in batch.waiting}
        passed_over = {lane: 0 if lane in served else times + 1 for lane, times in passed_over.items()}
        left = {each.lane for each in all_of_them if each.piece.job.model not in heard and not each.answer.done()}
        assert all(passed_over[str(lane)] < 4 for lane in left)

    assert sorted(heard) == sorted(each.piece.job.model for each in all_of_them if not each.answer.done())
    assert (len(lanes), lanes.audio_s) == (0, 0)
