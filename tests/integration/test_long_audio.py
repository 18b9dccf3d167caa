"""Recordings longer than a provider takes, through the whole gateway; and real speech across the seams."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import aiohttp
import numpy as np
import pytest
from aiohttp import web
from msgspec.structs import replace

from config.auth import Auth
from config.cache import Cache
from config.long_audio import LongAudio
from config.reliability import Reliability
from config.settings import Route, Target
from config.usage import Usage
from providers.audio.part_limit import PartLimit
from providers.audio.samples import MODEL_RATE_HZ, read_samples
from providers.audio.split import Part, split
from providers.emulators.ear import as_audio
from providers.local.engine import heard
from providers.stitch import stitched
from providers.types import Audio, Container, Timestamps, Transcript, TranscriptionJob
from tests.asking import key
from tests.conftest import encoded, sample, sample_audio, serve, tone, whisper
from tests.contract.test_word_errors import SPOKEN, errors, words
from tests.integration.test_paid_calls import rows_of
from tests.integration.test_single_flight import until
from tests.serving import emulated_account, routed, running
from tests.watching import samples

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

    from gateway.app import Gateway

    Emulate = Callable[..., Awaitable[str]]

MODEL = "gpt-4o-transcribe"  # takes 1400 s
MINUTES = 25
TWO_PARTS_USD = 20 * 0.006


@pytest.fixture(scope="module")
def lecture() -> bytes:
    """Return twenty-five minutes of a tone that grows louder, and in which nobody breathes, in FLAC."""
    whole = tone(MINUTES * 60, 8_000)
    louder = (whole * np.linspace(0.2, 1.0, whole.shape[1])).astype(np.int16)
    return encoded(louder, 8_000, "flac", "flac")


async def test_it_is_asked_for_in_parts_which_the_answer_tells(emulate: Emulate, lecture: bytes) -> None:
    """By the front, the header, the cost and the plan; and kept as a whole."""
    settings = routed("m", {"up": emulated_account("openai", await emulate("openai"))}, f"up/{MODEL}")
    async with running(settings) as (url, _), aiohttp.ClientSession(url) as session:
        async with session.post("/models/m", data=BytesIO(lecture), headers={"X-Gateway-Dry-Run": "true"}) as reply:
            plan = await reply.json()
        async with session.post("/models/m", data=BytesIO(lecture)) as reply:
            told, answer = reply.headers, await reply.json()

    assert reply.status == 200, answer
    assert plan["parts_of_s"] == 600.0
    assert [each["deployment"] for each in plan["candidates"]] == [f"up/{MODEL}"]
    assert told["X-Gateway-Parts"] == told["X-Gateway-Attempts"] == "3"
    assert float(told["X-Audio-Duration"]) == pytest.approx(MINUTES * 60, abs=0.1)
    assert float(told["X-Gateway-Cost"]) == pytest.approx(MINUTES * 0.006, rel=0.01)
    assert answer["text"].count("blake3") == 3  # what each part's bytes digest to
    assert len(set(answer["text"].split())) == 4


async def test_where_the_operator_says_no_it_is_413(emulate: Emulate, lecture: bytes) -> None:
    settings = routed("m", {"up": emulated_account("openai", await emulate("openai"))}, f"up/{MODEL}")
    whole = Route(targets=(Target(target=f"up/{MODEL}", substitute=True),), long_audio=LongAudio(split=False))
    async with (
        running(settings.model_copy(update={"models": {"m": whole}})) as (url, _),
        aiohttp.ClientSession(url) as session,
        session.post("/models/m", data=BytesIO(lecture)) as reply,
    ):
        assert (reply.status, (await reply.json())["type"]) == (413, "too-large")


@dataclass(slots=True)
class Failing:
    """A provider that answers so many calls, and no more: it fails, at once or when it may."""

    answers: int
    calls: int = 0
    may_fail: asyncio.Event | None = None

    async def __call__(self, request: web.Request) -> web.Response:
        await request.read()
        self.calls += 1
        if self.calls <= self.answers:
            return web.json_response({"text": "so"})
        if self.may_fail is not None:
            await self.may_fail.wait()
        return web.json_response({"error": {"message": "no", "type": "server_error", "code": None}}, status=500)


@asynccontextmanager
async def billed(provider: Failing, folder: Path, **cache: Any) -> AsyncIterator[tuple[aiohttp.ClientSession, Gateway]]:
    """Serve with one key, a budget of 10 USD a day and a ledger; parts are asked for one after another."""
    runners = list[web.AppRunner]()
    app = web.Application(client_max_size=1 << 26)
    app.router.add_post("/{rest:.*}", provider.__call__)
    account = emulated_account("openai", await serve(app, runners))
    newsroom = key("newsroom", "hf_gw_newsroom", limits={"usd_per_day": 10})
    route = Route(targets=(Target(target=f"up/{MODEL}", substitute=True),), long_audio=LongAudio(parallel=1))
    settings = routed("m", {"up": account}, f"up/{MODEL}").model_copy(
        update={
            "models": {"m": route},
            "auth": Auth.model_validate({"mode": "keys", "keys": [newsroom]}),
            "usage": Usage(store="sqlite", path=folder / "usage.sqlite"),
            "reliability": Reliability.model_validate({"retries": {"limit": 0}}),
            "cache": Cache.model_validate(cache or {"store": "none"}),
        }
    )
    bearer = {"Authorization": "Bearer hf_gw_newsroom"}
    async with running(settings) as (url, gateway), aiohttp.ClientSession(url, headers=bearer) as session:
        yield session, gateway
    await runners[0].cleanup()


async def sent(session: aiohttp.ClientSession, body: bytes) -> tuple[int, Mapping[str, str]]:
    async with session.post("/models/m", data=BytesIO(body)) as reply:
        await reply.read()
        return reply.status, reply.headers


def left_cents(headers: Mapping[str, str]) -> int:
    """Return what is left of the budget."""
    found = re.search(r'"budget-per-day";r=(\d+)', headers["RateLimit"])
    assert found
    return int(found[1])


async def test_parts_that_were_heard_before_another_fails_are_accounted_for(lecture: bytes, tmp_path: Path) -> None:
    """In the ledger, in the metrics and on the caller's budget; the third of three has no answer."""
    provider = Failing(answers=2)
    async with billed(provider, tmp_path) as (session, gateway):
        assert (await sent(session, lecture))[0] == 502
        seen = samples(gateway)
        provider.answers = 1_000
        left = left_cents((await sent(session, sample("slushy.wav")))[1])

    row = (await rows_of(tmp_path))[0]
    assert (row.outcome, row.deployment, row.key) == ("all-failed", f"up/{MODEL}", "newsroom")
    assert row.cost_usd == pytest.approx(TWO_PARTS_USD, rel=0.05)
    assert row.billed_s == pytest.approx(1200.0, rel=0.05)
    assert seen[f"asr_cost_usd_total{{deployment=up/{MODEL}}}"] == pytest.approx(row.cost_usd)
    assert seen["asr_caller_cost_usd_total{caller=newsroom}"] == pytest.approx(row.cost_usd)
    assert left == int((10 - TWO_PARTS_USD) * 100)


async def test_they_are_too_where_the_caller_leaves_and_nothing_would_be_kept(lecture: bytes, tmp_path: Path) -> None:
    """So is the part that was out, and sent to its end: it is billed."""
    may_fail = asyncio.Event()
    provider = Failing(answers=2, may_fail=may_fail)
    async with billed(provider, tmp_path) as (session, gateway):
        leaving = asyncio.create_task(sent(session, lecture))  # noqa: TID251 - cancelled below
        await until(lambda: provider.calls == 3)
        leaving.cancel()
        await until(lambda: samples(gateway)["asr_requests_in_flight{}"] == 0)
        may_fail.set()

    (row,) = await rows_of(tmp_path)
    assert (row.outcome, row.deployment, row.key) == ("cancelled", f"up/{MODEL}", "newsroom")
    assert row.cost_usd == pytest.approx(MINUTES * 0.006, rel=0.05)


async def test_they_are_too_where_an_older_answer_is_given_after_all(lecture: bytes, tmp_path: Path) -> None:
    provider = Failing(answers=5)
    async with billed(provider, tmp_path, store="memory", ttl="50ms", stale_for="1h") as (session, _):
        _, first = await sent(session, lecture)
        await asyncio.sleep(0.1)
        status, stale = await sent(session, lecture)

    assert (status, stale["X-Gateway-Cache"], provider.calls) == (200, "stale", 6)
    rows = await rows_of(tmp_path)
    assert [each.outcome for each in rows] == ["ok", "ok"]
    assert rows[1].cost_usd == pytest.approx(TWO_PARTS_USD, rel=0.05)
    assert left_cents(first) - left_cents(stale) == pytest.approx(TWO_PARTS_USD * 100, abs=1)


def recording() -> tuple[Audio, list[str]]:
    """Return the bundled English speech as one recording, half a second between clips, and its words."""
    once = {text: name for name, text in map(_named, SPOKEN)}  # one file of those that hold the same
    pause = np.zeros(MODEL_RATE_HZ // 2, np.float32)
    clips = [read_samples(sample_audio(name).content, max_duration_s=60) for name in once.values()]
    whole = np.concatenate([samples for clip in clips for samples in (clip, pause)])
    pcm = (whole.clip(-1, 1) * 32_767).astype(np.int16)[np.newaxis]
    audio = replace(as_audio(encoded(pcm, MODEL_RATE_HZ, "flac", "flac")), duration_s=len(whole) / MODEL_RATE_HZ)
    return audio, [word for text in once for word in words(text)]


def _named(parameter: object) -> tuple[str, str]:
    name, text = parameter.values  # type: ignore[attr-defined] # of pytest.param
    return name, text


def heard_in(audio: Audio) -> Transcript:
    job = TranscriptionJob(model="m", audio=audio, timestamps=Timestamps.WORD)
    return heard(whisper(), job)


@pytest.mark.parametrize("longest_s", [20, 30])
def test_no_word_is_lost_or_doubled_at_a_seam(longest_s: float) -> None:
    """Real speech through a real model: in parts hardly more words are wrong than in the whole, and times run on."""
    audio, said = recording()
    in_whole = heard_in(audio)
    parts: list[Part] = split(audio, Container.FLAC, limit=PartLimit(longest_s=longest_s), max_duration_s=3600)
    try:
        in_parts = stitched([(part.start_s, heard_in(part.audio)) for part in parts])
    finally:
        for part in parts:
            part.audio.content.close()

    assert len(parts) >= 4
    assert errors(said, words(in_whole.text)) == 0
    assert errors(said, words(in_parts.text)) <= 3  # of 275: a word lost or doubled at each seam would be more
    starts_s = [word.start_s for word in in_parts.words]
    assert starts_s == sorted(starts_s)
    assert in_parts.duration_s == pytest.approx(audio.duration_s, abs=0.01)
