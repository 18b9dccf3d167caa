"""Uploads are kept as they came, hashed, within what the process may hold; all room comes back."""

from __future__ import annotations

import asyncio
import os
import resource
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.intake.spool import Spool, SpoolBudget
from gateway.problems import Problem
from providers.audio.content import Content

MIB = 1 << 20


def budget(
    *, per_upload: int = MIB, memory: int = 8 * MIB, disk: int = 64 * MIB, directory: Path | None = None
) -> SpoolBudget:
    return SpoolBudget(memory_per_upload=per_upload, memory_total=memory, disk_total=disk, directory=directory)


def is_free(of: SpoolBudget) -> bool:
    return (of.memory_used, of.disk_used) == (0, 0)


def pattern(size: int) -> bytes:
    return bytes(range(251)) * (size // 251 + 1)


async def write(spool: Spool, *, mib: int) -> None:
    for _ in range(mib):
        await spool.write(pattern(MIB))


chunkings = st.lists(st.binary(max_size=300), max_size=40)


@given(chunks=chunkings, per_upload=st.integers(1, 2_000), memory=st.integers(1, 3_000))
@settings(max_examples=150, deadline=None)
def test_any_chunking_gives_the_same_content_and_digest(chunks: list[bytes], per_upload: int, memory: int) -> None:
    """In memory or in a file, written from the loop or from a thread."""
    room, whole = budget(per_upload=per_upload, memory=memory), b"".join(chunks)

    async def on_the_loop() -> None:
        spool = Spool(room)
        for chunk in chunks:
            await spool.write(chunk)
        check(spool, *await spool.finish())

    def check(spool: Spool, content: Content, digest: str) -> None:
        assert b"".join(content.slices(97)) == whole
        assert content.size_bytes == spool.size_bytes == len(whole)
        assert content.in_memory == (len(whole) <= min(per_upload, memory))
        assert digest == blake3(whole).hexdigest()
        assert room.memory_used <= memory
        spool.close()
        assert is_free(room)

    asyncio.run(on_the_loop())
    spool = Spool(room)
    for chunk in chunks:
        spool.write_now(chunk)
    check(spool, *spool.finish_now())


async def test_what_waits_for_the_disk_counts_as_memory() -> None:
    """A thousand large uploads in progress must not hold a MiB each beside the budget."""
    room = budget(per_upload=1000, memory=10_000)
    spools = [Spool(room) for _ in range(40)]
    for _ in range(20):
        for spool in spools:
            await spool.write(pattern(700)[:700])
    kept = sum(spool._pending_bytes for spool in spools)
    assert kept == room.memory_used <= 10_000
    assert kept + room.disk_used == 40 * 20 * 700
    for spool in spools:
        spool.close()
    assert is_free(room)


async def test_pieces_of_a_byte_or_two_are_joined() -> None:
    """Each would cost forty bytes more than it holds."""
    spool = Spool(budget())
    for at in range(5_000):
        await spool.write(at.to_bytes(2, "big"))
    assert len(spool._pending) <= 1025
    content, _ = await spool.finish()
    assert b"".join(content.slices()) == b"".join(at.to_bytes(2, "big") for at in range(5_000))
    spool.close()


async def test_no_room_on_disk_is_507() -> None:
    room = budget(per_upload=10, disk=2 * MIB)
    spool = Spool(room)
    with pytest.raises(Problem) as told:
        await write(spool, mib=5)
    assert (told.value.status, told.value.type) == (507, "spool-full")
    spool.close()
    assert is_free(room)


async def test_small_uploads_need_no_disk() -> None:
    spool = Spool(budget(disk=1, directory=Path("/nonexistent")))
    await spool.write(b"fLaC")
    content, _ = await spool.finish()
    assert content.in_memory
    spool.close()


@pytest.mark.parametrize("where", ["no-such-folder", "a-file"])
async def test_a_folder_that_cannot_be_written_is_507(where: str, tmp_path: Path) -> None:
    (tmp_path / "a-file").write_bytes(b"")
    room = budget(per_upload=10, directory=tmp_path / where)
    spool = Spool(room)
    with pytest.raises(Problem) as told:
        await spool.write(pattern(MIB))
    assert told.value.status == 507
    assert str(tmp_path) not in told.value.message
    spool.close()
    assert is_free(room)


async def test_a_disk_that_fills_half_way_is_507() -> None:
    """The system refuses the write: here by the limit on the size of files, which raises the same OSError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    room = budget(per_upload=10)
    spool = Spool(room)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * MIB, hard))
    try:
        with pytest.raises(Problem) as told:
            await write(spool, mib=5)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert told.value.status == 507
    spool.close()
    assert is_free(room)


async def arrive(room: SpoolBudget, mib: int) -> int:
    """Upload as fast as there is room; return 200, or the status of what was wrong."""
    spool = Spool(room)
    try:
        await write(spool, mib=mib)
        await spool.finish()
    except Problem as problem:
        return problem.status
    finally:
        spool.close()
    return 200


async def test_of_uploads_that_fill_the_disk_together_the_last_are_refused() -> None:
    """Each that came before has its room, whoever finds the disk full first."""
    room = budget(per_upload=10, disk=21 * MIB)
    async with asyncio.TaskGroup() as group:
        uploads = [group.create_task(arrive(room, 4)) for _ in range(12)]
    statuses = [each.result() for each in uploads]
    assert statuses[:4] == [200] * 4
    assert set(statuses) == {200, 507}
    assert is_free(room)


async def test_an_upload_waits_for_the_room_of_one_that_came_later() -> None:
    room = budget(per_upload=10, disk=5 * MIB)
    first, second = Spool(room), Spool(room)
    await write(first, mib=2)
    await write(second, mib=2)
    waiting = asyncio.get_running_loop().create_task(write(first, mib=2))
    with pytest.raises(Problem) as refused:
        await write(second, mib=2)
    assert refused.value.status == 507
    second.close()
    await waiting
    first.close()
    assert is_free(room)


async def test_files_have_no_name(tmp_path: Path) -> None:
    spool = Spool(budget(per_upload=10, directory=tmp_path))
    await spool.write(pattern(MIB))
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - a coroutine may call this, but not Path's
    spool.close()


class SlowDisk(SpoolBudget):
    """Holds a flush until it is told to go on."""

    begun: threading.Event
    go_on: threading.Event

    def take_disk(self, size: int) -> bool:
        self.begun.set()
        assert self.go_on.wait(30)
        return super().take_disk(size)


async def test_an_upload_cancelled_while_it_is_written_gives_everything_back() -> None:
    """The thread has ended before the file is closed and the room counted."""
    room = SlowDisk(memory_per_upload=10, memory_total=MIB, disk_total=64 * MIB)
    room.begun, room.go_on = threading.Event(), threading.Event()
    spool = Spool(room)

    async def upload() -> None:
        try:
            await spool.write(pattern(MIB))
        finally:
            spool.close()

    task = asyncio.get_running_loop().create_task(upload())
    await asyncio.to_thread(room.begun.wait, 30)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    room.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert is_free(room)


def test_the_budget_counts_right_from_many_threads() -> None:
    room = budget(per_upload=100, memory=50_000)

    def upload(size: int) -> None:
        for _ in range(200):
            spool = Spool(room)
            spool.write_now(pattern(size)[:size])
            spool.finish_now()
            spool.close()

    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(upload, range(50, 130, 10)):
            pass
    assert is_free(room)


def test_closing_twice_gives_back_once() -> None:
    room = budget()
    spool = Spool(room)
    spool.write_now(b"x" * 100)
    spool.close()
    spool.close()
    assert is_free(room)
