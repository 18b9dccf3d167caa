"""What a request is charged, and what of it is corrected when it is known what became of it."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from msgspec.structs import replace
from pydantic import SecretStr

from config.limits import Limits
from config.reliability import Strategy
from config.settings import OnUnsupported, Settings
from gateway.api.admission import Admission, Limiting, estimated_usd
from gateway.dispatch.answers import Answer, Paid
from gateway.dispatch.routes import Route
from gateway.observe import Observed
from gateway.policies.limits import Denied, Scope, rules_of
from gateway.problems import Problem
from gateway.stores.limits_memory import MemoryLimits
from providers.audio.content import MemoryContent
from providers.types import Account, Audio, Container, Deployment, Price, Transcript

ACCOUNT = Account(name="a", adapter="openai", base_urls={"api": "http://a"})
DOLLAR_A_MINUTE = Deployment(account=ACCOUNT, native_model="whisper", price=Price(usd_per_minute=1))
CHEAPER = replace(DOLLAR_A_MINUTE, native_model="small", price=Price(usd_per_minute=0.1))
ON_A_CALLERS_KEY = replace(DOLLAR_A_MINUTE, account=replace(ACCOUNT, api_key=SecretStr("k")))
UNPRICED = replace(DOLLAR_A_MINUTE, native_model="own", price=None)
LIMITS = Limits(audio_seconds_per_hour=3600, usd_per_day=10)
HOUR_LEFT, DAY_LEFT = 3600.0, 10.0


def route(*deployments: Deployment, strategy: Strategy = Strategy.FAILOVER, own_key: bool = False) -> Route:
    return Route(deployments=deployments, on_unsupported=OnUnsupported.REJECT, strategy=strategy, own_key=own_key)


def audio(duration_s: float | None = 60.0) -> Audio:
    content = MemoryContent(bytes(120_000))
    return Audio(content=content, media_type="audio/webm", container=Container.WEBM, duration_s=duration_s, digest="d")


def answer(by: Deployment = DOLLAR_A_MINUTE, *, cost_usd: float | None = None, duration_s: float = 60.0) -> Answer:
    heard = Transcript(text="hello", duration_s=duration_s, cost_usd=cost_usd)
    return Answer(transcript=heard, deployment=by, ignored=(), attempts=())


class Case:
    """One request under LIMITS."""

    def __init__(self) -> None:
        self.counters = MemoryLimits(lambda: 100.0, lambda: 1e9)
        self.denied: list[Denied] = []
        self.limiting = Limiting(settings=Settings(), counters=self.counters, on_denied=self.denied.append)
        self.own = rules_of(Scope.KEY, "newsroom", LIMITS)
        self.observed = Observed(request_id="r", started=0.0)

    def admission(self) -> Admission:
        return Admission(self.limiting, self.own, self.observed, is_small=False)

    async def runs(
        self, job: Audio, on: Route, answered: Answer | None = None, error: BaseException | None = None
    ) -> tuple[float, float]:
        """Return the audio seconds and USD that are left while it runs. Raises error at its end."""
        async with self.admission() as admission:
            await admission.charge("m", on, job)
            while_it_runs = await self.left()
            if answered is not None:
                admission.answered(answered)
            if error is not None:
                raise error
        return while_it_runs

    async def left(self) -> tuple[float, float]:
        """Return the audio seconds and USD that are left now."""
        async with self.admission() as admission:
            assert admission._held is not None
            audio_s, usd = admission._held[1].levels.standings()
        return round(audio_s.left, 6), round(usd.left, 6)


async def test_it_is_charged_before_it_runs_and_stays_charged() -> None:
    case = Case()
    assert await case.runs(audio(), route(DOLLAR_A_MINUTE), answer()) == (HOUR_LEFT - 60, DAY_LEFT - 1)
    assert await case.left() == (HOUR_LEFT - 60, DAY_LEFT - 1)


@pytest.mark.parametrize(
    ("error", "left_meanwhile"),
    [
        (asyncio.CancelledError(), (HOUR_LEFT - 60, DAY_LEFT - 1)),
        (Problem(status=504, type="deadline", message="late"), (HOUR_LEFT, DAY_LEFT)),
    ],
)
async def test_what_goes_on_when_its_request_is_over_costs_once(
    error: BaseException, left_meanwhile: tuple[float, float]
) -> None:
    """Whether the estimate was given back at its end or not: what it came to is settled when it is known."""
    case = Case()
    admission = case.admission()
    with suppress(type(error)):
        async with admission:
            await admission.charge("m", route(DOLLAR_A_MINUTE), audio())
            raise error
    assert await case.left() == left_meanwhile
    admission.paid(answer(cost_usd=0.25))
    assert await case.left() == (HOUR_LEFT - 60, DAY_LEFT - 0.25)


async def test_races_that_were_lost_are_charged_beside_the_answer() -> None:
    case = Case()
    besides = (Paid(deployment=DOLLAR_A_MINUTE, transcript=None), Paid(deployment=UNPRICED, transcript=None))
    await case.runs(audio(), route(CHEAPER), replace(answer(CHEAPER), besides=besides))
    assert await case.left() == (HOUR_LEFT - 60, DAY_LEFT - 1.1)


@pytest.mark.parametrize("cache", ["hit", "joined", "stale"])
async def test_what_was_not_asked_of_anybody_costs_nothing(cache: str) -> None:
    case = Case()
    case.observed.cache = cache
    await case.runs(audio(), route(DOLLAR_A_MINUTE), answer())
    assert await case.left() == (HOUR_LEFT, DAY_LEFT)


@pytest.mark.parametrize(
    ("answered", "usd"),
    [
        (answer(cost_usd=0.25), 0.25),  # the provider knows best
        (answer(cost_usd=1.75), 1.75),
        (answer(CHEAPER), 0.1),
        (answer(UNPRICED), 0.0),
        (answer(UNPRICED, cost_usd=3.0), 3.0),
        *((answer(cost_usd=lie), 1.0) for lie in (float("nan"), float("inf"), -5.0)),  # nobody's cost: the price stands
    ],
)
async def test_what_it_cost_takes_the_place_of_the_estimate(answered: Answer, usd: float) -> None:
    case = Case()
    await case.runs(audio(), route(DOLLAR_A_MINUTE, CHEAPER, UNPRICED), answered)
    assert await case.left() == (HOUR_LEFT - 60, round(DAY_LEFT - usd, 6))


async def test_who_pays_the_provider_itself_spends_no_budget() -> None:
    case = Case()
    await case.runs(audio(), route(DOLLAR_A_MINUTE, own_key=True), answer(cost_usd=1.0))
    assert await case.left() == (HOUR_LEFT - 60, DAY_LEFT)


async def test_a_length_nobody_knew_is_settled_by_what_the_provider_measured() -> None:
    """120 kB are taken for half a minute."""
    case = Case()
    on = route(DOLLAR_A_MINUTE)
    assert await case.runs(audio(None), on, answer(duration_s=48.0)) == (HOUR_LEFT - 30, DAY_LEFT - 0.5)
    assert await case.left() == (HOUR_LEFT - 48, DAY_LEFT - 0.8)


async def test_a_length_that_was_measured_here_stands() -> None:
    case = Case()
    await case.runs(audio(60), route(DOLLAR_A_MINUTE), answer(duration_s=600))
    assert await case.left() == (HOUR_LEFT - 60, DAY_LEFT - 1)


@pytest.mark.parametrize(
    ("error", "left"),
    [
        (Problem(status=502, type="all-failed", message="no"), (HOUR_LEFT, DAY_LEFT)),
        (ValueError(), (HOUR_LEFT, DAY_LEFT)),
        (asyncio.CancelledError(), (HOUR_LEFT - 60, DAY_LEFT - 1)),  # the caller left: perhaps it was billed
    ],
)
async def test_what_failed_is_given_back(error: BaseException, left: tuple[float, float]) -> None:
    case = Case()
    with pytest.raises(type(error)):
        await case.runs(audio(), route(DOLLAR_A_MINUTE), error=error)
    assert await case.left() == left


async def test_an_answer_that_could_not_be_rendered_was_paid_for() -> None:
    case = Case()
    no_words = Problem(status=502, type="all-failed", message="no words")
    with pytest.raises(Problem):
        await case.runs(audio(), route(DOLLAR_A_MINUTE), answer(), no_words)
    assert await case.left() == (HOUR_LEFT - 60, DAY_LEFT - 1)


async def test_what_is_refused_is_told_and_counted() -> None:
    case = Case()
    with pytest.raises(Problem) as caught:
        await case.runs(audio(3600), route(DOLLAR_A_MINUTE))
    assert (caught.value.status, caught.value.type) == (429, "budget")
    assert [each.rule.scope for each in case.denied] == [Scope.KEY]
    assert await case.left() == (HOUR_LEFT, DAY_LEFT)


@pytest.mark.parametrize(
    ("on", "usd"),
    [
        (route(CHEAPER, DOLLAR_A_MINUTE), 0.1),
        (route(UNPRICED, DOLLAR_A_MINUTE), 1.0),
        (route(UNPRICED), 0.0),
        (route(UNPRICED, DOLLAR_A_MINUTE, strategy=Strategy.CHEAPEST), 0.0),
        (route(DOLLAR_A_MINUTE, CHEAPER, strategy=Strategy.CHEAPEST), 0.1),
        (route(CHEAPER, DOLLAR_A_MINUTE, strategy=Strategy.WEIGHTED), 1.0),
        (route(CHEAPER, DOLLAR_A_MINUTE, strategy=Strategy.FASTEST), 1.0),
        (
            route(ON_A_CALLERS_KEY, own_key=True),
            0.0,
        ),
    ],
)
def test_the_estimate(on: Route, usd: float) -> None:
    assert estimated_usd(on, 60.0) == pytest.approx(usd)
