"""One port for several processes."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack

import pytest

from gateway.workers.sockets import listeners


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_all_listen_on_one_free_port(host: str) -> None:
    with ExitStack() as stack:
        made = [stack.enter_context(each) for each in listeners(host, 0, 3)]
        assert len(made) == 3
        assert len({each.getsockname()[1] for each in made}) == 1
        assert made[0].getsockname()[1] > 0


def test_a_port_that_somebody_else_listens_on_is_refused() -> None:
    """Sockets that share a port would join whoever shares it already."""
    with ExitStack() as stack:
        others = [stack.enter_context(each) for each in listeners("127.0.0.1", 0, 2)]
        with pytest.raises(OSError, match="in use"):
            listeners("127.0.0.1", others[0].getsockname()[1], 2)


async def test_what_waits_for_one_is_served_by_whoever_has_its_socket() -> None:
    """The kernel deals connections out: each of many reaches one socket, and none is lost while nobody accepts."""
    with ExitStack() as stack:
        made = [stack.enter_context(each) for each in listeners("127.0.0.1", 0, 2)]
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", made[0].getsockname()[1]))) for _ in range(40)
        ]
        loop = asyncio.get_running_loop()
        accepted = [0, 0]
        for at, each in enumerate(made):
            each.settimeout(0)
            while True:
                try:
                    async with asyncio.timeout(0.2):
                        connection, _ = await loop.sock_accept(each)
                except TimeoutError:
                    break
                connection.close()
                accepted[at] += 1
        assert sum(accepted) == len(clients)
        assert min(accepted) > 0, "all went to one"
