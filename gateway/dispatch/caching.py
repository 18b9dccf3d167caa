"""An answer from before where there is one; else the deployments', kept for the next."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from gateway.dispatch.answers import Answer, Cached, not_cached
from gateway.dispatch.fingerprint import key_of
from gateway.dispatch.flights import Errand, Flights
from gateway.dispatch.kept_answers import pack, unpack
from gateway.dispatch.relay import Relay, Relayed
from gateway.policies.cache_control import ANY, CacheControl
from gateway.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from config.cache import Cache
    from gateway.dispatch.attempts import Terms
    from gateway.dispatch.routes import Route
    from gateway.dispatch.service import Dispatcher
    from gateway.stores.kept import AnswerStore, Kept
    from providers.types import TranscriptionJob


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """How one caller asks for a job."""

    scope: str  # whose answers it may be given
    timeout_s: float | None = None  # what the caller allows
    control: CacheControl = field(default=ANY)
    hold: Callable[[], AbstractContextManager[None]] = nullcontext  # keeps the audio for a call that outlives it


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """One job, as one caller asks for it."""

    job: TranscriptionJob
    route: Route
    asking: Asking
    fresh_s: float  # the age up to which an answer will do


@dataclass(frozen=True, slots=True, kw_only=True)
class Caching:
    """Runs jobs, or finds that they need not be run. One for a configuration."""

    dispatcher: Dispatcher
    settings: Cache
    store: AnswerStore | None
    flights: Flights
    relay: Relay | None = None  # where the store is shared with other processes, which then ask for each other
    on_lookup: Callable[[str, bool], None] = lambda _store, _found: None  # told the store, and whether it had it

    async def transcribe(self, job: TranscriptionJob, route: Route, asking: Asking) -> Answer:
        """Return the answer. Raises Problem: 504 not-cached where only a kept one would do; else as dispatch does."""
        control = asking.control
        if self.store is None or control.no_store or (is_sampled(job) and not self.settings.sampled):
            return await self._anew(job, route, asking)
        key = key_of(job, route, asking.scope)
        if control.no_cache:
            answer = await self._anew(job, route, asking)
            await self.store.put(key, await pack(answer), self._keep_s)
            return answer
        wanted = _Wanted(job=job, route=route, asking=asking, fresh_s=control.fresh_s(self.settings.ttl))
        return await self._found_or_flown(self.store, key, wanted)

    async def _anew(self, job: TranscriptionJob, route: Route, asking: Asking) -> Answer:
        if asking.control.only_if_cached:
            raise not_cached()
        return await self.dispatcher.transcribe(job, route, asking.timeout_s)

    async def _found_or_flown(self, store: AnswerStore, key: str, wanted: _Wanted) -> Answer:
        """Return what is kept, or ask; where every deployment fails, what was kept for that."""
        control = wanted.asking.control
        if (
            self.relay is None or control.only_if_cached
        ):  # else the flight looks, and takes the lease with the same step
            found = await self._read(await store.get(key), wanted.route)
            if found is not None and (found.age_s or 0.0) <= wanted.fresh_s:
                return found
        if control.only_if_cached:
            raise not_cached()
        try:
            return await self._flown(store, key, wanted)
        except Problem as problem:
            stale = await self._stale(store, key, wanted) if _is_an_outage(problem) else None
            if stale is None:
                raise
            return stale

    async def _flown(self, store: AnswerStore, key: str, wanted: _Wanted) -> Answer:
        """Ask, or join those who do."""

        async def call(terms: Terms) -> Answer:
            answer = await self.dispatcher.run(wanted.job, wanted.route, terms)
            return replace(answer, cached=Cached.MISS)

        async def keep(answer: Answer) -> None:
            if answer.cached is Cached.MISS:
                await store.put(key, await pack(answer), self._keep_s)

        errand = Errand(key=key, call=call, keep=keep, hold=wanted.asking.hold)
        if self.relay is not None:
            errand = self._relayed(self.relay, errand, wanted)
        own = self.dispatcher.terms(wanted.job, wanted.route, wanted.asking.timeout_s)
        return await self.flights.answer(errand, own)

    def _relayed(self, relay: Relay, alone: Errand, wanted: _Wanted) -> Errand:
        """Return the errand for one process of several."""

        async def read(kept: Kept | None) -> Answer | None:
            return None if kept is None else await unpack(kept.value, wanted.route)

        part = Relayed(key=alone.key, fresh_s=wanted.fresh_s, call=alone.call, read=read)

        async def call(terms: Terms) -> Answer:
            found = False
            try:
                answer = await relay.answer(part, terms)
                found = answer.cached is not Cached.MISS
            finally:
                self.on_lookup(relay.store.name, found)
            return answer

        async def keep(answer: Answer) -> None:
            if answer.cached is Cached.MISS:
                await relay.keep(part, await pack(answer), self._keep_s)

        # The look is a part of the flight: who wants younger answers flies apart.
        return replace(alone, key=f"{alone.key}:{wanted.fresh_s:g}", call=call, keep=keep)

    async def _stale(self, store: AnswerStore, key: str, wanted: _Wanted) -> Answer | None:
        if not wanted.asking.control.accepts_stale:
            return None
        answer = await self._read(await store.get(key), wanted.route)
        return None if answer is None else replace(answer, cached=Cached.STALE)

    async def _read(self, kept: Kept | None, route: Route) -> Answer | None:
        answer = None if kept is None else await unpack(kept.value, route)
        if self.store is not None:
            self.on_lookup(self.store.name, answer is not None)
        if kept is None or answer is None:
            return None
        return replace(answer, cached=Cached.HIT, age_s=max(0.0, kept.age_s))

    @property
    def _keep_s(self) -> float:
        return self.settings.ttl + self.settings.stale_for


def is_sampled(job: TranscriptionJob) -> bool:
    """Tell whether the job asks for dice: the same audio is to be heard anew each time."""
    return bool(job.generation.do_sample) or (job.generation.temperature or 0) > 0


def _is_an_outage(problem: Problem) -> bool:
    """Tell whether everybody failed, was too slow or is at a limit; what the caller did wrong stays wrong."""
    return problem.status >= 500 or problem.status == 429
