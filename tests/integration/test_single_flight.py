"""Trial L8: jobs that are the same and asked for at the same time are one call upstream."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from io import BytesIO
from typing import TYPE_CHECKING

from tests.asking import KEYS, WAV, serving
from tests.chaos.upstream import Call, answers, hangs, slow_ears, upstream
from tests.integration.test_cache import FLAC, kept, state

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.asking import Served, Told
    from tests.chaos.upstream import Upstream


class Gate:
    """An upstream's act that answers when it is opened."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.opened = asyncio.Event()

    async def __call__(self, call: Call) -> None:
        await call.hear()
        await self.opened.wait()
        call.writer.write(call.reply(self.status, None if self.status == 200 else {"error": "no"}))


@asynccontextmanager
async def asked(
    served: Served, *requests: dict[str, str], body: bytes = WAV
) -> AsyncIterator[list[asyncio.Task[Told]]]:
    """Ask at once, and go on when all are in the gateway; they are awaited at the end."""
    before = served.gateway.drain.in_flight
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(served.post(body=BytesIO(body), **headers)) for headers in requests]
        await until(lambda: served.gateway.drain.in_flight == before + len(requests))
        yield tasks


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():  # noqa: ASYNC110 - what others count has no event; pytest's own limit ends the wait
        await asyncio.sleep(0.002)


def aboard(served: Served) -> int:
    return sum(flight.waiting for flight in served.gateway.flights._aloft.values())


async def waiting(up: Upstream, calls: int) -> None:
    await until(lambda: len(up.calls) >= calls and all(call.digest for call in up.calls))


async def test_l8_a_hundred_at_once_are_one_call() -> None:
    gate = Gate()
    async with upstream(gate) as up, serving(kept({"up": up.url})) as served:
        async with asked(served, *[{}] * 100) as tasks:
            await until(lambda: aboard(served) == 100)
            gate.opened.set()
        told = [task.result() for task in tasks]
        assert len(up.calls) == 1
        assert Counter(state(each) for each in told) == {"miss": 1, "joined": 99}
        assert {(each.status, each.body["text"]) for each in told} == {(200, f"blake3 {up.calls[0].digest}")}
        assert sum(served.line_of(each)["attempts"] for each in told) == 1, "who joined made no call"
        assert state(await served.post()) == "hit"


async def test_l8_whoever_leaves_leaves_the_rest_their_answer() -> None:
    """The first of all among them, with whose upload the call was made."""
    gate = Gate()
    async with upstream(gate) as up, serving(kept({"up": up.url})) as served:
        async with asked(served, {}) as first:
            await waiting(up, 1)
            async with asked(served, *[{}] * 5) as others:
                await until(lambda: aboard(served) == 6)
                first[0].cancel()
                others[0].cancel()
                await until(lambda: served.gateway.drain.in_flight == 4)
                assert not up.calls[0].was_left
                gate.opened.set()
        told = [task.result() for task in others[1:]]
        assert [each.status for each in told] == [200] * 4
        assert Counter(state(each) for each in told) == {"miss": 1, "joined": 3}, "one of them stands for the call"
        assert sum(served.line_of(each)["attempts"] for each in told) == len(up.calls) == 1


async def test_l8_the_audio_stays_readable_when_its_sender_has_left() -> None:
    """It lies in a file, is read slowly, and its request is gone before half of it was sent."""
    body = FLAC + bytes(1_500_000)
    async with upstream(slow_ears(5e5)) as up, serving(kept({"up": up.url}, max_upload=4_000_000)) as served:
        async with asked(served, {}, body=body) as first:
            await until(lambda: bool(up.calls))
            async with asked(served, {}, body=body) as others:
                await until(lambda: aboard(served) == 2)
                first[0].cancel()
        assert others[0].result().status == 200
        assert len(up.calls) == 1
        assert up.calls[0].digest in others[0].result().body["text"]


async def test_l8_the_last_to_leave_ends_the_call() -> None:
    async with upstream(hangs) as up, serving(kept({"up": up.url})) as served:
        async with asked(served, {}, {}) as tasks:
            await waiting(up, 1)
            await until(lambda: aboard(served) == 2)
            tasks[0].cancel()
            await until(lambda: served.gateway.drain.in_flight == 1)
            clock = asyncio.get_running_loop().time
            tasks[1].cancel()
            left_at = clock()
            await until(lambda: up.calls[0].was_left)
            assert clock() - left_at < 0.1
        up.act = answers()
        assert state(await served.post()) == "miss"


async def test_l8_an_error_goes_to_those_who_wait_and_to_nobody_else() -> None:
    gate = Gate(500)
    async with upstream(gate) as up, serving(kept({"up": up.url})) as served:
        async with asked(served, *[{}] * 10) as tasks:
            await until(lambda: aboard(served) == 10)
            gate.opened.set()
        assert [(task.result().status, task.result().type) for task in tasks] == [(502, "all-failed")] * 10
        assert len(up.calls) == 1
        up.act = answers()
        assert state(await served.post()) == "miss"


async def test_who_wants_it_anew_neither_leads_nor_joins() -> None:
    gate = Gate()
    async with upstream(gate) as up, serving(kept({"up": up.url})) as served:
        async with asked(served, {"Cache-Control": "no-store"}, {"Cache-Control": "no-cache"}) as alone:
            await waiting(up, 2)
            async with asked(served, {}, {}) as together:
                await waiting(up, 3)
                await until(lambda: aboard(served) == 3)
                gate.opened.set()
        assert [state(task.result()) for task in alone] == ["bypass", "bypass"]
        assert sorted(state(task.result()) for task in together) == ["joined", "miss"]
        assert len(up.calls) == 3


async def test_callers_do_not_join_each_other_unless_answers_are_shared() -> None:
    keys = KEYS.model_copy(update={"keys": tuple(each.model_copy(update={"models": ("*",)}) for each in KEYS.keys)})
    both = ({"Authorization": "Bearer hf_gw_newsroom"}, {"Authorization": "Bearer hf_gw_other"})
    for scope, calls in (("caller", 2), ("shared", 1)):
        gate = Gate()
        async with upstream(gate) as up, serving(kept({"up": up.url}, {"scope": scope}, auth=keys)) as served:
            async with asked(served, *both):
                await waiting(up, calls)
                gate.opened.set()
            assert len(up.calls) == calls


async def test_who_has_less_time_leaves_earlier() -> None:
    gate = Gate()
    async with upstream(gate) as up, serving(kept({"up": up.url})) as served:
        async with asked(served, {}) as patient:
            await waiting(up, 1)
            hurried = await served.post(**{"X-Gateway-Timeout": "50ms"})
            gate.opened.set()
        assert (hurried.status, hurried.type) == (504, "deadline")
        assert (patient[0].result().status, len(up.calls)) == (200, 1)


async def test_who_has_more_time_is_not_told_anothers_deadline() -> None:
    gate = Gate()
    async with upstream(gate) as up, serving(kept({"up": up.url})) as served:
        async with asked(served, {"X-Gateway-Timeout": "200ms"}) as hurried:
            await waiting(up, 1)
            async with asked(served, {}, {}) as patient:
                await until(hurried[0].done)
                await waiting(up, 2)
                await until(lambda: aboard(served) == 2)
                gate.opened.set()
        assert (hurried[0].result().status, hurried[0].result().type) == (504, "deadline")
        assert sorted(state(task.result()) for task in patient) == ["joined", "miss"]
        assert len(up.calls) == 2


async def test_what_fails_over_has_the_time_of_who_waits_longest() -> None:
    """The first target hangs, and the time it was given was its half of a hurried caller's."""
    gate = Gate()
    async with (
        upstream(hangs) as one,
        upstream(gate) as two,
        serving(kept({"one": one.url, "two": two.url})) as served,
    ):
        async with asked(served, {"X-Gateway-Timeout": "300ms"}) as hurried, asked(served, {}) as patient:
            await waiting(two, 1)
            await until(hurried[0].done)
            gate.opened.set()
        assert hurried[0].result().status == 504
        assert patient[0].result().headers["X-Gateway-Provider"] == "two"
        assert (len(one.calls), len(two.calls)) == (1, 1)


async def test_what_ends_with_the_process_is_told_so() -> None:
    async with upstream(hangs) as up, serving(kept({"up": up.url})) as served:
        async with asked(served, {}, {}) as tasks:
            await waiting(up, 1)
            served.gateway.drain.cut_all()
        assert [(task.result().status, task.result().type) for task in tasks] == [(502, "draining")] * 2
