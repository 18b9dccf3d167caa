"""The cache as callers see it: the real gateway before an upstream that counts."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest

from config.cache import Cache
from config.settings import Settings
from tests.asking import KEYS, MODEL, WAV, serving, settings
from tests.chaos.upstream import answers, upstream
from tests.conftest import sample
from tests.watching import samples

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.asking import Told

FLAC = sample("jfk.flac")


def kept(urls: Mapping[str, str], cache: Mapping[str, Any] | None = None, **more: Any) -> Settings:
    """Return settings that keep answers in memory, unless told otherwise."""
    return settings(urls, **more).model_copy(update={"cache": Cache.model_validate(dict(cache or {}))})


def state(told: Told) -> str:
    return told.headers["X-Gateway-Cache"]


async def test_the_same_audio_is_paid_for_once() -> None:
    """Whatever carries it: raw, as a form with a name, as JSON in base64."""
    async with upstream(answers()) as up, serving(kept({"up": up.url})) as served:
        first = await served.post()
        again = [await served.post(), await served.openai(), await served.hf({"inputs": b64encode(WAV).decode()})]
        assert len(up.calls) == 1
        assert (first.status, state(first), "Age" in first.headers) == (200, "miss", False)
        assert [(each.status, state(each)) for each in again] == [(200, "hit")] * 3
        assert {each.body["text"] for each in again} == {first.body["text"]}


async def test_a_hit_says_what_the_answer_said() -> None:
    async with upstream(answers()) as up, serving(kept({"up": up.url})) as served:
        first, again = await served.post(), await served.post()
        named = ("X-Gateway-Provider", "X-Gateway-Model", "X-Gateway-Attempts", "X-Audio-Duration")
        assert [again.headers[name] for name in named] == [first.headers[name] for name in named]
        assert again.headers["Age"] == "0"
        line = served.line_of(again)
        assert (line["cache"], line["attempts"], line["deployment"]) == ("hit", 0, "up/whisper")
        assert samples(served.gateway)["asr_cache_answers_total{state=hit}"] == 1
        assert samples(served.gateway)["asr_cache_lookups_total{outcome=hit,store=memory}"] == 1
        assert samples(served.gateway)["asr_cache_lookups_total{outcome=miss,store=memory}"] == 1
        assert samples(served.gateway)["asr_cache_bytes{store=memory}"] > 0


async def test_two_files_of_one_name_are_two() -> None:
    async with upstream(answers()) as up, serving(kept({"up": up.url})) as served:
        texts = {(await served.openai(file)).body["text"] for file in (WAV, FLAC, WAV)}
        assert (len(up.calls), len(texts)) == (2, 2)


async def test_another_question_is_another_answer() -> None:
    """What the provider was not told may not be answered from what it was."""
    async with upstream(answers()) as up, serving(kept({"up": up.url})) as served:
        for query in ("", "?num_beams=2", "?num_beams=3", "?top_k=1", "?num_beams=2"):
            assert (await served.post(f"/models/{MODEL}{query}")).status == 200
        assert len(up.calls) == 4


async def test_directives_are_heard() -> None:
    async with upstream(answers()) as up, serving(kept({"up": up.url})) as served:

        async def ask(directives: str) -> tuple[int, str, int]:
            before = len(up.calls)
            told = await served.post(**{"Cache-Control": directives})
            return told.status, told.headers.get("X-Gateway-Cache", ""), len(up.calls) - before

        assert await ask("only-if-cached") == (504, "", 0)
        assert await ask("no-store") == (200, "bypass", 1)
        assert await ask("only-if-cached") == (504, "", 0), "nothing was kept"
        assert await ask("no-cache") == (200, "bypass", 1)
        assert await ask("only-if-cached") == (200, "hit", 0), "it was kept"
        assert await ask("max-age=60") == (200, "hit", 0)
        assert await ask("max-age=0") == (200, "miss", 1)
        assert await ask("no-cache") == (200, "bypass", 1)
        assert await ask("no-transform") == (200, "hit", 0)


async def test_what_is_not_cached_is_said_in_the_callers_dialect() -> None:
    async with (
        upstream(answers()) as up,
        serving(kept({"up": up.url}), **{"Cache-Control": "only-if-cached"}) as served,
    ):
        for told in (await served.post(), await served.openai()):
            assert (told.status, told.type, told.headers["x-should-retry"]) == (504, "not-cached", "false")


async def test_an_error_is_not_kept() -> None:
    async with upstream(answers(500)) as up, serving(kept({"up": up.url})) as served:
        assert (await served.post()).status == 502
        up.act = answers()
        assert [state(await served.post()) for _ in range(2)] == ["miss", "hit"]


async def test_dice_are_thrown_again() -> None:
    async with upstream(answers()) as up, serving(kept({"up": up.url})) as served:
        for query in ("?temperature=0.7", "?do_sample=true"):
            told = [await served.post(f"/models/{MODEL}{query}") for _ in range(2)]
            assert [state(each) for each in told] == ["bypass", "bypass"]
        assert len(up.calls) == 4
        only = await served.post(f"/models/{MODEL}?temperature=0.7", **{"Cache-Control": "only-if-cached"})
        assert only.status == 504
        sure = [await served.post(f"/models/{MODEL}?temperature=0&do_sample=false") for _ in range(2)]
        assert [state(each) for each in sure] == ["miss", "hit"]


async def test_dice_are_kept_where_configured() -> None:
    async with upstream(answers()) as up, serving(kept({"up": up.url}, {"sampled": True})) as served:
        told = [await served.post(f"/models/{MODEL}?temperature=0.7") for _ in range(2)]
        assert [state(each) for each in told] == ["miss", "hit"]


@pytest.mark.parametrize(("scope", "states"), [("caller", ["miss", "miss", "hit"]), ("shared", ["miss", "hit", "hit"])])
async def test_each_key_has_its_own_answers_unless_they_are_shared(scope: str, states: list[str]) -> None:
    keys = KEYS.model_copy(update={"keys": tuple(each.model_copy(update={"models": ("*",)}) for each in KEYS.keys)})
    async with upstream(answers()) as up, serving(kept({"up": up.url}, {"scope": scope}, auth=keys)) as served:
        told = [
            await served.post(Authorization=f"Bearer {key}") for key in ("hf_gw_newsroom", "hf_gw_other", "hf_gw_other")
        ]
        assert [state(each) for each in told] == states


async def test_a_stale_answer_is_better_than_none_and_says_so() -> None:
    """Trial F12: every deployment is down, and the answer's time is over."""
    short = {"ttl": "50ms", "stale_for": "1h"}
    async with upstream(answers()) as up, serving(kept({"up": up.url}, short)) as served:
        fresh = await served.post()
        await asyncio.sleep(0.06)
        up.act = answers(500)
        stale = await served.post()
        assert (stale.status, state(stale), stale.body) == (200, "stale", fresh.body)
        assert stale.headers["Age"] == "0"
        assert served.line_of(stale)["cache"] == "stale"
        refused = [
            await served.post(**{"Cache-Control": each}) for each in ("max-age=60", "no-cache", "only-if-cached")
        ]
        assert [each.status for each in refused] == [502, 502, 504]
        up.act = answers()
        assert state(await served.post()) == "miss"


async def test_without_time_for_stale_ones_there_are_none() -> None:
    async with upstream(answers()) as up, serving(kept({"up": up.url}, {"ttl": "50ms", "stale_for": "0s"})) as served:
        await served.post()
        await asyncio.sleep(0.06)
        up.act = answers(500)
        assert (await served.post()).status == 502


async def test_a_reload_does_not_answer_for_another_model() -> None:
    async with upstream(answers()) as up, serving(kept({"one": up.url})) as served:
        await served.post()
        await served.gateway.adopt(kept({"two": up.url}))
        told = await served.post()
        assert (state(told), told.headers["X-Gateway-Provider"]) == ("miss", "two")
        await served.gateway.adopt(kept({"one": up.url}))
        told = await served.post()
        assert (state(told), told.headers["X-Gateway-Provider"]) == ("hit", "one")


async def test_a_pinned_path_is_answered_by_its_account() -> None:
    async with (
        upstream(answers()) as one,
        upstream(answers()) as two,
        serving(kept({"one": one.url, "two": two.url})) as served,
    ):
        await served.post()
        told = await served.post(f"/two/models/{MODEL}")
        assert (state(told), told.headers["X-Gateway-Provider"]) == ("miss", "two")


async def test_none_keeps_nothing() -> None:
    async with upstream(answers()) as up, serving(kept({"up": up.url}, {"store": "none"})) as served:
        told = [await served.post() for _ in range(2)]
        assert ([state(each) for each in told], len(up.calls)) == (["bypass", "bypass"], 2)
        assert (await served.post(**{"Cache-Control": "only-if-cached"})).status == 504
