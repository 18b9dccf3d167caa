"""Where paths lead: what was found once is found again, for that path and that method alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.api.request import MOST_PATHS
from gateway.serve import Listener
from tests.asking import MODEL, Served, serving, settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Emulate = Callable[..., Awaitable[str]]


@pytest.fixture
async def served(emulate: Emulate) -> AsyncIterator[Served]:
    async with serving(settings({"up": await emulate("hf-inference")})) as made:
        yield made


async def test_each_model_behind_a_pattern_is_itself(served: Served) -> None:
    """However often, in whatever order, and however its slash is written."""
    for name, status in (("no/such", 404), (MODEL, 200), ("no/such", 404), (MODEL.replace("/", "%2F"), 200)) * 2:
        told = await served.post(f"/models/{name}")
        assert told.status == status, name
        assert status == 200 or "'no/such'" in told.message


async def test_a_path_is_another_for_each_method(served: Served) -> None:
    for _ in range(2):
        async with served.session.get(f"{served.url}/") as page:
            assert page.content_type == "text/html"
        assert (await served.post("/")).status == 200
        async with served.session.put(f"{served.url}/") as refused:
            assert (refused.status, refused.headers["Allow"]) == (405, "GET,HEAD,POST")


async def test_callers_cannot_fill_the_memory_with_paths(served: Served) -> None:
    """One more than are remembered, and as many that lead nowhere."""
    edge = served.gateway.edge()
    listener = Listener(edge, served.gateway.settings.server)
    url = f"http://127.0.0.1:{await listener.open('127.0.0.1', 0, None)}"
    for at in range(MOST_PATHS + 1):
        for path in (f"/api/made-up/{at}", f"/{at}"):
            async with served.session.get(url + path) as reply:
                assert reply.status == 404
        assert 0 < len(edge.site.remembered) <= MOST_PATHS
    async with served.session.get(f"{url}/health/live") as reply:
        assert reply.status == 200
    listener.close()
    await listener.end()


async def test_who_waits_to_be_told_to_go_on_is(served: Served) -> None:
    async with served.session.post(f"{served.url}/models/{MODEL}", data=b"no audio", expect100=True) as reply:
        assert reply.status == 400
    for expected, status in (("miracles", 417), ("", 200)):
        async with served.session.get(f"{served.url}/health/live", headers={"Expect": expected}) as reply:
            assert reply.status == status
