"""Duration of any file, from a child process that can be killed."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from providers.audio.content import FileContent, MemoryContent
from providers.audio.decode import probe
from providers.audio.demux import Demuxer
from providers.audio.unreadable import UnreadableAudio
from tests.conftest import encoded, sample, sample_audio, tone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from providers.audio.content import Content


@pytest.fixture
def demuxer() -> Iterator[Demuxer]:
    started = Demuxer(1, limit_s=5)
    yield started
    started.close()


def children() -> set[int]:
    """Return the processes that this one has started and that still run."""
    own = Path(f"/proc/self/task/{threading.main_thread().native_id}/children").read_text()
    return {
        int(pid) for pid in own.split() if b"providers.audio.demux_child" in Path(f"/proc/{pid}/cmdline").read_bytes()
    }


def in_file(body: bytes) -> FileContent:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the content
    file.write(body)
    file.flush()
    return FileContent(file, len(body))


@pytest.mark.parametrize(
    ("name", "seconds", "rate_hz", "channels"),
    [
        ("slushy.m4a", 13.76, 16_000, 1),
        ("slushy.webm", 13.7, 48_000, 1),
        ("fr_dictee.aiff", 2.53, 44_100, 1),
        ("jfk.flac", 11.0, 44_100, 2),
    ],
)
@pytest.mark.parametrize("make", [MemoryContent, in_file])
def test_says_what_a_demuxer_sees(
    name: str, seconds: float, rate_hz: int, channels: int, make: type[MemoryContent], demuxer: Demuxer
) -> None:
    content: Content = make(sample(name))
    found = demuxer.probe(content)

    assert found.duration_s == pytest.approx(seconds, abs=0.02)
    assert (found.rate_hz, found.channels) == (rate_hz, channels)
    assert found == probe(content)
    content.close()


@pytest.mark.parametrize(
    ("form", "codec", "rate_hz", "bit_rate"),
    [("adts", "aac", 16_000, None), ("amr", "libopencore_amrnb", 8_000, 12_200), ("caf", "alac", 44_100, None)],
)
def test_knows_containers_without_a_duration_of_their_own(
    form: str, codec: str, rate_hz: int, bit_rate: int | None, demuxer: Demuxer
) -> None:
    found = demuxer.probe(MemoryContent(encoded(tone(4, rate_hz), rate_hz, form, codec, bit_rate=bit_rate)))

    assert found.duration_s == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize("body", [b"", b"nothing", b"v=0\r\n", sample("slushy.m4a")[:9_000]])
def test_what_is_unreadable_is_told_as_by_the_decoder(body: bytes, demuxer: Demuxer) -> None:
    with pytest.raises(UnreadableAudio) as here:
        probe(MemoryContent(body))
    with pytest.raises(UnreadableAudio, match=str(here.value).replace("(", r"\(").replace(")", r"\)")):
        demuxer.probe(MemoryContent(body))


def test_one_child_serves_many_files(demuxer: Demuxer) -> None:
    demuxer.probe(MemoryContent(sample("slushy.m4a")))
    first = children()
    for _ in range(5):
        demuxer.probe(MemoryContent(sample("slushy.webm")))

    assert len(first) == 1
    assert children() == first


def test_a_child_that_hangs_is_killed_and_the_next_file_is_served() -> None:
    """A stopped process is what a demuxer in an endless loop looks like from here: no answer."""
    demuxer = Demuxer(1, limit_s=0.2)
    demuxer.probe(MemoryContent(sample("slushy.m4a")))
    (hanging,) = children()
    os.kill(hanging, signal.SIGSTOP)
    with pytest.raises(UnreadableAudio, match="limits of time and memory"):
        demuxer.probe(MemoryContent(sample("slushy.m4a")))

    assert children() == set()
    assert demuxer.probe(MemoryContent(sample("slushy.m4a"))).rate_hz == 16_000
    assert children() != {hanging}
    demuxer.close()


def test_a_child_that_died_between_files_is_replaced(demuxer: Demuxer) -> None:
    demuxer.probe(MemoryContent(sample("slushy.m4a")))
    (pid,) = children()
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(UnreadableAudio):
        demuxer.probe(MemoryContent(sample("slushy.m4a")))

    assert demuxer.probe(MemoryContent(sample("slushy.m4a"))).channels == 1


def test_a_descriptor_that_cannot_be_read_costs_its_child_only(demuxer: Demuxer) -> None:
    """A pipe has no positions."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as pipe, os.fdopen(writing, "wb"):
        with pytest.raises(UnreadableAudio):
            demuxer.probe(FileContent(pipe, 1_000))
        assert demuxer.probe(MemoryContent(sample("slushy.m4a"))).channels == 1


def test_the_child_inherits_no_secret() -> None:
    """It reads strangers' files with C code: it gets what Python needs to start, and nothing else."""
    os.environ["PLANTED_API_KEY"] = "sk-planted-secret"
    demuxer = Demuxer(1)
    try:
        demuxer.probe(MemoryContent(sample("slushy.m4a")))
        (pid,) = children()
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    finally:
        del os.environ["PLANTED_API_KEY"]
        demuxer.close()

    names = {each.partition(b"=")[0] for each in environment.split(b"\0") if each}
    assert b"planted" not in environment
    assert names <= {b"PATH", b"LANG", b"LC_ALL", b"LD_LIBRARY_PATH", b"PYTHONHOME", b"PYTHONPATH"}


def test_the_child_has_no_other_file_open(demuxer: Demuxer) -> None:
    with tempfile.TemporaryFile() as other:
        os.set_inheritable(other.fileno(), True)  # noqa: FBT003 - its own signature
        demuxer.probe(MemoryContent(sample("slushy.m4a")))
        (pid,) = children()
        opened = [str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir()]

    assert sorted(each.split(":")[0] for each in opened) == ["/dev/null", "/dev/null", "socket"]


def test_works_from_any_directory(tmp_path: Path) -> None:
    """A module of the working directory must not be taken for ours."""
    (tmp_path / "providers").mkdir()
    (tmp_path / "providers" / "__init__.py").write_text("raise SystemExit(1)")
    before = Path.cwd()
    demuxer = Demuxer(1)
    try:
        os.chdir(tmp_path)
        assert demuxer.probe(MemoryContent(sample("slushy.m4a"))).channels == 1
    finally:
        os.chdir(before)
        demuxer.close()


def test_threads_share_the_children() -> None:
    demuxer = Demuxer(2)
    names = ["slushy.m4a", "slushy.webm", "fr_dictee.aiff", "jfk.flac"] * 6
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda name: demuxer.probe(MemoryContent(sample(name))), names))

    assert [each.rate_hz for each in found] == [16_000, 48_000, 44_100, 44_100] * 6
    demuxer.close()


def test_closing_ends_the_children() -> None:
    demuxer = Demuxer(2)
    demuxer.probe(MemoryContent(sample("slushy.m4a")))
    assert children()
    demuxer.close()

    assert children() == set()
    with pytest.raises(RuntimeError, match="closed"):
        demuxer.probe(MemoryContent(sample("slushy.m4a")))
    assert children() == set()


def test_a_busy_child_ends_with_its_file() -> None:
    demuxer = Demuxer(1, limit_s=5)
    demuxer.probe(MemoryContent(sample("slushy.m4a")))
    (pid,) = children()
    os.kill(pid, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as thread:
        busy = thread.submit(demuxer.probe, MemoryContent(sample("slushy.m4a")))
        while demuxer._idle.qsize():  # until the thread has taken the child
            pass
        demuxer.close()
        assert children() == {pid}
        os.kill(pid, signal.SIGCONT)
        assert busy.result().channels == 1

    assert children() == set()


def test_a_sound_is_told_by_a_child(demuxer: Demuxer) -> None:
    wav, flac = sample_audio("slushy.wav"), sample_audio("slushy.flac")
    assert demuxer.sound(wav, max_duration_s=60.0) == demuxer.sound(flac, max_duration_s=60.0)
    with pytest.raises(UnreadableAudio, match="longer than 1 s"):
        demuxer.sound(wav, max_duration_s=1.0)


def test_a_sound_that_nobody_waits_for_costs_its_child_and_no_more(demuxer: Demuxer) -> None:
    wav = sample_audio("slushy.wav")
    with pytest.raises(UnreadableAudio, match="within its limits"):
        demuxer.sound(wav, max_duration_s=60.0, is_abandoned=lambda: True)
    assert demuxer.sound(wav, max_duration_s=60.0)
