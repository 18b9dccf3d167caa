"""An answer from before where there is one; else the deployments', kept for the next."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias
from uuid import uuid4

import msgspec
from msgspec.structs import replace

from gateway.dispatch.answers import Answer, Cached, InVain, heard_in_vain, not_cached
from gateway.dispatch.fingerprint import key_of
from gateway.dispatch.flights import Errand, Flights
from gateway.dispatch.kept_answers import name_of, named_in, pack, unpack
from gateway.dispatch.relay import Relay, Relayed
from gateway.policies.cache_control import ANY, CacheControl
from gateway.problems import Problem
from gateway.stages import Stage, timed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractContextManager

    from config.cache import Cache
    from gateway.dispatch.means import Terms
    from gateway.dispatch.routes import Route
    from gateway.dispatch.service import Dispatcher
    from gateway.stores.kept import AnswerStore, Kept
    from gateway.stores.redis_cache import Look, Seen
    from providers.types import Audio, TranscriptionJob

Admit: TypeAlias = "Callable[[Look | None], Awaitable[Seen | None]]"
"""Charges a caller, or raises Problem. It may look with the same step where it is told for what, and need not."""


class Asking(msgspec.Struct, frozen=True, kw_only=True):
    """How one caller asks for a job."""

    scope: str  # whose answers it may be given
    timeout_s: float | None = None  # what the caller allows
    control: CacheControl = ANY
    hold: Callable[[], AbstractContextManager[None]] = nullcontext  # keeps the audio for a call that outlives it
    book: Callable[[Answer], None] | None = None  # told of an answer that came when the caller had left, and is paid
    spent: Callable[[Answer], None] = lambda _: None  # told what was paid and brought nothing


class _Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """One job, as one caller asks for it."""

    job: TranscriptionJob
    route: Route
    asking: Asking
    own: Terms
    fresh_s: float  # the age up to which an answer will do

    def suits(self, found: Answer | None) -> bool:
        """Tell whether a kept answer is there and young enough."""
        return found is not None and (found.age_s or 0.0) <= self.fresh_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Caching:
    """Runs jobs, or finds that they need not be run. One for a configuration."""

    dispatcher: Dispatcher
    settings: Cache
    store: AnswerStore | None
    flights: Flights
    relay: Relay | None = None  # where the store is shared with other processes, which then ask for each other
    sound_of: Callable[[Audio], Awaitable[str | None]] | None = None  # what tells a sound, whatever the file
    on_lookup: Callable[[str, bool], None] = lambda _store, _found: None  # told the store, and whether it had it

    async def transcribe(self, job: TranscriptionJob, route: Route, asking: Asking, admit: Admit) -> Answer:
        """Return the answer. Raises Problem: 504 not-cached where only a kept one would do; else as dispatch does.

        admit: asked once, before anything is done.
        """
        key = key_of(job, route, asking.scope) if self._may_keep(job, asking.control) else ""
        own = self.dispatcher.terms(job, route, asking.timeout_s)
        fresh_s = asking.control.fresh_s(self.settings.ttl)
        wanted = _Wanted(job=job, route=route, asking=asking, own=own, fresh_s=fresh_s)
        part = await self._admitted(key, wanted, admit)
        if self.store is None or not key:
            return await self._anew(job, route, asking)
        if asking.control.no_cache:
            return await self._renewed(self.store, key, wanted)
        return await self._found_or_flown(self.store, key, wanted, part)

    def _may_keep(self, job: TranscriptionJob, control: CacheControl) -> bool:
        is_sure = self.settings.sampled or not is_sampled(job)
        return self.store is not None and not control.no_store and is_sure

    async def _admitted(self, key: str, wanted: _Wanted, admit: Admit) -> Relayed | None:
        """Let the caller be charged; where a flight that looks in a shared store is next, look with the same step."""
        control = wanted.asking.control
        if self.relay is None or not key or control.no_cache or control.only_if_cached or self.settings.same_sound:
            await admit(None)
            return None
        part = self._part(key, wanted)
        try:
            part.beforehand.seen = await admit(self.relay.looking(part))
        except asyncio.CancelledError:
            await self.relay.leave(part)
            raise
        return part

    async def _renewed(self, store: AnswerStore, key: str, wanted: _Wanted) -> Answer:
        """Ask whatever is kept, in a flight that nobody joins; what it brings is kept for others."""
        asking = wanted.asking
        if asking.control.only_if_cached:
            raise not_cached()

        async def call(terms: Terms) -> Answer:
            answer = await self.dispatcher.run(wanted.job, wanted.route, terms)
            if not answer.is_doubtful:
                await store.put(key, await pack(answer), self._keep_s)
            return answer

        async def keep(_: Answer) -> None:
            """Do nothing: it is kept by now."""

        errand = Errand(
            key=f"{key}:{uuid4().hex}", call=call, keep=keep, hold=asking.hold, book=asking.book, spent=asking.spent
        )
        return await self.flights.answer(errand, wanted.own)

    async def _anew(self, job: TranscriptionJob, route: Route, asking: Asking) -> Answer:
        if asking.control.only_if_cached:
            raise not_cached()
        own = self.dispatcher.terms(job, route, asking.timeout_s)
        try:
            return await self.dispatcher.run(job, route, own)
        except asyncio.CancelledError:
            if own.underway.paid:
                asking.spent(heard_in_vain(own.underway.paid))
            raise

    async def _found_or_flown(self, store: AnswerStore, key: str, wanted: _Wanted, part: Relayed | None) -> Answer:
        """Return what is kept, or ask; where every deployment fails, what was kept for that."""
        only_kept = wanted.asking.control.only_if_cached
        looks_first = self.relay is None or only_kept  # else the flight does, and takes the lease with the same step
        sound = key
        if looks_first or self.settings.same_sound:
            found = await self._get(store, key, wanted.route)
            if found is not None and wanted.suits(found):
                return found
        if self.settings.same_sound and (sound := await self._sound_key(wanted) or key) != key and looks_first:
            found = await self._get(store, sound, wanted.route)
            if found is not None and wanted.suits(found):
                await store.put(key, name_of(sound), self._keep_s)
                return found
        if only_kept:
            raise not_cached()
        try:
            return await self._flown(store, key, sound, wanted, part)
        except Problem as problem:
            stale = await self._stale(store, sound, wanted) if _is_an_outage(problem) else None
            if stale is None:
                raise
            if isinstance(problem, InVain) and problem.paid is not None:
                wanted.asking.spent(problem.paid)
            return stale

    async def _sound_key(self, wanted: _Wanted) -> str | None:
        """Return the key of all files with this sound; None where it cannot be told, or not in time."""
        if self.sound_of is None:
            return None
        try:
            with timed(Stage.CACHE):  # it is only done to look for an answer
                async with asyncio.timeout_at(wanted.own.deadline):
                    sound = await self.sound_of(wanted.job.audio)
        except TimeoutError:
            return None
        return sound and key_of(wanted.job, wanted.route, wanted.asking.scope, f"sound:{sound}")

    async def _flown(self, store: AnswerStore, file: str, key: str, wanted: _Wanted, part: Relayed | None) -> Answer:
        """Ask, or join those who do. file: the key of this very file, where the answer's is that of its sound."""
        asking = wanted.asking
        put: Callable[[bytes, float], Awaitable[None]] = partial(store.put, key)
        flight, call = key, partial(self._called, wanted)
        if self.relay is not None:
            part = part or self._part(key, wanted)
            # The look is a part of the flight: who wants younger answers flies apart.
            flight, call = f"{key}:{wanted.fresh_s:g}", partial(self._relayed, self.relay, part)
            put = partial(self.relay.keep, part)

        async def keep(answer: Answer) -> None:
            if answer.is_doubtful:
                return
            if answer.cached is Cached.MISS:
                await put(await pack(answer), self._keep_s)
            if file != key:
                await store.put(file, name_of(key), self._keep_s)

        errand = Errand(key=flight, call=call, keep=keep, hold=asking.hold, book=asking.book, spent=asking.spent)
        if self.relay is None or part is None:
            return await self.flights.answer(errand, wanted.own)
        return await self._aboard(self.relay, part, errand, wanted.own)

    async def _aboard(self, relay: Relay, part: Relayed, errand: Errand, own: Terms) -> Answer:
        """Fly by what was seen beforehand. A lease among it is given back where another flight is joined.

        That one waits for it, where its own look was answered first.
        """
        try:
            if self.flights.is_aloft(errand.key):
                await relay.let_go(part)
            return await self.flights.answer(errand, own)
        finally:
            await relay.let_go(part)  # who left before its flight had begun

    async def _called(self, wanted: _Wanted, terms: Terms) -> Answer:
        return replace(await self.dispatcher.run(wanted.job, wanted.route, terms), cached=Cached.MISS)

    async def _relayed(self, relay: Relay, part: Relayed, terms: Terms) -> Answer:
        found = False
        try:
            answer = await relay.answer(part, terms)
            found = answer.cached is not Cached.MISS
        finally:
            self.on_lookup(relay.store.name, found)
        return answer

    def _part(self, key: str, wanted: _Wanted) -> Relayed:
        """Return this process's part in what several do together."""

        async def read(kept: Kept | None) -> Answer | None:
            return None if kept is None else await unpack(kept.value, wanted.route)

        return Relayed(key=key, fresh_s=wanted.fresh_s, call=partial(self._called, wanted), read=read)

    async def _stale(self, store: AnswerStore, key: str, wanted: _Wanted) -> Answer | None:
        if not wanted.asking.control.accepts_stale:
            return None
        answer = await self._get(store, key, wanted.route)
        return None if answer is None else replace(answer, cached=Cached.STALE)

    async def _get(self, store: AnswerStore, key: str, route: Route) -> Answer | None:
        """Return what is kept under a key, or under the key that is."""
        with timed(Stage.CACHE):
            kept = await store.get(key)
            other = named_in(kept.value) if kept is not None else None
            return await self._read(await store.get(other) if other else kept, route)

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
