"""The benchmark's own parts: audio that is never the same, wrong answers that void a run, figures that make a page."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
from base64 import b64decode
from contextlib import closing
from pathlib import Path

import pytest
from aiohttp import web

from providers.audio.containers import identify
from providers.audio.content import MemoryContent
from providers.audio.demux import Demuxer
from providers.types import Container
from tests.bench.bodies import Form, body, uniques
from tests.bench.load import Clients, Load, Void, closed, open_loop
from tests.bench.report import PAGE, PLOT, write
from tests.bench.rounds import FULL, SHORT, Cell, Measured, MemoryUse, OpenMeasured, Results, cells
from tests.bench.targets import DIRECT, GATEWAY, NGINX, RELAY, SPOOLING
from tests.conftest import serve


@pytest.mark.parametrize("size", [32_000, 150_000, 1_500_000])
@pytest.mark.parametrize("form", list(Form))
def test_a_body_is_audio_of_its_size_and_never_the_same(form: Form, size: int) -> None:
    sent, unique = body(form, size), uniques(3)
    one, other = sent.audio(next(unique)), sent.audio(next(unique))
    audio = MemoryContent(one)

    assert len(one) == sent.audio_bytes == size
    assert one != other
    assert identify(audio) is (Container.MP3 if form is Form.MULTIPART else Container.WAV)
    with closing(Demuxer()) as demuxer:
        assert (demuxer.probe(audio).duration_s or 0) > 0.9


@pytest.mark.parametrize("form", list(Form))
def test_what_is_sent_holds_the_audio(form: Form) -> None:
    """Also where its unique bytes are written into base64."""
    sent, unique = body(form, 30_000), next(uniques(7))
    whole = b"".join(sent.pieces(unique))

    assert len(whole) == sent.size_bytes
    found = b64decode(json.loads(whole)["inputs"]) if form is Form.JSON else whole
    assert sent.audio(unique) in found


def test_no_two_measurements_send_the_same() -> None:
    sent = [itertools.islice(uniques(cell), 500) for cell in range(20)]

    assert len(set(itertools.chain.from_iterable(sent))) == 10_000


@pytest.mark.parametrize(
    ("status", "text", "cache"), [(500, "instant", "miss"), (200, "other", "miss"), (200, "instant", "hit")]
)
async def test_a_wrong_answer_voids_the_run(status: int, text: str, cache: str) -> None:
    async def answer(request: web.Request) -> web.Response:
        await request.read()
        return web.json_response({"text": text}, status=status, headers={"X-Gateway-Cache": cache})

    app = web.Application()
    app.router.add_post("/{path:.*}", answer)
    runners: list[web.AppRunner] = []
    load = Load(await serve(app, runners), Form.RAW, 10_000, cache="miss")

    with pytest.raises(Void):
        await asyncio.to_thread(closed, load, 1, 2, 0.1)
    with pytest.raises(Void):
        await asyncio.to_thread(open_loop, load, 1, 20.0, 0.1)
    await runners[0].cleanup()


async def test_every_request_of_both_loops_arrives_and_is_another() -> None:
    digests: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        digests.append(hashlib.sha256(await request.read()).hexdigest())
        return web.json_response({"text": "instant"})

    app = web.Application()
    app.router.add_post("/{path:.*}", answer)
    runners: list[web.AppRunner] = []
    load = Load(await serve(app, runners), Form.RAW, 10_000)
    clients = Clients(2)

    alone = await asyncio.to_thread(clients.closed, load, itertools.count(1), 2, 0.05)
    together = await asyncio.to_thread(clients.closed, load, itertools.count(10), 8, 0.05)
    evenly = await asyncio.to_thread(open_loop, load, 20, 100.0, 0.1)
    clients.close()
    await runners[0].cleanup()

    assert evenly.count == 10
    assert len(digests) == len(set(digests)) == alone.count + together.count + evenly.count


def test_figures_make_a_page_and_a_small_plot(tmp_path: Path) -> None:
    """A ratio is of one round's two measurements: 2/1 and 3/4, and not of the medians."""
    results = Results(start_s={DIRECT: 0.1, GATEWAY: 0.5}, requests=12_345, digests=24)
    for cell in cells(FULL):
        for name in (DIRECT, NGINX, GATEWAY):
            results.closed[cell][name] = [Measured(200, 0.002, 0.001, 0.5), Measured(300, 0.004, 0.003, 0.9)]
        results.closed[cell][RELAY] = [Measured(100, 0.001, 0.0005, 0.5), Measured(400, 0.001, 0.0005, 0.5)]
    large = Cell(Form.RAW, 24_000_000, 8)
    results.closed[large][SPOOLING] = [Measured(250, 0.001, 0.0005, 0.5), Measured(250, 0.001, 0.0005, 0.5)]
    results.open[0.6][GATEWAY] = [OpenMeasured(0.001, 0.004)]
    results.stages_s[Form.RAW] = {"receive": 0.0001}
    results.memory[GATEWAY] = MemoryUse(60_000_000, 70_000_000, 90_000_000, 75_000_000)

    page = write(results, FULL, tmp_path)

    assert page == (tmp_path / PAGE).read_text()
    for expected in (
        "| 150 kB | 16 | 250/s | 1.38 (0.75-2.00) | 1.38 (0.75-2.00) | 1.38 (0.75-2.00) | - |",
        "| 60% | gateway | 1.00 (1.00-1.00) | 4.00 (4.00-4.00) |",
        "| receive | 100 |",
        "| gateway | 60 MB | 70 MB | 90 MB | 75 MB |",
        "| requests a second: raw, beside a bare relay | at least 0.75 times | 1.38 times | yes |",
        "| added at the median, one in flight | under 1 ms | 0.00 ms | yes |",
        "| p99 at 60% load | under 4 times p50 | 4.00 times | no |",
        "| memory when idle | under 80 MB | 60 MB | yes |",
        "| start | under 1 s | 0.50 s | yes |",
        "| requests a second: 24 MB, beside a spooling relay | at least 0.9 times | 1.00 times | yes |",
        "| 24 MB | 8 | 250/s | 1.38 (0.75-2.00) | 1.38 (0.75-2.00) | 1.38 (0.75-2.00) | 1.56 (0.62-2.50) |",
        "| 24 MB | 16 | 250/s | 1.38 (0.75-2.00) | 1.38 (0.75-2.00) | 1.38 (0.75-2.00) | - |",
        "12345 answers",
        "not installed",
    ):
        assert expected in page
    drawn = (tmp_path / PLOT).read_bytes()
    assert b"<svg" in drawn
    assert len(drawn) < 150_000


def test_a_full_plan_has_every_load_but_the_one_that_measures_disks() -> None:
    found = cells(FULL)

    assert len(found) == 3 * 4 * 3 - 3 + 1
    assert Cell(Form.RAW, 24_000_000, 64) not in found
    assert {each.in_flight for each in cells(SHORT)} == {1, 16}
