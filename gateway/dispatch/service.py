"""A job in, an answer out: plan, attempts, one deadline, and the numbers that operators watch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from gateway.dispatch.attempts import Answer, Attempt, Attempts, Backend
from gateway.dispatch.plan import plan
from gateway.dispatch.segments import settled
from providers.types import Moment

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from config.settings import Deadline
    from gateway.dispatch.routes import Route
    from providers.types import Capabilities, Deployment, TranscriptionJob


class Fleet(Protocol):
    """Every configured deployment's backend and abilities."""

    def backend(self, deployment: Deployment) -> Backend: ...
    def capabilities(self, deployment: Deployment) -> Capabilities | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatcher:
    """Runs jobs. One for a process."""

    fleet: Fleet
    deadline: Deadline
    max_duration_s: float
    clock: Callable[[], float]
    today: Callable[[], date]
    on_attempt: Callable[[Deployment, Attempt], None]

    async def transcribe(self, job: TranscriptionJob, route: Route) -> Answer:
        """Return the answer. Raises Problem."""
        started = self.clock()
        decided = plan(job, route, self.fleet.capabilities, self.today())
        attempts = Attempts(
            job,
            self.fleet.backend,
            clock=self.clock,
            max_duration_s=self.max_duration_s,
            on_attempt=self.on_attempt,
        )
        try:
            answer = await attempts.run(decided.candidates, self._deadline(started, job.audio.duration_s))
        finally:
            attempts.close()
        return replace(answer, transcript=settled(answer.transcript, job.audio.duration_s))

    def _deadline(self, started: float, duration_s: float | None) -> Moment:
        allowed_s = self.deadline.base + self.deadline.per_audio_second * (duration_s or 0.0)
        return Moment(started + min(allowed_s, self.deadline.max))
