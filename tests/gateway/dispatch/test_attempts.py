"""Tries in order under one deadline: which error moves on, which stops, and what the caller is told at the end."""

from __future__ import annotations

import asyncio
from contextlib import closing
from dataclasses import replace  # noqa: TID251 - of a dataclass
from typing import TYPE_CHECKING

import pytest
from msgspec import structs

from gateway.dispatch.answers import Answer
from gateway.dispatch.attempts import Attempts, check_times
from gateway.dispatch.means import Terms
from gateway.dispatch.plan import Candidate
from gateway.intake.transcoder import Transcoder
from gateway.problems import Problem
from providers.emulators.ear import as_audio
from providers.errors import (
    AttemptTimedOut,
    CredentialsRejected,
    JobRejected,
    JobUnsupported,
    MalformedReply,
    ProviderError,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
)
from providers.types import Capabilities, Container, Moment, Segment, Timestamps, Transcript, Word
from tests.conftest import encoded, sample, sample_audio, tone
from tests.gateway.dispatch.conftest import Backend, World, deployment, job, reliability

if TYPE_CHECKING:
    from providers.types import Audio, TranscriptionJob

HEARD = Transcript(text="hello", segments=(Segment(text="hello", start_s=0, end_s=1),))
FLAC = Capabilities(containers=frozenset({Container.FLAC}))


def candidate(name: str, can: Capabilities | None = None) -> Candidate:
    return Candidate(deployment=deployment(name), capabilities=can or Capabilities(), ignored=("top_k",))


class Tries:
    """Attempts over fake backends, a/0, a/1, ..., each of which answers once."""

    def __init__(self, asked: TranscriptionJob, *answers: Transcript | ProviderError | None) -> None:
        self.backends = {f"a/{at}": Backend([answer]) for at, answer in enumerate(answers)}
        self.world = World(self.backends, reliability(retries={"limit": 0}))
        self._asked = asked
        self._attempts: list[Attempts] = []

    async def run(self, candidates: list[Candidate], seconds: float = 60.0) -> Answer:
        clock = asyncio.get_running_loop().time
        terms = Terms(deadline=Moment(clock() + seconds))
        self._attempts.append(Attempts(self._asked, tuple(candidates), self.world.means(clock), terms))
        return await self._attempts[-1].run()

    def close(self) -> None:
        for each in self._attempts:
            each.close()

    @property
    def counted(self) -> list[tuple[str, str]]:
        return self.world.counted

    @property
    def called(self) -> list[str]:
        return [name for name, backend in self.backends.items() if backend.seen]


async def test_an_empty_text_is_doubted_until_the_deadline_only() -> None:
    """Listening for a voice may take long, where many listen: the answer that is there is given in time."""
    clock = asyncio.get_running_loop().time
    world = World({"a/0": Backend([Transcript(text="")]), "a/1": Backend([HEARD])})

    async def listens_for_ever(_: Audio) -> bool:
        await asyncio.Event().wait()
        return True

    means = replace(world.means(clock), hears_speech=listens_for_ever)
    terms = Terms(deadline=Moment(clock() + 0.05))
    with closing(Attempts(job(), (candidate("a/0"), candidate("a/1")), means, terms)) as attempts:
        async with asyncio.timeout(10):
            answer = await attempts.run()
    assert (answer.is_empty, world.kinds) == (True, ["first"])


async def test_an_empty_text_that_nobody_waits_for_is_left_in_doubt() -> None:
    """A second opinion would cost as much again; an answer that may be wrong is not kept instead."""
    clock = asyncio.get_running_loop().time
    world = World({"a/0": Backend([Transcript(text="")]), "a/1": Backend([HEARD])})
    terms = Terms(deadline=Moment(clock() + 60))

    async def all_leave(_: Audio) -> bool:
        terms.underway.is_abandoned = True
        return True

    means = replace(world.means(clock), hears_speech=all_leave)
    with closing(Attempts(job(), (candidate("a/0"), candidate("a/1")), means, terms)) as attempts:
        answer = await attempts.run()
    assert (answer.is_doubtful, world.kinds) == (True, ["first"])


async def test_the_first_answer_is_the_answer() -> None:
    with closing(Tries(job(), HEARD, HEARD)) as tries:
        answer = await tries.run([candidate("a/0"), candidate("a/1")])

    assert (answer.transcript, answer.deployment.name, answer.ignored) == (HEARD, "a/0", ("top_k",))
    assert tries.called == ["a/0"]
    assert tries.counted == [("a/0", "ok")]


@pytest.mark.parametrize(
    "error",
    [
        JobUnsupported("p"),
        CredentialsRejected("p"),
        QuotaExhausted("p"),
        RateLimited("p", retry_after_s=9.0),
        ProviderUnavailable("p"),
        AttemptTimedOut("p"),
        MalformedReply("p"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_what_is_not_the_callers_fault_moves_on(error: ProviderError) -> None:
    with closing(Tries(job(), error, HEARD)) as tries:
        answer = await tries.run([candidate("a/0"), candidate("a/1")])

    assert answer.deployment.name == "a/1"
    assert tries.counted == [("a/0", error.outcome), ("a/1", "ok")]
    assert [str(each).split(" after ")[0] for each in answer.attempts] == [f"a/0: {error.outcome}", "a/1: ok"]


async def test_the_callers_fault_stops() -> None:
    rejected = JobRejected("p", "too short to hear anything in")
    with closing(Tries(job(), rejected, HEARD)) as tries, pytest.raises(Problem, match="too short") as caught:
        await tries.run([candidate("a/0"), candidate("a/1")])

    assert (caught.value.status, caught.value.type) == (400, "unreadable-audio")
    assert tries.called == ["a/0"]


async def test_nothing_is_tried_after_the_deadline() -> None:
    with closing(Tries(job(), HEARD)) as tries, pytest.raises(Problem, match="no answer before the dead") as caught:
        await tries.run([candidate("a/0")], -1)

    assert (caught.value.status, tries.called) == (504, [])
    assert caught.value.headers == {"x-should-retry": "false", "Retry-After": "5"}


async def test_a_caller_who_leaves_ends_the_try() -> None:
    """Counted as cancelled, not as a failure of the deployment."""
    with closing(Tries(job(), None)) as tries:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(tries.run([candidate("a/0")]))
            await tries.backends["a/0"].called.wait()
            task.cancel()

    assert task.cancelled()
    assert tries.counted == [("a/0", "cancelled")]


class TestTranscoding:
    """Containers that a deployment does not take."""

    async def test_it_happens_once_for_all_who_need_it(self) -> None:
        with closing(Tries(job(), ProviderUnavailable("p"), ProviderUnavailable("p"), HEARD)) as tries:
            await tries.run([candidate("a/0", FLAC), candidate("a/1"), candidate("a/2", FLAC)])
            first, untouched, last = (tries.backends[f"a/{at}"].seen[0].audio for at in range(3))
            assert first is last
            assert (first.container, untouched.container) == (Container.FLAC, Container.WAV)
            assert first.duration_s == pytest.approx(13.69, abs=0.01)
            assert first.content.read_at(0, 4) == b"fLaC"

    async def test_the_copy_is_closed_at_the_end(self) -> None:
        tries = Tries(job(), HEARD)
        await tries.run([candidate("a/0", FLAC)])
        content = tries.backends["a/0"].seen[0].audio.content
        tries.close()

        with pytest.raises(ValueError, match="closed"):
            content.read_at(0, 4)

    async def test_each_container_has_its_own_copy(self) -> None:
        wav = Capabilities(containers=frozenset({Container.WAV}), transcode_to=Container.WAV)
        with closing(Tries(job(sample_audio("slushy.mp3")), ProviderUnavailable("p"), HEARD)) as tries:
            await tries.run([candidate("a/0", FLAC), candidate("a/1", wav)])
            sent = [backend.seen[0].audio.container for backend in tries.backends.values()]

        assert sent == [Container.FLAC, Container.WAV]

    async def test_too_large_afterwards_is_too_large(self) -> None:
        """An MP3 that fits may not fit as FLAC; the next deployment takes it as it is."""
        small = structs.replace(FLAC, max_bytes=50_000)
        asked = job(sample_audio("slushy.mp3"))
        assert asked.audio.size_bytes < 50_000
        with closing(Tries(asked, HEARD, HEARD)) as tries:
            answer = await tries.run([candidate("a/0", small), candidate("a/1")])
        with closing(Tries(asked, HEARD)) as alone, pytest.raises(Problem, match="takes at most 50000 bytes") as caught:
            await alone.run([candidate("a/0", small)])

        assert (answer.deployment.name, tries.counted[0]) == ("a/1", ("a/0", "unsupported"))
        assert (caught.value.status, caught.value.type) == (413, "too-large")

    async def test_too_long_afterwards_is_too_large(self) -> None:
        """A length that nothing told is known of the copy: the next is asked, and where there is none, it is told."""
        short = structs.replace(FLAC, max_duration_s=5.0)
        asked = job(structs.replace(sample_audio("slushy.mp3"), duration_s=None))
        with closing(Tries(asked, HEARD, HEARD)) as tries:
            answer = await tries.run([candidate("a/0", short), candidate("a/1")])
        with closing(Tries(asked, HEARD)) as alone, pytest.raises(Problem, match="takes at most 5 s") as caught:
            await alone.run([candidate("a/0", short)])

        assert (answer.deployment.name, tries.called) == ("a/1", ["a/1"])
        assert tries.counted[0] == ("a/0", "unsupported")
        assert (caught.value.status, caught.value.type, alone.called) == (413, "too-large", [])

    async def test_audio_that_nobody_can_decode_is_the_callers(self) -> None:
        broken = as_audio(sample("slushy.wav")[:44] + b"")
        with closing(Tries(job(broken), HEARD, HEARD)) as tries, pytest.raises(Problem) as caught:
            await tries.run([candidate("a/0", FLAC), candidate("a/1")])

        assert (caught.value.status, tries.called) == (400, [])

    async def test_longer_than_allowed_is_too_much(self) -> None:
        tries = Tries(job(), HEARD)
        tries.world.transcoder = Transcoder(max_duration_s=5.0)
        with closing(tries), pytest.raises(Problem) as caught:
            await tries.run([candidate("a/0", FLAC)])

        assert (caught.value.status, caught.value.type) == (413, "too-large")

    async def test_the_deadline_holds_here_too(self) -> None:
        """The thread ends at its next frame, and what it made is closed."""
        long = as_audio(encoded(tone(600, 16_000), 16_000, "mp3", "libmp3lame"))
        with closing(Tries(job(long), HEARD)) as tries, pytest.raises(Problem, match="still transcoding") as caught:
            await tries.run([candidate("a/0", FLAC)], 0.05)

        assert (caught.value.status, tries.counted) == (504, [("a/0", "timeout")])
        await asyncio.get_running_loop().shutdown_default_executor()


WORD = Word(text="hello", start_s=0, end_s=1)


@pytest.mark.parametrize(
    ("level", "diarize", "heard", "is_whole"),
    [
        (Timestamps.NONE, False, Transcript(text="hello"), True),
        (Timestamps.NONE, True, Transcript(text="hello"), False),
        (Timestamps.NONE, True, Transcript(text="hello", words=(WORD,)), True),
        (Timestamps.SEGMENT, False, HEARD, True),
        (Timestamps.SEGMENT, False, Transcript(text="hello", words=(WORD,)), True),
        (Timestamps.SEGMENT, False, Transcript(text="hello"), False),
        (Timestamps.SEGMENT, False, Transcript(text=" "), True),
        (Timestamps.WORD, False, Transcript(text="hello", words=(WORD,)), True),
        (Timestamps.WORD, False, HEARD, False),
        (Timestamps.WORD, False, Transcript(text=""), True),
    ],
)
def test_an_answer_without_the_times_asked_for_is_none(
    *,
    level: Timestamps,
    diarize: bool,
    heard: Transcript,
    is_whole: bool,
) -> None:
    asked = job(timestamps=level, diarize=diarize)
    if is_whole:
        check_times(heard, asked, "p")
        return
    with pytest.raises(MalformedReply, match=r"answered without the (speakers|segment times|word times)"):
        check_times(heard, asked, "p")


async def test_such_an_answer_moves_on() -> None:
    whole = structs.replace(HEARD, words=(WORD,))
    asked = job(timestamps=Timestamps.WORD)
    can = Capabilities(timestamps=frozenset({Timestamps.WORD}))
    with closing(Tries(asked, HEARD, whole)) as tries:
        answer = await tries.run([candidate("a/0", can), candidate("a/1", can)])

    assert (answer.transcript, tries.counted[0]) == (whole, ("a/0", "malformed"))


async def test_words_are_asked_for_where_segments_are_not_to_be_had() -> None:
    can = Capabilities(timestamps=frozenset({Timestamps.WORD}))
    with closing(Tries(job(timestamps=Timestamps.SEGMENT), structs.replace(HEARD, words=(WORD,)))) as tries:
        await tries.run([candidate("a/0", can)])

    assert tries.backends["a/0"].seen[0].timestamps is Timestamps.WORD
