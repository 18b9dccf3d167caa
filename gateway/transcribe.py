"""A file to text without a server: the same plan, attempts and deadline as a request has."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from typing import IO, TYPE_CHECKING

import click
import msgspec

from gateway.api.hf import chunks
from gateway.api.subtitles import render_subtitles
from gateway.app import Gateway
from gateway.dispatch.explain import explained, in_lines
from gateway.intake.measure import measure
from gateway.intake.spool import Spool
from gateway.intake.upload import Upload
from gateway.problems import Problem
from providers.types import Timestamps, TranscriptionJob

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from config.settings import Settings
    from gateway.dispatch.answers import Answer
    from providers.types import Audio

_READ_BYTES = 1 << 20
_LONG_BYTES = 50 << 20  # a progress bar for less would only flash by


async def transcribe_file(settings: Settings, path: Path, model: str, timestamps: str, format_: str) -> str:
    """Return the transcript in a format. Raises ClickException where there is none."""
    wanted = Timestamps.SEGMENT if format_ in {"srt", "vtt"} else Timestamps(timestamps)
    async with _job_on(settings, path) as (gateway, audio):
        job = TranscriptionJob(model=model, audio=audio, timestamps=wanted)
        answer = await gateway.dispatcher.transcribe(job, gateway.routes.resolve(model))
        return _rendered(answer, audio, wanted, format_)


async def explain_file(settings: Settings, path: Path, model: str, timestamps: str, language: str | None) -> str:
    """Return the plan there would be for a file, in words. Raises ClickException where nobody can do the job."""
    async with _job_on(settings, path) as (gateway, audio):
        job = TranscriptionJob(model=model, audio=audio, timestamps=Timestamps(timestamps), language=language)
        route = gateway.routes.resolve(model)
        plan, part_s = gateway.dispatcher.foreseen(job, route)
        return in_lines(explained(job, route, plan, gateway.health, part_s))


@asynccontextmanager
async def _job_on(settings: Settings, path: Path) -> AsyncIterator[tuple[Gateway, Audio]]:
    """Build a gateway without a server, and read a file into it. Raises ClickException for every Problem inside."""
    gateway = Gateway(settings)
    try:
        await gateway.fleet.load()
        for sentence in gateway.fleet.missing:
            click.echo(sentence, err=True)
        upload = await _read(gateway, path)
        try:
            yield gateway, await measure(upload, gateway.demuxer, max_duration_s=settings.server.max_duration)
        finally:
            upload.close()
    except Problem as problem:
        raise click.ClickException(problem.message) from problem
    finally:
        await gateway.close()


async def _read(gateway: Gateway, path: Path) -> Upload:
    """Read a file the way an upload is received."""
    spool = Spool(gateway.spool)
    size, chunks_of_file = await asyncio.to_thread(_open, path)
    with click.progressbar(length=size, label="Reading", file=sys.stderr, hidden=size < _LONG_BYTES) as bar:
        for chunk in chunks_of_file:
            await spool.write(chunk)
            bar.update(len(chunk))
    content, digest = await spool.finish()
    return Upload(content, digest, spools=[spool])


def _open(path: Path) -> tuple[int, Iterator[bytes]]:
    file = path.open("rb")
    return path.stat().st_size, _chunks(file)


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while chunk := file.read(_READ_BYTES):
            yield chunk


def _rendered(answer: Answer, audio: Audio, wanted: Timestamps, format_: str) -> str:
    heard = answer.transcript
    if format_ in {"srt", "vtt"}:
        return render_subtitles(heard, heard.duration_s or audio.duration_s, format_).rstrip()
    if wanted is not Timestamps.NONE:
        return msgspec.json.encode({"text": heard.text, "chunks": chunks(heard, wanted, audio)}).decode()
    return msgspec.json.encode({"text": heard.text}).decode() if format_ == "json" else heard.text
