"""Pieces of many callers, heard together by a device of the test's own making: what it hears, it hears when told to."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from providers.emulators.ear import as_audio
from providers.local.batcher import Batcher, Closed
from providers.local.engine import RATE_HZ, Abandoned, OutOfMemory, Piece
from providers.types import GenerationParameters, Transcript, TranscriptionJob
from tests.engines import Echo

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

AUDIO = as_audio(b"")
FOREVER_S = 3600.0


class Device(Echo):
    """Hears many at once. Pieces with different prompts are not alike."""

    def __init__(self, *, rows: int = 16, workers: int = 1, memory: int = 1 << 30) -> None:
        self.max_rows, self.workers, self.memory = rows, workers, memory
        self.batches: list[list[str]] = []
        self.passes = threading.Semaphore(0)
        self.faults: dict[str, BaseException] = {}  # by the name of a piece

    def key(self, piece: Piece) -> Hashable:
        return piece.job.prompt

    def rows(self, piece: Piece) -> int:
        return piece.job.generation.num_beams or 1

    def hear(self, pieces: Sequence[Piece], is_abandoned: Callable[[], bool]) -> list[Transcript]:
        self.batches.append([piece.job.model for piece in pieces])
        self.passes.acquire()
        if sum(self.rows(piece) for piece in pieces) > self.memory:
            raise OutOfMemory
        for piece in pieces:
            if piece.job.model in self.faults:
                raise self.faults[piece.job.model]
        if is_abandoned():
            raise Abandoned
        return super().hear(pieces, is_abandoned)

    def free(self) -> Device:
        """Hear at once from now on."""
        self.passes.release(100_000)
        return self


def batcher(device: Echo, *, rows: int = 16, wait_s: float = 0.0, audio_s: float = 1e9) -> Batcher:
    return Batcher(device, max_rows=rows, max_wait_s=wait_s, max_audio_s=audio_s)


def piece(name: str, *, prompt: str | None = None, beams: int | None = None, duration_s: float = 0.0) -> Piece:
    job = TranscriptionJob(model=name, audio=AUDIO, prompt=prompt, generation=GenerationParameters(num_beams=beams))
    return Piece(job=job, samples=np.zeros(round(duration_s * RATE_HZ), np.float32), start_s=0.0)


def submitted(to: Batcher, *names: str, lane: str = "", prompt: str | None = None) -> list[asyncio.Future[Transcript]]:
    return [to.submit(piece(name, prompt=prompt), lane or name) for name in names]


async def texts(answers: Sequence[asyncio.Future[Transcript]]) -> list[str]:
    async with asyncio.timeout(10):
        return [(await each).text for each in answers]


async def begun(device: Device, batches: int) -> None:
    async with asyncio.timeout(10):
        while len(device.batches) < batches:  # noqa: ASYNC110 - what changes lives in a thread
            await asyncio.sleep(0.001)


async def test_a_full_batch_leaves_at_once() -> None:
    device = Device(rows=4).free()
    to = batcher(device, wait_s=FOREVER_S)

    assert await texts(submitted(to, "a", "b", "c", "d")) == ["a", "b", "c", "d"]
    assert device.batches == [["a", "b", "c", "d"]]
    to.close()


async def test_the_smaller_of_two_limits_holds() -> None:
    device = Device(rows=4).free()
    to = batcher(device, rows=2, wait_s=FOREVER_S)

    await texts(submitted(to, "a", "b", "c", "d"))
    assert device.batches == [["a", "b"], ["c", "d"]]
    to.close()


async def test_a_batch_with_room_waits_for_others_but_not_for_ever() -> None:
    device, loop = Device().free(), asyncio.get_running_loop()
    to = batcher(device, wait_s=0.05)
    began = loop.time()
    first = submitted(to, "a")
    await asyncio.sleep(0)
    second = submitted(to, "b")

    assert await texts(first + second) == ["a", "b"]
    assert loop.time() - began >= 0.05
    assert device.batches == [["a", "b"]]
    to.close()


async def test_while_the_device_is_busy_pieces_pile_up() -> None:
    device = Device()
    to = batcher(device)
    first = submitted(to, "a")
    await begun(device, 1)
    rest = submitted(to, *"bcdef")
    device.free()

    assert await texts(first + rest) == [*"abcdef"]
    assert device.batches == [["a"], [*"bcdef"]]
    to.close()


async def test_each_worker_has_a_batch_of_its_own() -> None:
    device = Device(rows=1, workers=2)
    to = batcher(device, wait_s=FOREVER_S)
    answers = submitted(to, "a", "b", "c")
    await begun(device, 2)
    assert (device.batches, to.utterances_heard) == ([["a"], ["b"]], 2)
    device.free()

    assert await texts(answers) == ["a", "b", "c"]
    to.close()


async def test_what_is_not_alike_is_not_heard_together() -> None:
    device = Device()
    to = batcher(device)
    first = submitted(to, "held")
    await begun(device, 1)
    answers = [answer for name in "abcd" for answer in submitted(to, name, prompt="even" if name in "bd" else "odd")]
    device.free()

    assert await texts(first + answers) == ["held", *"abcd"]
    assert device.batches == [["held"], ["a", "c"], ["b", "d"]]
    to.close()


async def test_beams_are_rows() -> None:
    device = Device(rows=10)
    to = batcher(device)
    held = submitted(to, "held")
    await begun(device, 1)
    answers = [to.submit(piece(name, beams=5), name) for name in "abc"]
    device.free()

    assert await texts(held + answers) == ["held", *"abc"]
    assert device.batches == [["held"], ["a", "b"], ["c"]]
    to.close()


async def test_the_engine_gets_the_shortest_first() -> None:
    device = Device(rows=3).free()
    to = batcher(device, wait_s=FOREVER_S)
    lengths = {"long": 0.3, "short": 0.1, "middle": 0.2}
    answers = [to.submit(piece(name, duration_s=length_s), name) for name, length_s in lengths.items()]

    assert await texts(answers) == ["long", "short", "middle"]
    assert device.batches == [["short", "middle", "long"]]
    to.close()


async def test_a_hundred_pieces_of_one_keep_nobody_waiting() -> None:
    device = Device(rows=4)
    to = batcher(device)
    long = submitted(to, *(f"long {n}" for n in range(100)), lane="long")
    await begun(device, 1)
    short = submitted(to, "short")
    device.free()

    assert await texts(short) == ["short"]
    assert any("short" in batch for batch in device.batches[:2])
    assert await texts(long) == [f"long {n}" for n in range(100)]
    to.close()


async def test_who_left_costs_nothing() -> None:
    device = Device()
    to = batcher(device)
    held = submitted(to, "held")
    await begun(device, 1)
    gone, stays = submitted(to, "gone"), submitted(to, "stays")
    gone[0].cancel()
    device.free()

    assert await texts(held + stays) == ["held", "stays"]
    assert device.batches == [["held"], ["stays"]]
    to.close()


async def test_a_batch_that_nobody_waits_for_is_given_up_and_the_next_is_heard() -> None:
    device = Device()
    to = batcher(device)
    gone = submitted(to, "a")
    await begun(device, 1)
    gone[0].cancel()
    stays = submitted(to, "b")
    device.free()

    assert await texts(stays) == ["b"]
    to.close()


async def test_no_memory_for_so_many_is_answered_with_fewer() -> None:
    device = Device(memory=5).free()
    to = batcher(device, wait_s=FOREVER_S)
    names = [f"{n:02}" for n in range(16)]

    assert await texts(submitted(to, *names)) == names
    assert [len(batch) for batch in device.batches] == [16, 8, 4, 4, 4, 4]
    assert to.limit == 4
    to.close()


async def test_the_limit_grows_back_slowly() -> None:
    device = Device(memory=2).free()
    to = batcher(device, rows=4, wait_s=FOREVER_S)
    await texts(submitted(to, *"abcd"))
    assert to.limit == 2
    device.memory = 4
    while to.limit < 4:
        await texts(submitted(to, *"abcdefghijkl"[: 2 * to.limit]))

    assert [len(batch) for batch in device.batches] == [4, *[2] * 8, *[3] * 8]
    await texts(submitted(to, *"abcd"))
    assert (len(device.batches[-1]), to.limit) == (4, 4)
    to.close()


async def test_one_piece_too_large_for_the_device_says_so() -> None:
    device = Device(memory=3).free()
    to = batcher(device)
    with pytest.raises(OutOfMemory):
        await to.submit(piece("a", beams=4), "a")

    assert await texts(submitted(to, "b")) == ["b"]
    to.close()


async def test_one_bad_piece_does_not_fail_the_others() -> None:
    device = Device(rows=4).free()
    to = batcher(device, wait_s=FOREVER_S)
    device.faults["c"] = ValueError("operands could not be broadcast")
    *good, bad, last = submitted(to, *"abcd")

    assert await texts([*good, last]) == ["a", "b", "d"]
    with pytest.raises(ValueError, match="broadcast"):
        await bad
    assert device.batches == [[*"abcd"], ["a"], ["b"], ["c"], ["d"]]
    to.close()


@pytest.mark.parametrize(
    "fault", [SystemError("error return without exception set"), SystemExit(), KeyboardInterrupt(), StopIteration()]
)
async def test_nothing_that_is_raised_there_ends_a_worker(fault: BaseException) -> None:
    device = Device().free()
    to = batcher(device)
    device.faults["a"] = fault
    with pytest.raises(Exception, match=r"error return|thread was ended"):
        await submitted(to, "a")[0]

    assert await texts(submitted(to, "b")) == ["b"]
    to.close()


class Forgetful(Echo):
    """Loses what was said last."""

    def hear(self, pieces: Sequence[Piece], is_abandoned: Callable[[], bool]) -> list[Transcript]:
        return super().hear(pieces, is_abandoned)[:-1]


async def test_an_engine_that_loses_a_piece_is_not_believed() -> None:
    to = batcher(Forgetful())
    with pytest.raises(ValueError, match="heard 0 of 1"):
        await submitted(to, "a")[0]
    to.close()


async def test_what_waits_is_bounded_in_audio() -> None:
    device = Device(rows=1)
    to = batcher(device, audio_s=2.0)
    await to.room()
    answers = [to.submit(piece(name, duration_s=1.0), name) for name in "abc"]
    async with asyncio.TaskGroup() as group:
        room = group.create_task(to.room())
        await begun(device, 1)
        assert not room.done(), "one is heard, two wait"
        device.passes.release()
        await begun(device, 2)
        await room
        device.free()
    assert await texts(answers) == [*"abc"]
    to.close()


async def test_the_real_time_factor_is_measured() -> None:
    device = Device(rows=1).free()
    to = batcher(device)
    before = to.rtf
    for _ in range(30):
        await to.submit(piece("a", duration_s=1.0), "a")

    assert 0 < to.rtf < before / 10, "this device takes no time"
    to.close()


async def test_closing_lets_the_running_batch_end_and_drops_the_rest() -> None:
    device = Device(rows=2)
    to = batcher(device, wait_s=FOREVER_S)
    running, waiting = submitted(to, "a", "b"), submitted(to, "c")
    await begun(device, 1)
    async with asyncio.TaskGroup() as group:
        closing = group.create_task(asyncio.to_thread(to.close))
        with pytest.raises(Closed):
            await waiting[0]
        device.free()
        await closing
    assert await texts(running) == ["a", "b"]
    with pytest.raises(Closed):
        to.submit(piece("d"), "d")


async def test_a_batch_that_fails_while_closing_is_not_tried_again() -> None:
    device = Device(rows=2)
    device.faults["a"] = ValueError("broken")
    to = batcher(device, wait_s=FOREVER_S)
    running = submitted(to, "a", "b")
    await begun(device, 1)
    async with asyncio.TaskGroup() as group:
        closing = group.create_task(asyncio.to_thread(to.close))
        while not to.closed:  # noqa: ASYNC110 - what changes lives in a thread
            await asyncio.sleep(0)
        device.free()
        await closing
    for each in running:
        with pytest.raises(ValueError, match="broken"):
            await each
