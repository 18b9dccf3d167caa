"""An engine as a program: `asr-gateway engine` in a process of its own."""

from __future__ import annotations

import os
import signal
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.running import PROGRAM, Running, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ENGINE_KEY = "engine-key"


@dataclass(slots=True)
class EngineProgram(Running):
    """A running engine."""

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


@asynccontextmanager
async def engine_program(*arguments: str, port: int = 0, key: str | None = None) -> AsyncIterator[EngineProgram]:
    """Serve, on a free port unless told; at the end, ask it to stop where the test has not."""
    own = {} if key is None else {"ASR_GATEWAY_ENGINE_KEY": key}
    command = (str(PROGRAM), "engine", *arguments, "--port", str(port))
    async with running(EngineProgram, *command, environ=own) as engine:
        yield engine
