"""Who is heard next: pieces that wait for a model, a lane for each utterance, and which of them go together."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Hashable, Iterator, Sequence

    from providers.local.engine import Piece
    from providers.types import Transcript

_LOOKED_THROUGH = 2  # times what fits in a batch: enough to find lengths that go together


@dataclass(slots=True, eq=False, kw_only=True)
class Waiting:
    """A piece that waits, and whoever waits for it."""

    piece: Piece
    lane: Hashable  # its utterance
    key: Hashable  # only equal ones are heard together
    rows: int
    since_s: float  # on the clock of the lanes' owner
    answer: asyncio.Future[Transcript]  # done before it was heard: nobody waits any more
    alone: bool = False  # it was in a batch that failed: whose fault that was is about to be seen


@dataclass(slots=True, kw_only=True)
class Batch:
    """What may be heard together."""

    waiting: list[Waiting]
    full: bool

    @property
    def since_s(self) -> float:
        return min(each.since_s for each in self.waiting)


@dataclass(slots=True, eq=False)
class _Lane:
    turn_s: float  # when its head became one: the eldest head is next
    queue: deque[Waiting]


class Lanes:
    """Pieces that wait. A lane gives one at each turn: a hundred pieces of one utterance keep nobody else waiting."""

    def __init__(self) -> None:
        self._lanes: dict[Hashable, _Lane] = {}

    def __len__(self) -> int:
        """Return how many pieces wait; those that nobody waits for count until `batches` finds them."""
        return sum(len(lane.queue) for lane in self._lanes.values())

    @property
    def audio_s(self) -> float:
        """What waits, in seconds of audio."""
        return sum(each.piece.duration_s for lane in self._lanes.values() for each in lane.queue)

    def add(self, waiting: Waiting) -> None:
        lane = self._lanes.setdefault(waiting.lane, _Lane(waiting.since_s, deque()))
        lane.queue.append(waiting)

    def put_back(self, batch: Sequence[Waiting]) -> None:
        """Let those of a batch that could not be heard be the next ones, in the order in which they came."""
        for each in sorted(batch, key=lambda each: each.since_s, reverse=True):
            lane = self._lanes.setdefault(each.lane, _Lane(each.since_s, deque()))
            lane.queue.appendleft(each)
            lane.turn_s = min(lane.turn_s, each.since_s)

    def batches(self, limit: int) -> Iterator[Batch]:
        """Yield what may be heard now: a batch for each key, first the one whose turn it is. Nothing is taken yet.

        limit: in rows. A piece that alone takes more is a batch.
        """
        self._forget_abandoned()
        keys: set[Hashable] = set()
        for lane in self._in_turn():
            head = lane.queue[0]
            if head.alone:
                yield Batch(waiting=[head], full=True)
            elif head.key not in keys:
                keys.add(head.key)
                yield _filled(head, self._fellows(head, limit), limit)

    def take(self, batch: Batch, now_s: float) -> None:
        """Take what is about to be heard. Its lanes wait anew for their turn."""
        for each in batch.waiting:
            lane = self._lanes[each.lane]
            lane.queue.remove(each)
            lane.turn_s = now_s
        self._forget_empty()

    def clear(self) -> list[Waiting]:
        """Take all."""
        whole = [each for lane in self._lanes.values() for each in lane.queue]
        self._lanes.clear()
        return whole

    def _in_turn(self) -> list[_Lane]:
        return sorted(self._lanes.values(), key=lambda lane: lane.turn_s)

    def _fellows(self, head: Waiting, limit: int) -> list[Waiting]:
        """Return what could be heard with the head: one of each lane in turn, then of each the next."""
        alike = [[each for each in lane.queue if each.key == head.key and not each.alone] for lane in self._in_turn()]
        rounds = chain.from_iterable(zip_longest(*alike))
        return list(islice((each for each in rounds if each and each is not head), _LOOKED_THROUGH * limit))

    def _forget_abandoned(self) -> None:
        for lane in self._lanes.values():
            if any(each.answer.done() for each in lane.queue):
                lane.queue = deque(each for each in lane.queue if not each.answer.done())
        self._forget_empty()

    def _forget_empty(self) -> None:
        for name in [name for name, lane in self._lanes.items() if not lane.queue]:
            del self._lanes[name]


def _filled(head: Waiting, fellows: list[Waiting], limit: int) -> Batch:
    """Return the head's batch: what is no longer than it costs nothing more, of what is longer the shortest first."""
    fellows.sort(key=lambda each: max(each.piece.duration_s, head.piece.duration_s))
    chosen, rows = [head], head.rows
    for each in fellows:
        if rows + each.rows <= limit:
            chosen.append(each)
            rows += each.rows
    return Batch(waiting=chosen, full=rows >= limit or len(chosen) <= len(fellows))
