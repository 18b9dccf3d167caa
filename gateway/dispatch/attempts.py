"""One job's tries, under one deadline.

In a round every candidate that can be asked now is asked, one after another and without a wait between. Where a round
ends without an answer, those whose errors may pass are asked again after the shortest wait that one of them needs.
That is the only place where anything is tried again.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt

from gateway.dispatch.answers import Answer, Attempt, Kind, Paid, abandoned, overloaded, problem_of
from gateway.dispatch.call import Call, current
from gateway.dispatch.copies import Copies
from gateway.dispatch.plan import times_for, without
from gateway.dispatch.race import first_answer
from gateway.dispatch.routes import is_paid
from gateway.dispatch.turns import Turn, Turns
from gateway.dispatch.underway import CalledOff
from gateway.dispatch.verdict import NOTHING, Verdict, of_answer, of_error
from gateway.policies.backoff import full_jitter_s
from gateway.policies.deadline import allowed_s, share
from gateway.policies.hedging import delay_s
from gateway.stages import Stage, timed
from providers.errors import MalformedReply, ProviderError
from providers.exchange import Progress
from providers.types import Moment, Timestamps, with_usual_options

if TYPE_CHECKING:
    from config.reliability import Allowance
    from gateway.dispatch.means import Means, Terms
    from gateway.dispatch.plan import Candidate
    from gateway.problems import Problem
    from providers.types import Deployment, Transcript, TranscriptionJob


class NobodyYet(Exception):
    """A round ended without an answer, and another is worth its wait."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(wait_s)
        self.wait_s = wait_s


class _Race(msgspec.Struct):
    """A call and the hedge beside it, if there was one."""

    hedge: Deployment | None = None
    answer: Answer | None = None

    @property
    def is_won_by_hedge(self) -> bool:
        return self.answer is not None and self.answer.deployment is self.hedge


class _Outcome(msgspec.Struct):
    """How a call went, filled in while it goes."""

    word: str = "error"
    reason: str = ""
    verdict: Verdict = NOTHING
    transcript: Transcript | None = None
    progress: Progress = msgspec.field(default_factory=Progress)


class Attempts:
    """One job's. Transcoded copies of the audio live as long as this is open."""

    def __init__(self, job: TranscriptionJob, candidates: tuple[Candidate, ...], means: Means, terms: Terms) -> None:
        self._job = job
        self._means = means
        self._terms = terms
        self._clock = means.clock
        length_s = job.audio.duration_s or 0.0
        self._turns = Turns(candidates, means.health, means.reliability, means.clock, length_s)
        self._errors: list[ProviderError] = []
        self._copies = Copies(job.audio, means.transcoder)
        self._paid: list[Paid] = []
        self.made: list[Attempt] = []
        self._last: Turn | None = None  # whose call ended last

    def close(self) -> None:
        self._copies.close()

    async def run(self) -> Answer:
        """Return the first answer worth believing. Raises Problem where there is none."""
        try:
            answer = await self._one_round()
        except NobodyYet as first:
            answer = await self._later_rounds(first)
        answer = await self._doubted(answer) if answer.is_empty else answer
        besides = tuple(each for each in self._paid if each.transcript is not answer.transcript)
        return replace(answer, attempts=tuple(self.made), besides=besides)

    async def _later_rounds(self, first: NobodyYet) -> Answer:
        """Wait, and ask again, until there is an answer. Raises Problem where there is none.

        Apart from the first round: most jobs need no other, and setting one up costs more than planning the job.
        """
        if not self._means.reliability.retries.limit:
            raise self._problem() from first
        await self._slept(first.wait_s)
        rounds = AsyncRetrying(
            retry=retry_if_exception_type(NobodyYet),
            wait=_wait_asked_for,
            stop=stop_after_attempt(self._means.reliability.retries.limit),
            sleep=self._slept,
            reraise=True,
        )
        try:
            answer: Answer = await rounds(self._one_round)
        except NobodyYet as error:
            raise self._problem() from error
        return answer

    async def _slept(self, seconds: float) -> None:
        with timed(Stage.BACKOFF):
            await self._means.sleep(seconds)

    async def _one_round(self) -> Answer:
        """Ask each that can be asked. Raises NobodyYet, or Problem where nothing is left to try."""
        self._turns.new_round()
        while (turn := await self._next_turn()) is not None:
            answer = await self._raced(turn)
            if answer is not None:
                return answer
            if not all(error.failover for error in self._errors):
                raise self._problem()
        wait_s = self._turns.again_in_s(self._jitter_s)
        if wait_s is None or self._clock() + wait_s >= self._terms.deadline:
            raise self._problem()
        raise NobodyYet(wait_s)

    async def _next_turn(self) -> Turn | None:
        if self._terms.underway.is_abandoned:
            raise abandoned()
        if self._clock() >= self._terms.deadline:
            return None
        return self._turns.free() or await self._turns.queued(self._terms.deadline) or self._turns.slow()

    async def _raced(self, turn: Turn) -> Answer | None:
        """Return its answer, or that of another that joined the race because it was slow."""
        kind = Kind.RETRY if turn.calls > 1 else Kind.FAILOVER if self.made else self._terms.first
        if turn.calls == 1:
            self._note_failover(turn)
        hedge_in_s = self._hedge_in_s(turn)
        if hedge_in_s is None:
            return await self._tried(turn, kind)
        race = _Race()
        try:
            race.answer = await first_answer(self._tried(turn, kind), lambda: self._hedged(turn, race), hedge_in_s)
            return race.answer
        finally:  # a task that is cancelled before its first step gives nothing back itself
            turn.end(self._clock())
            if race.hedge is not None:
                self._means.on_hedge(race.hedge, "won" if race.is_won_by_hedge else "lost")

    def _hedge_in_s(self, turn: Turn) -> float | None:
        after = self._terms.hedge_after
        if after is None or not self._turns.is_anybody_left:
            return None
        return delay_s(after, turn.health.paces, self._job.audio.duration_s)

    async def _hedged(self, slow: Turn, race: _Race) -> Answer | None:
        if self._terms.underway.is_abandoned:
            return None
        other = self._turns.free() if slow.health.may_hedge(self._clock()) else None
        if other is None:
            return None
        race.hedge = other.candidate.deployment
        return await self._tried(other, Kind.HEDGE)

    def _note_failover(self, turn: Turn) -> None:
        """Tell of a deployment that is asked instead of one that failed, or of the first that was not asked at all."""
        to = turn.candidate.deployment
        if self._last is not None:
            self._means.on_failover(self._last.candidate.deployment, to, self.made[-1].outcome)
        elif (passed := self._turns.passed_over_for(turn)) is not None:
            self._means.on_failover(passed.deployment, to, passed.why)

    async def _doubted(self, answer: Answer) -> Answer:
        """Ask one other where a text is empty and a voice is heard; if it agrees, or none is left, empty it is."""
        means, now = self._means, self._clock()
        if not means.reliability.doubt_empty or not self._turns.is_anybody_left or now >= self._terms.deadline:
            return answer
        if not await self._hears_speech(self._terms.deadline - now):
            return answer
        if self._terms.underway.is_abandoned:
            return replace(answer, is_doubtful=True)
        if (other := self._turns.free()) is None:
            return answer
        second = await self._tried(other, Kind.DOUBT)
        return answer if second is None or second.is_empty else second

    async def _hears_speech(self, limit_s: float) -> bool:
        """Tell whether somebody speaks; no, where it takes too long to find out: an answer is there already."""
        try:
            async with asyncio.timeout(limit_s):
                return await self._means.hears_speech(self._job.audio)
        except TimeoutError:
            return False

    async def _tried(self, turn: Turn, kind: Kind) -> Answer | None:
        """Call once; return the answer, or None and remember the error."""
        try:
            transcript = await self._called(turn, kind)
        except ProviderError as error:
            turn.failed(error, self._clock(), self._means.reliability.retries.cap)
            self._errors.append(error)
            return None
        except CalledOff:
            return None
        candidate = turn.candidate
        return Answer(transcript=transcript, deployment=candidate.deployment, ignored=candidate.ignored, attempts=())

    async def _called(self, turn: Turn, kind: Kind) -> Transcript:
        """Call once, count it, and judge the deployment by it."""
        started, outcome, call = self._clock(), _Outcome(), self._means.new_call()
        with timed(Stage.ATTEMPT) as timing, current(call):
            try:
                return await self._sent(turn, outcome)
            except ProviderError as error:
                outcome.word, outcome.reason = error.outcome, error.reason
                raise
            except (asyncio.CancelledError, CalledOff):
                outcome.word = "cancelled"
                raise
            finally:
                timing.note(deployment=turn.candidate.deployment.name, kind=kind, outcome=outcome.word)
                self._ended(turn, kind, started, outcome, call)

    async def _sent(self, turn: Turn, outcome: _Outcome) -> Transcript:
        """Return the transcript; leave in outcome what it says of the deployment. Raises ProviderError."""
        deployment, began = turn.candidate.deployment, self._clock()
        until = self._until(turn, began)
        job = await self._job_for(turn.candidate, until)  # what fails here is the audio's fault, or this machine's
        settings, own_key, sent = self._means.reliability.breakers, self._terms.own_key, self._clock()
        hurried = self._terms.hurried  # now: another may join while this call has its own limit already
        try:
            with self._terms.underway.call(deployment, own_key=own_key) as outcome.progress:
                transcript = await self._means.backend_of(deployment).transcribe(
                    job, deployment, until, outcome.progress
                )
            check_times(transcript, job, deployment.account.adapter)
        except ProviderError as error:
            cut_short = hurried and not self._is_enough(until - began)
            outcome.verdict = of_error(error, settings, hurried=cut_short, own_key=own_key)
            raise
        outcome.word, outcome.transcript = "ok", transcript
        spent_for_s = None if own_key else transcript.spent_for_s
        outcome.verdict = of_answer(self._clock() - sent, job.audio.duration_s, settings, spent_for_s)
        return transcript

    def _ended(self, turn: Turn, kind: Kind, started: float, outcome: _Outcome, call: Call) -> None:
        now, deployment = self._clock(), turn.candidate.deployment
        # A check's half second is all overhead: it says nothing of how fast audio is worked through.
        turn.end(now, outcome.verdict if kind is not Kind.CHECK else replace(outcome.verdict, pace=None))
        attempt = Attempt(
            deployment=deployment.name,
            outcome=outcome.word,
            seconds=now - started,
            reason=outcome.reason,
            kind=kind,
            http_status=call.http_status,
            traceparent=call.traceparent,
            audio_s=self._job.audio.duration_s,
        )
        self.made.append(attempt)
        self._last = turn
        self._means.on_attempt(deployment, attempt)
        if self._is_billed(deployment, outcome):
            paid = Paid(deployment=deployment, transcript=outcome.transcript)
            self._paid.append(paid)
            self._terms.underway.paid.append(replace(paid, length_s=self._job.audio.duration_s))

    def _is_billed(self, deployment: Deployment, outcome: _Outcome) -> bool:
        """Tell whether a call is billed: an answer is, and what was called off too late; what failed is not."""
        was_too_late = outcome.word == "cancelled" and outcome.progress.is_sunk
        return outcome.transcript is not None or (was_too_late and is_paid(deployment) and not self._terms.own_key)

    def _until(self, turn: Turn, now: float) -> Moment:
        """Return when an attempt must be over: its own limit, and a part of what is left."""
        limit, deadline = self._means.reliability.attempt_timeout, self._terms.deadline
        is_last = not self._turns.is_another_by(share(now, deadline, is_last=False), turn)
        until = share(now, deadline, is_last=is_last)
        return Moment(until if limit is None else min(until, now + self._allowed_s(limit)))

    def _allowed_s(self, allowance: Allowance) -> float:
        length_s = self._job.audio.duration_s or 0.0
        return allowed_s(allowance.base, allowance.per_audio_second, allowance.max, length_s)

    def _is_enough(self, seconds: float) -> bool:
        """Tell whether a call that took so long without an answer speaks against its deployment, whoever set the limit.

        It does where our own limit for an attempt is as long, or a call that is answered as late counts as slow.
        """
        limits = (self._means.reliability.attempt_timeout, self._means.reliability.breakers.slow_call)
        return seconds >= min(self._allowed_s(limit) for limit in limits if limit is not None)

    async def _job_for(self, candidate: Candidate, until: Moment) -> TranscriptionJob:
        """Return the job as it is put to one candidate. Raises ProviderError."""
        can = candidate.capabilities
        audio = await self._copies.taken_by(can, candidate.deployment.account.adapter, until)
        times = times_for(self._job, can) or self._job.timestamps
        job = without(self._job, candidate.ignored) if candidate.ignored else self._job
        job = with_usual_options(job, candidate.deployment)
        if audio is job.audio and times is job.timestamps:
            return job
        return replace(job, audio=audio, timestamps=times)

    def _jitter_s(self, tries: int) -> float:
        retries = self._means.reliability.retries
        return full_jitter_s(tries, self._means.chance, base_s=retries.base, cap_s=retries.cap)

    def _problem(self) -> Problem:
        past_deadline = self._clock() >= self._terms.deadline
        problem = problem_of(
            self._errors,
            self.made,
            self._turns.away(),
            past_deadline=past_deadline,
            again_in_s=self._turns.back_in_s(),
        )
        # One that works was not asked: another time it may be.
        if self._turns.are_full and problem.status == HTTPStatus.BAD_GATEWAY:
            problem = overloaded("every deployment of the model that answers is")
        problem.attempts = len(self.made)
        problem.calls = tuple(each.traceparent for each in self.made if each.traceparent)
        return problem


def check_times(heard: Transcript, job: TranscriptionJob, adapter: str) -> None:
    """Raise MalformedReply where a text came without the times asked for: to its reader it would look whole."""
    if job.timestamps is Timestamps.NONE and not job.diarize:
        return
    lacking = {
        Timestamps.NONE: not (heard.segments or heard.words),
        Timestamps.SEGMENT: not (heard.segments or heard.words),
        Timestamps.WORD: not heard.words,
    }[job.timestamps]
    if lacking and heard.text.strip():
        wanted = "speakers" if job.timestamps is Timestamps.NONE else f"{job.timestamps} times"
        raise MalformedReply(adapter, f"answered without the {wanted} it was asked for")


def _wait_asked_for(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    return error.wait_s if isinstance(error, NobodyYet) else 0.0
