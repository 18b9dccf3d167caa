"""The process that serves nothing itself: it opens the port, starts workers, and passes on what concerns them all."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import socket
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CONTENT_TYPE_LATEST

from config.faults import BadConfiguration
from gateway.logs import event
from gateway.metrics import Exposition
from gateway.notify import STOPPING, notify
from gateway.reload import OnHangup, Reloaded
from gateway.serve import Ports, cannot_listen
from gateway.workers import merge
from gateway.workers.channel import ChannelClosed, QuestionFailed
from gateway.workers.counts import Counts, memory_folder
from gateway.workers.process import alone, asked, ended, kill
from gateway.workers.shares import for_one_worker
from gateway.workers.sockets import BACKLOG, listeners
from gateway.workers.spawn import Pauses, spawned
from providers.local.provider import NAME as LOCAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from config.settings import Settings
    from gateway.workers.channel import Answers
    from gateway.workers.process import Child

_END_MARGIN_S: Final = 15.0  # for a worker to end after its drain: cut answers, what is to be deleted at providers
_ENGINE_ENDED: Final = "the process that loads local models ended; another is being started"
_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class DidNotStart(RuntimeError):
    """A worker ended before it ever served."""


class Parent:
    """Keeps as many workers as the configuration says, and an engine where there are local models."""

    def __init__(
        self, settings: Settings, read: Callable[[], Settings], announce: Callable[[list[str], Ports], None]
    ) -> None:
        """announce: called once with what is missing and the ports, when every worker is ready."""
        self.settings = settings
        self._places = settings.server.workers  # whatever a reload says
        self._read = read
        self._announce = announce
        self._workers: dict[int, Child] = {}  # by place
        self._engine: Child | None = None
        self._engine_settings = settings  # what it is given when it starts
        self._engine_wanted = asyncio.Event()
        self._admin: tuple[socket.socket, ...] = ()  # the one that all workers share, where there is an admin port
        self._stopping = asyncio.Event()
        self._grace_s: float | None = None  # None: as configured
        self._folders: tuple[str, ...] = ()  # where the engine's socket is, and what is counted
        self._counts: Counts
        self._one_at_a_time = asyncio.Lock()
        self._was_reloaded = asyncio.Event()

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT; a second one ends all at once. Raises CannotListen, DidNotStart."""
        ports = _listening(self.settings)
        try:
            self._admin = _admin_listening(self.settings)
            with (
                TemporaryDirectory(prefix="asr-") as folder,
                TemporaryDirectory(prefix="asr-", dir=memory_folder()) as counts,
                _engine_socket(Path(folder)) as engine,
            ):
                self._folders = (folder, counts)
                self._counts = Counts(Path(counts))
                try:
                    await self._kept(ports, engine, Path(folder) / "engine")
                except* DidNotStart as several:
                    raise several.exceptions[0] from None
        finally:
            for each in {id(port): port for port in (*ports, *self._admin)}.values():
                each.close()

    async def _kept(self, ports: list[socket.socket], engine: socket.socket, engine_path: Path) -> None:
        loop = asyncio.get_running_loop()
        if _has_local(self.settings):
            self._engine_wanted.set()
        async with asyncio.TaskGroup() as group:
            for number in _STOP_SIGNALS:
                loop.add_signal_handler(number, self._asked_to_stop, number, ports)
            hangups = OnHangup(group, self.reload)
            engine_kept = group.create_task(self._keep_engine(engine))
            workers = [
                group.create_task(self._keep_worker(place, port, engine_path)) for place, port in enumerate(ports)
            ]
            announcing = group.create_task(self._announced(ports[0]))
            letting_go = group.create_task(self._let_models_go())
            killing = group.create_task(self._kill_who_hangs())
            await asyncio.wait(workers)
            hangups.stop()
            for task in (announcing, letting_go, killing, engine_kept):
                task.cancel()
            await self._end_engine()

    async def reload(self) -> Reloaded:
        """Read the configuration again and let all take it up; nothing changes where it cannot be used."""
        async with self._one_at_a_time:
            try:
                settings = await asyncio.to_thread(self._read)
                await self._load_new(settings)
            except BadConfiguration as error:
                return await self._told_all(str(error))
            self.settings = self._engine_settings = settings
            told = await self._told_all(for_one_worker(settings, self._places))
            self._was_reloaded.set()
            return told

    async def _let_models_go(self) -> None:
        """Tell the engine, when no request goes by an earlier configuration, to keep the latest one's models only."""
        while True:
            await self._was_reloaded.wait()
            self._was_reloaded.clear()
            await asyncio.gather(*(alone(each) for each in self._workers.values()))
            async with self._one_at_a_time:
                if self._engine and not self._was_reloaded.is_set():
                    with contextlib.suppress(ChannelClosed, QuestionFailed):
                        await self._engine.channel.ask("keep")

    # --- what workers ask

    def _answers(self, child: Child) -> Answers:
        async def settings(_: object) -> Settings:
            return self._engine_settings if child.is_engine else for_one_worker(self.settings, self._places)

        async def is_ready(missing: list[str]) -> None:
            child.missing = missing
            child.ready.set()

        async def reload(_: object) -> Reloaded:
            return await self.reload()

        async def status(_: object) -> dict[str, Any]:
            return merge.statuses(await self._all("status"), self._places)

        async def metrics(_: object) -> Exposition:
            return await self._metrics()

        async def cache(_: object) -> dict[str, Any]:
            return merge.caches(await self._all("cache"))

        async def purge(_: object) -> int:
            return sum(await self._all("purge"))

        return {
            "settings": settings,
            "ready": is_ready,
            "reload": reload,
            "status": status,
            "metrics": metrics,
            "cache": cache,
            "purge": purge,
        }

    async def _all(self, what: str) -> list[Any]:
        """Ask every worker; those that do not answer in time are left out."""
        answers = await asyncio.gather(*(asked(each, what) for each in tuple(self._workers.values())))
        return [each for each in answers if each is not None]

    async def _metrics(self) -> Exposition:
        children = (*self._workers.values(), *((self._engine,) if self._engine else ()))
        told = await asyncio.gather(*(asked(each, "metrics") for each in children))
        shown = [each for each in told if each is not None]
        counted = await asyncio.to_thread(self._counts.text)  # last: what is being asked for may count too
        body = counted + await asyncio.to_thread(merge.metrics, shown)
        return Exposition(body=body, content_type=CONTENT_TYPE_LATEST)

    async def _told_all(self, settings: Settings | str) -> Reloaded:
        """Return what came of it: the first error, else what needs a restart."""
        told: list[Reloaded] = [
            each
            for each in await asyncio.gather(*(asked(each, "adopt", settings) for each in self._workers.values()))
            if each is not None
        ]
        return next((each for each in told if each.error is not None), told[0] if told else Reloaded())

    async def _load_new(self, settings: Settings) -> None:
        """Let the engine load what is new. Raises BadConfiguration where it cannot."""
        if not _has_local(settings):
            return
        try:
            missing = await (self._first_engine(settings) if self._engine is None else self._adopted(settings))
        finally:
            self._engine_settings = self.settings  # what the next engine starts with, should this one end
        if missing:
            raise BadConfiguration("; ".join(missing))

    async def _adopted(self, settings: Settings) -> list[str]:
        """Return what the engine could not load."""
        if self._engine is None:
            raise RuntimeError("there is no engine")
        try:
            missing: list[str] = await self._engine.channel.ask("adopt", settings)
        except (ChannelClosed, QuestionFailed):
            return [_ENGINE_ENDED]
        return missing

    async def _first_engine(self, settings: Settings) -> list[str]:
        """Start an engine where none was needed before; return what it could not load."""
        self._engine_settings = settings
        self._engine_wanted.set()
        while self._engine is None:  # noqa: ASYNC110 - it is being started
            await asyncio.sleep(0.01)
        await self._engine.ready.wait()
        return self._engine.missing

    # --- processes

    async def _keep_worker(self, place: int, port: socket.socket, engine: Path) -> None:
        """Run a worker in its place, and another when it ends, until all are to stop."""
        served, pauses = False, Pauses()
        clock = asyncio.get_running_loop().time
        while not self._stopping.is_set():
            started = clock()
            child = await self._started("gateway.workers.worker", (port, *self._admin), str(engine))
            if child is None:
                return
            self._workers[place] = child
            if self._stopping.is_set():
                child.channel.tell("stop", self._grace_s)
            code = await ended(child)
            del self._workers[place]
            await asyncio.to_thread(self._counts.end, child.process.pid)
            served = served or child.ready.is_set()
            if self._stopping.is_set():
                return
            if not served:
                raise DidNotStart(f"a worker ended with {code} before it served")
            event("worker_ended", logging.ERROR, code=code, place=place)
            await self._paused(pauses.after(clock() - started))

    async def _keep_engine(self, listener: socket.socket) -> None:
        """Run the engine once there are local models, and another when it ends."""
        await self._engine_wanted.wait()
        pauses = Pauses()
        clock = asyncio.get_running_loop().time
        while True:
            started = clock()
            child = await self._started("gateway.workers.engine", (listener,))
            if child is None:
                return
            self._engine = child
            code = await ended(child)
            await asyncio.to_thread(self._counts.end, child.process.pid)
            event("engine_ended", logging.ERROR, code=code)
            if not child.ready.is_set():
                child.missing = [_ENGINE_ENDED]
                child.ready.set()  # whoever waits for it need not wait any more
            await asyncio.sleep(pauses.after(clock() - started))

    async def _started(self, module: str, listeners: tuple[socket.socket, ...], *arguments: str) -> Child | None:
        """Start a process, now or when there is memory or a descriptor for it again; None where all are to stop."""
        pauses = Pauses()
        while not self._stopping.is_set():
            try:
                return await spawned(module, listeners, arguments, self._answers, self._counts.environ)
            except OSError as error:
                event("process_not_started", logging.ERROR, module=module, reason=os.strerror(error.errno or 0))
            await self._paused(pauses.after(0.0))
        return None

    async def _paused(self, pause_s: float) -> None:
        """Wait, or until all are to stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._stopping.wait()

    async def _end_engine(self) -> None:
        """Let it end: its parent has nothing to say any more."""
        if self._engine is None:
            return
        self._engine.channel.close()
        try:
            async with asyncio.timeout(_END_MARGIN_S):
                await self._engine.process.wait()
        except TimeoutError:
            kill(self._engine)
            await self._engine.process.wait()

    async def _kill_who_hangs(self) -> None:
        """End the workers that are still there when the time to drain is long over."""
        await self._stopping.wait()
        server = self.settings.server
        grace_s = server.grace if self._grace_s is None else self._grace_s
        await asyncio.sleep(grace_s + server.drain + _END_MARGIN_S)
        for child in self._workers.values():
            kill(child)

    async def _announced(self, port: socket.socket) -> None:
        ports = Ports(
            callers=port.getsockname()[1],
            admin=self._admin[0].getsockname()[1] if self._admin else None,
        )
        while len(self._workers) < self._places:  # noqa: ASYNC110 - they are being started
            await asyncio.sleep(0.01)
        children = list(self._workers.values())
        for child in children:
            await child.ready.wait()
        self._announce(children[0].missing, ports)

    def _asked_to_stop(self, number: int, ports: list[socket.socket]) -> None:
        if self._stopping.is_set():
            self._end_at_once(number)
        self._stopping.set()
        notify(STOPPING, os.environ)
        # Who types Ctrl-C has no balancer to wait for.
        self._grace_s = None if number == signal.SIGTERM else 0.0
        for child in self._workers.values():
            child.channel.tell("stop", self._grace_s)
        for port in (*ports, *self._admin):
            port.close()  # else the port would stay open when the workers have closed it

    def _end_at_once(self, number: int) -> None:
        for child in (*self._workers.values(), *([self._engine] if self._engine else [])):
            with contextlib.suppress(ProcessLookupError):
                child.process.kill()
        for each in self._folders:  # nothing is unwound now
            shutil.rmtree(each, ignore_errors=True)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _has_local(settings: Settings) -> bool:
    names: Iterable[str] = (target.account for route in settings.models.values() for target in route.targets)
    return any(settings.providers[name].adapter == LOCAL for name in names)


def _listening(settings: Settings) -> list[socket.socket]:
    server = settings.server
    try:
        return listeners(server.host, server.port, server.workers)
    except OSError as error:
        raise cannot_listen(server.host, server.port, error) from error


def _admin_listening(settings: Settings) -> tuple[socket.socket, ...]:
    """Return the admin port's socket. All workers take connections from it: any of them speaks for all."""
    server = settings.server
    if server.admin_port is None:
        return ()
    try:
        return tuple(listeners(server.admin_host, server.admin_port, 1))
    except OSError as error:
        raise cannot_listen(server.admin_host, server.admin_port, error) from error


@contextlib.contextmanager
def _engine_socket(folder: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(folder / "engine"))
        listener.listen(BACKLOG)
        yield listener
