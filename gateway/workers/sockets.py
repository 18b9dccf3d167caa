"""The port that workers share: each has a listening socket of its own, and the kernel deals connections out.

The parent opens them and keeps them open, so that what waits in a dead worker's queue is served by its successor.
"""

from __future__ import annotations

import socket
import sys
from contextlib import ExitStack
from typing import Any, Final

BACKLOG: Final = 1024  # connections that wait to be accepted
_DEALS_OUT: Final = sys.platform == "linux"  # elsewhere SO_REUSEPORT gives everything to the last socket


def listeners(host: str, port: int, count: int) -> list[socket.socket]:
    """Return listening sockets for so many workers, one each. Raises OSError.

    port: 0 for any that is free. Where the kernel does not deal out, all are one socket.
    """
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    with ExitStack() as undo:
        first = undo.enter_context(_bound(family, address, shared=False))
        if not _DEALS_OUT:
            first.listen(BACKLOG)
            undo.pop_all()
            return [first] * count
        address = (address[0], first.getsockname()[1], *address[2:])
        first.close()  # it has shown that nobody else listens there: a shared socket would join whoever does
        made = [undo.enter_context(_bound(family, address, shared=True)) for _ in range(count)]
        for each in made:
            each.listen(BACKLOG)
        undo.pop_all()
        return made


def _bound(family: int, address: tuple[Any, ...], *, shared: bool) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # as asyncio binds, and a worker alone
        made.bind(address)
    except OSError:
        made.close()
        raise
    return made
