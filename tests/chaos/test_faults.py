"""Faults that must be survived, a fallback being configured. The names are the trials'."""

from __future__ import annotations

import asyncio
import statistics
import time
from email.utils import formatdate
from pathlib import Path

import pytest

from tests.chaos.conftest import FULL, Report, Start
from tests.chaos.load import Client, check, metrics, quantile, status_of, utterance
from tests.chaos.upstream import (
    Act,
    Call,
    answers,
    byte_by_byte,
    hangs,
    never_listens,
    refused,
    resets_before_the_reply,
    resets_within_the_body,
    resets_within_the_reply,
    slow_ears,
    upstream,
)

DOWN = answers(500, {"error": "internal"})


@pytest.mark.parametrize("how", ["refused", "no such name"])
async def test_f1_nobody_listens(start: Start, report: Report, how: str) -> None:
    """The first requests meet it, before the breaker knows."""
    first = await refused() if how == "refused" else "http://nowhere.invalid"
    async with upstream(answers()) as b, start({"a": first, "b": b.url}) as (program, client):
        hit = [await client.ask() for _ in range(5)]
        passed_over = [await client.ask() for _ in range(20)]
        assert [told.attempts for told in hit] == [2] * 5
        assert [told.attempts for told in passed_over] == [1] * 20
        added_s = statistics.median(told.seconds for told in hit) - statistics.median(t.seconds for t in passed_over)
        report("F1", f"{how}: added {added_s * 1000:.1f} ms at the median of the first 5", "< 50 ms")
        await check(client, program, [b], attempts=2)


@pytest.mark.parametrize("act", [hangs, never_listens], ids=["silence", "deaf"])
async def test_f2_accepts_and_says_nothing(start: Start, report: Report, act: Act) -> None:
    limit = {"attempt_timeout": {"base": 0.5, "per_audio_second": 0}}
    async with (
        upstream(act) as a,
        upstream(answers()) as b,
        start({"a": a.url, "b": b.url}, reliability=limit) as (program, client),
    ):
        # Larger than what a socket takes in: a service that does not read holds the sender up.
        told = [await client.ask(utterance(8_000_000)) for _ in range(5)]
        assert [(each.provider, each.attempts) for each in told] == [("b", 2)] * 5
        assert (await client.ask()).attempts == 1
        plain_s = statistics.median([(await client.ask(utterance(8_000_000))).seconds for _ in range(5)])
        over_s = statistics.median(each.seconds for each in told) - plain_s - 0.5
        report("F2", f"{act.__name__}: {over_s * 1000:.1f} ms beyond A's attempt timeout", "< 50 ms")
        await check(client, program, [b], attempts=2)


@pytest.mark.parametrize("act", [resets_before_the_reply, resets_within_the_reply, resets_within_the_body])
@pytest.mark.parametrize("size", [32_000, 4_000_000])
async def test_f3_reset(start: Start, report: Report, act: Act, size: int) -> None:
    """The body is sent to B from its first byte; from the spool file where it is large."""
    async with upstream(act) as a, upstream(answers()) as b, start({"a": a.url, "b": b.url}) as (program, client):
        for _ in range(3):
            told = await client.ask(utterance(size))
            assert (told.status, told.provider, told.attempts) == (200, "b", 2)
        await check(client, program, [a, b], attempts=2)
        assert [call.digest for call in b.calls] == [told.digest for told in client.log]
        report("F3", f"{act.__name__}, {size} bytes: 3 of 3 from B, byte for byte", "200 from B, identical")


_PARKED_S = {"seconds": 2.0, "date": 2.0, "milliseconds": 2.0, "negative": 1.0, "ten years": 3.0}


def _asks_for(form: str) -> dict[str, str]:
    """Return the headers of a 429. A date has whole seconds, so that it asks for one to two."""
    return {
        "seconds": {"Retry-After": "2"},
        "date": {"Retry-After": formatdate(time.time() + 2, usegmt=True)},  # noqa: TID251 - a date of this world
        "milliseconds": {"Retry-After-Ms": "2000"},
        "negative": {"Retry-After": "-5"},
        "ten years": {"Retry-After": "315360000"},
    }[form]


@pytest.mark.parametrize("form", list(_PARKED_S))
async def test_f6_rate_limited(start: Start, report: Report, form: str) -> None:
    """B at once; A left alone until it said; then one probe at a time."""
    limited_until = 0.0

    async def limited(call: Call) -> None:
        if call.at < limited_until:
            await answers(429, {"error": "slow down"}, headers=_asks_for(form))(call)
        else:
            await answers(after_s=0.3)(call)

    parking = {"breakers": {"rate_limited": "1s", "park_max": "3s"}}
    async with (
        upstream(limited) as a,
        upstream(answers()) as b,
        start({"a": a.url, "b": b.url}, reliability=parking) as (program, client),
    ):
        clock = asyncio.get_running_loop().time
        limited_until = clock() + 0.5
        told = await client.ask()
        assert (told.provider, told.attempts) == ("b", 2)
        parked_at = clock()
        assert (await status_of(client, "a/whisper"))["why"] == "rate-limited"
        await client.at_rate(40, _PARKED_S[form] + 1.5)
        back_s = a.calls[1].at - parked_at
        assert all(told.status == 200 for told in client.log)
        probe = a.calls[1]
        assert probe.ended_at is not None
        during = [call for call in a.calls[2:] if call.at < probe.ended_at]
        assert during == [], "more than one probe"
        at_least_s = _PARKED_S[form] - (1.1 if form == "date" else 0.05)
        assert at_least_s <= back_s < _PARKED_S[form] + 1
        report(
            "F6", f"{form}: A asked again after {back_s:.2f} s, 1 probe at a time", f"{_PARKED_S[form]:g} s, <= 1 probe"
        )
        await check(client, program, [a, b], attempts=2)


async def test_f7_broken_for_a_while(start: Start, report: Report) -> None:
    """500 for half a minute, then good again."""
    broken_s, rate, probe_s = (30.0, 50, 5.0) if FULL else (1.5, 40, 0.5)
    mends_at = 0.0

    async def mending(call: Call) -> None:
        await (DOWN if call.at < mends_at else answers())(call)

    rules = {"breakers": {"probe_after": probe_s}}
    async with (
        upstream(mending) as a,
        upstream(answers()) as b,
        start({"a": a.url, "b": b.url}, reliability=rules) as (program, client),
    ):
        clock = asyncio.get_running_loop().time
        await client.at_rate(rate, 0.5)
        mends_at = clock() + broken_s
        told = await client.at_rate(rate, broken_s + 2 * probe_s)
        failures = [call for call in a.calls if call.at < mends_at and call.at >= mends_at - broken_s]
        before_open = [call for call in failures if call.at < failures[0].at + probe_s * 0.9]
        back_s = next(each.sent_at for each in told if each.provider == "a" and each.sent_at > mends_at) - mends_at
        good = sum(each.status == 200 for each in told) / len(told)
        report(
            "F7",
            f"{good:.2%} of {len(told)} good, opened after {len(before_open)} failures, back after {back_s:.2f} s "
            f"(probes every {probe_s:g} s)",
            ">= 99.9 %, <= 5 failures, <= 1 probe interval",
        )
        assert good >= 0.999
        assert len(before_open) <= 5 + 2  # those in flight as it opened
        assert back_s <= probe_s + 1 / rate + 0.25
        await check(client, program, [a, b], attempts=2)


async def test_f8_one_in_twenty_is_slow(start: Start, report: Report) -> None:
    """Hedging takes the tail away and costs a call in twenty."""
    usual_s, rate, seconds = (0.1, 40, 20.0) if FULL else (0.1, 30, 4.0)

    async def sometimes_slow(call: Call) -> None:
        await answers(after_s=usual_s * (10 if call.number % 20 == 19 else 1))(call)

    async with (
        upstream(sometimes_slow) as a,
        upstream(answers(after_s=usual_s)) as b,
        start({"a": a.url, "b": b.url}, route={"hedge_after": "p95"}) as (program, client),
    ):
        await client.at_rate(rate, 2.0)  # until its pace is known
        calls_before = len(a.calls) + len(b.calls)
        told = await client.at_rate(rate, seconds)
        extra = (len(a.calls) + len(b.calls) - calls_before) / len(told) - 1
        p50_s, p99_s = (quantile([each.seconds for each in told], q) for q in (0.5, 0.99))
        report(
            "F8",
            f"p50 {p50_s * 1000:.0f} ms, p99 {p99_s * 1000:.0f} ms ({p99_s / p50_s:.2f} x), {extra:.1%} more calls",
            "p99 <= 2 x p50, <= 5-10 % more calls",
        )
        assert all(each.status == 200 for each in told)
        assert any(each.provider == "b" for each in told), "no hedge ever won"
        assert extra <= 0.15
        if FULL:
            assert p99_s <= 2 * p50_s
        await check(client, program, [a, b], attempts=2)


def _cpu_s(pid: int) -> float:
    """Return the processor time a process has taken, its threads' included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


@pytest.mark.parametrize("way", ["up", "down", "byte by byte"])
async def test_f9_a_trickle(start: Start, report: Report, way: str) -> None:
    """8 KB a second, or one byte at a time: the deadline holds, and nothing spins meanwhile."""
    seconds = 5.0 if FULL else 1.5
    act = {"up": slow_ears(8000), "down": byte_by_byte(0.05), "byte by byte": byte_by_byte(0.001)}[way]
    if way == "byte by byte":  # long enough to last
        long = b" " * 20_000

        async def act(call: Call) -> None:
            await call.hear()
            for byte in call.reply(200, long):
                call.writer.write(bytes((byte,)))
                await call.writer.drain()
                await asyncio.sleep(0.001)

    limit = {"attempt_timeout": {"base": seconds, "per_audio_second": 0}, "breakers": {"consecutive": 1000}}
    async with (
        upstream(act) as a,
        upstream(answers()) as b,
        start({"a": a.url, "b": b.url}, reliability=limit) as (program, client),
    ):
        await client.ask()  # warm
        count = 10
        before_s = _cpu_s(program.process.pid)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(client.ask(utterance(2_000_000))) for _ in range(count)]
        told = [task.result() for task in tasks]
        share = (_cpu_s(program.process.pid) - before_s) / count / seconds
        slowest_s = max(each.seconds for each in told)
        report("F9", f"{way}: {share:.1%} of a core each, all from B after {slowest_s:.2f} s", "< 5 %, deadline held")
        assert [each.provider for each in told] == ["b"] * count
        assert slowest_s < seconds + 2
        await check(client, program, [b], attempts=2)


async def test_f10_audio_that_is_refused(start: Start, report: Report) -> None:
    refusal = answers(400, {"error": "Malformed soundfile: internal words"})
    async with upstream(refusal) as a, upstream(answers()) as b, start({"a": a.url, "b": b.url}) as (program, client):
        for _ in range(10):
            told = await client.ask()
            assert (told.status, told.body["type"]) == (400, "unreadable-audio")
            assert "internal words" not in str(told.body)
        assert (len(a.calls), len(b.calls)) == (10, 0)
        assert (await status_of(client, "a/whisper"))["state"] == "closed"
        report("F10", "10 requests, 10 calls at A, none at B, 400 in our own words, breaker closed", "one call only")
        await check(client, program, [a, b], attempts=1)


@pytest.mark.parametrize(("status", "why"), [(401, "credentials"), (403, "credentials"), (402, "quota")])
async def test_f11_a_key_that_is_dead(start: Start, report: Report, status: int, why: str) -> None:
    refusal = answers(status, {"error": "no"})
    async with upstream(refusal) as a, upstream(answers()) as b, start({"a": a.url, "b": b.url}) as (program, client):
        told = [await client.ask() for _ in range(20)]
        assert [each.provider for each in told] == ["b"] * 20
        assert len(a.calls) == 1
        alarm = (await metrics(client))[f'asr_deployment_away{{deployment="a/whisper",why="{why}"}}']
        assert alarm == 1
        report(
            "F11",
            f"{status}: 20 of 20 from B, 1 call with the dead key, asr_deployment_away = {alarm:g}",
            "never again",
        )
        await check(client, program, [a, b], attempts=2)


@pytest.mark.parametrize(
    ("how", "status", "kind"),
    [
        ("500", 502, "all-failed"),
        ("silence", 504, "deadline"),
        ("429", 429, "rate-limited"),
        ("refused", 502, "all-failed"),
    ],
)
async def test_f12_everybody_is_down(start: Start, report: Report, how: str, status: int, kind: str) -> None:
    act = {
        "500": DOWN,
        "silence": hangs,
        "429": answers(429, {"error": "no"}, headers={"Retry-After": "30"}),
        "refused": DOWN,
    }[how]
    async with upstream(act) as a, upstream(act) as b:
        urls = {"a": await refused(), "b": await refused()} if how == "refused" else {"a": a.url, "b": b.url}
        deadline = {"deadline": {"base": 2.0, "per_audio_second": 0}}
        async with start(urls, server=deadline) as (program, client):
            told = await client.ask()
            assert (told.status, told.body["type"]) == (status, kind)
            assert told.seconds < 2.25
            assert int(told.headers["Retry-After"]) >= 1
            assert told.headers.get("x-should-retry") == (None if status == 429 else "false")
            while told.status != 429:  # until the breakers know
                told = await client.ask()
            assert int(told.headers["Retry-After"]) >= 1
            assert told.seconds < 1
            report(
                "F12",
                f"{how}: {status} {kind} in {client.log[0].seconds:.2f} s; later 429 in {told.seconds * 1000:.0f} ms",
                "< 2 s deadline",
            )
            await check(client, program, [a, b], attempts=6)


@pytest.mark.parametrize("size", [32_000, 4_000_000])
async def test_f13_a_client_who_leaves_while_waiting(start: Start, report: Report, size: int) -> None:
    async with upstream(hangs) as a, upstream(answers()) as b, start({"a": a.url, "b": b.url}) as (program, client):
        clock, took_s = asyncio.get_running_loop().time, []
        for at in range(10):
            asking = asyncio.get_running_loop().create_task(client.ask(utterance(size)))
            while len(a.calls) <= at or not a.calls[at].digest:  # noqa: ASYNC110 - seen from outside
                await asyncio.sleep(0.005)
            left_at = clock()
            asking.cancel()
            while a.calls[at].ended_at is None:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.001)
            took_s.append((a.calls[at].ended_at or 0) - left_at)
        assert all(call.was_left for call in a.calls)
        assert (await status_of(client, "a/whisper"))["state"] == "closed"
        assert b.calls == []
        report("F13", f"waiting, {size} bytes: upstream left after {max(took_s) * 1000:.1f} ms at most", "< 100 ms")
        await check(client, program, [], attempts=0)


async def test_f13_a_client_who_leaves_while_uploading(start: Start, report: Report) -> None:
    async with upstream(answers()) as a, start({"a": a.url}) as (program, client):
        for _ in range(10):
            _, writer = await asyncio.open_connection("127.0.0.1", program.port)
            writer.write(b"POST /models/openai/whisper-large-v3 HTTP/1.1\r\nHost: h\r\nContent-Length: 4000000\r\n\r\n")
            writer.write(utterance(3_000_000)[:2_000_000])
            await writer.drain()
            writer.transport.abort()
        report("F13", "uploading: 10 left half way, no call upstream, nothing kept", "spool file gone")
        await check(client, program, [a], attempts=0)
        assert a.calls == []


async def test_f14_two_layers_that_retry(start: Start, report: Report) -> None:
    """An SDK retries by itself; what it is told keeps it from buying the failover again."""
    from openai import APIStatusError, AsyncOpenAI  # noqa: PLC0415 - slow to import

    retries = {"retries": {"limit": 1, "base": "10ms"}, "breakers": {"consecutive": 1000, "min_calls": 1000}}
    async with (
        upstream(DOWN) as a,
        upstream(DOWN) as b,
        start({"a": a.url, "b": b.url}, reliability=retries) as (_, client),
        AsyncOpenAI(base_url=f"{client.url}/v1", api_key="k", max_retries=2) as sdk,
    ):
        with pytest.raises(APIStatusError) as caught:
            await sdk.audio.transcriptions.create(model="openai/whisper-large-v3", file=("a.wav", utterance()))
        assert caught.value.status_code == 502
        calls = len(a.calls) + len(b.calls)
        report("F14", f"{calls} calls upstream for one of an SDK that retries twice", "<= 4 as configured")
        assert calls <= 4


async def test_f15_a_storm(start: Start, report: Report) -> None:
    """Everything fails, and every request would be retried: the budget allows a fifth."""
    rate, seconds = (200, 15.0) if FULL else (60, 3.0)
    never_opens = {"breakers": {"consecutive": 100_000, "min_calls": 100_000}, "retries": {"base": "10ms"}}
    async with upstream(DOWN) as a, start({"a": a.url}, reliability=never_opens) as (program, client):
        told = await client.at_rate(rate, seconds, size_bytes=2000)
        assert {each.status for each in told} == {502}
        load = len(a.calls) / len(told)
        floor = 3 * (1 + (seconds + 1) / 10) / len(told)
        report("F15", f"{load:.3f} x the requests, with breakers that never open", "<= 1.2 x")
        assert load <= 1.2 + floor
        await check(client, program, [a], attempts=3)


async def test_f15_a_storm_that_breakers_end(start: Start, report: Report) -> None:
    rate, seconds = (200, 10.0) if FULL else (60, 2.0)
    async with upstream(DOWN) as a, start({"a": a.url}) as (program, client):
        told = await client.at_rate(rate, seconds, size_bytes=2000)
        load = len(a.calls) / len(told)
        report("F15", f"{load:.3f} x the requests with breakers as they come", "<= 1.2 x")
        assert load <= 0.5
        assert {each.status for each in told} <= {429, 502}
        await check(client, program, [a], attempts=3)


async def test_the_breaker_of_one_is_not_the_breaker_of_all(start: Start) -> None:
    """Flapping at one deployment never reaches the client, nor the other deployment's breaker."""

    async def flapping(call: Call) -> None:
        await (answers() if int(call.at * 5) % 2 else DOWN)(call)

    rules = {"breakers": {"probe_after": "200ms"}}
    async with (
        upstream(flapping) as a,
        upstream(answers()) as b,
        start({"a": a.url, "b": b.url}, reliability=rules) as (program, client),
    ):
        told = await client.at_rate(60, 10.0 if FULL else 3.0)
        assert {each.status for each in told} == {200}
        assert {each.provider for each in told} == {"a", "b"}
        assert (await status_of(client, "b/whisper"))["state"] == "closed"
        await check(client, program, [a, b], attempts=2)


async def test_everything_at_once(start: Start) -> None:
    """Three services that break in every way by turns; every answer belongs to its audio."""
    ways = [
        answers(),
        resets_before_the_reply,
        answers(503, b"<html>"),
        answers(200, b"<html>all is well</html>"),
        resets_within_the_reply,
        answers(after_s=0.2),
        answers(429, {"error": "slow"}, headers={"Retry-After-Ms": "100"}),
        resets_within_the_body,
        answers(200, {"no": "text"}),
        hangs,
    ]

    def turning(offset: int) -> Act:
        async def act(call: Call) -> None:
            await ways[(call.number * 7 + offset) % len(ways)](call)

        return act

    settings = {
        "attempt_timeout": {"base": 0.5, "per_audio_second": 0},
        "breakers": {"probe_after": "200ms"},
        "retries": {"base": "50ms", "floor": 100},
    }
    async with (
        upstream(turning(0)) as a,
        upstream(turning(3)) as b,
        upstream(answers()) as c,
        start({"a": a.url, "b": b.url, "c": c.url}, reliability=settings, route={"hedge_after": "300ms"}) as (
            program,
            client,
        ),
    ):
        told = await client.at_rate(40, 15.0 if FULL else 4.0)
        assert {each.status for each in told} == {200}
        await check(client, program, [a, b, c], attempts=9)


@pytest.mark.parametrize("seconds", ["0.4", "400ms"])
async def test_a_caller_in_a_hurry_is_answered_in_time(start: Start, seconds: str) -> None:
    """And what it did not wait for is no failure of the deployment."""
    async with upstream(hangs) as a, start({"a": a.url}) as (program, client):
        for _ in range(6):
            told = await client.ask(headers={"X-Gateway-Timeout": seconds})
            assert (told.status, told.body["type"]) == (504, "deadline")
            assert 0.4 <= told.seconds < 1.5
        assert (await status_of(client, "a/whisper"))["state"] == "closed"
        await check(client, program, [a], attempts=1)


def test_clients_send_audio_like_no_other() -> None:
    assert len({utterance(1000) for _ in range(100)}) == 100
    assert Client("u", None).log == []  # type: ignore[arg-type] # not used


async def test_a_check_finds_out_what_no_caller_has_asked(start: Start) -> None:
    """A deployment breaks while nobody calls: it is open before the first caller comes, and closed once it is well."""
    rules = {"check_every": "100ms", "breakers": {"probe_after": "300ms"}}
    async with (
        upstream(DOWN) as a,
        upstream(answers()) as b,
        start({"a": a.url, "b": b.url}, reliability=rules) as (program, client),
    ):
        while (await status_of(client, "a/whisper"))["state"] != "open":  # noqa: ASYNC110 - seen from outside
            await asyncio.sleep(0.02)
        assert (await client.ask()).attempts == 1  # nobody waits for what is known to be down
        a.act = answers()
        while (await status_of(client, "a/whisper"))["state"] != "closed":  # noqa: ASYNC110 - seen from outside
            await asyncio.sleep(0.02)
        assert (await client.ask()).provider == "a"
        counted = await metrics(client)
        assert counted['asr_attempts_total{deployment="a/whisper",kind="check",outcome="ok"}'] >= 1
        assert {call.length for call in b.calls} == {16_044, 32_000}  # half a second of silence, and the request
        await check(client, program, [], attempts=1)
