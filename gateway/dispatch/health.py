"""What this process has seen of each deployment: its breaker, its speed, its budgets, its free places."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from config.reliability import Reliability
from gateway.dispatch.recent import QUIET, LastMinute, Recent
from gateway.dispatch.routes import WILDCARD
from gateway.dispatch.slots import Slots
from gateway.dispatch.verdict import NOTHING, Verdict
from gateway.policies import allowance, breaker, budget
from gateway.policies.pace import decayed, faded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from config.reliability import Breakers
    from gateway.dispatch.routes import Routes
    from providers.types import Deployment

_RECENT = 200  # calls whose speed is remembered


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One deployment's health, as operators read it."""

    deployment: str
    state: str  # closed, open, half-open or parked
    why: str | None  # failing, slow, rate-limited, credentials, quota, limit; None while closed
    again_in_s: float | None  # until it may be asked again; None where it may now, or a probe is out
    in_flight: int
    waiting: int
    pace: float | None  # seconds of work for a second of audio, lately
    last_minute: LastMinute = QUIET


class Health:
    """One deployment's. Decisions are the policies'; here is what they are made from."""

    def __init__(self, deployment: Deployment, settings: Reliability) -> None:
        self.deployment = deployment
        self.settings = settings
        self.slots = Slots(deployment.max_concurrent, settings.queue.max_waiting)
        self.paces: deque[float] = deque(maxlen=_RECENT)
        self.pace: float | None = None
        self.called_at = -math.inf
        self.recent = Recent()
        self._paced_at = -math.inf
        self._state: breaker.State = breaker.CLOSED
        self._back_since = -math.inf  # when a probe last closed the breaker
        self._crashed_at = -math.inf  # when a crash was last noted
        self._retries = budget.Budget()
        self._hedges = budget.Budget()
        self._requests = _minute(deployment.requests_per_minute)
        self._audio_s = _minute(deployment.audio_seconds_per_minute)
        self._rules = rules_of(settings.breakers)

    def is_of(self, deployment: Deployment) -> bool:
        """Tell whether it is the same service for the same customer, at whatever price, weight or limit."""
        mine = self.deployment
        return (mine.native_model, mine.account) == (deployment.native_model, deployment.account)

    def follow(self, deployment: Deployment, settings: Reliability) -> None:
        """Go by another configuration of the same service: calls in progress keep their places."""
        self.deployment, self.settings = deployment, settings
        self.slots.resize(deployment.max_concurrent, settings.queue.max_waiting)
        self._requests = _minute(deployment.requests_per_minute, self._requests)
        self._audio_s = _minute(deployment.audio_seconds_per_minute, self._audio_s)
        self._rules = rules_of(settings.breakers)

    def admits(self, now: float) -> bool:
        """Tell whether it may be asked now."""
        return breaker.admits(self._state, now) and self._allowed_in_s(now) is None

    def is_slow(self, now: float) -> bool:
        """Tell whether nothing but slowness speaks against it: better than nobody."""
        is_slow = isinstance(self._state, breaker.Open) and self._state.why is breaker.Why.SLOW
        return is_slow and not breaker.admits(self._state, now) and self._allowed_in_s(now) is None

    def is_back_by(self, moment: float, now: float) -> bool:
        """Tell whether it is well, or limits us and will not at a moment to come. What is broken may be so still."""
        due = breaker.due_at(self._state, now)
        limits = isinstance(self._state, breaker.Open) and self._state.why is breaker.Why.RATE_LIMITED
        return due is None or (limits and due <= moment)

    def away_s(self, now: float) -> float | None:
        """Return for how long it is not to be asked: None where it may be now, infinity while a probe is out."""
        due, allowed_in_s = breaker.due_at(self._state, now), self._allowed_in_s(now)
        waits = [each for each in (None if due is None else due - now, allowed_in_s) if each is not None]
        return max(waits, default=None)

    def _allowed_in_s(self, now: float) -> float | None:
        """Return when the provider allows another call, by what was configured of it; None for now."""
        dues = [allowance.due_at(each, now) for each in (self._requests, self._audio_s) if each is not None]
        return max((due - now for due in dues if due is not None), default=None)

    def is_to_prove_itself(self, now: float) -> bool:
        """Tell whether it was left alone, and the next call finds out whether it is well again."""
        return not isinstance(self._state, breaker.Closed) and self.admits(now)

    def try_begin(self, now: float) -> Call | None:
        """Begin a call if there is a place for it."""
        return self.begin(now) if self.slots.try_take() else None

    def begin(self, now: float, audio_s: float = 0.0) -> Call:
        """Begin a call in a place already taken."""
        self.called_at = now
        if self._requests is not None:
            self._requests = allowance.after(self._requests, now, 1)
        if self._audio_s is not None:
            self._audio_s = allowance.after(self._audio_s, now, audio_s)
        self._state, is_probe = breaker.begin(self._state, now)
        return Call(self, now, is_probe=is_probe)

    def ended(self, now: float, verdict: Verdict, call: Call) -> None:
        """Note what a call showed."""
        if verdict.park is not None:
            why, for_s = verdict.park
            self._state = breaker.park(self._state, now, why, for_s, is_probe=call.is_probe)
        elif call.is_probe or self._is_news(verdict, call):
            self._crashed_at = now if verdict.is_crash else self._crashed_at
            self._state = breaker.end(self._state, now, verdict.outcome, self._rules, is_probe=call.is_probe)
        if call.is_probe and isinstance(self._state, breaker.Closed):
            self._back_since = now
        if verdict.pace is not None:
            self.paces.append(verdict.pace)
            self.pace = decayed(self.pace, verdict.pace, idle_s=now - self._paced_at)
            self._paced_at = now
        self._count(now, verdict, call)

    def _is_news(self, verdict: Verdict, call: Call) -> bool:
        """Tell whether no probe has shown anything newer, and no other call told of the same crash."""
        return call.began >= (max(self._back_since, self._crashed_at) if verdict.is_crash else self._back_since)

    def _count(self, now: float, verdict: Verdict, call: Call) -> None:
        if verdict.pace is not None:
            self.recent.answered(now, now - call.began)
        elif verdict.outcome is breaker.Outcome.FAILED or verdict.park is not None:
            self.recent.errored(now)
        else:
            self.recent.neither(now)

    def asked_first(self, now: float) -> None:
        """Note a job that asks for the first time: what extra calls are measured against."""
        self._retries = budget.deposit(self._retries, now)
        self._hedges = budget.deposit(self._hedges, now)

    def may_retry(self, now: float) -> bool:
        """Take one from the retry budget."""
        retries = self.settings.retries
        left = budget.withdraw(self._retries, now, ratio=retries.budget, floor=retries.floor)
        self._retries = left or self._retries
        return left is not None

    def may_hedge(self, now: float) -> bool:
        """Take one from the hedge budget."""
        hedging = self.settings.hedging
        left = budget.withdraw(self._hedges, now, ratio=hedging.budget, floor=hedging.floor)
        self._hedges = left or self._hedges
        return left is not None

    def expected_pace(self, now: float) -> float | None:
        """Return how fast it is thought to be: what is old says less and less, so that it is tried again."""
        return faded(self.pace, idle_s=now - self.called_at)

    def condition(self, name: str, now: float) -> Condition:
        """name: as operators know it."""
        away_s = self.away_s(now)
        is_limited = isinstance(self._state, breaker.Closed) and away_s is not None
        why = breaker.Why.LIMIT if is_limited else None if isinstance(self._state, breaker.Closed) else self._state.why
        return Condition(
            deployment=name,
            state="parked" if is_limited else breaker.describe(self._state, now),
            why=None if why is None else why.value,
            again_in_s=round(away_s, 3) if away_s is not None and math.isfinite(away_s) else None,
            in_flight=self.slots.taken,
            waiting=self.slots.waiting,
            pace=self.pace,
            last_minute=self.recent.told(now),
        )


class Call:
    """A call in progress: a place taken, and perhaps the probe. It ends once, whatever happens."""

    def __init__(self, health: Health, began: float, *, is_probe: bool) -> None:
        self.began = began
        self.is_probe = is_probe
        self._health: Health | None = health

    def end(self, now: float, verdict: Verdict = NOTHING) -> None:
        """Give the place back and note what the call showed. Nothing the second time."""
        health, self._health = self._health, None
        if health is not None:
            health.ended(now, verdict, self)
            health.slots.give_back()


class HealthBook:
    """Every deployment's health. Survives a change of configuration where the deployment does."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._known: dict[str, Health] = {}
        self._others: dict[str, Health] = {}  # by account
        self._left: WeakValueDictionary[str, Health] = WeakValueDictionary()  # for requests that began before
        self._settings = Reliability()

    def __iter__(self) -> Iterator[Health]:
        yield from self._known.values()
        yield from self._others.values()

    def named(self) -> Iterator[Health]:
        """Yield those of deployments that the configuration names, without a wildcard's."""
        yield from self._known.values()

    def __getitem__(self, deployment: Deployment) -> Health:
        """Return a deployment's health. All models that callers name behind a wildcard share their account's.

        A request may still ask what it began with, though the configuration has it no more, or with another key: what
        comes of that says nothing of what is configured now.
        """
        known = self._known.get(deployment.name)
        if known is not None and known.is_of(deployment):
            return known
        other = self._others.get(deployment.account.name)
        if known is None and other is not None and other.deployment.account == deployment.account:
            return other
        return self._left_behind(deployment)

    def adopt(self, routes: Routes, reliability: Reliability) -> None:
        """Keep what is known of services that stay; begin anew with the others, and with those of another key."""
        before = {each.deployment.name: each for each in self}
        self._settings = reliability
        wild = routes.by_model.get(WILDCARD)
        models = [route for name, route in routes.by_model.items() if name != WILDCARD]
        named = {each.name: each for route in models for each in route.deployments}
        self._known = {name: self._kept(self._known.get(name), each, reliability) for name, each in named.items()}
        self._others = {
            each.account.name: self._kept(self._others.get(each.account.name), each, reliability)
            for each in (wild.deployments if wild else ())
        }
        kept = set(self)
        self._left.update({name: each for name, each in before.items() if each not in kept})

    def label(self, deployment: Deployment) -> str:
        """Return its name where the configuration knows it, so that callers cannot make new ones."""
        return deployment.name if deployment.name in self._known else f"{deployment.account.name}/other"

    def conditions(self) -> list[Condition]:
        """Return every deployment's, for operators."""
        now = self.clock()
        return [health.condition(self.label(health.deployment), now) for health in self]

    def _left_behind(self, deployment: Deployment) -> Health:
        """Return what the requests that still use it know of it together: gone with the last of them."""
        health = self._left.get(deployment.name)
        if health is None or not health.is_of(deployment):
            health = self._left[deployment.name] = Health(deployment, self._settings)
        return health

    @staticmethod
    def _kept(before: Health | None, deployment: Deployment, settings: Reliability) -> Health:
        if before is None or not before.is_of(deployment):
            return Health(deployment, settings)
        before.follow(deployment, settings)
        return before


def _minute(quota: int | None, before: allowance.Minute | None = None) -> allowance.Minute | None:
    """Return what is taken of a quota: what was taken of another one lately, or nothing yet."""
    return None if quota is None else allowance.Minute(quota=quota, taken=before.taken if before else ())


@lru_cache(maxsize=8)
def rules_of(settings: Breakers) -> breaker.Rules:
    """Return the breaker's rules as configured."""
    return breaker.Rules(
        consecutive=settings.consecutive,
        failure_rate=settings.failure_rate,
        slow_rate=settings.slow_rate,
        min_calls=settings.min_calls,
        window_s=settings.window,
        probe_after_s=settings.probe_after,
    )
