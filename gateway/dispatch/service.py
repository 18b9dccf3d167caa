"""A job in, an answer out: plan, attempts, one deadline."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from msgspec.structs import replace

from gateway.dispatch.answers import DEADLINE, TOO_LARGE, Abandoned, in_vain
from gateway.dispatch.attempts import Attempts
from gateway.dispatch.means import Backend, Means, Terms
from gateway.dispatch.parts import cut, in_parts, part_limit, short
from gateway.dispatch.plan import Plan, plan
from gateway.dispatch.routes import cost_of
from gateway.dispatch.segments import settled, without_speakers
from gateway.intake.measure import LOWEST_BYTES_PER_S
from gateway.policies.deadline import allowed_s, lowered
from gateway.policies.routing import Option, order
from gateway.problems import Problem
from providers.types import Moment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import date

    from config.reliability import Deadline
    from gateway.dispatch.answers import Answer
    from gateway.dispatch.routes import Route
    from providers.audio.part_limit import PartLimit
    from providers.types import Audio, Capabilities, Deployment, TranscriptionJob


class Fleet(Protocol):
    """Every configured deployment's backend and abilities."""

    def backend(self, deployment: Deployment) -> Backend: ...
    def capabilities(self, deployment: Deployment) -> Capabilities | None: ...
    def others(self, deployment: Deployment) -> float: ...
    async def wait_loaded(self, deployments: Sequence[Deployment]) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """How audio would be asked for that nobody takes whole."""

    plan: Plan  # of any part
    limit: PartLimit


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatcher:
    """Runs jobs. One for a configuration."""

    fleet: Fleet
    deadline: Deadline
    means: Means
    today: Callable[[], date]

    async def transcribe(self, job: TranscriptionJob, route: Route, timeout_s: float | None = None) -> Answer:
        """Return the answer. Raises Problem.

        timeout_s: what the caller allows; it can shorten the time there is, never lengthen it.
        """
        return await self.run(job, route, self.terms(job, route, timeout_s))

    def terms(self, job: TranscriptionJob, route: Route, timeout_s: float | None) -> Terms:
        """Return what a job that is asked for now is bound to."""
        ours = self.deadline_of(job.audio)
        deadline = Moment(lowered(ours, self.means.clock(), timeout_s))
        return Terms(
            deadline=deadline,
            hedge_after=route.hedge_after,
            hurried=deadline < ours,
            own_key=route.own_key,
        )

    async def run(self, job: TranscriptionJob, route: Route, terms: Terms) -> Answer:
        """Return the answer, on terms that may be put off meanwhile. Raises Problem: InVain where some was paid."""
        try:
            return await self._run(job, route, terms)
        except Abandoned:
            raise
        except Problem as problem:
            if not terms.underway.paid:
                raise
            raise in_vain(problem, terms.underway.paid) from problem

    async def _run(self, job: TranscriptionJob, route: Route, terms: Terms) -> Answer:
        await self._wait_loaded(route, terms.deadline)
        try:
            return await self._whole(job, route, terms)
        except Problem as problem:
            foreseen = self.in_parts(job, route) if problem.type == TOO_LARGE else None
            if foreseen is None:
                raise
        return await self._in_parts(job, route, terms, foreseen)

    async def _whole(self, job: TranscriptionJob, route: Route, terms: Terms) -> Answer:
        attempts = Attempts(job, self.plan(job, route).candidates, self.means, terms)
        try:
            answer = await attempts.run()
        finally:
            attempts.close()
        heard = answer.transcript if job.diarize else without_speakers(answer.transcript)
        return replace(answer, transcript=settled(heard, job.audio.duration_s))

    def plan(self, job: TranscriptionJob, route: Route) -> Plan:
        """Return who would be asked, in order, and who not. Raises Problem where nobody can do the job."""

        def in_order(deployments: Sequence[Deployment]) -> list[int]:
            options = [self._option(each, job.audio.duration_s) for each in deployments]
            return order(route.strategy, options, self.means.chance)

        return plan(job, route, self.fleet.capabilities, self.today(), in_order)

    def foreseen(self, job: TranscriptionJob, route: Route) -> tuple[Plan, float | None]:
        """Return who would be asked, and the longest part where it would be for parts. Raises Problem."""
        try:
            return self.plan(job, route), None
        except Problem as problem:
            parts = self.in_parts(job, route) if problem.type == TOO_LARGE else None
            if parts is None:
                raise
            return parts.plan, parts.limit.longest_s

    def in_parts(self, job: TranscriptionJob, route: Route) -> Parts | None:
        """Return who would be asked for parts of audio that nobody takes whole; None where there is no such way."""
        try:
            able = self.plan(short(job), route)
        except Problem:
            return None
        limit = part_limit(job, able.candidates, route.long_audio)
        return None if limit is None else Parts(plan=able, limit=limit)

    async def _in_parts(self, job: TranscriptionJob, route: Route, terms: Terms, foreseen: Parts) -> Answer:
        to = foreseen.plan.candidates[0].capabilities
        with ExitStack() as files:
            parts = await cut(job, self.means.transcoder, to, foreseen.limit, terms.deadline, files)
            return await in_parts(
                job,
                parts,
                route.long_audio.parallel,
                lambda part: self._whole(part, route, terms),
                lambda: terms.underway.is_abandoned,
            )

    def deadline_of(self, audio: Audio) -> Moment:
        """Allow for the audio's length; for the longest it can be where nothing tells."""
        length_s = audio.duration_s if audio.duration_s is not None else audio.size_bytes / LOWEST_BYTES_PER_S
        settings = self.deadline
        return Moment(self.means.clock() + allowed_s(settings.base, settings.per_audio_second, settings.max, length_s))

    def _option(self, deployment: Deployment, duration_s: float | None) -> Option:
        health = self.means.health[deployment]
        return Option(
            weight=deployment.weight,
            pace=health.expected_pace(self.means.clock()),
            in_flight=health.slots.taken,
            others=self.fleet.others(deployment),
            cost_usd=cost_of(deployment, duration_s),
        )

    async def _wait_loaded(self, route: Route, deadline: Moment) -> None:
        """Let a local model load that nothing else can stand in for. Raises Problem 504."""
        if any(self.fleet.capabilities(each) is not None for each in route.deployments):  # of what is there
            return
        try:
            async with asyncio.timeout_at(deadline):
                await self.fleet.wait_loaded(route.deployments)
        except TimeoutError as error:
            raise Problem(
                status=504,
                type=DEADLINE,
                message="no answer before the deadline: the local model is still loading",
                headers={"x-should-retry": "false"},
            ) from error
