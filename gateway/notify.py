"""What a service manager is told: that the gateway serves, and that it ends. Source: sd_notify(3)."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"


def notify(state: str, environ: Mapping[str, str]) -> None:
    """Tell systemd, where it started this process with Type=notify; else nobody. A manager that is gone is no fault."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as to:
        to.setblocking(False)  # noqa: FBT003 - socket's own signature
        to.sendto(state.encode(), address.replace("@", "\0", 1) if address.startswith("@") else address)
