"""Trial M3: mixed traffic before upstreams that break, for long. `make soak` runs it for half an hour."""

from __future__ import annotations

import asyncio
import os
import re
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import pytest

from tests.asking import key
from tests.chaos.load import MODEL, Client, gauges_at_rest, metrics
from tests.chaos.slope import Held, Slope, Watched, descriptors, held, slope
from tests.chaos.traffic import CALLER, FRAIL, LIMITED, Traffic
from tests.chaos.upstream import (
    Call,
    Upstream,
    answers,
    answers_early,
    hangs,
    resets_before_the_reply,
    resets_within_the_body,
    resets_within_the_reply,
    upstream,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chaos.conftest import Report, Start
    from tests.program import Program

MINUTES: Final = float(os.environ.get("ASR_SOAK_MINUTES", "0"))
PER_S: Final = float(os.environ.get("ASR_SOAK_PER_S", "100" if MINUTES else "25"))
SECONDS: Final = 60 * MINUTES or 40.0
WARM_UP_S: Final = min(300.0, SECONDS / 3)  # bounded stores are full by then, and every helper has been started
SHORT: Final = MINUTES < 10
ADMIN: Final = "hf_gw_planted_admin"
SECRETS: Final = re.compile(r"planted|blake3 [0-9a-f]{8}")  # keys, audio, transcripts, names that callers make up
_SETTLED_WITHIN_S: Final = 60.0


def faults(chance: Random, share: float) -> Any:
    """Answer with the digest, or, as often as said, in a way that is none."""
    text = {"error": "planted trouble"}
    bad = (
        answers(500, text),
        answers(503, b"<html>planted</html>"),
        answers_early(503, text),
        answers(429, text, headers={"Retry-After-Ms": "300"}),
        answers_early(429, text, headers={"Retry-After": "1"}),
        answers(200, b"<html>planted</html>"),
        answers(200, {"no": "text"}),
        resets_before_the_reply,
        resets_within_the_body,
        resets_within_the_reply,
        hangs,
    )

    async def act(call: Call) -> None:
        if chance.random() < share:
            await chance.choice(bad)(call)
            return
        await call.hear()
        await asyncio.sleep(chance.random() ** 4 * 0.4)  # most at once, some so late that a hedge joins
        call.writer.write(call.reply(body={"text": f"blake3 {call.digest} planted"}))

    return act


def sections(urls: dict[str, str], folder: Path) -> dict[str, Any]:
    """Return what is configured besides: keys with limits, bounds that are reached within minutes."""
    ample = {"requests_per_minute": 1_000_000, "audio_seconds_per_hour": 100_000_000, "concurrent": 2000}
    keys = [
        key("caller", CALLER, limits={**ample, "usd_per_day": 1_000_000}),
        key("limited", LIMITED, limits={"requests_per_minute": 20, "concurrent": 2}),
        key("admin", ADMIN, role="admin"),
    ]
    account = {"api_key": "planted_provider_key"}
    return {
        "providers": {
            "a": {**account, "adapter": "hf-inference", "base_url": urls["a"]},
            "b": {**account, "adapter": "openai-compatible", "base_url": urls["b"]},
            "c": {**account, "adapter": "hf-inference", "base_url": urls["c"]},
        },
        "models": {
            MODEL: {"targets": [_target("a", 0.01), _target("b"), _target("c")], "hedge_after": "300ms"},
            FRAIL: {"targets": [_target("a")]},
        },
        "auth": {"mode": "keys", "keys": [each.model_dump(mode="json", exclude_none=True) for each in keys]},
        "server": {"max_upload": "4MB", "spool": {"directory": str(folder)}},
        "cache": {"store": "memory", "max_bytes": "1MiB"},
        "usage": {"store": "sqlite", "path": str(folder / "usage.sqlite"), "max_rows": 1000},
        "reliability": {
            "attempt_timeout": {"base": 4, "per_audio_second": 0},
            "breakers": {"probe_after": "500ms", "park_max": "1s", "consecutive": 10},
            "retries": {"base": "50ms", "floor": 100},
        },
    }


def _target(account: str, usd_per_minute: float | None = None) -> dict[str, Any]:
    price = {} if usd_per_minute is None else {"usd_per_minute": usd_per_minute}
    return {"target": f"{account}/whisper", "substitute": True, **price}


async def _settled(
    served: Program, ups: list[Upstream], at_most: tuple[int, float] | None = None
) -> tuple[Held, float]:
    """Return what is held, and how many tasks there are, when nobody asks and no connection is kept.

    at_most: descriptors and tasks to wait for.
    """
    clock = asyncio.get_running_loop().time
    until = clock() + _SETTLED_WITHIN_S
    headers = {"Authorization": f"Bearer {ADMIN}"}
    while True:
        for each in ups:
            each.hang_up()
        async with aiohttp.ClientSession(headers=headers) as session:
            operator = Client(served.url, session)
            await gauges_at_rest(operator)
            tasks = (await metrics(operator))["asr_tasks"]
        now = held(served, clock())
        is_back = at_most is None or (now.descriptors <= at_most[0] and tasks <= at_most[1])
        if is_back or clock() > until:
            return now, tasks
        await asyncio.sleep(0.25)


async def _run(traffic_of: aiohttp.ClientSession, served: Program, chance: Random, seconds: float) -> Traffic:
    traffic = Traffic(served.url, traffic_of, chance)
    await traffic.at_rate(PER_S, seconds)
    return traffic


@pytest.mark.timeout(SECONDS * 1.5 + 300)
async def test_m3_mixed_traffic_for_long(start: Start, report: Report, tmp_path: Path) -> None:
    chance = Random(11)  # noqa: S311 - which request comes next
    async with (
        upstream(faults(chance, 0.15)) as a,
        upstream(faults(chance, 0.15)) as b,
        upstream(faults(chance, 0.0)) as c,
    ):
        ups, urls = [a, b, c], {"a": a.url, "b": b.url, "c": c.url}
        async with start(urls, **sections(urls, tmp_path)) as (served, _):
            watched = Watched(served)
            watching = asyncio.get_running_loop().create_task(watched.watch())
            runs = []
            for seconds in (WARM_UP_S, SECONDS - WARM_UP_S):
                async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
                    runs.append(await _run(session, served, chance, seconds))
                if len(runs) == 1:
                    before, tasks_before = await _settled(served, ups)
            before_end = watched.since(before.at)
            after, tasks_after = await _settled(served, ups, (before.descriptors, tasks_before))
            left = Counter(descriptors(served))
            watching.cancel()
            calls = sum(len(each.calls) for each in ups)
    counts = sum((each.counts for each in runs), Counter[tuple[str, object]]())
    wrong = [each for run in runs for each in run.wrong]
    _show(report, counts, before_end, (before, tasks_before), (after, tasks_after), calls)
    assert not wrong, wrong[:20]
    unserved = sum(run.unserved for run in runs) / sum(counts.values())
    report("M3", f"{unserved:.2%} were not served although they could be", "0.1 %")
    assert unserved < (0.2 if SHORT else 0.001)  # beside other tests an attempt may take longer than it may
    assert after.descriptors <= before.descriptors, left
    assert tasks_after <= tasks_before
    _assert_told_well(served, {each for run in runs for each in run.failed}, sum(counts.values()))
    if SHORT:  # too little for a slope: what it holds at rest is told twice
        assert after.anonymous - before.anonymous < 25e6
    else:
        grown = _slopes(before_end)["resident"]
        assert grown.per_hour - grown.give_or_take < 1e6


def _slopes(log: list[Held]) -> dict[str, Slope]:
    at = [each.at for each in log]
    return {
        "resident": slope(at, [each.resident for each in log]),
        "anonymous": slope(at, [each.anonymous for each in log]),
    }


def _show(
    report: Report,
    counts: Counter[tuple[str, object]],
    log: list[Held],
    before: tuple[Held, float],
    after: tuple[Held, float],
    calls: int,
) -> None:
    slopes = _slopes(log)
    kinds = Counter[str]()
    for (_, outcome), count in counts.items():
        kinds[str(outcome)] += count
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in sorted(kinds.items()))
    report("M3", f"{sum(kinds.values())} requests in {SECONDS:.0f} s, {calls} calls: {outcomes}", "no cross-talk")
    quarter = len(log) // 4
    parts = [max(each.anonymous for each in log[i * quarter : (i + 1) * quarter]) / 1e6 for i in range(4)]
    report("M3", f"RSS {slopes['resident'].in_megabytes()}; anonymous {slopes['anonymous'].in_megabytes()}", "< 1 MB/h")
    report("M3", f"highest anonymous by quarters {', '.join(f'{each:.1f}' for each in parts)} MB", "level")
    report(
        "M3",
        f"descriptors {before[0].descriptors} then {after[0].descriptors}, tasks {before[1]:g} then {after[1]:g}, "
        f"anonymous {before[0].anonymous / 1e6:.1f} then {after[0].anonymous / 1e6:.1f} MB at rest",
        "back to the start",
    )


def _assert_told_well(served: Program, failed: set[str], requests: int) -> None:
    """Check that the log has a cause for each 5xx, and nothing that callers or upstreams said."""
    told = "".join(served.written)
    assert SECRETS.findall(told) == []
    assert told.count('"event":"request"') + told.count('"event": "request"') > requests * 0.8
    assert failed <= {line.get("request_id") for line in served.lines if line.get("cause")}
