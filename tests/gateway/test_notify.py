"""What systemd is told by a gateway that it starts with Type=notify."""

from __future__ import annotations

import socket
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from gateway.notify import READY, notify
from tests.program import configuration, program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODEL = "openai/whisper-large-v3"


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """Return a socket such as systemd listens on."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(30)
        yield listening


@pytest.mark.parametrize("workers", [1, 2])
async def test_it_is_told_when_it_serves_and_when_it_ends(
    workers: int, manager: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once each, whoever serves: a worker is nobody's main process."""
    monkeypatch.setenv("NOTIFY_SOCKET", manager.getsockname())
    document = configuration({"up": "http://127.0.0.1:9"}, model=MODEL, server={"workers": workers})
    async with program(document, tmp_path) as running:
        assert manager.recv(100) == b"READY=1"
        running.process.terminate()
        assert await running.process.wait() == 0
        assert manager.recv(100) == b"STOPPING=1"
    manager.setblocking(False)  # noqa: FBT003 - socket's own signature
    with pytest.raises(BlockingIOError):
        manager.recv(100)


def test_an_abstract_address_begins_with_an_at_sign() -> None:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listening:
        listening.bind("")  # the kernel finds an abstract name
        listening.settimeout(5)
        notify(READY, {"NOTIFY_SOCKET": "@" + listening.getsockname()[1:].decode()})
        assert listening.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", ["", "vsock:2:1", "/nowhere/notify", "/" + 200 * "x"])
def test_nobody_to_tell_is_no_fault(address: str) -> None:
    """Another manager's address, one that is gone, one that no socket can have."""
    notify(READY, {"NOTIFY_SOCKET": address} if address else {})
