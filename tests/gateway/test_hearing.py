"""What an engine answers, whatever HTTP server a request comes through."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from gateway.hearing import Hearing, _answered
from providers.errors import AttemptTimedOut, ProviderError, ProviderUnavailable, RateLimited
from providers.local.wire import JOB_BYTES, TIME_LEFT, Refusal, written
from providers.types import Moment, TranscriptionJob
from tests.asking import MODEL
from tests.conftest import sample_audio
from tests.gateway.workers.test_engine import HEARD, Model, budget

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.fleet import LocalBackend

JOB = TranscriptionJob(model=MODEL, audio=sample_audio("slushy.wav"))
HEAD = written(JOB)
AUDIO = b"".join(bytes(each) for each in JOB.audio.content.slices())
HEADERS = {JOB_BYTES: str(len(HEAD)), TIME_LEFT: "9.5"}


async def in_pieces(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


def hearing(model: Model, **limits: Any) -> Hearing:
    async def model_of(name: str) -> LocalBackend | None:
        return model if name == "x" else None

    return Hearing(model_of, budget(), **limits)


@pytest.mark.parametrize("size", [1000, len(HEAD) - 1, len(HEAD), len(HEAD) + 1, 10**9])
async def test_the_job_ends_where_it_says_however_the_body_comes(size: int) -> None:
    model = Model()
    told = await hearing(model).transcribe("x", HEADERS, in_pieces(HEAD + AUDIO, size))
    assert (told.status, told.outcome, msgspec.json.decode(told.body)["text"]) == (200, "ok", HEARD.text)
    ((job, content),) = model.seen
    assert (content, job.audio.digest) == (AUDIO, JOB.audio.digest)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, HEAD),
        ({**HEADERS, TIME_LEFT: "soon"}, HEAD),
        ({**HEADERS, TIME_LEFT: "nan"}, HEAD),
        ({**HEADERS, TIME_LEFT: "inf"}, HEAD),
        ({**HEADERS, TIME_LEFT: "-1"}, HEAD),
        ({**HEADERS, JOB_BYTES: "-2"}, HEAD),
        ({**HEADERS, JOB_BYTES: "9" * 5000}, HEAD),
        ({**HEADERS, JOB_BYTES: "\u0663"}, HEAD),
        (HEADERS, HEAD[:-1]),
        (HEADERS, b""),
        (HEADERS, b"[" * len(HEAD)),
        (HEADERS, b"\xff" * len(HEAD)),
    ],
)
async def test_what_is_no_job_is_the_callers_fault(headers: dict[str, str], body: bytes) -> None:
    model = Model()
    told = await hearing(model).transcribe("x", headers, in_pieces(body, 1000))
    assert (told.status, told.outcome) == (422, "rejected")
    assert msgspec.json.decode(told.body, type=Refusal).kind == "JobRejected"
    assert model.seen == []


async def test_more_audio_than_it_takes_is_refused_as_soon_as_it_has_come() -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        yield HEAD
        while True:
            read += 1000
            yield bytes(1000)

    told = await hearing(Model(), max_bytes=10_000).transcribe("x", HEADERS, endless())
    assert msgspec.json.decode(told.body, type=Refusal).kind == "JobUnsupported"
    assert read == 11_000


async def test_a_body_that_stalls_is_left_when_nobody_waits_any_more() -> None:
    async def stalled() -> AsyncIterator[bytes]:
        yield HEAD
        await asyncio.Event().wait()
        yield b""

    told = await hearing(Model()).transcribe("x", {**HEADERS, TIME_LEFT: "0.05"}, stalled())
    assert msgspec.json.decode(told.body, type=Refusal).kind == "ProviderUnavailable"


class Gone(Model):
    """One that is closed while it works."""

    ready = False


@pytest.mark.parametrize(
    ("model", "left", "failed"),
    [
        (Model(ProviderUnavailable("local", "the local model failed")), "9.5", True),
        (Model(ProviderUnavailable("local", "it is still loading")), "0", False),
        (Gone(ProviderUnavailable("local", "shutting down")), "9.5", False),
        (Model(), "9.5", False),
    ],
)
async def test_a_model_failed_that_was_there_and_had_time(model: Model, left: str, *, failed: bool) -> None:
    told = await _answered(model, JOB, Moment(asyncio.get_running_loop().time() + float(left)))
    assert told.failed is failed


@pytest.mark.parametrize("error", [AttemptTimedOut("local", "too long"), RateLimited("local", "the queue is full")])
async def test_work_that_is_late_or_too_much_is_no_failure(error: ProviderError) -> None:
    told = await hearing(Model(error)).transcribe("x", HEADERS, in_pieces(HEAD + AUDIO, 1000))
    assert (told.status, told.outcome, told.failed) == (422, error.outcome, False)


async def test_neither_a_late_body_nor_a_full_spool_nor_a_missing_model_is_a_failure() -> None:
    async def stalled() -> AsyncIterator[bytes]:
        yield HEAD
        await asyncio.Event().wait()

    small = Hearing(hearing(Model())._model_of, budget(memory_per_upload=1, disk_total=1))
    told = [
        await hearing(Model()).transcribe("x", {**HEADERS, TIME_LEFT: "0.05"}, stalled()),
        await small.transcribe("x", HEADERS, in_pieces(HEAD + AUDIO, 1000)),
        await hearing(Model()).transcribe("y", HEADERS, in_pieces(HEAD + AUDIO, 1000)),
    ]
    assert [(each.outcome, each.failed) for each in told] == [("unavailable", False)] * 3


async def test_what_a_model_raises_is_told_as_its_failure() -> None:
    broken = Model(ProviderUnavailable("local", "the local model failed"))
    told = await hearing(broken).transcribe("x", HEADERS, in_pieces(HEAD + AUDIO, 1000))
    assert (told.status, told.outcome, told.failed) == (422, "unavailable", True)
    assert msgspec.json.decode(told.body, type=Refusal).reason == "the local model failed"


async def test_a_model_that_is_not_held_may_be_held_elsewhere() -> None:
    told = await hearing(Model()).transcribe("y", HEADERS, in_pieces(HEAD + AUDIO, 1000))
    assert (told.status, msgspec.json.decode(told.body, type=Refusal).kind) == (422, "ProviderUnavailable")
    assert (await hearing(Model()).model("y")).status == 404
