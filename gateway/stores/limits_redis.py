"""Limits that replicas share: one script on the server's own clock decides for all of them.

The same script looks for the answer, where those are shared too: what a request asks of the server is one round trip.
Where the server is lost, each process counts in its own memory and allows its part, so that all together keep nearly
what the operator wrote; what it took through the server is counted there too. Budgets close or stay open, as
configured. Corrections are sent beside the requests. A place is a lease that its process holds by renewing it: those
of a process that dies come back by themselves.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, TypeAlias
from uuid import uuid4

from msgspec.structs import replace

from config.limits import WhenLost
from gateway.policies.limits import Correction, Demand, Denied, Granted, Levels, part_of, undone
from gateway.policies.spend import Spent
from gateway.stores.redis_cache import UNKNOWN, Look, Seen
from gateway.stores.script import Script
from gateway.stores.shared import StoreLost

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from gateway.policies.limits import Rule
    from gateway.stores.limits_memory import MemoryLimits
    from gateway.stores.redis import Client, SharedStore

LEASE_S: Final = 30.0  # after so long, the places of a process that died are free
_RENEW_S: Final = 10.0
_ASK_AGAIN_S: Final = 5.0  # while nobody can say what is left of a budget
_LOST_FOR_S: Final = 1.0  # until it is looked again whether the server is back
_BATCH: Final = 500  # corrections in one script: it keeps everybody else waiting
_MOST_WAITING: Final = 10_000

Change: TypeAlias = tuple[str, str, str, str]  # key, what, and its two arguments


class SharedLimits:
    """One process's view of them."""

    def __init__(
        self, shared: SharedStore, alone: MemoryLimits, wall: Callable[[], float], when_lost: Callable[[], WhenLost]
    ) -> None:
        """alone: what is used while the server is lost. wall: Unix time, for what callers are told of budgets."""
        self._shared = shared
        self._alone = alone
        self._wall = wall
        self._when_lost = when_lost
        self._prefix = f"{shared.prefix}limits:"
        self._admit = Script("admit", after="limits", calls=("limits_take", "look"))
        self._settle = Script("limits_settle", after="limits")
        self._process = uuid4().hex
        self._processes = 1  # that share the limits, at last count
        self._held: dict[str, tuple[str, ...]] = {}  # keys of places in use, by lease
        self._leaving: dict[str, set[str]] = {}  # leases given back here and perhaps not yet there, by key
        self._waiting: deque[Correction] = deque()
        self._wake = asyncio.Event()
        self.unsettled = 0  # corrections that were given up

    @property
    def is_near(self) -> bool:
        return self._shared.is_lost

    async def take(self, demand: Demand) -> Granted | Denied:
        """Take all that is asked for, or nothing; while the server is lost, of this process's part."""
        answer, _ = await self._heard_out(demand, None)
        return answer

    async def take_and_look(self, demand: Demand, look: Look) -> tuple[Granted | Denied, Seen | None]:
        """Take, and look with the same step; None where it was refused, and no look taken."""
        return await self._heard_out(demand, look)

    def correct(self, correction: Correction) -> None:
        """Remember what is to be corrected; it is sent beside the requests."""
        self._held.pop(correction.lease, None)
        for each in correction.places:
            self._leaving.setdefault(self._key(each), set()).add(correction.lease)
        self._waiting.append(correction)
        if len(self._waiting) > _MOST_WAITING:
            self._give_up([self._waiting.popleft()])
        self._wake.set()

    async def carry(self) -> None:
        """Send corrections as they come, and hold the places in use. Never returns."""
        clock = asyncio.get_running_loop().time
        while True:
            renew_at = clock() + _RENEW_S
            await self._send(holding=list(self._holding()))
            while await self._is_woken(renew_at):
                await self._send()

    async def close(self) -> None:
        """Send what is still to be corrected, if the server is there."""
        while self._waiting and not self._shared.is_lost:
            await self._send()

    async def _is_woken(self, until: float) -> bool:
        """Wait for something to send; tell whether there is something, before the moment."""
        try:
            async with asyncio.timeout_at(until):
                return await self._wake.wait()
        except TimeoutError:
            return False

    async def _send(self, holding: Sequence[Change] = ()) -> None:
        """Send what waits, at most a batch of it, and say that this process is there. Raises nothing."""
        self._wake.clear()
        if self._shared.is_lost:
            await asyncio.sleep(_LOST_FOR_S)
        else:
            batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
            changes = [*(change for each in batch for change in self._changes(each)), *holding]
            try:
                self._processes = await self._shared.run(lambda client: self._settled(client, changes))
            except StoreLost:
                self._give_up(batch)
            else:
                self._forget(batch)
        if self._waiting:
            self._wake.set()

    def _settled(self, client: Client, changes: Sequence[Change]) -> Awaitable[int]:
        keys = [f"{self._prefix}processes", *(key for key, *_ in changes)]
        arguments = [self._process, _text(LEASE_S), *(each for _, *rest in changes for each in rest)]
        return self._settle.run(client, keys, arguments)

    async def _heard_out(self, demand: Demand, look: Look | None) -> tuple[Granted | Denied, Seen | None]:
        """Ask. Who leaves meanwhile waits for the answer, which comes soon, and gives back what it says was taken."""
        if self._shared.is_lost:
            return self._taken_alone(demand), UNKNOWN
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(self._tried(demand, look))
            try:
                await asyncio.wait((asking,))
            except asyncio.CancelledError:
                await asyncio.wait((asking,))
                granted, _ = asking.result()
                if isinstance(granted, Granted):
                    granted.correct(undone(demand, granted))
                raise
        return asking.result()

    async def _tried(self, demand: Demand, look: Look | None) -> tuple[Granted | Denied, Seen | None]:
        try:
            taken, *seen = await self._shared.run(lambda client: self._admitted(client, demand, look))
        except StoreLost:
            self._leave(demand)
            return self._taken_alone(demand), UNKNOWN
        except asyncio.CancelledError:
            self._leave(demand)
            raise
        return self._read(demand, [float(each) for each in taken]), Seen.read(seen[0]) if seen else None

    def _admitted(self, client: Client, demand: Demand, look: Look | None) -> Awaitable[list[list[bytes]]]:
        keys, arguments = self._asked(demand)
        counts = (len(keys), len(arguments))
        if look is None:
            return self._admit.run(client, keys, [*counts, *arguments])
        return self._admit.run(client, [*keys, *look.keys], [*counts, *arguments, *look.arguments])

    def _taken_alone(self, demand: Demand) -> Granted | Denied:
        if demand.rules.budgets and self._when_lost() is WhenLost.CLOSED:
            return Denied(rule=demand.rules.budgets[0], retry_after_s=_ASK_AGAIN_S, is_unknown=True)
        processes = self._processes
        answer = self._alone.take_now(part_of(demand, processes))
        if isinstance(answer, Denied):
            return answer
        return replace(answer, correct=lambda correction: self._alone.correct(part_of(correction, processes)))

    def _leave(self, demand: Demand) -> None:
        """Give places back that were perhaps taken, though nobody heard of it."""
        if demand.places:
            self.correct(Correction(places=demand.places, lease=demand.lease))

    def _asked(self, demand: Demand) -> tuple[list[str], list[str]]:
        """Return the script's keys and arguments."""
        of = demand.rules
        rules: tuple[Rule, ...] = (*of.rates, *of.budgets, *demand.places)
        arguments = [str(len(of.rates)), str(len(of.budgets)), demand.lease, _text(LEASE_S)]
        for rate in of.rates:
            arguments += [_text(rate.interval_s), _text(rate.quota), _text(demand.units_of(rate))]
        for budget in of.budgets:
            arguments += [budget.period.value, _text(budget.usd), _text(demand.usd)]
        for place in demand.places:
            arguments += [str(place.count), " ".join(self._leaving.get(self._key(place), ()))]
        return [self._key(each) for each in rules], arguments

    def _read(self, demand: Demand, told: Sequence[float]) -> Granted | Denied:
        """Read the script's answer: in its order, and that of the demand."""
        (refused, wait_s), rest, of = told[:2], told[2:], demand.rules
        ahead_s, windows = rest[: len(of.rates)], rest[len(of.rates) :]
        spent = [Spent(since, usd) for since, usd in zip(windows[::2], windows[1::2], strict=True)]
        levels = Levels(rules=of, ahead_s=ahead_s, spent=spent, today=self._wall())
        if refused:
            rules: tuple[Rule, ...] = (*of.rates, *of.budgets, *demand.places)
            return Denied(rule=rules[int(refused) - 1], retry_after_s=wait_s, levels=levels)
        processes = self._processes
        # Counted here as well: else whoever uses up a rate there would have all of it again when it falls back.
        self._alone.note(part_of(demand, processes))

        def correct(correction: Correction) -> None:
            self._alone.correct(part_of(correction, processes))
            self.correct(correction)

        if demand.places:
            self._held[demand.lease] = (*self._held.get(demand.lease, ()), *map(self._key, demand.places))
        return Granted(levels=levels, correct=correct)

    def _changes(self, correction: Correction) -> Iterator[Change]:
        for rate in correction.rules.rates:
            if units := correction.units_of(rate):
                yield self._key(rate), "rate", _text(rate.interval_s), _text(units)
        if correction.usd:
            for budget, since in zip(correction.rules.budgets, correction.since, strict=True):
                yield self._key(budget), "budget", _text(since), _text(correction.usd)
        for place in correction.places:
            yield self._key(place), "leave", correction.lease, ""

    def _holding(self) -> Iterator[Change]:
        for lease, keys in self._held.items():
            for key in keys:
                yield key, "hold", lease, ""

    def _give_up(self, batch: Sequence[Correction]) -> None:
        """Leave corrections be: sent once more, they might count twice. Places come back when their leases end."""
        self.unsettled += len(batch)
        self._forget(batch)

    def _forget(self, batch: Sequence[Correction]) -> None:
        for each in batch:
            for place in each.places:
                leases = self._leaving.get(self._key(place), set())
                leases.discard(each.lease)
                if not leases:
                    self._leaving.pop(self._key(place), None)

    def _key(self, rule: Rule) -> str:
        return self._prefix + rule.name


def _text(number: float) -> str:
    return f"{number:.17g}"
