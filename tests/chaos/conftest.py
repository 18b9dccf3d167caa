"""A gateway as a program before upstreams that break, and a table of what was measured."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.chaos.load import MODEL, Client
from tests.program import Program, configuration, program

Start = Callable[..., AbstractAsyncContextManager[tuple[Program, Client]]]
Report = Callable[[str, str, str], None]

FULL = bool(os.environ.get("ASR_CHAOS_FULL"))
"""Whether runs are as long as the trials ask for: `make chaos`. `make test` has the same trials in a short form."""


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Serve one model on accounts at the given URLs, in order."""

    @asynccontextmanager
    async def serve(urls: dict[str, str], **sections: Any) -> AsyncIterator[tuple[Program, Client]]:
        route, command = sections.pop("route", {}), sections.pop("command", ())
        document = configuration(urls, model=MODEL, **sections)
        document["models"][MODEL].update(route)
        connector = aiohttp.TCPConnector(limit=0)
        async with (
            program(document, tmp_path, command=command) as running,
            aiohttp.ClientSession(connector=connector) as session,
        ):
            yield running, Client(running.url, session)

    return serve


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Report:
    """Print a trial's figure beside its target, where somebody looks: pytest -s."""

    def show(trial: str, figure: str, target: str) -> None:
        print(f"\n{trial:<4} {figure}   [target: {target}]", end="")  # noqa: T201 - that is what it is for

    return show
