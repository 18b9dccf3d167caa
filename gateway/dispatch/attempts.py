"""Trying a plan's candidates in order, under one deadline."""

from __future__ import annotations

import asyncio
import math
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from gateway.dispatch.plan import times_for
from gateway.problems import Problem
from providers.audio.decode import AudioTooLong, UnreadableAudio
from providers.errors import (
    AttemptTimedOut,
    CredentialsRejected,
    JobRejected,
    JobUnsupported,
    MalformedReply,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
)
from providers.types import Moment, Timestamps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gateway.dispatch.plan import Candidate
    from gateway.intake.transcoder import Transcoder
    from providers.types import Audio, Container, Deployment, Transcript, TranscriptionJob


class TooMuch(JobUnsupported):
    """More audio than a deployment takes, known only once it was transcoded."""


CREDENTIALS_REJECTED = "credentials-rejected"
"""The type of a Problem where every deployment refused the key it was shown."""


class Backend(Protocol):
    """Whatever can transcribe: a provider over HTTP, a local model."""

    async def transcribe(self, job: TranscriptionJob, to: Deployment, deadline: Moment) -> Transcript:
        """Raise ProviderError only."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One call, as callers and operators are told of it."""

    deployment: str
    outcome: str
    seconds: float
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.deployment}: {self.outcome} after {self.seconds:.2f} s" + (
            f" ({self.reason})" if self.reason else ""
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A transcript and how it was come by."""

    transcript: Transcript
    deployment: Deployment
    ignored: tuple[str, ...]
    attempts: tuple[Attempt, ...]


class Attempts:
    """One job's tries. Transcoded copies of the audio live as long as this is open."""

    def __init__(
        self,
        job: TranscriptionJob,
        backend_of: Callable[[Deployment], Backend],
        *,
        clock: Callable[[], float],
        transcoder: Transcoder,
        on_attempt: Callable[[Deployment, Attempt], None],
    ) -> None:
        self._job = job
        self._backend_of = backend_of
        self._clock = clock
        self._transcoder = transcoder
        self._on_attempt = on_attempt
        self._transcoded: dict[Container, Audio] = {}
        self._cleanup = ExitStack()
        self.made: list[Attempt] = []

    def close(self) -> None:
        self._cleanup.close()

    async def run(self, candidates: Sequence[Candidate], deadline: Moment) -> Answer:
        """Return the first answer. Raises Problem where there is none."""
        errors: list[ProviderError] = []
        for at, candidate in enumerate(candidates, start=1):
            if self._clock() >= deadline:
                break
            try:
                transcript = await self._attempt(
                    candidate, share(self._clock(), deadline, is_last=at == len(candidates))
                )
            except ProviderError as error:
                errors.append(error)
                if not error.failover:
                    break
            else:
                return Answer(
                    transcript=transcript,
                    deployment=candidate.deployment,
                    ignored=candidate.ignored,
                    attempts=tuple(self.made),
                )
        raise problem_of(errors, self.made, past_deadline=self._clock() >= deadline)

    async def _attempt(self, candidate: Candidate, deadline: Moment) -> Transcript:
        deployment, started = candidate.deployment, self._clock()
        outcome, reason = "error", ""
        try:
            times = times_for(self._job, candidate.capabilities) or self._job.timestamps
            job = replace(self._job, audio=await self._audio_for(candidate, deadline), timestamps=times)
            transcript = await self._backend_of(deployment).transcribe(job, deployment, deadline)
            check_times(transcript, job, deployment.account.adapter)
            outcome = "ok"
        except ProviderError as error:
            outcome, reason = error.outcome, error.reason
            raise
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        else:
            return transcript
        finally:
            attempt = Attempt(
                deployment=deployment.name, outcome=outcome, seconds=self._clock() - started, reason=reason
            )
            self.made.append(attempt)
            self._on_attempt(deployment, attempt)

    async def _audio_for(self, candidate: Candidate, deadline: Moment) -> Audio:
        """Return the audio in a container the deployment takes, transcoded once for all attempts that need it."""
        can, audio = candidate.capabilities, self._job.audio
        if can.containers is None or audio.container in can.containers:
            return audio
        wanted, adapter = can.transcode_to, candidate.deployment.account.adapter
        if wanted not in self._transcoded:
            self._transcoded[wanted] = await self._transcode(audio, wanted, adapter, deadline)
        if can.max_bytes is not None and self._transcoded[wanted].size_bytes > can.max_bytes:
            raise TooMuch(adapter, f"takes at most {can.max_bytes} bytes")
        return self._transcoded[wanted]

    async def _transcode(self, audio: Audio, wanted: Container, adapter: str, deadline: Moment) -> Audio:
        try:
            async with asyncio.timeout_at(deadline):
                made = await self._transcoder.run(audio, wanted)
        except TimeoutError as error:
            raise AttemptTimedOut(adapter, "still transcoding at the deadline") from error
        except UnreadableAudio as error:
            raise JobRejected(adapter, str(error)) from error
        except AudioTooLong as error:
            raise TooMuch(adapter, str(error)) from error
        except OSError as error:
            raise ProviderUnavailable(adapter, "no room to transcode the audio") from error
        self._cleanup.callback(made.content.close)
        return made


def check_times(heard: Transcript, job: TranscriptionJob, adapter: str) -> None:
    """Raise MalformedReply where a text came without the times asked for: to its reader it would look whole."""
    lacking = {
        Timestamps.NONE: job.diarize and not (heard.segments or heard.words),
        Timestamps.SEGMENT: not (heard.segments or heard.words),
        Timestamps.WORD: not heard.words,
    }[job.timestamps]
    if lacking and heard.text.strip():
        wanted = "speakers" if job.timestamps is Timestamps.NONE else f"{job.timestamps} times"
        raise MalformedReply(adapter, f"answered without the {wanted} it was asked for")


def share(now: float, deadline: Moment, *, is_last: bool) -> Moment:
    """Return when an attempt must be over: half of what is left, so that one that hangs leaves the next its turn."""
    return deadline if is_last else Moment(now + (deadline - now) / 2)


def problem_of(errors: Sequence[ProviderError], attempts: Sequence[Attempt], *, past_deadline: bool) -> Problem:
    """Say why nobody answered: the caller's fault, the clock's, everybody's limits, or plain failure."""
    lines = "; ".join(map(str, attempts))
    final: Mapping[str, str] = {"x-should-retry": "false"}
    last = errors[-1] if errors else None
    if isinstance(last, JobRejected):
        return Problem(status=400, type="unreadable-audio", message=last.reason or "the provider refused the audio")
    if past_deadline or (errors and all(isinstance(each, AttemptTimedOut) for each in errors)):
        return Problem(status=504, type="deadline", message=f"no answer before the deadline: {lines}", headers=final)
    if errors and all(isinstance(each, RateLimited) for each in errors):
        return _all_limited([each for each in errors if isinstance(each, RateLimited)], lines)
    if errors and all(isinstance(each, TooMuch) for each in errors):
        return Problem(status=413, type="too-large", message=f"no deployment takes this much: {lines}")
    if errors and all(isinstance(each, JobUnsupported) for each in errors):
        return Problem(status=422, type="unsupported-job", message=f"no deployment takes this job: {lines}")
    refused = bool(errors) and all(isinstance(each, CredentialsRejected) for each in errors)
    return Problem(
        status=502,
        type=CREDENTIALS_REJECTED if refused else "all-failed",
        message=f"every deployment failed: {lines}",
        headers=final,
    )


def _all_limited(errors: Sequence[RateLimited], lines: str) -> Problem:
    waits = [each.retry_after_s for each in errors if each.retry_after_s is not None]
    wait_s = max(1, min(3600, math.ceil(min(waits, default=1.0))))
    return Problem(
        status=429,
        type="rate-limited",
        message=f"every deployment is rate limited: {lines}",
        headers={"Retry-After": str(wait_s)},
    )
