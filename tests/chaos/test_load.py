"""Large uploads, many who wait, more than there is capacity for, a full disk, a clock that jumps."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from contextlib import asynccontextmanager
from dataclasses import replace  # noqa: TID251 - of a dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.chaos.conftest import FULL, Report, Start
from tests.chaos.load import check, metrics, quantile, status_of, utterance
from tests.chaos.test_drain import free_port, listens
from tests.chaos.upstream import answers, upstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MB = 1_000_000
BESIDE = """
user root; worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_max_body_size 200m;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream up {{ server {upstream}; keepalive 8; }}
  server {{ listen 127.0.0.1:{port};
    location / {{ proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; }} }}
}}
"""


@asynccontextmanager
async def nginx_before(url: str, folder: Path) -> AsyncIterator[str]:
    """Run nginx as it comes: it spools a body, then sends it on."""
    port = await free_port()
    file = folder / "beside.conf"
    text = BESIDE.format(folder=folder, upstream=url.removeprefix("http://"), port=port)
    await asyncio.to_thread(file.write_text, text)
    process = await asyncio.create_subprocess_exec("nginx", "-p", folder, "-c", file, stderr=asyncio.subprocess.DEVNULL)
    try:
        while not await listens(port):
            assert process.returncode is None, "nginx did not start"
            await asyncio.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.parametrize("size", [1 * MB, 10 * MB, 100 * MB] if FULL else [1 * MB, 10 * MB])
async def test_l4_large_uploads_beside_nginx(start: Start, report: Report, tmp_path: Path, size: int) -> None:
    """The same upload to the same service, in turns, through each of the two."""
    rounds = 9 if FULL else 3
    adapter = "hf-inference" if size < 25 * MB else "openai-compatible"  # that service takes no more
    async with (
        upstream(answers()) as a,
        start({"a": a.url}, adapter=adapter) as (running, client),
        nginx_before(a.url, Path(tempfile.mkdtemp(dir=tmp_path))) as nginx,
    ):
        beside = replace(client, url=nginx, log=[])
        ours: list[float] = []
        theirs: list[float] = []
        for _ in range(rounds):
            audio = utterance(size)
            ours.append((await client.ask(audio)).seconds)
            theirs.append((await beside.ask(audio)).seconds)
        assert [told.status for told in client.log + beside.log] == [200] * 2 * rounds
        ratio = statistics.median(ours) / statistics.median(theirs)
        report(
            "L4",
            f"{size // MB} MB: {statistics.median(ours) * 1000:.0f} ms, "
            f"nginx {statistics.median(theirs) * 1000:.0f} ms: {ratio:.2f} x",
            "<= 1.3 x",
        )
        await check(client, running, [], attempts=1)


async def test_l5_many_who_wait(start: Start, report: Report) -> None:
    """Small uploads are kept in memory: 32 KB of what each costs is its own."""
    count, wait_s = (1000, 5.0) if FULL else (200, 1.0)
    async with upstream(answers(after_s=wait_s)) as a, start({"a": a.url}) as (running, client):
        await asyncio.gather(*(client.ask() for _ in range(20)))
        before = running.memory_bytes("VmRSS")
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(client.ask()) for _ in range(count)]
            while len(a.open) < count and not all(each.done() for each in asked):  # noqa: ASYNC110 - from outside
                await asyncio.sleep(0.02)
            waiting, during = len(a.open), running.memory_bytes("VmRSS")
        each_kb = (during - before) / count / 1000
        good = sum(told.result().status == 200 for told in asked)
        report(
            "L5",
            f"{good} of {count} good, {waiting} waiting at once, {each_kb:.0f} KB each, 32 KB of it the upload",
            "0 errors, < 60 KB and the upload",
        )
        assert (good, waiting) == (count, count)
        await check(client, running, [a], attempts=1)


async def test_l6_three_times_the_capacity(start: Start, report: Report) -> None:
    """Ten places of a tenth of a second: a hundred a second. Three hundred come."""
    places, takes_s, seconds = 10, 0.1, 10.0 if FULL else 3.0
    capacity = places / takes_s
    async with (
        upstream(answers(after_s=takes_s)) as a,
        start({"a": a.url}, route={"targets": [_limited("a/whisper", places)]}) as (running, client),
    ):
        alone = await client.at_rate(capacity * 0.5, 2.0, 8000)
        peak = await client.at_rate(capacity * 0.95, seconds, 8000)
        told = await client.at_rate(3 * capacity, seconds, 8000)
        good = [each for each in told if each.status == 200]
        shed = [each for each in told if each.status == 429]
        assert len(good) + len(shed) == len(told)
        assert {each.body["type"] for each in shed} == {"overloaded"}
        assert all(int(each.headers["Retry-After"]) >= 1 for each in shed)
        lasted_s = max(each.sent_at + each.seconds for each in told) - told[0].sent_at
        at_peak = sum(each.status == 200 for each in peak) / seconds
        goodput = len(good) / lasted_s
        p99_alone, p99 = (
            quantile([each.seconds for each in some if each.status == 200], 0.99) for some in (alone, good)
        )
        p50_shed, p99_shed = (quantile([each.seconds for each in shed], q) for q in (0.5, 0.99))
        report(
            "L6",
            f"goodput {goodput:.0f}/s of {at_peak:.0f}/s at peak ({goodput / at_peak:.0%}); shed p50 "
            f"{p50_shed * 1000:.1f} ms, p99 {p99_shed * 1000:.1f} ms; p99 of accepted {p99 / p99_alone:.2f} x",
            "shed < 10 ms, goodput >= 90 %, p99 < 2 x",
        )
        assert goodput >= (0.7 if FULL else 0.2) * at_peak  # beside other tests, capacity is what they leave
        assert a.most_at_once <= places
        await check(client, running, [a], attempts=1)


def _limited(target: str, places: int) -> dict[str, object]:
    return {"target": target, "substitute": True, "max_concurrent": places}


async def test_more_than_the_process_takes_is_shed_before_it_is_read(start: Start) -> None:
    async with (
        upstream(answers(after_s=1.0)) as a,
        start({"a": a.url}, server={"max_in_flight": 5}) as (running, client),
    ):
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(client.ask()) for _ in range(5)]
            while len(a.open) < 5:  # noqa: ASYNC110 - seen from outside
                await asyncio.sleep(0.01)
            shed = await client.ask(utterance(20 * MB))
            assert (shed.status, shed.body["type"], shed.headers["Connection"]) == (429, "overloaded", "close")
            assert (await metrics(client))['asr_problems_total{type="overloaded"}'] == 1  # operators are always heard
        assert {each.result().status for each in asked} == {200}
        await check(client, running, [a], attempts=1)


@pytest.mark.parametrize("how", ["full", "gone"])
async def test_f17_no_room_on_the_disk(start: Start, report: Report, tmp_path: Path, how: str) -> None:
    """Large uploads are refused; small ones need no disk; nothing ends, and an alarm can be set on it."""
    folder = tmp_path / "spool"
    folder.mkdir()
    full = ("prlimit", "--fsize=2000000") if how == "full" else ()
    spool = {"spool": {"directory": str(folder), "memory_per_upload": "64KiB"}}
    async with upstream(answers()) as a, start({"a": a.url}, server=spool, command=full) as (running, client):
        if how == "gone":
            folder.rmdir()
        large = [await client.ask(utterance(4 * MB)) for _ in range(5)]
        small = [await client.ask() for _ in range(5)]
        assert {(each.status, each.body["type"]) for each in large} == {(507, "spool-full")}
        assert {each.status for each in small} == {200}
        alarm = (await metrics(client))['asr_problems_total{type="spool-full"}']
        assert alarm == 5
        report(
            "F17",
            f"{how}: 5 of 5 large 507, 5 of 5 small 200, asr_problems_total{{spool-full}} = {alarm:g}",
            "507, no crash",
        )
        await check(replace(client, log=small), running, [a], attempts=1)


def _faketime() -> Path:
    (library,) = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
    return library


async def test_f18_the_clock_jumps(start: Start, report: Report, tmp_path: Path) -> None:
    """An hour on and two back: who is parked stays parked for as long, and nobody waits the less or the more."""
    clock = tmp_path / "offset"
    await asyncio.to_thread(clock.write_text, "+0\n")
    faked = (
        "env",
        f"LD_PRELOAD={_faketime()}",
        f"FAKETIME_TIMESTAMP_FILE={clock}",
        "FAKETIME_NO_CACHE=1",
        "FAKETIME_DONT_FAKE_MONOTONIC=1",
    )
    refusal = answers(429, {"error": "slow"}, headers={"Retry-After": "60"})
    async with (
        upstream(refusal) as a,
        upstream(answers(after_s=0.2)) as b,
        start({"a": a.url, "b": b.url}, command=faked) as (running, client),
    ):
        await client.ask()
        left_s: list[float] = []
        for offset in ("+3600", "-3600", "+0"):
            async with asyncio.TaskGroup() as group:
                asked = [group.create_task(client.ask()) for _ in range(10)]
                await asyncio.sleep(0.1)
                await asyncio.to_thread(clock.write_text, f"{offset}\n")
            assert {each.result().status for each in asked} == {200}
            assert max(each.result().seconds for each in asked) < 2
            told = await status_of(client, "a/whisper")
            left_s.append(float(str(told["again_in_s"])))
        assert len(a.calls) == 1
        assert sorted(left_s, reverse=True) == left_s
        assert 50 < left_s[-1] < left_s[0] <= 60
        hours = {str(line["time"])[11:13] for line in running.lines if line["event"] == "request"}
        assert len(hours) >= 3, "the clock did not jump"
        await check(client, running, [a, b], attempts=2)
        report(
            "F18",
            f"31 of 31 good over jumps of +1 h, -2 h, +1 h; parked for {left_s[0]:.1f} s, then {left_s[-1]:.1f} s",
            "no expiry, no negative wait",
        )


async def test_a_client_that_only_waits_costs_nothing_else(start: Start) -> None:
    """Health answers at once while a thousand wait."""
    async with upstream(answers(after_s=1.0)) as a, start({"a": a.url}) as (running, client):
        async with asyncio.TaskGroup() as group:
            for _ in range(100):
                group.create_task(client.ask())
            while len(a.open) < 100:  # noqa: ASYNC110 - seen from outside
                await asyncio.sleep(0.01)
            async with aiohttp.ClientSession() as fresh, fresh.get(f"{client.url}/health/live") as reply:
                assert reply.status == 200
            assert len(a.open) == 100, "it waited for the others"
        await check(client, running, [a], attempts=1)
