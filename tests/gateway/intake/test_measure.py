"""Uploads are measured by what they are, whatever they are called; what cannot be is told so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from blake3 import blake3

from gateway.intake.measure import measure
from gateway.intake.upload import Upload
from gateway.problems import Problem
from providers.audio.content import MemoryContent
from providers.audio.demux import Demuxer
from providers.types import Audio, Container
from tests.conftest import encoded, sample, tone

if TYPE_CHECKING:
    from collections.abc import Iterator

DAY_S = 86_400.0


@pytest.fixture(scope="module")
def demuxer() -> Iterator[Demuxer]:
    made = Demuxer(children=1)
    yield made
    made.close()


async def measured(content: bytes, demuxer: Demuxer, *, max_duration_s: float = DAY_S) -> Audio:
    upload = Upload(MemoryContent(content), blake3(content).hexdigest())
    return await measure(upload, demuxer, max_duration_s=max_duration_s)


async def refusal(content: bytes, demuxer: Demuxer, *, max_duration_s: float = DAY_S) -> Problem:
    with pytest.raises(Problem) as told:
        await measured(content, demuxer, max_duration_s=max_duration_s)
    return told.value


@pytest.mark.parametrize(
    ("name", "container", "media_type"),
    [
        ("slushy.wav", Container.WAV, "audio/wav"),
        ("slushy.mp3", Container.MP3, "audio/mpeg"),
        ("slushy.flac", Container.FLAC, "audio/flac"),
        ("slushy.ogg", Container.OGG, "audio/ogg"),
        ("slushy.opus", Container.OGG, "audio/ogg"),
        ("slushy.m4a", Container.MP4, "audio/mp4"),
        ("slushy.webm", Container.WEBM, "audio/webm"),
    ],
)
async def test_every_kind_is_measured(name: str, container: Container, media_type: str, demuxer: Demuxer) -> None:
    audio = await measured(sample(name), demuxer)
    assert (audio.container, audio.media_type) == (container, media_type)
    assert audio.duration_s == pytest.approx(13.7, abs=0.1)
    assert audio.digest == blake3(sample(name)).hexdigest()


# Not AMR: whatever follows its first line is frames to a demuxer, so that only a decoder can tell.
MAGIC = {
    "wav": b"RIFF\xff\xff\xff\x7fWAVEfmt ",
    "flac": b"fLaC",
    "mp3": b"\xff\xfb\x90\x64",
    "ogg": b"OggS\x00\x02",
    "mp4": b"\x00\x00\x00\x20ftypM4A ",
    "webm": b"\x1aE\xdf\xa3",
    "aac": b"\xff\xf1\x50\x80",
    "aiff": b"FORM\x00\x00\x10\x00AIFF",
    "caf": b"caff\x00\x01\x00\x00",
    "asf": bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"),
    "au": b".snd",
    "w64": b"riff" + bytes(20) + b"wave",
}


@pytest.mark.parametrize("name", MAGIC)
@pytest.mark.parametrize("rest", [b"", bytes(300), b"\xff" * 300], ids=["nothing", "zeros", "ones"])
async def test_a_corrupt_file_is_400_and_names_its_container(name: str, rest: bytes, demuxer: Demuxer) -> None:
    """The first bytes are right, and nothing else."""
    problem = await refusal(MAGIC[name] + rest, demuxer)
    assert (problem.status, problem.type) == (400, "unreadable-audio")
    assert problem.message.startswith(f"{name}: ")


async def test_an_mp4_without_its_index_is_400(demuxer: Demuxer) -> None:
    """Cut off before the end, as phones and browsers do."""
    whole = encoded(tone(2, 16_000), 16_000, "mp4", "aac")
    problem = await refusal(whole[: len(whole) // 2], demuxer)
    assert (problem.status, problem.type) == (400, "unreadable-audio")
    assert "mp4" in problem.message


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (b"", 400, "no-audio"),
        (b"\x89PNG\r\n\x1a\n", 415, "unsupported-media-type"),
        (b"%PDF-1.7", 415, "unsupported-media-type"),
        (b"PK\x03\x04", 415, "unsupported-media-type"),
        (b"#EXTM3U\nhttp://127.0.0.1/a.ts", 415, "unsupported-media-type"),
        (b"v=0\no=- 0 0 IN IP4 127.0.0.1", 415, "unsupported-media-type"),
        (b"\x00\x01\x02\x03", 400, "unreadable-audio"),
        (b"hello", 400, "unreadable-audio"),
    ],
)
async def test_what_is_no_audio_is_told_so(body: bytes, status: int, kind: str, demuxer: Demuxer) -> None:
    problem = await refusal(body, demuxer)
    assert (problem.status, problem.type) == (status, kind)


async def test_longer_than_allowed_is_413_with_the_limit(demuxer: Demuxer) -> None:
    problem = await refusal(sample("jfk.flac"), demuxer, max_duration_s=10)
    assert (problem.status, problem.type) == (413, "too-long")
    assert "11.0 s, more than the 10 s allowed" in problem.message


async def test_a_length_that_no_header_tells_is_counted(demuxer: Demuxer) -> None:
    """An endless-looking webm, as browsers record it, has no duration; its packets do."""
    live = encoded(tone(20, 48_000), 48_000, "webm", "libopus", options={"live": "1"})
    audio = await measured(live, demuxer)
    assert audio.duration_s == pytest.approx(20, abs=0.1)
    problem = await refusal(live, demuxer, max_duration_s=19)
    assert problem.type == "too-long"
