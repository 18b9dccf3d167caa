"""The one loop that grants an adapter what it asks for: driven by hand, with a clock that only moves when told."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from providers.audio.content import MemoryContent
from providers.errands import Errands
from providers.errors import (
    AttemptTimedOut,
    CredentialsRejected,
    MalformedReply,
    ProviderError,
    ProviderUnavailable,
    ReplyCutOff,
)
from providers.exchange import (
    CLEANUP_S,
    Afterwards,
    Base64,
    Exchange,
    HttpReply,
    HttpRequest,
    IfAbandoned,
    Over,
    Wait,
    run,
)
from providers.types import Moment

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

DEADLINE = Moment(100.0)


def get(path: str) -> HttpRequest:
    return HttpRequest(method="GET", url=f"https://provider.example/{path}")


CANCEL, DELETE = get("cancel"), get("delete")


@dataclass
class Network:
    """Answers 200 with the path, unless told otherwise for a path; notes what was sent, and until when."""

    answers: dict[str, Callable[[], Awaitable[HttpReply]]] = field(default_factory=dict)
    sent: list[str] = field(default_factory=list)
    deadlines: list[float] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    now: float = 0.0
    errands: Errands = field(default_factory=Errands)

    async def send(self, request: HttpRequest, deadline: Moment) -> HttpReply:
        path = request.url.rpartition("/")[2]
        self.sent.append(path)
        self.deadlines.append(deadline)
        self.headers.append(request.headers)
        if path in self.answers:
            return await self.answers[path]()
        return HttpReply(status=200, body=path.encode())

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)

    async def run(self, exchange: Exchange[str], deadline: Moment = DEADLINE) -> str:
        """Return the result when the errands are done too."""
        try:
            return await self.run_only(exchange, deadline)
        finally:
            await self.errands.close()

    async def run_only(self, exchange: Exchange[str], deadline: Moment = DEADLINE) -> str:
        return await run(
            exchange,
            self.send,
            provider="p",
            deadline=deadline,
            clock=lambda: self.now,
            errands=self.errands,
            sleep=self.sleep,
        )


def failing(error: Exception) -> Callable[[], Awaitable[HttpReply]]:
    async def answer() -> HttpReply:
        raise error

    return answer


def job(*, polls: int = 0, every_s: float = 1.0) -> Exchange[str]:
    """Upload, ask for both kinds of clean-up, poll, fetch."""
    yield Afterwards(DELETE)
    started = yield get("start")
    assert started is not None
    nothing = yield IfAbandoned(CANCEL)
    assert nothing is None
    for number in range(polls):
        assert (yield Wait(every_s)) is None
        assert (yield get(f"poll{number}")) is not None
    result = yield get("result")
    assert result is not None
    return result.body.decode()


async def test_requests_and_waits_are_granted_in_order() -> None:
    network = Network()

    assert await network.run(job(polls=2)) == "result"
    assert network.sent == ["start", "poll0", "poll1", "result", "delete"]
    assert network.slept == [1.0, 1.0]


async def test_every_request_stands_under_the_deadline_and_clean_up_under_its_own() -> None:
    network = Network(now=7.0)
    await network.run(job())

    assert network.deadlines == [DEADLINE, DEADLINE, 7.0 + CLEANUP_S]


async def test_a_wait_that_would_end_after_the_deadline_is_not_begun() -> None:
    network = Network(now=90.0)
    with pytest.raises(AttemptTimedOut, match="p: still working"):
        await network.run(job(polls=5, every_s=6.0))

    assert network.slept == [6.0]
    assert network.sent == ["start", "poll0", "cancel", "delete"]


async def test_a_wait_up_to_the_deadline_is_allowed() -> None:
    network = Network()

    assert await network.run(job(polls=1, every_s=100.0)) == "result"


async def test_an_attempt_that_ran_out_of_time_is_cancelled_there() -> None:
    network = Network({"result": failing(AttemptTimedOut("p"))})
    with pytest.raises(AttemptTimedOut):
        await network.run(job())

    assert network.sent == ["start", "result", "cancel", "delete"]


@pytest.mark.parametrize("error", [ProviderUnavailable("p"), MalformedReply("p")])
async def test_a_job_that_was_lost_sight_of_is_cancelled(error: ProviderError) -> None:
    """The network failed, the job there still runs and costs: a retry would pay for a second one."""
    network = Network({"result": failing(error)})
    with pytest.raises(type(error)) as caught:
        await network.run(job())

    assert caught.value is error
    assert network.sent == ["start", "result", "cancel", "delete"]


@pytest.mark.parametrize(("is_over", "sent"), [(True, ["status", "delete"]), (False, ["status", "cancel", "delete"])])
async def test_a_job_is_cancelled_unless_the_adapter_knows_that_it_is_over(*, is_over: bool, sent: list[str]) -> None:
    """What cannot be read any more still runs there, and costs."""

    def exchange() -> Exchange[str]:
        yield Afterwards(DELETE)
        yield IfAbandoned(CANCEL)
        yield get("status")
        if is_over:
            yield Over()
        raise ProviderUnavailable("p", "read in a reply")

    network = Network()
    with pytest.raises(ProviderUnavailable, match="read in a reply"):
        await network.run(exchange())

    assert network.sent == sent


async def test_an_adapter_may_forgive_a_failure_of_the_network() -> None:
    def exchange() -> Exchange[str]:
        try:
            yield get("start")
        except ProviderUnavailable as error:
            yield Wait(2.0)
            reply = yield get("again")
            assert reply is not None
            return f"{error.reason}, then {reply.body.decode()}"
        return "no failure"

    network = Network({"start": failing(ProviderUnavailable("p", "cut off"))})
    assert await network.run(exchange()) == "cut off, then again"
    assert network.slept == [2.0]


async def test_an_adapter_may_return_what_a_failure_comes_to() -> None:
    def exchange() -> Exchange[str]:
        try:
            yield get("start")
        except ProviderUnavailable:
            return "nothing to be had"
        return "no failure"

    assert await Network({"start": failing(ProviderUnavailable("p"))}).run(exchange()) == "nothing to be had"


async def test_a_request_is_told_how_long_is_left_when_it_is_sent() -> None:
    """Not when the exchange began: an upload may lie between."""

    def left(left_s: float) -> Mapping[str, str]:
        return {"x-left": f"{left_s:g}"}

    def exchange() -> Exchange[str]:
        yield HttpRequest(method="POST", url="https://p.example/a", headers={"x-own": "1"}, told=left)
        yield Wait(30.0)
        yield HttpRequest(method="POST", url="https://p.example/b", told=left)
        yield get("c")
        return "done"

    network = Network(now=10.0)
    await network.run(exchange())

    assert network.headers == [{"x-own": "1", "x-left": "90"}, {"x-left": "60"}, {}]


@pytest.mark.parametrize(("within_s", "until"), [(10.0, 30.0), (500.0, 100.0), (80.0, 100.0), (None, 100.0)])
async def test_a_request_may_have_a_limit_of_its_own_inside_the_deadline(within_s: float | None, until: float) -> None:
    def exchange() -> Exchange[str]:
        yield HttpRequest(method="GET", url="https://p.example/a", within_s=within_s)
        return "done"

    network = Network(now=20.0)
    await network.run(exchange())

    assert network.deadlines == [until]


@pytest.mark.parametrize(("within_s", "error"), [(10.0, ProviderUnavailable), (None, AttemptTimedOut)])
async def test_only_the_deadline_is_the_end_of_the_attempt(within_s: float | None, error: type[ProviderError]) -> None:
    """What a limit of its own cuts off may be asked again."""

    def exchange() -> Exchange[str]:
        yield HttpRequest(method="GET", url="https://p.example/a", within_s=within_s)
        return "done"

    network = Network({"a": failing(AttemptTimedOut("p"))})
    with pytest.raises(error) as caught:
        await network.run(exchange())

    assert type(caught.value) is error


async def test_nothing_is_promised_before_it_was_asked_for() -> None:
    network = Network({"start": failing(AttemptTimedOut("p"))})
    with pytest.raises(AttemptTimedOut):
        await network.run(job())

    assert network.sent == ["start", "delete"]


async def test_a_fault_of_the_adapter_leaves_no_job_running() -> None:
    def faulty() -> Exchange[str]:
        yield IfAbandoned(CANCEL)
        raise KeyError("ours")

    network = Network()
    with pytest.raises(KeyError):
        await network.run(faulty())

    assert network.sent == ["cancel"]


async def test_a_clean_up_that_fails_costs_nobody_an_answer() -> None:
    network = Network({"delete": failing(ProviderUnavailable("p"))})

    assert await network.run(job()) == "result"


async def test_a_clean_up_that_fails_does_not_stop_the_next() -> None:
    network = Network({"cancel": failing(MalformedReply("p")), "result": failing(AttemptTimedOut("p", "first"))})
    with pytest.raises(AttemptTimedOut, match="first"):
        await network.run(job())

    assert network.sent == ["start", "result", "cancel", "delete"]


class Gate:
    """An answer that is there when it is opened."""

    def __init__(self) -> None:
        self.reached, self._opened = asyncio.Event(), asyncio.Event()

    async def __call__(self) -> HttpReply:
        self.reached.set()
        await self._opened.wait()
        return HttpReply(status=200)

    def open(self) -> None:
        self._opened.set()


async def test_an_answer_does_not_wait_for_the_clean_up() -> None:
    delete = Gate()
    network = Network({"delete": delete})

    assert await network.run_only(job()) == "result"
    await delete.reached.wait()
    delete.open()
    await network.errands.close()
    assert network.sent == ["start", "result", "delete"]


async def test_who_leaves_is_gone_at_once_and_the_clean_up_goes_on() -> None:
    """A hedge that lost must not hold up the answer of the one that won."""
    poll, cancel = Gate(), Gate()
    network = Network({"poll0": poll, "cancel": cancel})
    async with asyncio.TaskGroup() as group:
        task = group.create_task(network.run_only(job(polls=3)))
        await poll.reached.wait()
        task.cancel("the caller left")
    assert task.cancelled()
    await cancel.reached.wait()
    cancel.open()
    await network.errands.close()
    assert network.sent == ["start", "poll0", "cancel", "delete"]


async def test_who_leaves_while_waiting_is_cleaned_up_after() -> None:
    waiting = asyncio.Event()

    class Endless(Network):
        async def sleep(self, seconds: float) -> None:
            del seconds
            waiting.set()
            await asyncio.Event().wait()

    network = Endless()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(network.run(job(polls=1)))
        await waiting.wait()
        task.cancel()
    assert network.sent == ["start", "cancel", "delete"]


async def test_a_deadline_around_it_still_sees_its_own_timeout() -> None:
    """`asyncio.timeout` counts cancellations: none may be swallowed, none invented."""
    network = Network({"result": Gate()})
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await network.run_only(job())

    await network.errands.close()
    assert network.sent[-2:] == ["cancel", "delete"]
    task = asyncio.current_task()
    assert task
    assert task.cancelling() == 0


@pytest.mark.parametrize("ends", ["returned", "failed", "cancelled"])
async def test_the_generator_is_closed_before_the_clean_up(ends: str) -> None:
    network = Network({"delete": failing(ProviderUnavailable("p"))})
    order = network.sent

    def exchange() -> Exchange[str]:
        try:
            yield Afterwards(DELETE)
            yield get("start")
            if ends == "failed":
                raise MalformedReply("p")
            if ends == "cancelled":
                raise asyncio.CancelledError
            return "done"
        finally:
            order.append("closed")

    if ends == "returned":
        assert await network.run(exchange()) == "done"
    else:
        with pytest.raises(MalformedReply if ends == "failed" else asyncio.CancelledError):
            await network.run(exchange())
    assert order == ["start", "closed", "delete"]


def kept() -> Exchange[str]:
    """Ask for a deletion that a service refuses while a job runs."""
    yield Afterwards(DELETE, frozenset({409}))
    yield Afterwards(CANCEL, frozenset({409}))
    return "done"


def refusing(times: int, status: int = 409) -> Callable[[], Awaitable[HttpReply]]:
    left = [HttpReply(status=status)] * times

    async def answer() -> HttpReply:
        return left.pop() if left else HttpReply(status=204)

    return answer


async def test_what_comes_too_early_is_sent_again_later() -> None:
    """Nobody waits for it; what was done already is not done again."""
    done = asyncio.Event()

    class Watched(Network):
        async def send(self, request: HttpRequest, deadline: Moment) -> HttpReply:
            reply = await super().send(request, deadline)
            if request is DELETE and reply.status == 204:
                done.set()
            return reply

    network = Watched({"delete": refusing(1)})
    assert await network.run_only(kept()) == "done"
    await done.wait()
    await network.errands.close()

    assert network.sent == ["delete", "cancel", "delete"]


async def test_a_process_that_closes_waits_for_nothing_that_is_kept() -> None:
    network = Network({"delete": refusing(1000)})
    assert await network.run(kept()) == "done"
    assert network.sent == ["delete", "cancel"]


class Quick(Errands):
    """Waits for nothing, and notes for how long."""

    def __init__(self) -> None:
        super().__init__()
        self.paused: list[float] = []

    async def pause(self, seconds: float) -> None:
        self.paused.append(seconds)


@pytest.mark.parametrize("answer", [refusing(1000), failing(ProviderUnavailable("p"))], ids=["kept", "not answered"])
async def test_what_is_kept_for_ever_is_given_up_after_a_quarter_of_an_hour(
    answer: Callable[[], Awaitable[HttpReply]],
) -> None:
    errands = Quick()
    network = Network({"delete": answer}, errands=errands)
    assert await network.run_only(kept()) == "done"
    await asyncio.gather(*errands._tasks)

    assert network.sent.count("delete") == len(errands.paused)
    assert network.sent.count("cancel") == 1
    assert errands.paused == sorted(errands.paused)
    assert sum(errands.paused) == pytest.approx(900, abs=1)


def at_first(first: int | ProviderError) -> Callable[[], Awaitable[HttpReply]]:
    left = [first]

    async def answer() -> HttpReply:
        told = left.pop() if left else 204
        if isinstance(told, ProviderError):
            raise told
        return HttpReply(status=told)

    return answer


@pytest.mark.parametrize(
    ("first", "times"),
    [
        (429, 2),
        (503, 2),
        (ProviderUnavailable("p"), 2),
        (AttemptTimedOut("p"), 2),
        (ReplyCutOff("p"), 2),
        (MalformedReply("p"), 1),
        (CredentialsRejected("p"), 1),
        (404, 1),
    ],
    ids=["429", "503", "no connection", "timeout", "cut off", "malformed", "refused", "404"],
)
@pytest.mark.parametrize("step", [Afterwards(DELETE), IfAbandoned(DELETE)], ids=lambda step: type(step).__name__)
async def test_what_nobody_said_is_gone_is_deleted_again(
    step: Afterwards | IfAbandoned, first: int | ProviderError, times: int
) -> None:
    """An upload would stay where it is. What is refused for good is not asked for again."""

    def exchange() -> Exchange[str]:
        yield step
        yield get("start")
        return "done"

    errands = Quick()
    network = Network({"delete": at_first(first), "start": failing(MalformedReply("p"))}, errands=errands)
    with pytest.raises(MalformedReply):
        await network.run_only(exchange())
    await asyncio.gather(*errands._tasks)

    assert network.sent == ["start", *["delete"] * times]


async def test_where_once_is_all_it_is_not_sent_again() -> None:
    def exchange() -> Exchange[str]:
        yield Afterwards(DELETE, frozenset())
        return "done"

    errands = Quick()
    network = Network({"delete": failing(ProviderUnavailable("p"))}, errands=errands)
    await network.run_only(exchange())
    await asyncio.gather(*errands._tasks)

    assert network.sent == ["delete"]


async def test_another_refusal_is_final() -> None:
    network = Network({"delete": refusing(1000, status=404)})
    assert await network.run(kept()) == "done"
    assert network.sent == ["delete", "cancel"]


async def test_an_exchange_of_nothing_returns() -> None:
    def nothing() -> Exchange[str]:
        return "at once"
        yield get("never")

    assert await Network().run(nothing()) == "at once"


async def test_an_exchange_whose_caller_leaves_is_closed() -> None:
    closed, start = [], Gate()

    def exchange() -> Exchange[str]:
        try:
            yield get("start")
        except GeneratorExit:
            closed.append("closed")
            raise
        return "never"

    async with asyncio.TaskGroup() as group:
        task = group.create_task(Network({"start": start}).run(exchange()))
        await start.reached.wait()
        task.cancel()
    assert closed == ["closed"]


@pytest.mark.parametrize(("size", "encoded"), [(0, 0), (1, 4), (2, 4), (3, 4), (4, 8), (300, 400)])
def test_the_size_of_base64_is_known_before_it_is_made(size: int, encoded: int) -> None:
    assert Base64(MemoryContent(bytes(size))).size_bytes == encoded
