"""How a parent starts a process of this program, and how soon it starts another where one has ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from typing import TYPE_CHECKING, Final

from gateway.workers.channel import Channel
from gateway.workers.process import Child

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gateway.workers.channel import Answers

_SOON_S: Final = 10.0  # one that lives for less is started again after a pause
_PAUSES_S: Final = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)


class Pauses:
    """How long to wait before the next process is started: longer each time, to an end; never for ever."""

    def __init__(self) -> None:
        self._next = iter(_PAUSES_S)

    def after(self, lived_s: float) -> float:
        """Return the pause after a process that lived so long, in seconds."""
        if lived_s > _SOON_S:
            self._next = iter(_PAUSES_S)
        return next(self._next, _PAUSES_S[-1])


async def spawned(
    module: str,
    listeners: Sequence[socket.socket],
    arguments: Sequence[str],
    answers: Callable[[Child], Answers],
    environ: Mapping[str, str],
) -> Child:
    """Run a module with its channel's and the listeners' descriptors, then the arguments. Raises OSError.

    answers: what it may ask. environ: variables besides our own.
    """
    with contextlib.ExitStack() as undo:
        ours, theirs = map(undo.enter_context, socket.socketpair())
        descriptors = (theirs.fileno(), *(each.fileno() for each in listeners))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", module, *map(str, descriptors), *arguments),
            pass_fds=descriptors,
            env={**os.environ, **environ},
        )
        undo.pop_all()
    theirs.close()
    child = Child(process=process, is_engine=module.endswith(".engine"))
    child.channel = Channel(answers(child))
    await child.channel.open(ours)
    return child
