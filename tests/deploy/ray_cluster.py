"""A Ray of two nodes for a module's tests, as whoever runs one sees it: what is deployed, replicas, their logs."""

from __future__ import annotations

import asyncio
import json
import os
import select
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

ROOT: Final = Path(__file__).parents[2]
FILE: Final = ROOT / "deploy" / "ray" / "serve.yaml"
_LOOK_EVERY_S: Final = 0.1
_ENDS_WITHIN_S: Final = 60.0
_SURROUNDINGS: Final = {
    "PYTHONPATH": str(ROOT),
    "RAY_USAGE_STATS_ENABLED": "0",  # Ray asks its maker's server who uses it
    "RAY_AUTH_MODE": "disabled",  # and makes keys for a cluster of several machines
    "RAY_SERVE_HANDLE_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "0.5",  # how soon a queue is noticed: else ten seconds
    "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "0.5",
    "RAY_SERVE_FORCE_STOP_UNHEALTHY_REPLICAS": "1",  # else one that hangs is waited for
}
_AS_IT_IS: Final[Mapping[str, Any]] = {}
_CPU: Final = {"models": ["tiny.en"], "models_per_replica": 1, "account": {"device": "cpu", "compute_type": "int8"}}


class Replica(NamedTuple):
    """One process that holds models."""

    name: str
    pid: int | None  # None while it waits for resources
    node: str | None
    state: str


class Now(NamedTuple):
    """What there is at a moment."""

    application: str  # its status
    replicas: tuple[Replica, ...]
    free: Mapping[str, float]  # resources that nobody has
    message: str  # why it is so

    @property
    def running(self) -> dict[str, Replica]:
        return {each.name: each for each in self.replicas if each.state == "RUNNING"}


def _is_running(now: Now) -> bool:
    return now.application == "RUNNING"


class RayCluster:
    """Ray Serve, which answers at `url`."""

    def __init__(self, process: subprocess.Popen[str], folder: Path, port: int) -> None:
        self._process = process
        self._port = port
        self._turn = Lock()
        self.url = f"http://127.0.0.1:{port}"
        self.folder = folder

    def file(
        self, *, args: Mapping[str, Any] = _AS_IT_IS, scaling: Mapping[str, Any] = _AS_IT_IS, **deployment: Any
    ) -> dict[str, Any]:
        """Return serve.yaml with changes: half a CPU for a replica that holds the embedded model, and what is told."""
        document: dict[str, Any] = yaml.safe_load(FILE.read_text())
        (application,) = document["applications"]
        (engine,) = application["deployments"]
        application["args"] = {**application["args"], **_CPU, **args}
        engine |= {"ray_actor_options": {"num_cpus": 0.5}, **deployment}
        engine["autoscaling_config"] |= {"min_replicas": 1, "max_replicas": 1, **scaling}
        document["http_options"] |= {"host": "127.0.0.1", "port": self._port}
        return document

    async def serve(self, document: dict[str, Any], is_there: Callable[[Now], bool] = _is_running) -> Now:
        """Serve that, and nothing of what was before; return once it is there."""
        await self.deploy({**document, "applications": []})
        await self.until(lambda now: not now.application)
        await self.deploy(document)
        return await self.until(is_there)

    async def deploy(self, document: dict[str, Any]) -> Now:
        """Do as `serve deploy` does; return at once."""
        return _now(await asyncio.to_thread(self._told, document))

    async def now(self) -> Now:
        return await self.deploy({})

    async def until(self, is_so: Callable[[Now], bool]) -> Now:
        """Wait for it."""
        while not is_so(now := await self.now()):  # noqa: ASYNC110 - nobody is told
            await asyncio.sleep(_LOOK_EVERY_S)
        return now

    def log(self, replica: Replica) -> str:
        """Return what a replica wrote down."""
        (file,) = self.folder.glob(f"ray/session_2*/logs/serve/replica_asr_Engine_{replica.name}.log")
        return file.read_text()

    def _told(self, document: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._turn:
            self._process.stdin.write(json.dumps(document) + "\n")
            self._process.stdin.flush()
            told: dict[str, Any] = json.loads(self._process.stdout.readline())
        return told


def _now(told: dict[str, Any]) -> Now:
    application = told["applications"].get("asr", {})
    engine = application.get("deployments", {}).get("Engine", {})
    replicas = tuple(
        Replica(each["replica_id"], each.get("pid"), each.get("node_id"), each["state"])
        for each in engine.get("replicas", [])
    )
    status = application.get("status", "")
    return Now(status, replicas, told["free"], f"{application.get('message', '')} {engine.get('message', '')}")


@contextmanager
def ray_cluster() -> Iterator[RayCluster]:
    """Start one; leave no process of it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with TemporaryDirectory(prefix="ray-") as folder:  # pytest's own is too long for a socket in it
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.deploy.ray_server"],
            cwd=ROOT,
            env={**os.environ, **_SURROUNDINGS, "RAY_TMPDIR": folder},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            yield RayCluster(process, Path(folder), port)
        finally:
            started = list(_opened(_below(process.pid)))
            process.communicate()
            for each in started:
                _await_end(each)


def _opened(pids: Iterable[int]) -> Iterator[int]:
    """Yield a descriptor for each process that is still there: it is readable once that has ended."""
    for pid in pids:
        with suppress(ProcessLookupError):
            yield os.pidfd_open(pid)


def _await_end(descriptor: int) -> None:
    """Wait until a process has ended, and close its descriptor."""
    try:
        ended, _, _ = select.select([descriptor], [], [], _ENDS_WITHIN_S)
        assert ended, "a process of Ray's outlives it"
    finally:
        os.close(descriptor)


def _below(pid: int) -> Iterator[int]:
    """Yield the processes that one has started, and those have."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return
    for child in map(int, children):
        yield child
        yield from _below(child)
