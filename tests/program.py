"""The gateway as a program: `asr-gateway serve` in a process of its own, with everything it writes."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

PROGRAM = Path(sys.executable).with_name("asr-gateway")
# Of an admin whose key is hf_gw_operator: what is under /admin/ wants one, also on loopback.
OPERATORS_KEY = {"name": "operator", "role": "admin", "hash": f"sha256:{hashlib.sha256(b'hf_gw_operator').hexdigest()}"}
OPERATOR = {"Authorization": "Bearer hf_gw_operator"}
NOT_KEPT = {"cache": {"store": "none"}}  # the same recording is sent again and again, and each time counts


@dataclass(slots=True)
class Program:
    """A running gateway."""

    process: asyncio.subprocess.Process
    file: Path  # its configuration
    url: str = ""
    admin_url: str = ""  # of its admin port, where it has one
    written: list[str] = field(default_factory=list)  # standard error, line by line

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Return the log's own lines."""
        return [json.loads(line) for line in self.written if line.startswith("{")]

    async def wait_for(self, event: str) -> None:
        """Return when the log has the event; pytest's own limit ends the wait."""
        while not any(line["event"] == event for line in self.lines):  # noqa: ASYNC110 - a pipe has no such event
            await asyncio.sleep(0.02)

    def memory_bytes(self, name: str) -> int:
        """Return a number of /proc/PID/status: VmHWM for the highest resident size, RssAnon for what is not files."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        match = re.search(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE)
        assert match, f"no {name}"
        return int(match[1]) * 1024


def configuration(urls: Mapping[str, str], *, adapter: str = "hf-inference", model: str, **more: Any) -> dict[str, Any]:
    """Return a configuration with one model and a target at each URL, in order."""
    return {
        "providers": {
            name: {"adapter": adapter, "base_url": url, "api_key": "emulated-key"} for name, url in urls.items()
        },
        "models": {model: {"targets": [{"target": f"{name}/whisper", "substitute": True} for name in urls]}},
        "auth": {"keys": [OPERATORS_KEY]},
        **NOT_KEPT,
        **more,
    }


@asynccontextmanager
async def program(
    document: Mapping[str, Any], folder: Path, *, port: int = 0, command: tuple[str, ...] = ()
) -> AsyncIterator[Program]:
    """Serve a configuration, on a free port unless told; at the end, ask it to stop where the test has not.

    command: what starts it, where something stands before it.
    """
    file = folder / "gateway.yaml"
    file.write_text(yaml.safe_dump({"auth": {"keys": [OPERATORS_KEY]}, **NOT_KEPT, **document}))
    process = await asyncio.create_subprocess_exec(
        *(*command, str(PROGRAM), "serve", "--config", str(file), "--port", str(port)),
        stderr=asyncio.subprocess.PIPE,
        limit=1 << 24,
    )
    running = Program(process, file)
    assert process.stderr is not None
    while not running.url:
        line = (await process.stderr.readline()).decode()
        assert line, f"it ended before it listened: {running.written}"
        running.written.append(line)
        if match := re.search(r"Admin port: (\S+)", line):
            running.admin_url = match[1]
        if match := re.search(r"listens on (\S+)", line):
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
