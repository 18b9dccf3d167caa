"""A job in, an answer out: plan, attempts, one deadline, and the numbers that operators watch."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from gateway.dispatch.attempts import Answer, Attempt, Attempts, Backend
from gateway.dispatch.plan import plan
from gateway.dispatch.segments import settled, without_speakers
from gateway.intake.measure import LOWEST_BYTES_PER_S
from gateway.problems import Problem
from providers.types import Moment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import date

    from config.settings import Deadline
    from gateway.dispatch.routes import Route
    from gateway.intake.transcoder import Transcoder
    from providers.types import Audio, Capabilities, Deployment, TranscriptionJob


class Fleet(Protocol):
    """Every configured deployment's backend and abilities."""

    def backend(self, deployment: Deployment) -> Backend: ...
    def capabilities(self, deployment: Deployment) -> Capabilities | None: ...
    async def wait_loaded(self, deployments: Sequence[Deployment]) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatcher:
    """Runs jobs. One for a process."""

    fleet: Fleet
    deadline: Deadline
    transcoder: Transcoder
    clock: Callable[[], float]
    today: Callable[[], date]
    on_attempt: Callable[[Deployment, Attempt], None]

    async def transcribe(self, job: TranscriptionJob, route: Route) -> Answer:
        """Return the answer. Raises Problem."""
        deadline = self._deadline(job.audio)
        await self._wait_loaded(route, deadline)
        decided = plan(job, route, self.fleet.capabilities, self.today())
        attempts = Attempts(
            job,
            self.fleet.backend,
            clock=self.clock,
            transcoder=self.transcoder,
            on_attempt=self.on_attempt,
        )
        try:
            answer = await attempts.run(decided.candidates, deadline)
        finally:
            attempts.close()
        heard = answer.transcript if job.diarize else without_speakers(answer.transcript)
        return replace(answer, transcript=settled(heard, job.audio.duration_s))

    async def _wait_loaded(self, route: Route, deadline: Moment) -> None:
        """Let a local model load that nothing else can stand in for. Raises Problem 504."""
        try:
            async with asyncio.timeout_at(deadline):
                await self.fleet.wait_loaded(route.deployments)
        except TimeoutError as error:
            raise Problem(
                status=504,
                type="deadline",
                message="no answer before the deadline: the local model is still loading",
                headers={"x-should-retry": "false"},
            ) from error

    def _deadline(self, audio: Audio) -> Moment:
        """Allow for the audio's length; for the longest it can be where nothing tells."""
        length_s = audio.duration_s if audio.duration_s is not None else audio.size_bytes / LOWEST_BYTES_PER_S
        allowed_s = self.deadline.base + self.deadline.per_audio_second * length_s
        return Moment(self.clock() + min(allowed_s, self.deadline.max))
