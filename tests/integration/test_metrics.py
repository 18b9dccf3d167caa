"""Numbers as operators read them, after requests as callers make them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from config.limits import Limits
from config.settings import Route, Target
from tests.asking import KEYS, MODEL, WAV, key, serving, settings
from tests.chaos.upstream import answers, hangs, upstream
from tests.integration.test_cache import kept
from tests.watching import samples

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.settings import Settings
    from tests.asking import Served

SECONDS = 13.69  # of speech in WAV


@dataclass(slots=True)
class Difference:
    """What a while has changed."""

    found: dict[str, float]

    def __getitem__(self, name: str) -> float:
        return self.found.get(name, 0.0)

    def of(self, name: str) -> dict[str, float]:
        """Return the samples of a metric, by their labels, that are not 0."""
        return {each.partition("{")[2][:-1]: value for each, value in self.found.items() if each.startswith(name + "{")}


def counted(served: Served) -> Difference:
    return Difference({name: value for name, value in samples(served.gateway).items() if value})


def routed(urls: dict[str, str], **route: Any) -> Settings:
    """Return settings with a price, and one route as told."""
    chosen = settings(urls)
    targets = tuple(Target(target=f"{name}/whisper", substitute=True, usd_per_minute=0.06) for name in urls)
    return chosen.model_copy(update={"models": {MODEL: Route.model_validate({"targets": targets, **route})}})


async def test_each_step_of_a_request_is_timed_for_the_metric_and_for_its_line_in_the_log() -> None:
    async with upstream(answers(after_s=0.2)) as up, serving(kept({"up": up.url})) as served:
        first = await served.post()
        again = await served.post()
        took = counted(served)

    assert took.of("asr_stage_seconds_count") == {
        "stage=receive": 2,
        "stage=probe": 2,
        "stage=cache": 2,
        "stage=attempt": 1,
        "stage=render": 2,
    }
    assert 0.2 <= took["asr_stage_seconds_sum{stage=attempt}"] < 2
    line = served.line_of(first)
    steps = {name: line[name] for name in ("receive_s", "probe_s", "cache_s", "attempt_s", "render_s")}
    assert steps["attempt_s"] >= 0.2
    assert sum(steps.values()) <= line["seconds"] + 0.001
    assert "attempt_s" not in served.line_of(again), "nobody was called for it"


async def test_who_joins_waits_and_the_call_is_the_firsts() -> None:
    async with upstream(answers(after_s=0.3)) as up, serving(kept({"up": up.url})) as served:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(served.post()) for _ in range(3)]
        lines = [served.line_of(task.result()) for task in tasks]
        numbers = counted(served)

    assert numbers.of("asr_flights_total") == {"outcome=led": 1, "outcome=joined": 2}
    assert numbers["asr_stage_seconds_count{stage=join}"] == 2
    assert numbers["asr_stage_seconds_count{stage=attempt}"] == 1
    assert sorted(("attempt_s" in line, "join_s" in line) for line in lines) == [(False, True)] * 2 + [(True, False)]


async def test_a_failover_is_counted_by_who_failed_who_stood_in_and_why() -> None:
    async with (
        upstream(answers(500)) as a,
        upstream(answers()) as b,
        serving(settings({"a": a.url, "b": b.url})) as served,
    ):
        assert (await served.post()).status == 200
        assert counted(served).of("asr_failovers_total") == {"from=a/whisper,reason=unavailable,to=b/whisper": 1}


async def test_so_is_one_that_is_left_alone_and_not_even_asked() -> None:
    limited = answers(429, {"error": "slow down"}, headers={"Retry-After": "60"})
    async with (
        upstream(limited) as a,
        upstream(answers()) as b,
        serving(settings({"a": a.url, "b": b.url})) as served,
    ):
        for _ in range(3):
            assert (await served.post()).status == 200
        numbers = counted(served)

    assert numbers.of("asr_failovers_total") == {
        "from=a/whisper,reason=rate_limited,to=b/whisper": 1,
        "from=a/whisper,reason=rate-limited,to=b/whisper": 2,
    }
    assert numbers.of("asr_breaker_state") == {
        "deployment=a/whisper,state=parked": 1,
        "deployment=b/whisper,state=closed": 1,
    }
    assert numbers.of("asr_deployment_away") == {"deployment=a/whisper,why=rate-limited": 1}


async def test_a_hedge_is_won_or_lost() -> None:
    async with (
        upstream(hangs) as a,
        upstream(answers()) as b,
        serving(routed({"a": a.url, "b": b.url}, hedge_after="50ms")) as served,
    ):
        assert (await served.post()).headers["X-Gateway-Provider"] == "b"
        assert counted(served).of("asr_hedges_total") == {"deployment=b/whisper,outcome=won": 1}
        a.act, b.act = answers(after_s=0.3), hangs
        assert (await served.post()).headers["X-Gateway-Provider"] == "a"
        assert counted(served).of("asr_hedges_total") == {
            "deployment=b/whisper,outcome=won": 1,
            "deployment=b/whisper,outcome=lost": 1,
        }


async def test_a_caller_sees_what_it_sent_what_it_cost_and_how_it_ended() -> None:
    async with upstream(answers()) as up, serving(_with_keys(routed({"up": up.url}))) as served:
        for secret in ("hf_gw_newsroom", "hf_gw_newsroom", "hf_gw_other"):
            await served.post(Authorization=f"Bearer {secret}")
        up.act = answers(500)
        await served.post(Authorization="Bearer hf_gw_newsroom")
        numbers = counted(served)

    assert numbers.of("asr_caller_requests_total") == {
        "caller=newsroom,outcome=ok": 2,
        "caller=newsroom,outcome=failed": 1,
        "caller=other,outcome=refused": 1,
    }
    assert numbers["asr_caller_audio_seconds_total{caller=newsroom}"] == pytest.approx(2 * SECONDS, abs=0.02)
    assert numbers["asr_caller_cost_usd_total{caller=newsroom}"] == pytest.approx(2 * SECONDS * 0.001, rel=0.01)
    assert numbers["asr_real_time_factor_count{deployment=up/whisper}"] == 2


async def test_a_budget_is_shown_by_how_much_of_it_is_gone() -> None:
    limits = Limits.model_validate({"usd_per_day": 4 * SECONDS * 0.001})
    async with upstream(answers()) as up:
        chosen = routed({"up": up.url})
        keys = chosen.auth.model_validate({"mode": "keys", "keys": [key("newsroom", "hf_gw_newsroom", limits=limits)]})
        async with serving(chosen.model_copy(update={"auth": keys})) as served:
            for _ in range(3):
                assert (await served.post(Authorization="Bearer hf_gw_newsroom")).status == 200
            gone = counted(served).of("asr_budget_spent_ratio")

    assert gone == {"name=newsroom,period=day,scope=key": pytest.approx(0.75, abs=0.01)}


async def test_whatever_callers_write_makes_no_new_series() -> None:
    """Names of models, paths, keys, parameters: all are junk, and each is another."""
    async with upstream(answers()) as up, serving(_with_keys(settings({"up": up.url}))) as served:
        for junk in _junk(served, 2):
            await junk
        before = set(samples(served.gateway))
        for junk in _junk(served, 50):
            await junk
        assert set(samples(served.gateway)) == before


def _junk(served: Served, count: int) -> Iterator[Any]:
    for number in range(count):
        good = {"Authorization": "Bearer hf_gw_newsroom"}
        yield served.post(f"/models/openai/junk-{number}", WAV, **good)
        yield served.post(f"/junk-{number}", WAV, **good)
        yield served.post(f"/account-{number}/models/{MODEL}", WAV, **good)
        yield served.post(f"/models/{MODEL}", WAV, Authorization=f"Bearer hf_gw_{number}")
        yield served.post(f"/models/{MODEL}?temperature=junk-{number}", WAV, **good)
        yield served.openai(model=f"junk-{number}")


def _with_keys(chosen: Settings) -> Settings:
    return chosen.model_copy(update={"auth": KEYS})
