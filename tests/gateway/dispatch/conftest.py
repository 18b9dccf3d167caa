"""Deployments, jobs and backends that say what a test tells them to."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from config.settings import OnUnsupported
from gateway.dispatch.routes import Route
from providers.types import Account, Deployment, Transcript, TranscriptionJob
from tests.conftest import sample_audio

if TYPE_CHECKING:
    from providers.errors import ProviderError
    from providers.types import Audio, Moment


def deployment(name: str, adapter: str = "fal-ai") -> Deployment:
    """Return a deployment of "account/native model"."""
    account, _, native = name.partition("/")
    return Deployment(account=Account(name=account, adapter=adapter, base_urls={}), native_model=native)


def route(*names: str, on_unsupported: OnUnsupported = OnUnsupported.REJECT) -> Route:
    return Route(deployments=tuple(deployment(name) for name in names), on_unsupported=on_unsupported)


def job(audio: Audio | None = None, **asked: object) -> TranscriptionJob:
    """Return a job over 13.69 s of speech, in WAV unless other audio is given."""
    return TranscriptionJob(model="m", audio=audio or sample_audio("slushy.wav"), **asked)  # type: ignore[arg-type] # any field


@dataclass(slots=True)
class Backend:
    """Answers with what it is given, one for each call: a transcript, an error to raise, or None to hang."""

    answers: list[Transcript | ProviderError | None]
    seen: list[TranscriptionJob] = field(default_factory=list)
    called: asyncio.Event = field(default_factory=asyncio.Event)

    async def transcribe(self, job: TranscriptionJob, to: Deployment, deadline: Moment) -> Transcript:
        del to, deadline
        self.seen.append(job)
        self.called.set()
        answer = self.answers.pop(0)
        if answer is None:
            await asyncio.Event().wait()
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            raise AssertionError("unreachable")
        return answer
