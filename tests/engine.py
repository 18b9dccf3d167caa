"""An engine as a program: `asr-gateway engine` in a process of its own, with everything it writes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.program import PROGRAM

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ENGINE_KEY = "engine-key"


@dataclass(slots=True)
class EngineProgram:
    """A running engine."""

    process: asyncio.subprocess.Process
    url: str = ""
    written: list[str] = field(default_factory=list)  # standard error, line by line

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def child(self) -> int:
        """The process id of the one that holds the models; the parent has no other."""
        of_parent = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(of_parent[0])

    def kill_child(self) -> int:
        """End the one that holds the models as the kernel would; return its process id."""
        killed = self.child
        os.kill(killed, signal.SIGKILL)
        return killed

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Return the log's own lines."""
        return [json.loads(line) for line in self.written if line.startswith("{")]

    async def wait_for(self, event: str, times: int = 1) -> None:
        """Return when the log has the event so often; pytest's own limit ends the wait."""
        while sum(line["event"] == event for line in self.lines) < times:  # noqa: ASYNC110 - a pipe has no such event
            await asyncio.sleep(0.02)


@asynccontextmanager
async def engine_program(*arguments: str, port: int = 0, key: str | None = None) -> AsyncIterator[EngineProgram]:
    """Serve, on a free port unless told; at the end, ask it to stop where the test has not."""
    own = {} if key is None else {"ASR_GATEWAY_ENGINE_KEY": key}
    process = await asyncio.create_subprocess_exec(
        *(str(PROGRAM), "engine", *arguments, "--port", str(port)),
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **own},
        limit=1 << 24,
    )
    running = EngineProgram(process)
    assert process.stderr is not None
    while not running.url:
        line = (await process.stderr.readline()).decode()
        assert line, f"it ended before it listened: {running.written}"
        running.written.append(line)
        if match := re.search(r"engine listens on (\S+)", line):
            running.url = match[1]
    reading = asyncio.get_running_loop().create_task(_read(process.stderr, running.written))
    try:
        yield running
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        await reading


async def _read(stream: asyncio.StreamReader, into: list[str]) -> None:
    async for line in stream:
        into.append(line.decode())  # noqa: PERF401 - looked at while it grows
