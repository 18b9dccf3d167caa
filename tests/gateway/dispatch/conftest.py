"""Deployments, jobs and backends that say what a test tells them to."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from config.reliability import Reliability
from config.settings import OnUnsupported
from gateway.dispatch.health import HealthBook
from gateway.dispatch.means import Means
from gateway.dispatch.routes import Route, Routes
from gateway.intake.transcoder import Transcoder
from providers.types import Account, Deployment, Transcript, TranscriptionJob
from tests.conftest import sample_audio

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.dispatch.answers import Attempt
    from gateway.dispatch.means import Backend as Provides
    from providers.exchange import Progress
    from providers.types import Audio, Moment


def deployment(name: str, adapter: str = "fal-ai") -> Deployment:
    """Return a deployment of "account/native model"."""
    account, _, native = name.partition("/")
    return Deployment(account=Account(name=account, adapter=adapter, base_urls={}), native_model=native)


def route(*names: str, on_unsupported: OnUnsupported = OnUnsupported.REJECT) -> Route:
    return Route(deployments=tuple(deployment(name) for name in names), on_unsupported=on_unsupported)


def reliability(**sections: object) -> Reliability:
    """Return the defaults with changes, given as a file would."""
    return Reliability.model_validate(sections)


@dataclass(slots=True)
class World:
    """Everything around one job's attempts: invented backends, a clock that only sleeping moves, one ear."""

    backends: Mapping[str, Backend]
    settings: Reliability = field(default_factory=Reliability)
    speech: bool = False  # what the ear hears
    now: float = 1000.0
    slept: list[float] = field(default_factory=list)
    counted: list[tuple[str, str]] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    listened: int = 0
    slow: dict[str, Provides] = field(default_factory=dict)  # instead of the backend of that name
    transcoder: Transcoder = field(default_factory=lambda: Transcoder(max_duration_s=3600.0))
    health: HealthBook = field(init=False)

    def __post_init__(self) -> None:
        self.health = HealthBook(lambda: self.now)
        self.know(*(deployment(name) for name in self.backends))

    def know(self, *deployments: Deployment) -> None:
        route = Route(deployments=deployments, on_unsupported=OnUnsupported.REJECT)
        self.health.adopt(Routes(by_model={"m": route}), self.settings)

    def means(self, clock: Callable[[], float] | None = None) -> Means:
        return Means(
            backend_of=lambda to: self.slow.get(to.name) or self.backends[to.name],
            health=self.health,
            transcoder=self.transcoder,
            hears_speech=self._hear,
            on_attempt=self._count,
            reliability=self.settings,
            clock=clock or (lambda: self.now),
            chance=Random(1),  # noqa: S311 - a test repeats what it draws
            sleep=self._sleep,
        )

    def state(self, name: str) -> str:
        return self.health[deployment(name)].condition(name, self.now).state

    async def _hear(self, audio: Audio) -> bool:
        del audio
        self.listened += 1
        return self.speech

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def _count(self, to: Deployment, attempt: Attempt) -> None:
        self.counted.append((to.name, attempt.outcome))
        self.kinds.append(attempt.kind.value)


def job(audio: Audio | None = None, **asked: object) -> TranscriptionJob:
    """Return a job over 13.69 s of speech, in WAV unless other audio is given."""
    return TranscriptionJob(model="m", audio=audio or sample_audio("slushy.wav"), **asked)  # type: ignore[arg-type] # any field


@dataclass(slots=True)
class Backend:
    """Answers with what it is given, one for each call: a transcript, an error to raise, or None to hang."""

    answers: list[Transcript | Exception | None]
    seen: list[TranscriptionJob] = field(default_factory=list)
    called: asyncio.Event = field(default_factory=asyncio.Event)

    async def transcribe(
        self, job: TranscriptionJob, to: Deployment, deadline: Moment, progress: Progress
    ) -> Transcript:
        del to, deadline, progress
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
