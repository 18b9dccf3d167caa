"""Whose turn it is: the candidates of one job, and which of them can be asked now.

A round asks each at most once, and nobody is waited for while another is free.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from gateway.dispatch.answers import ONLY_AN_OPERATOR_CAN, overloaded
from gateway.dispatch.slots import take_one
from gateway.dispatch.verdict import NOTHING, Verdict
from gateway.stages import Stage, timed
from providers.errors import Interrupted, RateLimited, Temporary

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from config.reliability import Reliability
    from gateway.dispatch.health import Call, Condition, Health, HealthBook
    from gateway.dispatch.plan import Candidate
    from providers.errors import ProviderError
    from providers.types import Deployment, Moment


class Turn(msgspec.Struct):
    """One candidate's part in a job."""

    candidate: Candidate
    health: Health
    calls: int = 0
    round: int = 0  # the last in which it was asked
    error: ProviderError | None = None  # the last
    not_before: float = -math.inf  # when this job may ask it again, as it said itself
    call: Call | None = None  # the latest

    def end(self, now: float, verdict: Verdict = NOTHING) -> None:
        """End the call, if it is still going on."""
        if self.call is not None:
            self.call.end(now, verdict)

    def failed(self, error: ProviderError, now: float, cap_s: float) -> None:
        """Note what came instead of an answer, and when it wants to be asked again.

        cap_s: the longest wait. Who limits us counts what comes sooner than told; who only comes up may be ready.
        """
        self.error = error
        asked_s = error.retry_after_s if isinstance(error, Temporary) else None
        self.not_before = now + (asked_s or 0.0 if isinstance(error, RateLimited) else min(asked_s or 0.0, cap_s))

    def may_be_asked(self, limit: int) -> bool:
        """Tell whether asking makes sense after what it has said. limit: retries, after the first call."""
        return self.error is None or (self.error.retryable and self.calls <= limit)


@dataclass(frozen=True, slots=True)
class PassedOver:
    """The candidate that another stands in for."""

    deployment: Deployment
    why: str  # it is left alone, or busy


class Turns:
    """One job's. A turn that is given out has its call begun: it is its holder's to end."""

    def __init__(
        self,
        candidates: Sequence[Candidate],
        health: HealthBook,
        settings: Reliability,
        clock: Callable[[], float],
        audio_s: float = 0.0,
    ) -> None:
        """audio_s: what each call takes of a deployment's allowance."""
        self._turns = [Turn(each, health[each.deployment]) for each in candidates]
        self._label = health.label
        self._settings = settings
        self._clock = clock
        self._audio_s = audio_s
        self._round = 0
        self.are_full = False  # one could not be asked for want of a place

    def new_round(self) -> None:
        """Let everybody be asked once more."""
        self._round += 1

    @property
    def is_anybody_left(self) -> bool:
        """Tell whether another could be asked in this round."""
        return bool(self._askable())

    def is_another_by(self, moment: float, than: Turn) -> bool:
        """Tell whether one besides that one could be asked, for the first time or again, now or at a moment to come."""
        return any(turn is not than and self._may_come(turn, moment) for turn in self._turns)

    def passed_over_for(self, turn: Turn) -> PassedOver | None:
        """Return the first candidate where another is asked before it."""
        first = self._turns[0]
        if first is turn:
            return None
        why = first.health.condition("", self._clock()).why
        return PassedOver(first.candidate.deployment, why or "busy")

    def free(self) -> Turn | None:
        """Return the first that can be asked now and has a place."""
        for turn in self._askable():
            if self._begin(turn):
                return turn
        return None

    async def queued(self, deadline: Moment) -> Turn | None:
        """Wait for a place where all that could be asked are busy.

        Where that takes too long, the round is over if another may be asked again. Raises Problem 429 otherwise.
        """
        while busy := self._askable():
            by_slots = {turn.health.slots: turn for turn in busy if turn.health.slots.has_room_to_wait}
            wait_s = min(self._settings.queue.max_wait, deadline - self._clock())
            with timed(Stage.QUEUE):
                taken = await take_one(list(by_slots), wait_s) if by_slots else None
            if taken is None:
                self._pass_over(busy)
                return None
            turn, now = by_slots[taken], self._clock()
            if turn.health.admits(now) and self._may_call(turn, now):
                self._note(turn, turn.health.begin(now, self._audio_s))
                return turn
            taken.give_back()  # it broke while others were served there
        return None

    def slow(self) -> Turn | None:
        """Return one that is only slow, where nobody could be asked at all: better late than never."""
        now = self._clock()
        if any(turn.calls for turn in self._turns):
            return None
        return next((turn for turn in self._turns if turn.health.is_slow(now) and self._begin(turn)), None)

    def away(self) -> list[Condition]:
        """Return those that were not asked, and why."""
        now = self._clock()
        return [
            turn.health.condition(self._label(turn.candidate.deployment), now) for turn in self._turns if not turn.calls
        ]

    def back_in_s(self) -> float | None:
        """Return when the first of all that only need time can be asked again; None where nobody knows."""
        now = self._clock()
        conditions = [(turn.health.condition("", now), turn.error) for turn in self._turns]
        waits = [known.again_in_s for known, _ in conditions if known.why not in ONLY_AN_OPERATOR_CAN]
        waits += [error.retry_after_s for _, error in conditions if isinstance(error, RateLimited)]
        return min((each for each in waits if each is not None), default=None)

    def again_in_s(self, jitter_s: Callable[[int], float]) -> float | None:
        """Return the shortest wait after which one that was asked may be asked again; None where nobody may.

        jitter_s: a random wait, by how often it has been asked.
        """
        now, cap_s = self._clock(), self._settings.retries.cap
        # While its probe is out, a deployment's return has no time: as good as now, and at worst another round.
        away = [
            (turn, max(turn.health.condition("", now).again_in_s or 0.0, turn.not_before - now, 0.0))
            for turn in self._again()
        ]
        return min((away_s + jitter_s(turn.calls) for turn, away_s in away if away_s <= cap_s), default=None)

    def _may_come(self, turn: Turn, moment: float) -> bool:
        is_being_asked = turn.error is None and turn.round == self._round
        may = not is_being_asked and turn.may_be_asked(self._settings.retries.limit) and turn.not_before <= moment
        return may and turn.health.is_back_by(moment, self._clock())

    def _pass_over(self, busy: Sequence[Turn]) -> None:
        """Leave the busy ones out of this round. Raises Problem 429 where there will be no other."""
        self.are_full = True
        for turn in busy:
            turn.round = self._round
        if not self._again():
            raise overloaded("every deployment of the model is")

    def _again(self) -> list[Turn]:
        """Return those that were asked and may be asked again."""
        return [turn for turn in self._turns if turn.error and turn.may_be_asked(self._settings.retries.limit)]

    def _askable(self) -> list[Turn]:
        now, limit = self._clock(), self._settings.retries.limit
        return [
            turn
            for turn in self._turns
            if turn.round < self._round
            and turn.may_be_asked(limit)
            and turn.not_before <= now
            and turn.health.admits(now)
        ]

    def _begin(self, turn: Turn) -> bool:
        now = self._clock()
        if not turn.health.slots.try_take():
            return False
        if not self._may_call(turn, now):
            turn.health.slots.give_back()
            return False
        self._note(turn, turn.health.begin(now, self._audio_s))
        return True

    def _may_call(self, turn: Turn, now: float) -> bool:
        """Tell whether a first call, or a retry within the budget; what ended with its engine costs nothing again."""
        if turn.calls and not isinstance(turn.error, Interrupted) and not turn.health.may_retry(now):
            turn.round = self._round  # not in this round
            return False
        return True

    def _note(self, turn: Turn, call: Call) -> None:
        if not turn.calls:
            turn.health.asked_first(self._clock())
        turn.call, turn.round = call, self._round
        turn.calls += 1
