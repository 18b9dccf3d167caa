"""One recording in several files is one call upstream, where that is configured."""

from __future__ import annotations

import asyncio
from io import BytesIO

import pytest

from tests.asking import serving
from tests.chaos.upstream import answers, upstream
from tests.conftest import sample
from tests.integration.test_cache import kept, state
from tests.integration.test_shared_cache import two
from tests.integration.test_single_flight import Gate, aboard, until, waiting
from tests.providers.audio.test_sound import with_flac_cover, with_flac_tags
from tests.redis_server import redis_server

WAV, FLAC = sample("slushy.wav"), sample("slushy.flac")
FILES = (WAV, FLAC, with_flac_tags(FLAC, TITLE="another"), with_flac_cover(FLAC))


@pytest.mark.parametrize("first", range(len(FILES)))
async def test_wav_flac_and_flac_with_other_tags_are_one_call(first: int) -> None:
    files = FILES[first:] + FILES[:first]
    async with upstream(answers()) as up, serving(kept({"up": up.url}, {"same_sound": True})) as served:
        told = [await served.post(body=BytesIO(file)) for file in files]
        assert [each.status for each in told] == [200] * 4
        assert [state(each) for each in told] == ["miss", "hit", "hit", "hit"]
        assert len({each.body["text"] for each in told}) == len(up.calls) == 1
        again = [await served.post(body=BytesIO(file)) for file in files]
        assert [state(each) for each in again] == ["hit"] * 4
        only = await served.post(body=BytesIO(files[-1]), **{"Cache-Control": "only-if-cached"})
        assert state(only) == "hit"


async def test_at_once_too() -> None:
    gate = Gate()
    async with upstream(gate) as up, serving(kept({"up": up.url}, {"same_sound": True})) as served:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(served.post(body=BytesIO(file))) for file in FILES]
            await until(lambda: aboard(served) == len(FILES))
            await waiting(up, 1)
            gate.opened.set()
        assert sorted(state(task.result()) for task in tasks) == ["joined", "joined", "joined", "miss"]
        assert len(up.calls) == 1


async def test_between_gateways_too() -> None:
    async with redis_server() as server, upstream(answers()) as up, two(up, server, same_sound=True) as (one, other):
        told = []
        for at, file in enumerate(FILES * 2):
            told.append(await (one, other)[at % 2].post(body=BytesIO(file)))
            await until(lambda: not one.gateway.flights._aloft and not other.gateway.flights._aloft)
        assert [state(each) for each in told] == ["miss", *["hit"] * 7]
        assert len(up.calls) == 1


async def test_unless_told_so_a_file_is_its_bytes() -> None:
    async with upstream(answers()) as up, serving(kept({"up": up.url})) as served:
        assert [state(await served.post(body=BytesIO(file))) for file in FILES] == ["miss"] * 4
        assert len(up.calls) == 4


async def test_what_cannot_be_told_is_asked() -> None:
    """Half a file is not the sound of the whole one; and it is still kept as the bytes it is."""
    async with upstream(answers()) as up, serving(kept({"up": up.url}, {"same_sound": True})) as served:
        for file in (FLAC, FLAC[:60_000], FLAC[:60_000]):
            await served.post(body=BytesIO(file))
        assert len(up.calls) == 2


async def test_other_questions_of_the_same_sound_are_other_answers() -> None:
    async with upstream(answers()) as up, serving(kept({"up": up.url}, {"same_sound": True})) as served:
        for file, query in ((WAV, ""), (FLAC, "?num_beams=2"), (WAV, "?num_beams=2")):
            assert (await served.post(f"/{query}", body=BytesIO(file))).status == 200
        assert len(up.calls) == 2
