"""Trying again: who, how often, after how long, and what is remembered of it for the next job."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from msgspec.structs import replace

from config.reliability import Reliability
from gateway.dispatch.answers import Answer
from gateway.dispatch.attempts import Attempts
from gateway.dispatch.means import Terms
from gateway.dispatch.plan import Candidate
from gateway.dispatch.turns import Turn, Turns
from gateway.policies.hedging import After
from gateway.problems import Problem
from providers.errors import (
    AttemptTimedOut,
    CredentialsRejected,
    Interrupted,
    JobRejected,
    MalformedReply,
    ProviderError,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
)
from providers.exchange import Progress
from providers.types import Capabilities, Deployment, Moment, Transcript, TranscriptionJob
from tests.gateway.dispatch.conftest import Backend, World, deployment, job, reliability

HEARD = Transcript(text="hello")
EMPTY = Transcript(text=" ")
DOWN = ProviderUnavailable("p", "status 500")
LATE = AttemptTimedOut("p")


def world(settings: Reliability | None = None, **answers: list[Transcript | ProviderError | None]) -> World:
    """Return deployments a/one, a/two, ... that answer in turn."""
    backends = {f"a/{name}": Backend(list(given)) for name, given in answers.items()}
    return World(backends, settings or Reliability())


async def run(around: World, *names: str, seconds: float = 600.0, **terms: object) -> Answer:
    """Run a job over the named deployments, or all."""
    chosen = names or tuple(around.backends)
    candidates = tuple(Candidate(deployment=deployment(name), capabilities=Capabilities()) for name in chosen)
    bound = Terms(deadline=Moment(around.now + seconds), **terms)  # type: ignore[arg-type] # any field
    attempts = Attempts(job(), candidates, around.means(), bound)
    try:
        return await attempts.run()
    finally:
        attempts.close()


def calls(around: World) -> list[str]:
    return [name for name, _ in around.counted]


async def test_all_are_asked_before_anybody_is_waited_for() -> None:
    around = world(one=[DOWN, HEARD], two=[DOWN])
    answer = await run(around)

    assert calls(around) == ["a/one", "a/two", "a/one"]
    assert around.kinds == ["first", "failover", "retry"]
    assert len(around.slept) == 1
    assert 0 <= around.slept[0] <= 0.25
    assert len(answer.attempts) == 3


@pytest.mark.parametrize("limit", [0, 1, 2, 5])
async def test_nobody_is_asked_more_often_than_allowed(limit: int) -> None:
    settings = reliability(retries={"limit": limit, "floor": 100}, breakers={"consecutive": 100})
    around = world(settings, one=[DOWN] * 9, two=[DOWN] * 9)
    with pytest.raises(Problem) as caught:
        await run(around)

    assert caught.value.status == 502
    assert calls(around) == ["a/one", "a/two"] * (1 + limit)
    assert len(around.slept) == limit


@pytest.mark.parametrize("error", [LATE, MalformedReply("p"), CredentialsRejected("p"), QuotaExhausted("p")])
async def test_what_will_not_pass_is_not_tried_again(error: ProviderError) -> None:
    around = world(one=[error])
    with pytest.raises(Problem):
        await run(around)

    assert (calls(around), around.slept) == (["a/one"], [])


async def test_one_who_names_a_time_is_left_alone_until_then() -> None:
    around = world(one=[RateLimited("p", retry_after_s=2.0), HEARD])
    await run(around)

    assert 2.0 <= around.slept[0] <= 2.25


@pytest.mark.parametrize(
    ("error", "own_key"),
    [
        (RateLimited("p", retry_after_s=2.0), True),
        (ProviderUnavailable("p", "the model is loading", retry_after_s=2.0), False),
    ],
    ids=["the caller's own limit", "a service that comes up"],
)
async def test_a_time_that_concerns_nobody_else_is_waited_for_too(error: ProviderError, *, own_key: bool) -> None:
    around = world(one=[error, HEARD])
    await run(around, own_key=own_key)

    assert 2.0 <= around.slept[0] <= 2.25
    assert around.state("a/one") == "closed"


async def test_who_may_be_asked_sooner_is_asked_sooner() -> None:
    around = world(one=[ProviderUnavailable("p", retry_after_s=9.0), HEARD], two=[DOWN, HEARD])
    await run(around)

    assert (calls(around), around.slept[0] < 1) == (["a/one", "a/two", "a/two"], True)


async def test_a_service_that_comes_up_is_asked_at_the_cap_though_it_needs_longer() -> None:
    """It only guesses. A rate limit would be counted against us."""
    around = world(one=[ProviderUnavailable("p", "the model is loading", retry_after_s=20.0), HEARD])
    await run(around)

    assert 15.0 <= around.slept[0] <= 15.25


async def test_nobody_waits_longer_than_the_cap() -> None:
    """The caller is told when to come back instead."""
    around = world(one=[RateLimited("p", retry_after_s=60.0)])
    with pytest.raises(Problem) as caught:
        await run(around)

    assert (caught.value.status, caught.value.headers["Retry-After"], around.slept) == (429, "60", [])


async def test_nobody_waits_past_the_deadline() -> None:
    around = world(one=[RateLimited("p", retry_after_s=10.0)])
    with pytest.raises(Problem):
        await run(around, seconds=9.0)

    assert around.slept == []


async def test_ten_years_are_not_believed() -> None:
    around = world(one=[RateLimited("p", retry_after_s=3e8)])
    with pytest.raises(Problem):
        await run(around)
    condition = around.health[deployment("a/one")].condition("a/one", around.now)

    assert (condition.state, condition.why, condition.again_in_s) == ("parked", "rate-limited", 300.0)


async def test_retries_have_a_budget() -> None:
    """A fifth of the requests and the floor: an outage is not amplified."""
    settings = reliability(
        retries={"limit": 1, "budget": 0.2, "floor": 2}, breakers={"consecutive": 1000, "min_calls": 1000}
    )
    around = world(settings, one=[DOWN] * 200)
    for _ in range(100):
        with pytest.raises(Problem):
            await run(around)
        around.now += 0.05

    retries = around.kinds.count("retry")
    assert around.kinds.count("first") == 100
    assert 10 <= retries <= 0.2 * 100 + 2 * (1 + (around.now - 1000) / 10)


async def test_what_ended_with_its_engine_is_sent_again_without_a_budget() -> None:
    """Nobody is billed for it: the budget is there to spare who has an outage."""
    settings = reliability(
        retries={"limit": 1, "budget": 0, "floor": 0}, breakers={"consecutive": 1000, "min_calls": 1000}
    )
    around = world(settings, one=[Interrupted("p"), HEARD] * 50)
    for _ in range(50):
        assert (await run(around)).transcript == HEARD
    assert around.kinds.count("retry") == 50


async def test_five_failures_open_and_a_probe_closes() -> None:
    around = world(reliability(retries={"limit": 0}), one=[DOWN] * 6 + [HEARD] * 2, two=[HEARD] * 20)
    for _ in range(10):
        assert (await run(around)).deployment.name == "a/two" or around.state("a/one") == "closed"
    assert calls(around).count("a/one") == 5
    assert around.state("a/one") == "open"

    around.now += 5.0
    await run(around)  # the probe fails
    assert (calls(around).count("a/one"), around.state("a/one")) == (6, "open")
    around.now += 5.0
    assert (await run(around)).deployment.name == "a/one"  # it succeeds
    assert around.state("a/one") == "closed"


async def test_one_probe_at_a_time() -> None:
    around = world(reliability(retries={"limit": 0}), one=[RateLimited("p", retry_after_s=2), None], two=[HEARD] * 9)
    await run(around)
    around.now += 2.0
    async with asyncio.TaskGroup() as group:
        probe = group.create_task(run(around))
        await asyncio.sleep(0.01)
        others = [await run(around) for _ in range(3)]
        probe.cancel()

    assert [each.deployment.name for each in others] == ["a/two"] * 3
    assert calls(around).count("a/one") == 2
    assert around.state("a/one") == "half-open"  # the probe was called off and showed nothing: the next one probes


@pytest.mark.parametrize("error", [JobRejected("p", "no"), None], ids=["rejected", "left"])
async def test_the_callers_own_fault_opens_nothing(error: ProviderError | None) -> None:
    around = world(one=[error] * 30)
    for _ in range(30):
        async with asyncio.TaskGroup() as group:
            task = group.create_task(_told(around))
            await asyncio.sleep(0)
            if error is None:
                task.cancel()

    assert around.state("a/one") == "closed"


async def _told(around: World) -> None:
    with pytest.raises(Problem):
        await run(around)


@pytest.mark.parametrize(("hurried", "state"), [(True, "closed"), (False, "open")])
async def test_a_caller_in_a_hurry_opens_nothing(hurried: bool, state: str) -> None:  # noqa: FBT001 - a table
    around = world(one=[LATE] * 5)
    for _ in range(5):
        with pytest.raises(Problem):
            await run(around, hurried=hurried, seconds=30.0)

    assert around.state("a/one") == state


@pytest.mark.parametrize(
    ("seconds", "sections"),
    [(100.0, {"attempt_timeout": {"base": 9.0, "per_audio_second": 0}}), (80.0, {}), (600.0, {})],
    ids=["the attempt's own limit", "as long as a slow call", "longer"],
)
async def test_a_caller_in_a_hurry_who_gave_it_time_enough_counts(seconds: float, sections: dict[str, object]) -> None:
    """Else one that hangs would never be left alone where every caller sets a limit."""
    around = world(reliability(**sections), one=[LATE] * 5)
    for _ in range(5):
        with pytest.raises(Problem):
            await run(around, hurried=True, seconds=seconds)

    assert around.state("a/one") == "open"


@pytest.mark.parametrize(("own_key", "state"), [(True, "closed"), (False, "parked")])
@pytest.mark.parametrize("error", [CredentialsRejected("p"), QuotaExhausted("p"), RateLimited("p", retry_after_s=99)])
async def test_what_one_callers_own_key_may_not_concerns_nobody_else(
    *, error: ProviderError, own_key: bool, state: str
) -> None:
    around = world(reliability(retries={"limit": 0}), one=[error])
    with pytest.raises(Problem):
        await run(around, own_key=own_key)

    assert around.state("a/one") == state


async def test_all_left_alone_is_a_429_at_once() -> None:
    around = world(reliability(retries={"limit": 0}), one=[DOWN] * 5)
    for _ in range(5):
        with pytest.raises(Problem):
            await run(around)
    with pytest.raises(Problem, match=r"a/one: not asked \(failing, asked again in 5.0 s\)") as caught:
        await run(around)

    assert (caught.value.status, caught.value.headers["Retry-After"]) == (429, "5")
    assert len(calls(around)) == 5


async def test_one_that_is_only_slow_is_better_than_nobody() -> None:
    settings = reliability(breakers={"slow_call": {"base": 0.001, "per_audio_second": 0}, "min_calls": 2})
    around = world(settings, one=[HEARD] * 9)

    async def a_second_passes() -> None:
        around.now += 1.0

    around.slow["a/one"] = Slow(around.backends["a/one"], a_second_passes)
    for _ in range(2):
        await run(around)
    assert around.state("a/one") == "open"
    assert (await run(around)).transcript == HEARD


class Slow:
    """A backend that takes its time."""

    def __init__(self, inner: Backend, take_time: Callable[[], Awaitable[object]]) -> None:
        self._inner = inner
        self._take_time = take_time

    async def transcribe(
        self, job: TranscriptionJob, to: Deployment, deadline: Moment, progress: Progress
    ) -> Transcript:
        await self._take_time()
        return await self._inner.transcribe(job, to, deadline, progress)


class Hangs:
    """A backend that says nothing until its time is over."""

    def __init__(self, around: World) -> None:
        self._around = around
        self.given_s: list[float] = []

    async def transcribe(
        self, job: TranscriptionJob, to: Deployment, deadline: Moment, progress: Progress
    ) -> Transcript:
        del job, to, progress
        self.given_s.append(deadline - self._around.now)
        self._around.now = deadline
        raise LATE


async def test_one_that_hangs_leaves_time_to_ask_again_who_failed_before_it() -> None:
    around = world(one=[DOWN, HEARD], two=[])
    around.slow["a/two"] = hangs = Hangs(around)

    assert (await run(around)).deployment.name == "a/one"
    assert hangs.given_s == [300.0]


@pytest.mark.parametrize(("parked_s", "given_s"), [(299.0, 300.0), (301.0, 600.0)])
async def test_one_that_hangs_leaves_time_for_who_is_back_by_then(parked_s: float, given_s: float) -> None:
    around = world(reliability(breakers={"park_max": 900.0}), one=[], two=[RateLimited("p", retry_after_s=parked_s)])
    with pytest.raises(Problem):
        await run(around, "a/two")
    around.backends["a/two"].answers.append(HEARD)
    around.slow["a/one"] = hangs = Hangs(around)
    if given_s < 600.0:
        assert (await run(around)).deployment.name == "a/two"
    else:
        with pytest.raises(Problem):
            await run(around)

    assert hangs.given_s == [given_s]


@pytest.mark.parametrize("others", [(), ("two",)])
async def test_who_is_the_last_has_all_the_time(others: tuple[str, ...]) -> None:
    """Also where it is tried again, and where the other is known to be broken."""
    settings = reliability(breakers={"consecutive": 2}, retries={"limit": 1})
    around = world(settings, one=[DOWN], two=[DOWN] * 2)
    with pytest.raises(Problem):
        await run(around, "a/two")
    assert around.state("a/two") == "open"
    hangs, backend = Hangs(around), around.backends["a/one"]

    class Then:
        """Fails, then hangs."""

        async def transcribe(
            self, job: TranscriptionJob, to: Deployment, deadline: Moment, progress: Progress
        ) -> Transcript:
            return await (backend if backend.answers else hangs).transcribe(job, to, deadline, progress)

    around.slow["a/one"] = Then()
    slept = len(around.slept)
    with pytest.raises(Problem):
        await run(around, "a/one", *(f"a/{each}" for each in others))

    assert hangs.given_s == [pytest.approx(600.0 - sum(around.slept[slept:]))]


class TestHedging:
    """A second attempt that joins where the first is slow."""

    NOW = After(seconds=0.0)

    async def test_the_first_good_answer_wins(self) -> None:
        around = world(one=[None], two=[HEARD])
        answer = await run(around, hedge_after=self.NOW)

        assert answer.deployment.name == "a/two"
        assert sorted(around.counted) == [("a/one", "cancelled"), ("a/two", "ok")]
        assert set(around.kinds) == {"first", "hedge"}
        assert around.state("a/one") == "closed"  # being slower once is no failure
        assert [around.health[deployment(name)].slots.taken for name in ("a/one", "a/two")] == [0, 0]

    async def test_both_failing_moves_on_to_the_third(self) -> None:
        around = world(one=[DOWN], two=[DOWN], three=[HEARD])
        answer = await run(around, hedge_after=self.NOW)

        assert answer.deployment.name == "a/three"

    @pytest.mark.parametrize("first", [0, 1])
    async def test_the_callers_fault_is_told_whichever_of_both_is_last(self, first: int) -> None:
        """What the other came to hides nothing: bad audio is a 400."""
        outcomes = [JobRejected("p", "no audio in it"), DOWN]
        around = world(one=[outcomes[first]], two=[outcomes[1 - first]])
        around.slow["a/one"] = Slow(around.backends["a/one"], around.backends["a/two"].called.wait)
        with pytest.raises(Problem, match="no audio in it") as caught:
            await run(around, hedge_after=self.NOW)

        assert caught.value.status == 400
        assert len(around.counted) == 2

    async def test_nobody_hedges_alone(self) -> None:
        around = world(one=[HEARD])
        await run(around, hedge_after=self.NOW)

        assert around.kinds == ["first"]

    async def test_a_quantile_wants_to_be_known_first(self) -> None:
        around = world(one=[HEARD] * 30, two=[HEARD])
        for _ in range(25):
            await run(around, hedge_after=After(quantile=0.95))

        assert set(around.kinds) == {"first"}

    async def test_hedges_have_a_budget(self) -> None:
        around = world(reliability(hedging={"budget": 0.1, "floor": 1}), one=[HEARD] * 100, two=[HEARD] * 100)

        async def the_loop_turns() -> None:
            for _ in range(3):
                await asyncio.sleep(0)

        around.slow["a/one"] = Slow(around.backends["a/one"], the_loop_turns)
        for _ in range(100):
            await run(around, hedge_after=self.NOW)

        assert 5 <= around.kinds.count("hedge") <= 0.1 * 100 + 1

    async def test_a_caller_who_leaves_ends_both(self) -> None:
        around = world(one=[None], two=[None])
        async with asyncio.TaskGroup() as group:
            task = group.create_task(run(around, hedge_after=self.NOW))
            await around.backends["a/two"].called.wait()
            task.cancel()

        assert sorted(around.counted) == [("a/one", "cancelled"), ("a/two", "cancelled")]
        assert [around.health[deployment(name)].slots.taken for name in ("a/one", "a/two")] == [0, 0]


class TestDoubt:
    """An empty text over audio in which a voice is heard."""

    async def test_another_is_asked_and_believed(self) -> None:
        around = world(one=[EMPTY], two=[HEARD])
        around.speech = True
        answer = await run(around)

        assert (answer.transcript, answer.deployment.name) == (HEARD, "a/two")
        assert around.kinds == ["first", "doubt"]
        assert (around.state("a/one"), len(answer.attempts)) == ("closed", 2)

    @pytest.mark.parametrize("second", [EMPTY, DOWN])
    async def test_if_it_agrees_or_fails_empty_it_is(self, second: Transcript | ProviderError) -> None:
        around = world(one=[EMPTY], two=[second], three=[HEARD])
        around.speech = True
        answer = await run(around)

        assert (answer.transcript, answer.deployment.name) == (EMPTY, "a/one")
        assert calls(around) == ["a/one", "a/two"]  # once

    async def test_silence_is_not_doubted(self) -> None:
        around = world(one=[EMPTY], two=[HEARD])
        answer = await run(around)

        assert (answer.transcript, calls(around), around.listened) == (EMPTY, ["a/one"], 1)

    async def test_where_nobody_is_left_nobody_listens(self) -> None:
        around = world(one=[EMPTY])
        around.speech = True
        answer = await run(around)

        assert (answer.transcript, around.listened) == (EMPTY, 0)

    async def test_a_text_is_not_doubted(self) -> None:
        around = world(one=[HEARD], two=[HEARD])
        around.speech = True
        await run(around)

        assert (calls(around), around.listened) == (["a/one"], 0)

    async def test_it_can_be_turned_off(self) -> None:
        around = world(reliability(doubt_empty=False), one=[EMPTY], two=[HEARD])
        around.speech = True

        assert (await run(around)).is_empty


class TestPlaces:
    """Deployments that take so many calls at once."""

    @staticmethod
    def _limited(around: World, **limits: int) -> None:
        around.know(*(replace(deployment(f"a/{name}"), max_concurrent=limit) for name, limit in limits.items()))

    async def test_a_busy_one_is_passed_over_for_a_free_one(self) -> None:
        around = world(one=[None], two=[HEARD])
        self._limited(around, one=1, two=1)
        async with asyncio.TaskGroup() as group:
            first = group.create_task(run(around))
            await around.backends["a/one"].called.wait()
            second = await run(around)
            first.cancel()

        assert second.deployment.name == "a/two"

    async def test_where_all_are_busy_the_first_place_is_waited_for(self) -> None:
        around = world(one=[None, HEARD])
        self._limited(around, one=1)
        async with asyncio.TaskGroup() as group:
            first = group.create_task(run(around))
            await around.backends["a/one"].called.wait()
            second = group.create_task(run(around))
            await asyncio.sleep(0.01)
            assert around.health[deployment("a/one")].slots.waiting == 1
            first.cancel()

        assert second.result().deployment.name == "a/one"
        assert around.health[deployment("a/one")].slots.taken == 0

    async def test_where_the_queue_is_full_a_job_is_shed(self) -> None:
        around = world(one=[None, HEARD])
        self._limited(around, one=1)
        async with asyncio.TaskGroup() as group:
            first = group.create_task(run(around))
            await around.backends["a/one"].called.wait()
            second = group.create_task(run(around))
            await asyncio.sleep(0.01)
            with pytest.raises(Problem) as caught:
                await run(around)
            first.cancel()

        assert (caught.value.status, caught.value.type, caught.value.headers["Retry-After"]) == (429, "overloaded", "1")
        assert second.result().transcript == HEARD

    @pytest.mark.parametrize("then", [HEARD, DOWN])
    async def test_one_that_failed_is_asked_again_where_the_other_is_full(
        self, then: Transcript | ProviderError
    ) -> None:
        around = world(reliability(retries={"limit": 1}, queue={"max_waiting": 0}), one=[DOWN, then], two=[None])
        self._limited(around, one=9, two=1)
        async with asyncio.TaskGroup() as group:
            first = group.create_task(run(around, "a/two"))
            await around.backends["a/two"].called.wait()
            if then is HEARD:
                assert (await run(around)).deployment.name == "a/one"
            else:
                with pytest.raises(Problem) as caught:
                    await run(around)
                assert (caught.value.status, caught.value.type) == (429, "overloaded")
            first.cancel()

        assert calls(around)[:2] == ["a/one", "a/one"]
        assert [around.health[deployment(name)].slots.taken for name in ("a/one", "a/two")] == [0, 0]

    async def test_a_wait_that_takes_too_long_is_shed(self) -> None:
        around = world(reliability(queue={"max_wait": 0.01}), one=[None])
        self._limited(around, one=1)
        async with asyncio.TaskGroup() as group:
            first = group.create_task(run(around))
            await around.backends["a/one"].called.wait()
            with pytest.raises(Problem, match="come back later"):
                await run(around)
            first.cancel()

        assert around.health[deployment("a/one")].slots.waiting == 0


class TestAllowances:
    """What a provider allows in a minute, where the configuration says so."""

    async def test_who_is_at_its_limit_is_passed_over_before_it_says_no(self) -> None:
        around = world(one=[HEARD, HEARD, HEARD], two=[HEARD])
        around.know(replace(deployment("a/one"), requests_per_minute=2), deployment("a/two"))
        answered = [(await run(around)).deployment.name for _ in range(3)]
        assert answered == ["a/one", "a/one", "a/two"]
        known = around.health[deployment("a/one")].condition("a/one", around.now)
        assert (known.state, known.why) == ("parked", "limit")
        around.now += 66
        assert (await run(around)).deployment.name == "a/one"

    async def test_audio_counts_by_its_length(self) -> None:
        around = world(one=[HEARD, HEARD], two=[HEARD])
        around.know(replace(deployment("a/one"), audio_seconds_per_minute=20), deployment("a/two"))
        turns = [self._free(around, 13.7) for _ in range(3)]
        assert [turn.candidate.deployment.name for turn in turns if turn] == ["a/one", "a/one", "a/two"]

    @staticmethod
    def _free(around: World, audio_s: float) -> Turn | None:
        known = [Candidate(deployment=deployment(name), capabilities=Capabilities()) for name in around.backends]
        turns = Turns(known, around.health, around.settings, lambda: around.now, audio_s)
        turns.new_round()
        return turns.free()

    async def test_where_all_are_at_their_limits_the_caller_is_told_when_to_come_back(self) -> None:
        around = world(one=[HEARD])
        around.know(replace(deployment("a/one"), requests_per_minute=1))
        await run(around)
        with pytest.raises(Problem, match=r"not asked \(limit, asked again in") as caught:
            await run(around)
        assert (caught.value.status, caught.value.type) == (429, "rate-limited")
        assert 54 <= int(caught.value.headers["Retry-After"]) <= 66

    async def test_who_says_that_nothing_is_left_is_passed_over_until_there_is(self) -> None:
        around = world(one=[replace(HEARD, spent_for_s=30.0), HEARD], two=[HEARD])
        assert [(await run(around)).deployment.name for _ in range(2)] == ["a/one", "a/two"]
        assert around.health[deployment("a/one")].condition("a/one", around.now).why == "limit"
        around.now += 30
        assert (await run(around)).deployment.name == "a/one"
        assert around.state("a/one") == "closed"

    async def test_what_is_said_of_a_callers_own_key_concerns_nobody_else(self) -> None:
        around = world(one=[replace(HEARD, spent_for_s=30.0)])
        await run(around, own_key=True)
        assert around.state("a/one") == "closed"

    async def test_a_retry_waits_for_its_turn_too(self) -> None:
        around = world(one=[DOWN, HEARD])
        around.know(replace(deployment("a/one"), requests_per_minute=1))
        with pytest.raises(Problem):
            await run(around)
        assert calls(around) == ["a/one"]
