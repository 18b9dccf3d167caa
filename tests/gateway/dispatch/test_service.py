"""A job's whole way: the deadline it gets, models that are still loading, and what the answer is made to hold."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace  # noqa: TID251 - of a dataclass
from datetime import date
from typing import TYPE_CHECKING

import pytest
from msgspec import structs

from config.reliability import Deadline
from gateway.dispatch.service import Dispatcher
from gateway.problems import Problem
from providers.audio.content import MemoryContent
from providers.types import Capabilities, Moment, Segment, Timestamps, Transcript, Word
from tests.conftest import sample_audio
from tests.gateway.dispatch.conftest import Backend, World, job, route

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.dispatch.answers import Answer
    from providers.exchange import Progress
    from providers.types import Deployment, TranscriptionJob

HEARD = Transcript(text="hello")


@dataclass(slots=True)
class OneDeployment:
    """A fleet whose one backend answers what it is told, once it is loaded."""

    heard: Transcript = HEARD
    can: Capabilities | None = field(
        default_factory=lambda: Capabilities(timestamps=frozenset(Timestamps), diarize=True)
    )
    loaded: asyncio.Event = field(default_factory=asyncio.Event)
    deadlines: list[float] = field(default_factory=list)
    sent: list[TranscriptionJob] = field(default_factory=list)

    def backend(self, deployment: Deployment) -> OneDeployment:
        del deployment
        return self

    def capabilities(self, deployment: Deployment) -> Capabilities | None:
        del deployment
        return self.can if self.loaded.is_set() else None

    def others(self, deployment: Deployment) -> float:
        del deployment
        return 0.0

    async def wait_loaded(self, deployments: Sequence[Deployment]) -> None:
        del deployments
        await self.loaded.wait()

    async def transcribe(
        self, job: TranscriptionJob, to: Deployment, deadline: Moment, progress: Progress
    ) -> Transcript:
        del to, progress
        self.sent.append(job)
        self.deadlines.append(deadline)
        return self.heard


def ready(heard: Transcript = HEARD) -> OneDeployment:
    fleet = OneDeployment(heard)
    fleet.loaded.set()
    return fleet


def dispatcher(fleet: OneDeployment, deadline: Deadline | None = None, *, now: float | None = None) -> Dispatcher:
    clock = asyncio.get_running_loop().time
    world = World({"a/m": Backend([])})
    means = replace(world.means(clock if now is None else lambda: now), backend_of=fleet.backend)
    return Dispatcher(
        fleet=fleet,
        deadline=deadline or Deadline(),
        means=means,
        today=lambda: date(2026, 11, 22),
    )


async def answer(fleet: OneDeployment, asked: TranscriptionJob) -> Answer:
    return await dispatcher(fleet).transcribe(asked, route("a/m"))


@pytest.mark.parametrize(
    ("duration_s", "allowed_s"),
    [
        (0.0, 10.0),  # base alone
        (60.0, 40.0),  # base + 0.5 x 60
        (1000.0, 100.0),  # at most max
        (None, 30.0),  # as long as 30 000 bytes can be: 40 s at 6 kbit/s
    ],
)
async def test_the_deadline_grows_with_the_audio(duration_s: float | None, allowed_s: float) -> None:
    fleet = ready()
    audio = structs.replace(sample_audio("slushy.mp3"), duration_s=duration_s, content=MemoryContent(bytes(30_000)))
    far = asyncio.get_running_loop().time() + 1e6

    run = dispatcher(fleet, Deadline(base=10.0, per_audio_second=0.5, max=100.0), now=far)
    await run.transcribe(job(audio), route("a/m"))

    assert fleet.deadlines == [pytest.approx(far + allowed_s)]


async def test_a_loading_model_is_waited_for() -> None:
    fleet = OneDeployment()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(answer(fleet, job()))
        await asyncio.sleep(0)
        assert not task.done()
        fleet.loaded.set()

    assert task.result().transcript.text == "hello"


async def test_the_wait_ends_with_the_deadline() -> None:
    run = dispatcher(OneDeployment(), Deadline(base=0.01, per_audio_second=0, max=1))
    with pytest.raises(Problem, match="still loading") as caught:
        await run.transcribe(job(), route("a/m"))

    assert (caught.value.status, caught.value.type) == (504, "deadline")
    assert caught.value.headers == {"x-should-retry": "false"}


async def test_a_model_that_is_missing_is_not_loaded() -> None:
    fleet = ready()
    fleet.can = None
    with pytest.raises(Problem, match="a/m is not loaded") as caught:
        await answer(fleet, job())

    assert caught.value.status == 502


async def test_the_answer_is_settled() -> None:
    """Segments are made of words, open ends closed, the length known where anybody knew it."""
    words = (Word(text="hello", start_s=0.5, end_s=1.0, speaker="A"),)
    got = await answer(ready(Transcript(text="hello.", words=words)), job(timestamps=Timestamps.WORD))
    expected_s = sample_audio("slushy.wav").duration_s

    assert got.transcript.segments == (Segment(text="hello.", start_s=0.5, end_s=1.0),)
    assert got.transcript.duration_s == expected_s
    assert got.transcript.words[0].speaker is None


async def test_the_transcript_knows_a_length_that_no_header_told() -> None:
    audio = structs.replace(sample_audio("slushy.mp3"), duration_s=None)
    got = await answer(ready(Transcript(text="hello", duration_s=13.7)), job(audio))

    assert got.transcript.duration_s == 13.7


async def test_speakers_stay_where_they_were_asked_for() -> None:
    words = (Word(text="hello", start_s=0.5, end_s=1.0, speaker="A"),)
    got = await answer(ready(Transcript(text="hello", words=words)), job(diarize=True))

    assert got.transcript.segments[0].speaker == "A"


async def test_copies_are_closed_when_the_answer_is_there() -> None:
    fleet = ready()
    fleet.can = Capabilities(containers=frozenset())
    await answer(fleet, job())

    with pytest.raises(ValueError, match="closed"):
        fleet.sent[0].audio.content.read_at(0, 1)
