"""Audio that nobody takes whole: cut into parts, each asked for as a job of its own, and joined.

Each part has the whole route to itself: it is tried again and fails over by itself. Where one of them has no answer
there is none for the whole: a transcript with a hole would look like one without.
"""

from __future__ import annotations

import asyncio
import math
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from gateway.dispatch.answers import DEADLINE, Abandoned, Answer, Paid, abandoned
from gateway.problems import Problem, bad_audio, spool_full
from providers.audio.content import MemoryContent
from providers.audio.part_limit import PartLimit
from providers.audio.unreadable import AudioTooLong, UnreadableAudio
from providers.stitch import stitched
from providers.types import Container

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from contextlib import ExitStack

    from config.long_audio import LongAudio
    from gateway.dispatch.plan import Candidate
    from gateway.intake.transcoder import Transcoder
    from providers.types import Audio, Capabilities, Moment, TranscriptionJob

SHORTEST_S: Final = 20.0
"""A target that takes no part of this length is none for long audio: it would get a sentence at a time."""


def short(job: TranscriptionJob) -> TranscriptionJob:
    """Return the job as if its audio were as short as can be: who can do that can do a part of it."""
    return replace(job, audio=replace(job.audio, content=MemoryContent(), duration_s=None))


def part_limit(job: TranscriptionJob, candidates: Iterable[Candidate], settings: LongAudio) -> PartLimit | None:
    """Return what a part may be for every candidate to take it; None where parts will not do.

    Speakers are not followed from one part to the next: each would number them anew.
    """
    if not settings.split or job.diarize:
        return None
    limits = [limit for each in candidates if (limit := _limit(each.capabilities)).seconds() >= SHORTEST_S]
    if not limits:
        return None
    sizes = [each.max_bytes for each in limits if each.max_bytes is not None]
    longest_s = min(settings.part, *(each.longest_s for each in limits))
    return PartLimit(longest_s=longest_s, max_bytes=min(sizes, default=None))


async def in_parts(
    job: TranscriptionJob,
    parts: Sequence[Audio],
    parallel: int,
    ask: Callable[[TranscriptionJob], Awaitable[Answer]],
    is_abandoned: Callable[[], bool],
) -> Answer:
    """Ask for each part, so many at once; return what was heard in all. Raises the Problem of one that fails.

    Where everybody leaves, a part that is paid for goes on, and takes no harm of others that are called off. Those are
    asked for again once it has ended, where somebody waits by then; else it is Abandoned.
    """
    heard: dict[int, Answer] = {}
    while missing := [number for number in range(len(parts)) if number not in heard]:
        heard |= await _asked(job, parts, missing, parallel, ask)
        if len(heard) < len(parts) and is_abandoned():
            paid = sorted(heard)
            raise abandoned(_joined([heard[n] for n in paid], [parts[n] for n in paid]) if paid else None)
    return _joined([heard[number] for number in range(len(parts))], parts)


async def _asked(
    job: TranscriptionJob,
    parts: Sequence[Audio],
    numbers: Sequence[int],
    parallel: int,
    ask: Callable[[TranscriptionJob], Awaitable[Answer]],
) -> dict[int, Answer]:
    """Return the answers by number, without those that nobody waited for. Raises Problem."""
    places, failed, heard = asyncio.Semaphore(parallel), list[Problem](), dict[int, Answer]()

    async def asked(number: int) -> None:
        async with places:
            if failed:  # nothing is begun, and paid, that nobody needs any more
                raise failed[0]
            try:
                heard[number] = await ask(replace(job, audio=parts[number]))
            except Abandoned:
                return
            except Problem as problem:
                problem.message = f"part {number + 1} of {len(parts)}: {problem.message}"
                failed.append(problem)
                raise

    try:
        async with asyncio.TaskGroup() as group:
            for number in numbers:
                group.create_task(asked(number))
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None
    return heard


async def cut(
    job: TranscriptionJob,
    transcoder: Transcoder,
    to: Capabilities,
    limit: PartLimit,
    deadline: Moment,
    files: ExitStack,
) -> list[Audio]:
    """Return the job's audio in parts. files: closes them. Raises Problem."""
    try:
        async with asyncio.timeout_at(deadline):
            # Samples say of themselves neither rate nor form: a part may go to others too, who must be able to read it.
            container = Container.FLAC if to.transcode_to is Container.SAMPLES else to.transcode_to
            parts = await transcoder.split(job.audio, container, limit)
    except TimeoutError as error:
        message = "no answer before the deadline: the audio is still being cut into parts"
        raise Problem(status=504, type=DEADLINE, message=message) from error
    except UnreadableAudio as error:
        raise bad_audio(str(error)) from error
    except AudioTooLong as error:
        raise Problem(status=413, type="too-large", message=str(error)) from error
    except OSError as error:
        raise spool_full() from error
    for part in parts:
        files.callback(part.content.close)
    return parts


def _limit(can: Capabilities) -> PartLimit:
    return PartLimit(longest_s=math.inf if can.max_duration_s is None else can.max_duration_s, max_bytes=can.max_bytes)


def _joined(answers: Sequence[Answer], parts: Sequence[Audio]) -> Answer:
    lengths_s = [part.duration_s or 0.0 for part in parts]
    starts_s = [0.0, *accumulate(lengths_s)]
    heard = [(start_s, answer.transcript) for start_s, answer in zip(starts_s, answers, strict=False)]
    of_each = list(zip(answers, lengths_s, strict=True))
    return replace(
        answers[0],
        transcript=stitched(heard),
        ignored=tuple(dict.fromkeys(name for each in answers for name in each.ignored)),
        attempts=tuple(attempt for each in answers for attempt in each.attempts),
        besides=tuple(replace(paid, length_s=length_s) for each, length_s in of_each for paid in each.besides),
        parts=tuple(
            Paid(deployment=each.deployment, transcript=each.transcript, length_s=length_s)
            for each, length_s in of_each
        ),
        is_doubtful=any(each.is_doubtful for each in answers),
    )
