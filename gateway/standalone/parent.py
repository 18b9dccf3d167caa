"""The process that holds no model: it opens the ports, keeps a child that serves them, and starts it again.

The ports stay open while there is no child: who asks then waits until there is one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from functools import partial
from typing import TYPE_CHECKING, Final

from config.faults import BadConfiguration
from gateway.logs import event
from gateway.notify import STOPPING, notify
from gateway.reload import OnHangup, Reloader
from gateway.serve import CannotListen, cannot_listen
from gateway.standalone.serving import needs_restart
from gateway.workers.channel import ChannelClosed, QuestionFailed
from gateway.workers.process import ended, kill
from gateway.workers.sockets import BACKLOG, listeners
from gateway.workers.spawn import Pauses, spawned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gateway.standalone.serving import Serving
    from gateway.workers.channel import Answers
    from gateway.workers.process import Child

_AWAY: Final = "the process that holds the models has ended; reload when another is there"
_CHILD: Final = "gateway.standalone.child"
_END_MARGIN_S: Final = 15.0  # after grace and drain: for the window that a model is at
_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class EngineParent:
    """Keeps one child, for as long as nobody asks it to stop."""

    def __init__(
        self, serving: Serving, announce: Callable[[list[str], int], None], read: Callable[[], Serving]
    ) -> None:
        """announce: called once with what is missing and the port, when the first child has loaded what it can.

        read: gives what is to be served from a SIGHUP on; raises BadConfiguration.
        """
        self._serving = serving
        self._reloader = Reloader(read, self._adopt, partial(needs_restart, serving))
        self._announce = announce
        self._child: Child | None = None
        self._stopping = asyncio.Event()
        self._grace_s = 0.0
        self._ports: list[socket.socket] = []

    async def run(self, host: str, port: int, path: Path | None) -> None:
        """Serve until SIGTERM or SIGINT; a second one ends all at once. Raises CannotListen."""
        with _listening(host, port, path) as self._ports:
            loop = asyncio.get_running_loop()
            for number in _STOP_SIGNALS:
                loop.add_signal_handler(number, self._asked_to_stop, number)
            async with asyncio.TaskGroup() as group:
                hangups = OnHangup(group, self._reloader.reload)
                killing = group.create_task(self._kill_who_hangs())
                await self._keep(self._ports[0].getsockname()[1])
                hangups.stop()
                killing.cancel()

    async def _adopt(self, serving: Serving) -> None:
        """Let the child serve something else. Raises BadConfiguration where it cannot."""
        try:
            missing = await self._child.channel.ask("adopt", serving) if self._child else [_AWAY]
        except (ChannelClosed, QuestionFailed):
            missing = [_AWAY]
        if missing:
            raise BadConfiguration("; ".join(missing))
        self._serving = serving  # what the next child starts with

    async def _keep(self, port: int) -> None:
        """Run a child, and another when it ends, however often that may be."""
        pauses, clock, is_announced = Pauses(), asyncio.get_running_loop().time, False

        def answers(child: Child) -> Answers:
            async def settings(_: object) -> Serving:
                return self._serving

            async def ready(missing: list[str]) -> None:
                nonlocal is_announced
                child.ready.set()
                if not is_announced:
                    is_announced = True
                    self._announce(missing, port)

            return {"settings": settings, "ready": ready}

        while not self._stopping.is_set():
            started = clock()
            try:
                self._child = await spawned(_CHILD, self._ports, (), answers, {})
            except OSError as error:
                event("process_not_started", logging.ERROR, module=_CHILD, reason=os.strerror(error.errno or 0))
            else:
                await self._to_its_end(self._child)
            await self._paused(pauses.after(clock() - started))

    async def _to_its_end(self, child: Child) -> None:
        if self._stopping.is_set():
            child.channel.tell("stop", self._grace_s)
        code = await ended(child)
        if not self._stopping.is_set():
            event("engine_ended", logging.ERROR, code=code)

    async def _paused(self, pause_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._stopping.wait()

    def _asked_to_stop(self, number: int) -> None:
        if self._stopping.is_set():
            self._end_at_once(number)
        self._stopping.set()
        notify(STOPPING, os.environ)
        # Who types Ctrl-C has no balancer to wait for.
        self._grace_s = self._serving.settings.server.grace if number == signal.SIGTERM else 0.0
        for each in self._ports:
            each.close()  # else they would stay open when the child has closed them
        if self._child is not None:
            self._child.channel.tell("stop", self._grace_s)

    def _end_at_once(self, number: int) -> None:
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                self._child.process.kill()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    async def _kill_who_hangs(self) -> None:
        await self._stopping.wait()
        await asyncio.sleep(self._grace_s + self._serving.settings.server.drain + _END_MARGIN_S)
        if self._child is not None:
            kill(self._child)


@contextlib.contextmanager
def _listening(host: str, port: int, path: Path | None) -> Iterator[list[socket.socket]]:
    """Listen on the address, and on a Unix socket where a path is given. Raises CannotListen."""
    with contextlib.ExitStack() as stack:
        try:
            ports = [stack.enter_context(each) for each in listeners(host, port, 1)]
        except OSError as error:
            raise cannot_listen(host, port, error) from error
        if path is not None:
            ports.append(stack.enter_context(_unix_socket(path)))
        yield ports


@contextlib.contextmanager
def _unix_socket(path: Path) -> Iterator[socket.socket]:
    """Raise CannotListen, also where somebody listens there or something that is no socket stands in the way."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        try:
            if _is_listened_to(path):
                raise CannotListen(f"{path}: another process listens there")
            if path.is_socket():
                path.unlink()  # of one that ended without taking it along
            listener.bind(str(path))
            ours = _identity(path)
            path.chmod(0o660)
            listener.listen(BACKLOG)
        except OSError as error:
            raise cannot_listen(str(path), 0, error) from error
        try:
            yield listener
        finally:
            listener.close()
            _take_along(path, ours)


def _is_listened_to(path: Path) -> bool:
    """Tell whether somebody takes connections there. Raises OSError where that cannot be known."""
    if not path.is_socket():
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(0)
        try:
            asking.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except BlockingIOError:  # its queue is full
            return True
    return True


def _take_along(path: Path, ours: tuple[int, int]) -> None:
    """Remove the socket, unless it is another's by now; a file system may give its number again, so that one asks."""
    with contextlib.suppress(OSError):
        if _identity(path) == ours and not _is_listened_to(path):
            path.unlink()


def _identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino
