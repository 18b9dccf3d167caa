"""Audio that nobody takes whole, in parts: who is asked for what, what is joined, and what it costs."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from msgspec.structs import replace

from config.long_audio import LongAudio
from config.reliability import Deadline
from gateway.dispatch.answers import Abandoned, Answer, InVain
from gateway.dispatch.charge import charges_of, total
from gateway.dispatch.parts import SHORTEST_S, part_limit
from gateway.dispatch.plan import Candidate
from gateway.dispatch.service import Dispatcher
from gateway.problems import Problem
from providers.audio.split import split
from providers.emulators.ear import as_audio
from providers.errors import JobRejected, ProviderUnavailable
from providers.types import Capabilities, Container, Price, Segment, Timestamps, Transcript
from tests.conftest import encoded, tone
from tests.gateway.dispatch.conftest import World, deployment, job, reliability, route

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence

    from gateway.dispatch.means import Terms
    from gateway.dispatch.routes import Route
    from providers.exchange import Progress
    from providers.types import Audio, Deployment, Moment, TranscriptionJob

RATE_HZ = 8_000
TAKES_30_S = Capabilities(timestamps=frozenset({Timestamps.SEGMENT}), max_duration_s=30.0)


def long_audio(seconds: float = 100.0) -> Audio:
    return replace(as_audio(encoded(tone(seconds, RATE_HZ), RATE_HZ, "wav", "pcm_s16le")), duration_s=seconds)


def priced(way: Route, minimum_s: float = 0.0) -> Route:
    price = Price(usd_per_minute=0.6, minimum_s=minimum_s)
    return replace(way, deployments=tuple(replace(each, price=price) for each in way.deployments))


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@dataclass(slots=True)
class Takers:
    """A fleet of backends that say where each part of a tone lies; some are out of order."""

    can: dict[str, Capabilities]
    broken: frozenset[str] = frozenset()
    unreadable_after: int = 1_000_000
    asked: list[tuple[str, float]] = field(default_factory=list)
    given: dict[str, frozenset[Container | None]] = field(default_factory=dict)
    at_once: int = 0
    most_at_once: int = 0

    def backend(self, deployment: Deployment) -> Takers:
        del deployment
        return self

    def capabilities(self, deployment: Deployment) -> Capabilities | None:
        return self.can[deployment.name]

    def others(self, deployment: Deployment) -> float:
        del deployment
        return 0.0

    async def wait_loaded(self, deployments: Sequence[Deployment]) -> None:
        del deployments

    async def transcribe(
        self, job: TranscriptionJob, to: Deployment, deadline: Moment, progress: Progress
    ) -> Transcript:
        del deadline, progress
        length_s = job.audio.duration_s or 0.0
        self.asked.append((to.name, length_s))
        self.given[to.name] = self.given.get(to.name, frozenset()) | {job.audio.container}
        if len(self.asked) > self.unreadable_after:
            raise JobRejected(to.account.adapter, "no audio in it")
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        if to.name in self.broken:
            raise ProviderUnavailable(to.account.adapter, "503")
        text = f"{length_s:.3f}"
        return Transcript(text=text, segments=(Segment(text=text, start_s=0.0, end_s=length_s),), duration_s=length_s)


@contextmanager
def dispatching(fleet: Takers) -> Iterator[Dispatcher]:
    world = World({}, reliability(retries={"limit": 0}))
    world.know(*(deployment(name) for name in fleet.can))
    world.slow = dict.fromkeys(fleet.can, fleet)
    means = world.means(asyncio.get_running_loop().time)
    yield Dispatcher(fleet=fleet, deadline=Deadline(), means=means, today=lambda: date(2026, 11, 1))
    world.transcoder.close()


class TestAsked:
    """What becomes of the audio."""

    async def test_it_is_asked_for_in_parts_and_joined_in_order(self) -> None:
        fleet = Takers({"a/x": TAKES_30_S})
        with dispatching(fleet) as dispatcher:
            answer = await dispatcher.transcribe(job(long_audio(), timestamps=Timestamps.SEGMENT), route("a/x"))

        heard = answer.transcript
        assert len(answer.parts) == len(fleet.asked) >= 4
        assert max(length_s for _, length_s in fleet.asked) <= 30.0
        assert heard.duration_s == pytest.approx(100.0)
        assert heard.text == " ".join(segment.text for segment in heard.segments)
        ends_s = [segment.end_s for segment in heard.segments]
        assert [segment.start_s for segment in heard.segments] == pytest.approx([0.0, *ends_s[:-1]])
        assert len(answer.attempts) == len(fleet.asked)

    async def test_what_one_target_takes_whole_is_not_cut(self) -> None:
        fleet = Takers({"a/x": TAKES_30_S, "b/y": replace(TAKES_30_S, max_duration_s=None)})
        with dispatching(fleet) as dispatcher:
            answer = await dispatcher.transcribe(job(long_audio()), route("a/x", "b/y"))

        assert (answer.parts, fleet.asked) == ((), [("b/y", 100.0)])

    async def test_each_part_fails_over_by_itself(self) -> None:
        fleet = Takers({"a/x": TAKES_30_S, "b/y": TAKES_30_S}, broken=frozenset({"a/x"}))
        with dispatching(fleet) as dispatcher:
            answer = await dispatcher.transcribe(job(long_audio()), route("a/x", "b/y"))

        assert {part.deployment.name for part in answer.parts} == {"b/y"}
        assert {name for name, _ in fleet.asked} == {"a/x", "b/y"}

    async def test_a_part_for_who_takes_samples_can_still_go_to_another(self) -> None:
        """Samples say nothing of themselves: each part is a file, and samples are a copy of it."""
        samples, flac = frozenset({Container.SAMPLES}), frozenset({Container.FLAC})
        first = replace(TAKES_30_S, containers=samples, transcode_to=Container.SAMPLES)
        fleet = Takers({"a/x": first, "b/y": replace(TAKES_30_S, containers=flac)}, broken=frozenset({"a/x"}))
        with dispatching(fleet) as dispatcher:
            answer = await dispatcher.transcribe(job(long_audio()), route("a/x", "b/y"))

        assert {part.deployment.name for part in answer.parts} == {"b/y"}
        assert fleet.given == {"a/x": samples, "b/y": flac}
        assert answer.transcript.duration_s == pytest.approx(100.0)

    async def test_what_turns_out_too_long_once_it_was_transcoded_is_cut_too(self) -> None:
        """Nothing told its length before: it was planned as if anybody took it."""
        samples = frozenset({Container.SAMPLES})
        fleet = Takers({"a/x": replace(TAKES_30_S, containers=samples, transcode_to=Container.SAMPLES)})
        with dispatching(fleet) as dispatcher:
            answer = await dispatcher.transcribe(job(replace(long_audio(), duration_s=None)), route("a/x"))

        assert len(answer.parts) >= 4
        assert max(length_s for _, length_s in fleet.asked) <= 30.0
        assert answer.transcript.duration_s == pytest.approx(100.0)

    async def test_only_so_many_at_once(self) -> None:
        fleet = Takers({"a/x": TAKES_30_S})
        way = replace(route("a/x"), long_audio=LongAudio(parallel=2))
        with dispatching(fleet) as dispatcher:
            await dispatcher.transcribe(job(long_audio(200.0)), way)

        assert fleet.most_at_once == 2

    async def test_a_part_without_an_answer_is_named_and_there_is_no_transcript_with_a_hole(self) -> None:
        fleet = Takers({"a/x": TAKES_30_S}, unreadable_after=2)
        way = replace(route("a/x"), long_audio=LongAudio(parallel=1))
        before = descriptors()
        with dispatching(fleet) as dispatcher, pytest.raises(Problem, match="part 3 of") as problem:
            await dispatcher.transcribe(job(long_audio()), way)

        assert (problem.value.status, problem.value.type) == (400, "unreadable-audio")
        assert len(fleet.asked) == 3
        assert descriptors() <= before

    async def test_what_was_heard_before_is_told_with_what_it_cost(self) -> None:
        """Once, whatever has been tried for it."""
        fleet = Takers({"a/x": TAKES_30_S}, unreadable_after=2)
        way = priced(replace(route("a/x"), long_audio=LongAudio(parallel=1)))
        with dispatching(fleet) as dispatcher, pytest.raises(InVain) as problem:
            await dispatcher.transcribe(job(long_audio()), way)

        assert problem.value.paid is not None
        assert [part.length_s for part in problem.value.paid.parts] == [length_s for _, length_s in fleet.asked[:2]]

    async def test_one_that_is_called_off_when_another_fails_may_be_paid_for_too(self) -> None:
        fleet = Hanging({"a/x": TAKES_30_S})
        fleet.sent = asyncio.Event()
        way = priced(replace(route("a/x"), long_audio=LongAudio(parallel=2)))
        with dispatching(fleet) as dispatcher, pytest.raises(InVain, match="part 2 of") as problem:
            await dispatcher.transcribe(job(long_audio()), way)

        assert problem.value.paid is not None
        assert [part.transcript for part in problem.value.paid.parts] == [None]

    async def test_where_none_was_heard_nothing_was_paid(self) -> None:
        fleet = Takers({"a/x": TAKES_30_S}, unreadable_after=0)
        with dispatching(fleet) as dispatcher, pytest.raises(Problem, match="part 1 of") as problem:
            await dispatcher.transcribe(job(long_audio()), priced(route("a/x")))

        assert not isinstance(problem.value, InVain)

    async def test_what_it_costs_is_what_its_parts_cost(self) -> None:
        """A price with a minimum is paid for every part."""
        fleet = Takers({"a/x": TAKES_30_S})
        way = priced(route("a/x"), minimum_s=60.0)
        with dispatching(fleet) as dispatcher:
            answer = await dispatcher.transcribe(job(long_audio()), way)

        charge = total(each for _, each in charges_of(answer, 100.0))
        assert charge.billed_s == pytest.approx(60.0 * len(answer.parts))
        assert charge.cost_usd == pytest.approx(0.6 * len(answer.parts))


class Hanging(Takers):
    """The first part is sent and has no answer; the second is refused then."""

    sent: asyncio.Event

    async def transcribe(
        self, job: TranscriptionJob, to: Deployment, deadline: Moment, progress: Progress
    ) -> Transcript:
        del job, deadline
        if not self.sent.is_set():
            progress.sunk()
            self.sent.set()
            await asyncio.Event().wait()
        raise JobRejected(to.account.adapter, "no audio in it")


class Paying(Takers):
    """The first part is paid for when it is there; all wait until they may go on."""

    two: asyncio.Event  # are out
    go_on: asyncio.Event

    async def transcribe(
        self, job: TranscriptionJob, to: Deployment, deadline: Moment, progress: Progress
    ) -> Transcript:
        if not self.asked:
            progress.sunk()
        self.asked.append((to.name, 0.0))
        if len(self.asked) == 2:
            self.two.set()
        await self.go_on.wait()
        self.asked.pop()
        return await super().transcribe(job, to, deadline, progress)


class TestAbandoned:
    """All leave, and one part of two that are out is paid for already."""

    @asynccontextmanager
    async def left(self) -> AsyncIterator[tuple[Paying, Terms, asyncio.Task[Answer | Problem]]]:
        """Yield when all have left, and whatever is called off has ended."""
        fleet = Paying({"a/x": TAKES_30_S})
        fleet.two, fleet.go_on = asyncio.Event(), asyncio.Event()
        way = replace(route("a/x"), long_audio=LongAudio(parallel=2))
        way = priced(way)
        with dispatching(fleet) as dispatcher:
            wanted = job(long_audio())
            terms = dispatcher.terms(wanted, way, None)
            async with asyncio.TaskGroup() as group:
                task = group.create_task(outcome(dispatcher.run(wanted, way, terms)))
                await fleet.two.wait()
                assert terms.underway.abandon()
                for _ in range(30):
                    await asyncio.sleep(0)
                yield fleet, terms, task

    async def test_that_one_goes_on_and_is_told_with_what_it_cost(self) -> None:
        async with self.left() as (fleet, _, task):
            assert (len(fleet.asked), task.done()) == (2, False)
            fleet.go_on.set()

        problem = task.result()
        assert isinstance(problem, Abandoned)
        assert problem.paid is not None
        assert [part.length_s for part in problem.paid.parts] == [pytest.approx(fleet.asked[-1][1])]
        assert len(fleet.asked) == 2  # nothing more was begun

    async def test_who_comes_meanwhile_has_the_rest_asked_for(self) -> None:
        async with self.left() as (fleet, terms, task):
            terms.underway.take_up()
            fleet.go_on.set()

        answer = task.result()
        assert isinstance(answer, Answer)
        assert len(fleet.asked) == len(answer.parts) + 1  # one was called off, and asked for again
        assert answer.transcript.duration_s == pytest.approx(100.0)


async def outcome(work: Awaitable[Answer]) -> Answer | Problem:
    try:
        return await work
    except Problem as problem:
        return problem


class TestRefused:
    """Where it stays too much."""

    @pytest.mark.parametrize(
        ("way", "asked"),
        [
            (replace(route("a/x"), long_audio=LongAudio(split=False)), {}),
            (route("a/x"), {"diarize": True}),
        ],
        ids=["the operator says no", "speakers"],
    )
    async def test_it_is_413_as_before(self, way: Route, asked: dict[str, bool]) -> None:
        fleet = Takers({"a/x": replace(TAKES_30_S, diarize=True)})
        with dispatching(fleet) as dispatcher, pytest.raises(Problem, match="takes at most 30 s") as problem:
            await dispatcher.transcribe(job(long_audio(), **asked), way)

        assert (problem.value.status, fleet.asked) == (413, [])

    async def test_what_no_part_of_it_could_do_is_said_of_the_whole(self) -> None:
        fleet = Takers({"a/x": replace(TAKES_30_S, timestamps=frozenset())})
        with dispatching(fleet) as dispatcher, pytest.raises(Problem, match="gives no word times"):
            await dispatcher.transcribe(job(long_audio(), timestamps=Timestamps.WORD), route("a/x"))

    async def test_a_disk_without_room_is_507(self, tmp_path: Path) -> None:
        fleet = Takers({"a/x": TAKES_30_S})
        with dispatching(fleet) as dispatcher:
            dispatcher.means.transcoder._directory = tmp_path / "gone"
            with pytest.raises(Problem, match="no room") as problem:
                await dispatcher.transcribe(job(long_audio()), route("a/x"))

        assert problem.value.status == 507


class TestLength:
    """How long a part is."""

    @pytest.mark.parametrize(
        ("limits", "longest_s"),
        [
            ([{"max_duration_s": 300.0}], 300.0),
            ([{"max_duration_s": 300.0}, {"max_duration_s": 120.0}], 120.0),  # so that each part can fail over
            ([{"max_duration_s": 3000.0}], 600.0),
            ([{}], 600.0),
            ([{"max_duration_s": SHORTEST_S - 1}, {"max_duration_s": 100.0}], 100.0),
            ([{"max_duration_s": SHORTEST_S - 1}], None),
            ([{"max_bytes": 1_000}], None),
            ([], None),
        ],
    )
    def test_it_is_what_every_target_takes_that_takes_a_useful_one(
        self, limits: list[dict[str, float]], longest_s: float | None
    ) -> None:
        candidates = [
            Candidate(deployment=deployment(f"a/{at}"), capabilities=Capabilities(**each))  # type: ignore[arg-type] # either
            for at, each in enumerate(limits)
        ]

        limit = part_limit(job(), candidates, LongAudio())
        assert (limit.longest_s if limit else None) == longest_s

    def test_a_part_of_noise_at_48_khz_fits_into_the_size_it_was_cut_for(self) -> None:
        """FLAC makes nothing smaller of noise."""
        can = Capabilities(max_bytes=4_000_000)
        limit = part_limit(job(), [Candidate(deployment=deployment("a/x"), capabilities=can)], LongAudio())
        assert limit is not None
        noise = np.random.default_rng(1).integers(-32_768, 32_767, (1, 48_000 * 60), dtype=np.int16)
        audio = as_audio(encoded(noise, 48_000, "wav", "pcm_s16le"))
        with ExitStack() as files:
            parts = split(audio, Container.FLAC, limit=limit, max_duration_s=100)
            for part in parts:
                files.callback(part.audio.content.close)
            assert len(parts) == 2
            assert all(part.audio.size_bytes <= 4_000_000 for part in parts)
