"""`asr-gateway` as a process of its own, with everything that it writes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

PROGRAM = Path(sys.executable).with_name("asr-gateway")


@dataclass(slots=True)
class Running:
    """A process that listens."""

    process: asyncio.subprocess.Process
    url: str = ""
    written: list[str] = field(default_factory=list)  # standard error, line by line

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Return the log's own lines."""
        return [json.loads(line) for line in self.written if line.startswith("{")]

    async def wait_for(self, event: str, times: int = 1) -> None:
        """Return when the log has the event so often; pytest's own limit ends the wait."""
        while sum(line["event"] == event for line in self.lines) < times:  # noqa: ASYNC110 - a pipe has no such event
            await asyncio.sleep(0.02)


R = TypeVar("R", bound=Running)


@asynccontextmanager
async def running(
    made: Callable[[asyncio.subprocess.Process], R], *command: str, environ: Mapping[str, str] | None = None
) -> AsyncIterator[R]:
    """Yield what is made of the process once it listens; at the end, ask it to stop where the test has not.

    environ: variables besides our own.
    """
    process = await asyncio.create_subprocess_exec(
        *command, stderr=asyncio.subprocess.PIPE, env={**os.environ, **(environ or {})}, limit=1 << 24
    )
    started = made(process)
    assert process.stderr is not None
    while not started.url:
        line = (await process.stderr.readline()).decode()
        assert line, f"it ended before it listened: {started.written}"
        started.written.append(line)
        if match := re.search(r"listens on (\S+)", line):
            started.url = match[1]
    reading = asyncio.get_running_loop().create_task(_read(process.stderr, started.written))
    try:
        yield started
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        await reading


async def _read(stream: asyncio.StreamReader, into: list[str]) -> None:
    async for line in stream:
        into.append(line.decode())  # noqa: PERF401 - looked at while it grows
