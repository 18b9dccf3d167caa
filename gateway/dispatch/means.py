"""What a job's attempts are made with, and what they are bound to."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import msgspec
from msgspec.structs import replace

from gateway.dispatch.answers import Kind
from gateway.dispatch.call import Call
from gateway.dispatch.underway import Underway

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from random import Random

    from config.reliability import Reliability
    from gateway.dispatch.answers import Attempt
    from gateway.dispatch.health import HealthBook
    from gateway.intake.transcoder import Transcoder
    from gateway.policies.hedging import After
    from providers.exchange import Progress
    from providers.types import Audio, Deployment, Moment, Transcript, TranscriptionJob


class Backend(Protocol):
    """Whatever can transcribe: a provider over HTTP, a local model."""

    async def transcribe(
        self, job: TranscriptionJob, to: Deployment, deadline: Moment, progress: Progress
    ) -> Transcript:
        """Raise ProviderError only. progress: is kept up to date by whatever bills."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What every job's attempts are made with."""

    backend_of: Callable[[Deployment], Backend]
    health: HealthBook
    transcoder: Transcoder
    hears_speech: Callable[[Audio], Awaitable[bool]]
    on_attempt: Callable[[Deployment, Attempt], None]
    # Told which was left, which is asked instead, and why: an attempt's outcome, or why it was not asked at all.
    on_failover: Callable[[Deployment, Deployment, str], None] = lambda *_: None
    on_hedge: Callable[[Deployment, str], None] = lambda *_: None  # told whose call it was, and won or lost
    reliability: Reliability
    clock: Callable[[], float]
    chance: Random
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    new_call: Callable[[], Call] = Call


class Terms(msgspec.Struct, kw_only=True):
    """What one job's attempts are bound to."""

    deadline: Moment
    hedge_after: After | None = None
    hurried: bool = False  # the caller allows less time than the gateway would
    own_key: bool = False  # the caller's own credential is what providers see
    first: Kind = Kind.FIRST  # what the first call is counted as
    underway: Underway = msgspec.field(default_factory=Underway)  # the calls that are out

    def anew(self) -> Terms:
        """Return the same for other attempts, of which no call is out yet."""
        return replace(self, underway=Underway())

    def put_off(self, other: Terms) -> None:
        """Let the deadline be that of another who waits for the same answer, where that one is later."""
        self.underway.take_up()
        if other.deadline > self.deadline:
            self.deadline, self.hurried = other.deadline, other.hurried
