"""What is kept is what was answered; what is anything else is nothing."""

from __future__ import annotations

import zlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dispatch.answers import Answer, Attempt, Kind
from gateway.dispatch.kept_answers import name_of, named_in, pack, unpack
from providers.types import Segment, Transcript, Word
from tests.gateway.dispatch.conftest import deployment, route

ROUTE = route("a/m", "b/m")
HEARD = Transcript(
    text="héllo",
    segments=(Segment(text="héllo", start_s=0.1, end_s=0.9, speaker="A", confidence=0.5),),
    words=(Word(text="héllo", start_s=0.1, end_s=0.9),),
    language="fr",
    duration_s=1.5,
    model_version="v3",
    cost_usd=0.001,
    request_id="r1",
)
ANSWER = Answer(
    transcript=HEARD,
    deployment=deployment("b/m"),
    ignored=("num_beams",),
    attempts=(
        Attempt(deployment="a/m", outcome="unavailable", seconds=0.5, reason="a 503"),
        Attempt(deployment="b/m", outcome="ok", seconds=1.5, kind=Kind.FAILOVER),
    ),
)


async def test_an_answer_comes_back_whole() -> None:
    assert await unpack(await pack(ANSWER), ROUTE) == ANSWER


async def test_a_long_one_is_packed_beside_the_loop() -> None:
    """An hour with a time for each word: a sixth of what it is in memory on the wire."""
    words = tuple(Word(text=f"word{at}", start_s=at * 0.4, end_s=at * 0.4 + 0.3) for at in range(9000))
    heard = Transcript(text=" ".join(each.text for each in words), words=words)
    answer = Answer(transcript=heard, deployment=deployment("a/m"), ignored=(), attempts=())
    value = await pack(answer)
    assert len(value) < 200_000
    assert await unpack(value, ROUTE) == answer


async def test_a_deployment_that_is_not_on_the_route_answers_nothing() -> None:
    assert await unpack(await pack(ANSWER), route("a/m")) is None


async def test_another_version_is_nothing() -> None:
    assert await unpack(b"\x02" + (await pack(ANSWER))[1:], ROUTE) is None


@given(st.binary())
async def test_garbage_is_nothing(value: bytes) -> None:
    assert await unpack(value, ROUTE) is None
    assert await unpack(b"\x01" + value, ROUTE) is None
    assert await unpack(b"\x01" + zlib.compress(value), ROUTE) is None


async def test_what_was_cut_short_is_nothing() -> None:
    value = await pack(ANSWER)
    for end in range(len(value)):
        assert await unpack(value[:end], ROUTE) is None


async def test_a_name_is_no_answer_and_an_answer_no_name() -> None:
    key = "0f" * 32
    assert named_in(name_of(key)) == key
    assert await unpack(name_of(key), ROUTE) is None
    assert named_in(await pack(ANSWER)) is None


@given(st.binary())
def test_garbage_names_nothing_long(value: bytes) -> None:
    assert len(named_in(value) or "") <= 64
    assert named_in(b"\x02" + value + bytes(65)) is None


@pytest.mark.parametrize("wrong", [{"transcript": {"text": 1}, "deployment": "a/m"}, [], 1, {"deployment": "a/m"}])
async def test_another_shape_is_nothing(wrong: object) -> None:
    assert await unpack(b"\x01" + zlib.compress(msgspec.msgpack.encode(wrong)), ROUTE) is None


async def test_what_would_fill_the_memory_is_nothing() -> None:
    """64 MiB of zeros are 64 kB on the wire."""
    assert await unpack(b"\x01" + zlib.compress(bytes(65 << 20), 1), ROUTE) is None
