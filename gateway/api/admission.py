"""One request's way past the limits: asked at the door, charged before the work, corrected after it."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from os import urandom
from typing import TYPE_CHECKING, Final, Protocol, Self

import msgspec
from aiohttp import hdrs
from msgspec.structs import replace

from config.limits import UNLIMITED
from config.reliability import Strategy
from gateway.api.ratelimit import headers_of
from gateway.dispatch.charge import charges_of, total
from gateway.dispatch.routes import WILDCARD, cost_of
from gateway.policies.limits import (
    Budget,
    Correction,
    Demand,
    Denied,
    Granted,
    Kind,
    Rules,
    Scope,
    corrected,
    rules_for,
    rules_of,
)
from gateway.problems import Problem
from gateway.stages import Stage, timed
from gateway.stores.usage import NOT_PAID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from aiohttp import web

    from config.settings import Settings
    from gateway.api.auth import Caller
    from gateway.dispatch.answers import Answer
    from gateway.dispatch.routes import Route
    from gateway.observe import Observed
    from gateway.policies.limits import Places, Standing
    from gateway.stores.redis_cache import Look, Seen
    from providers.types import Audio

SMALL_BYTES: Final = 1 << 18
"""A body that has arrived, nearly, before anybody could refuse it."""
TYPICAL_BYTES_PER_S: Final = 4000  # 32 kbit/s, compressed speech: what is charged first where no header tells a length
_PATIENCE_S: Final = 60.0  # SDKs that are told to wait for longer come back at once instead
_WHOSE: Final = {
    Scope.KEY: "this key",
    Scope.MODEL: "the model, for all its callers,",
    Scope.GATEWAY: "the gateway, for all its callers,",
}


class Counters(Protocol):
    """Where limits are counted."""

    @property
    def is_near(self) -> bool:
        """Whether asking costs nothing worth saving."""
        ...

    async def take(self, demand: Demand) -> Granted | Denied:
        """Take all that is asked for, or nothing. Always answers, and soon, whatever becomes of a store."""
        ...

    async def take_and_look(self, demand: Demand, look: Look) -> tuple[Granted | Denied, Seen | None]:
        """Take, and look for the answer with the same step; None where that was not done."""
        ...

    def correct(self, correction: Correction) -> None:
        """Note what was used without being asked for. Returns at once."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Limiting:
    """One configuration's limits."""

    settings: Settings
    counters: Counters
    on_denied: Callable[[Denied], None]
    on_standings: Callable[[Iterable[Standing]], None] = lambda _: None  # told what is left, each time it is asked for

    def of(self, request: web.BaseRequest, caller: Caller, observed: Observed) -> Admission:
        """Return a request's, to be entered before its body is read."""
        own = rules_for(caller.name, caller.limits, self.settings.limits)
        return Admission(self, own, observed, is_small=is_small(request))

    def model_rules(self, model: str) -> Rules:
        """Return a model's; those that callers name behind a wildcard share its limits."""
        name = model if model in self.settings.models else WILDCARD
        route = self.settings.models.get(name)
        return rules_of(Scope.MODEL, name, route.limits if route else UNLIMITED)


class _Charge(msgspec.Struct, frozen=True, kw_only=True):
    """What a job was charged before it ran."""

    demand: Demand
    granted: Granted
    route: Route
    audio: Audio

    @property
    def back(self) -> tuple[float, float]:
        """Return the audio seconds and USD that correct it where nothing was used."""
        return -self.demand.audio_s, -self.demand.usd


class Admission(msgspec.Struct):
    """One request's; what it holds is given back at its end, however that comes."""

    limiting: Limiting
    own: Rules  # the caller's and everybody's
    observed: Observed
    is_small: bool
    _was_denied: bool = False
    _lease: str = ""
    _held: tuple[Demand, Granted] | None = None
    _charge: _Charge | None = None
    _unused: tuple[float, float] | None = None  # audio seconds and USD to correct the charge by, once it is answered
    _in_vain_usd: float = 0.0  # paid for what brought no answer
    _corrected: tuple[float, float] = (0.0, 0.0)  # by how many it was, at its end

    async def __aenter__(self) -> Self:
        """Ask whether there is a place, and anything left, before the body is read. Raises Problem 429.

        A small body is there before the answer of a store elsewhere would be: then it is all asked at once, later.
        """
        if self.own and (self.limiting.counters.is_near or not self.is_small):
            demand = Demand(rules=self.own, places=self.own.places, lease=self._lease_for(self.own.places))
            granted, _ = await self._take(demand)
            self._held = demand, granted
        return self

    async def charge(self, model: str, route: Route, audio: Audio, look: Look | None = None) -> Seen | None:
        """Charge a job: its request, its audio, what it is thought to cost. Raises Problem 429, and takes nothing.

        look: what is to be looked for with the same step, where that saves one. Returns what was seen then.
        """
        of_model = self.limiting.model_rules(model)
        rules = self.own + of_model if of_model else self.own
        if not rules:
            return None
        audio_s = charged_s(audio)
        places = of_model.places if self._held else rules.places
        lease = self._lease_for(places)
        usd = estimated_usd(route, audio_s)
        demand = Demand(rules=rules, requests=1.0, audio_s=audio_s, usd=usd, places=places, lease=lease)
        granted, seen = await self._take(demand, look)
        self._charge = _Charge(demand=demand, granted=granted, route=route, audio=audio)
        return seen

    def answered(self, answer: Answer) -> None:
        """Note that the work was done, whatever becomes of the answer now."""
        if (charge := self._charge) is not None:
            audio_s, usd = charge.back if self.observed.cache in NOT_PAID else _used_besides(answer, charge)
            self._unused = audio_s, usd + self._in_vain_usd

    def spent(self, paid: Answer) -> None:
        """Note what was paid although there is no answer: its money is gone, its audio counts as not heard."""
        if self._charge is not None:
            self._in_vain_usd += _paid_usd(paid, self._charge)

    def paid(self, answer: Answer) -> None:
        """Settle the charge of a request that is over: its call went on without it."""
        if (charge := self._charge) is None:
            return
        audio_s, usd = _used_besides(answer, charge)
        done_s, done_usd = self._corrected
        demand = replace(charge.demand, places=(), lease="")  # those were given back with the request
        charge.granted.correct(corrected(demand, charge.granted, audio_s=audio_s - done_s, usd=usd - done_usd))

    @property
    def headers(self) -> dict[str, str]:
        """Return what the caller is told of its limits once it is answered; nothing where it has none."""
        if self._charge is None or self._unused is None:
            return {}
        return headers_of(self._charge.granted.levels.standings(*self._unused))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give back what was held, and correct what was charged; the stores do that beside the requests."""
        if self._held is not None:
            demand, granted = self._held
            granted.correct(Correction(places=demand.places, lease=demand.lease))
        if (charge := self._charge) is not None:
            self._corrected = audio_s, usd = self._unused or _unanswered(charge, error, self._in_vain_usd)
            charge.granted.correct(corrected(charge.demand, charge.granted, audio_s=audio_s, usd=usd))
        elif not self._was_denied and any(each.kind is Kind.REQUESTS for each in self.own.rates):
            # It never came to a job, and was a request all the same.
            self.limiting.counters.correct(Correction(rules=self.own, requests=1.0))

    async def _take(self, demand: Demand, look: Look | None = None) -> tuple[Granted, Seen | None]:
        """Take it all. Raises Problem 429."""
        counters = self.limiting.counters
        with timed(Stage.LIMITS):
            answer, seen = (
                (await counters.take(demand), None) if look is None else await counters.take_and_look(demand, look)
            )
        if demand.rules.budgets:
            self.limiting.on_standings(answer.levels.standings())
        if isinstance(answer, Denied):
            self._was_denied = True
            self.limiting.on_denied(answer)
            raise too_much(answer)
        return answer, seen

    def _lease_for(self, places: tuple[Places, ...]) -> str:
        """Return what the places are known by that this request takes: one for all."""
        if places and not self._lease:
            self._lease = urandom(16).hex()
        return self._lease


def charged_s(audio: Audio) -> float:
    """Return how much audio is charged for, before anybody has heard it."""
    return audio.duration_s if audio.duration_s is not None else audio.size_bytes / TYPICAL_BYTES_PER_S


def estimated_usd(route: Route, audio_s: float) -> float:
    """Return what a job is thought to cost: at the first deployment whose price is known, or the dearest that may be.

    Where none has a price nothing is estimated; what the provider reports is charged afterwards.
    """
    priced = [cost for each in route.deployments if (cost := cost_of(each, audio_s)) is not None]
    if route.own_key or not priced:
        return 0.0
    costs = (
        priced if route.strategy is Strategy.FAILOVER else [cost_of(each, audio_s) or 0.0 for each in route.deployments]
    )
    match route.strategy:
        case Strategy.FAILOVER:
            return costs[0]
        case Strategy.CHEAPEST:
            return min(costs)
    return max(costs)


def too_much(denied: Denied) -> Problem:
    """Say which limit, and when to come back."""
    headers = {"Retry-After": str(max(1, math.ceil(denied.retry_after_s))), **headers_of(denied.levels.standings())}
    if denied.retry_after_s > _PATIENCE_S:
        headers["x-should-retry"] = "false"
    is_budget = isinstance(denied.rule, Budget)
    return Problem(
        status=429, type="budget" if is_budget else "limit", message=_words(denied), headers=headers, leaves_body=True
    )


def _words(denied: Denied) -> str:
    rule, whose = denied.rule, _WHOSE[denied.rule.scope]
    if denied.is_unknown:
        return "budgets cannot be checked for now: the store that keeps them is lost"
    if not isinstance(rule, Budget):
        return f"{whose} is at its limit of {rule.words}"
    if rule.scope is Scope.KEY:
        return f"{whose} has not enough left for this of its budget of {rule.words}"
    return f"{whose} has not enough left for this of its budget for the {rule.period}"


def is_small(request: web.BaseRequest) -> bool:
    """Tell whether the body is known to be no longer than what arrives before anybody could refuse it."""
    announced = request.headers.get(hdrs.CONTENT_LENGTH, "")
    return announced.isdecimal() and int(announced) <= SMALL_BYTES


def _unanswered(charge: _Charge, error: BaseException | None, in_vain_usd: float) -> tuple[float, float]:
    """Return audio seconds and USD to correct a charge by that brought nothing.

    What failed is given back, but for what was paid. What the caller did not wait for is not: the work was begun, and
    perhaps billed.
    """
    audio_s, usd = charge.back
    return (0.0, 0.0) if isinstance(error, asyncio.CancelledError) else (audio_s, usd + in_vain_usd)


def _used_besides(answer: Answer, charge: _Charge) -> tuple[float, float]:
    """Return audio seconds and USD that an answer came to besides what was charged."""
    return _length_s(answer, charge) - charge.demand.audio_s, _paid_usd(answer, charge) - charge.demand.usd


def _length_s(answer: Answer, charge: _Charge) -> float:
    """Return the audio's length, as the provider measured it where the gateway could not."""
    if charge.audio.duration_s is not None or answer.transcript.duration_s is None:
        return charge.demand.audio_s
    return answer.transcript.duration_s


def _paid_usd(answer: Answer, charge: _Charge) -> float:
    """Return what was paid here: as the provider reported it, else by its price."""
    if charge.route.own_key:
        return 0.0
    charges = charges_of(answer, _length_s(answer, charge))
    return total(each for _, each in charges).cost_usd or 0.0
