"""Ask deployments that nobody called for a while: what broke, or is well again, is known before a caller finds out."""

from __future__ import annotations

import asyncio
import io
import wave
from contextlib import closing
from dataclasses import dataclass, replace  # noqa: TID251 - of a dataclass
from typing import TYPE_CHECKING, Final

from blake3 import blake3

from gateway.dispatch.answers import Kind
from gateway.dispatch.attempts import Attempts
from gateway.dispatch.means import Terms
from gateway.dispatch.plan import Candidate
from gateway.policies.checks import is_due, pause_s
from gateway.problems import Problem
from providers.audio.content import MemoryContent
from providers.local.provider import NAME as LOCAL
from providers.types import Audio, Container, TranscriptionJob

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.dispatch.answers import Answer, Attempt
    from gateway.dispatch.means import Means
    from gateway.dispatch.service import Dispatcher
    from providers.types import Deployment

SAMPLE_S: Final = 0.5
_RATE_HZ: Final = 16_000


class Checks:
    """One process's, of whatever is configured at the moment."""

    def __init__(
        self,
        dispatcher: Callable[[], Dispatcher],
        on_fault: Callable[[Deployment, Exception], None],
        on_answer: Callable[[Answer], None],
    ) -> None:
        """dispatcher: gives the present configuration's. on_fault: is told of mistakes of ours. on_answer: pays."""
        self._dispatcher = dispatcher
        self._on_fault = on_fault
        self._on_answer = on_answer
        self._audio = silence()

    async def watch(self) -> None:
        """Check what is due, for as long as this runs. Never returns."""
        async with asyncio.TaskGroup() as group:
            while True:
                dispatcher = self._dispatcher()
                for deployment in due(dispatcher.means):
                    group.create_task(self.check(dispatcher, deployment))
                await asyncio.sleep(pause_s(dispatcher.means.reliability.check_every))

    async def check(self, dispatcher: Dispatcher, deployment: Deployment) -> None:
        """Ask it once. Its health, and the metrics, take note of how that went; nobody else is told."""
        if dispatcher.fleet.capabilities(deployment) is None:
            return
        try:
            asked = await ask_once(dispatcher, deployment, self._audio)
        except Exception as error:  # noqa: BLE001 - told on; every request would end with a check that raised it
            self._on_fault(deployment, error)
        else:
            if asked.answer is not None:  # else its health knows
                self._on_answer(asked.answer)


@dataclass(frozen=True, slots=True)
class Asked:
    """How one call for its own sake went."""

    attempt: Attempt | None  # None: nobody was asked, as its breaker or its own limits did not let us
    answer: Answer | None


async def ask_once(dispatcher: Dispatcher, deployment: Deployment, audio: Audio) -> Asked:
    """Ask a deployment whose abilities are known, without a retry; believe it that silence is empty."""
    capabilities = dispatcher.fleet.capabilities(deployment)
    if capabilities is None:
        raise ValueError(f"{deployment.name} is not loaded")
    job = TranscriptionJob(model=deployment.native_model, audio=audio)
    candidate = Candidate(deployment=deployment, capabilities=capabilities)
    terms = Terms(deadline=dispatcher.deadline_of(audio), first=Kind.CHECK)
    with closing(Attempts(job, (candidate,), _once(dispatcher.means), terms)) as attempts:
        try:
            answer = await attempts.run()
        except Problem:
            answer = None
        return Asked(attempts.made[-1] if attempts.made else None, answer)


def due(means: Means) -> Iterator[Deployment]:
    """Yield the deployments to ask now. Models on this machine are not among them: their state is known.

    Nor are those whose places are all taken, by callers: a check would stand in the queue before others of them.
    """
    now, every_s = means.clock(), means.reliability.check_every
    if every_s is None:
        return
    for health in means.health.named():
        proves = health.is_to_prove_itself(now)
        if (
            not health.slots.is_full
            and health.deployment.account.adapter != LOCAL
            and is_due(now, health.called_at, every_s, proves_itself=proves, admits=health.admits(now))
        ):
            yield health.deployment


def silence() -> Audio:
    """Return half a second of it, as WAV."""
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(_RATE_HZ)
        written.writeframes(bytes(2 * int(_RATE_HZ * SAMPLE_S)))
    body = file.getvalue()
    return Audio(
        content=MemoryContent(body),
        media_type="audio/wav",
        container=Container.WAV,
        duration_s=SAMPLE_S,
        digest=blake3(body).hexdigest(),
    )


def _once(means: Means) -> Means:
    """Return means to try with a single time, and to believe that silence is empty."""
    retries = means.reliability.retries.model_copy(update={"limit": 0})
    return replace(means, reliability=means.reliability.model_copy(update={"retries": retries, "doubt_empty": False}))
