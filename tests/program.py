"""The gateway as a program: `asr-gateway serve` in a process of its own."""

from __future__ import annotations

import hashlib
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.running import PROGRAM, Running, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

# Of an admin whose key is hf_gw_operator: what is under /admin/ wants one, also on loopback.
OPERATORS_KEY = {"name": "operator", "role": "admin", "hash": f"sha256:{hashlib.sha256(b'hf_gw_operator').hexdigest()}"}
OPERATOR = {"Authorization": "Bearer hf_gw_operator"}
NOT_KEPT = {"cache": {"store": "none"}}  # the same recording is sent again and again, and each time counts


@dataclass(slots=True, kw_only=True)
class Program(Running):
    """A running gateway."""

    file: Path  # its configuration

    @property
    def admin_url(self) -> str:
        """The address of its admin port; empty where it has none."""
        found = re.search(r"Admin port: (\S+)", "".join(self.written))
        return found[1] if found else ""

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
    made = partial(Program, file=file)
    whole = (*command, str(PROGRAM), "serve", "--config", str(file), "--port", str(port))
    async with running(made, *whole) as gateway:
        yield gateway
