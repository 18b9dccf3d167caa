"""A configuration that changes all the time: nobody who asks notices. The name is the trial's."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.chaos.conftest import FULL, Report, Start
from tests.chaos.load import MODEL, Client, check, utterance
from tests.chaos.upstream import answers, upstream
from tests.program import OPERATOR, configuration

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.chaos.load import Told
    from tests.program import Program

EVERY_S = 0.1


@pytest.mark.parametrize("workers", [1, 2])
async def test_l9_ten_reloads_a_second(start: Start, report: Report, workers: int) -> None:
    """Accounts come and go, and limits change, while requests are answered and while they are still being sent."""
    rate, seconds = (100, 30.0) if FULL else (40, 3.0)
    server = {"workers": workers}
    async with upstream(answers(after_s=0.1)) as a, start({"a": a.url}, server=server) as (running, client):
        ended = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            reloading = group.create_task(_reload_until(ended, running, client, [a.url], server))
            slow = [group.create_task(_ask_slowly(client, min(seconds, 10) * part / 10)) for part in range(10)]
            told = await client.at_rate(rate, seconds, 8000)
            ended.set()
        statuses = [each.status for each in told] + [each.result() for each in slow]
        codes = reloading.result()
        good = sum(status == 200 for status in statuses)
        report(
            "L9",
            f"{workers} workers: {good} of {len(statuses)} good over {len(codes)} reloads in {seconds:g} s, "
            f"answered by {len(_accounts(told))} accounts",
            "0 failed",
        )
        assert good == len(statuses)
        assert set(codes) == {200}
        assert len(_accounts(told)) > len(codes) / 4, "the reloads came to nothing"
        await check(client, running, [a], attempts=1)


def _accounts(told: list[Told]) -> set[str]:
    return {each.provider for each in told}


async def _reload_until(
    ended: asyncio.Event, running: Program, client: Client, urls: list[str], server: dict[str, Any]
) -> list[int]:
    """Reload ten times a second, each time with another account or another limit; return the statuses."""
    clock, codes = asyncio.get_running_loop().time, []
    start = clock()
    for at in itertools.count():
        document = configuration({f"a{at // 2}": url for url in urls}, model=MODEL, server=server)
        document["models"][MODEL]["targets"][0]["max_concurrent"] = 200 + at % 2
        await asyncio.to_thread(running.file.write_text, yaml.safe_dump(document))
        async with client.session.post(f"{client.url}/admin/reload", headers=OPERATOR) as reply:
            codes.append(reply.status)
        try:
            async with asyncio.timeout_at(start + (at + 1) * EVERY_S):
                await ended.wait()
        except TimeoutError:
            continue
        break
    return codes


async def _ask_slowly(client: Client, seconds: float) -> int:
    """Take so long to send an utterance; return the status."""
    audio = utterance(8000)

    async def upload() -> AsyncIterator[bytes]:
        yield audio[:4000]
        await asyncio.sleep(seconds)
        yield audio[4000:]

    async with client.session.post(f"{client.url}/models/{MODEL}", data=upload()) as reply:
        await reply.read()
        return reply.status
