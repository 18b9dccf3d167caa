"""An answer from before where there is one; else the deployments', kept for the next."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from gateway.dispatch.answers import Answer, Cached, not_cached
from gateway.dispatch.fingerprint import key_of
from gateway.dispatch.flights import Errand, Flights
from gateway.dispatch.kept_answers import pack, unpack
from gateway.policies.cache_control import ANY, CacheControl
from gateway.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from config.cache import Cache
    from gateway.dispatch.attempts import Terms
    from gateway.dispatch.routes import Route
    from gateway.dispatch.service import Dispatcher
    from gateway.stores.kept import AnswerStore
    from providers.types import TranscriptionJob


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """How one caller asks for a job."""

    scope: str  # whose answers it may be given
    timeout_s: float | None = None  # what the caller allows
    control: CacheControl = field(default=ANY)
    hold: Callable[[], AbstractContextManager[None]] = nullcontext  # keeps the audio for a call that outlives it


@dataclass(frozen=True, slots=True, kw_only=True)
class Caching:
    """Runs jobs, or finds that they need not be run. One for a configuration."""

    dispatcher: Dispatcher
    settings: Cache
    store: AnswerStore | None
    flights: Flights
    on_lookup: Callable[[str, bool], None] = lambda _store, _found: None  # told the store, and whether it had it

    async def transcribe(self, job: TranscriptionJob, route: Route, asking: Asking) -> Answer:
        """Return the answer. Raises Problem: 504 not-cached where only a kept one would do; else as dispatch does."""
        control = asking.control
        if self.store is None or control.no_store or (is_sampled(job) and not self.settings.sampled):
            return await self._anew(job, route, asking)
        key = key_of(job, route, asking.scope)
        if control.no_cache:
            answer = await self._anew(job, route, asking)
            await self._keep(self.store, key, answer)
            return answer
        found = await self._found(self.store, key, route)
        if found is not None and control.accepts(found.age_s or 0.0, self.settings.ttl):
            return found
        if control.only_if_cached:
            raise not_cached()
        try:
            return await self._flown(self.store, key, job, route, asking)
        except Problem as problem:
            if found is None or not control.accepts_stale or not _is_an_outage(problem):
                raise
            return replace(found, cached=Cached.STALE)

    async def _flown(self, store: AnswerStore, key: str, job: TranscriptionJob, route: Route, asking: Asking) -> Answer:
        """Ask, or join those who do."""

        async def call(terms: Terms) -> Answer:
            return replace(await self.dispatcher.run(job, route, terms), cached=Cached.MISS)

        async def keep(answer: Answer) -> None:
            await self._keep(store, key, answer)

        own = self.dispatcher.terms(job, route, asking.timeout_s)
        return await self.flights.answer(Errand(key=key, call=call, keep=keep, hold=asking.hold), own)

    async def _anew(self, job: TranscriptionJob, route: Route, asking: Asking) -> Answer:
        if asking.control.only_if_cached:
            raise not_cached()
        return await self.dispatcher.transcribe(job, route, asking.timeout_s)

    async def _found(self, store: AnswerStore, key: str, route: Route) -> Answer | None:
        kept = await store.get(key)
        answer = None if kept is None else await unpack(kept.value, route)
        self.on_lookup(store.name, answer is not None)
        if kept is None or answer is None:
            return None
        return replace(answer, cached=Cached.HIT, age_s=max(0.0, kept.age_s))

    async def _keep(self, store: AnswerStore, key: str, answer: Answer) -> None:
        await store.put(key, await pack(answer), self.settings.ttl + self.settings.stale_for)


def is_sampled(job: TranscriptionJob) -> bool:
    """Tell whether the job asks for dice: the same audio is to be heard anew each time."""
    return bool(job.generation.do_sample) or (job.generation.temperature or 0) > 0


def _is_an_outage(problem: Problem) -> bool:
    """Tell whether everybody failed, was too slow or is at a limit; what the caller did wrong stays wrong."""
    return problem.status >= 500 or problem.status == 429
