"""deploy/ray: a real Ray Serve of two replicas, asked through a gateway, one of them killed under load."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import aiohttp
import msgspec
import pytest
import yaml

from config.settings import AccountSettings
from providers.local.wire import JOB_BYTES, TIME_LEFT, Refusal, written
from providers.local.wire import MODEL as MODEL_HEADER
from providers.types import TranscriptionJob
from tests.conftest import sample, sample_audio
from tests.deploy.ray_server import FILE, REPLICAS, SAME, SERVES
from tests.serving import routed, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

ROOT = FILE.parents[2]
MODEL = "openai/whisper-tiny.en"
_AT_WORK_TICKS = 15  # hundredths of a second: a job takes three times that
CLIP, SAID = "sb_spk2_snt1.flac", "We are sure that one war is enough."
# Ray asks its maker's server who uses it, and makes keys for a cluster of several machines.
ALONE = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "PYTHONPATH": str(ROOT)}


@asynccontextmanager
async def ray_serve() -> AsyncIterator[tuple[str, int]]:
    """Serve on a free port; give the URL, and the process that everything of Ray's is below of."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with TemporaryDirectory(prefix="ray-") as folder:  # pytest's own is too long for a socket in it
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.deploy.ray_server", str(port)),
            cwd=ROOT,
            env={**os.environ, **ALONE, "RAY_TMPDIR": folder},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert SERVES in (await process.stdout.readline()).decode()
            yield f"http://127.0.0.1:{port}", process.pid
        finally:
            started = list(below(process.pid))
            process.stdin.close()
            await process.wait()
            while any(map(is_alive, started)):  # noqa: ASYNC110 - they are no children of ours
                await asyncio.sleep(0.05)


def below(pid: int) -> Iterator[int]:
    """Yield the processes that one has started, and those have."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return
    for child in map(int, children):
        yield child
        yield from below(child)


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def replicas(pid: int) -> list[int]:
    """Return the processes that hold the models."""
    names = {each: Path(f"/proc/{each}/cmdline").read_bytes() for each in below(pid)}
    return [each for each, name in names.items() if b"ServeReplica:asr:Engine" in name]


def worked(pids: list[int]) -> dict[int, int]:
    """Return how much each has had of the processors, in ticks."""
    stats = {pid: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids}
    return {pid: int(fields[11]) + int(fields[12]) for pid, fields in stats.items()}


async def in_the_middle(pids: list[int]) -> int:
    """Return one that is at a job: Ray prefers a replica that has the model, and one that is idle loses nothing."""
    before = worked(pids)
    while True:
        await asyncio.sleep(0.01)
        at_work = [pid for pid, ticks in worked(pids).items() if ticks - before[pid] >= _AT_WORK_TICKS]
        if at_work:
            return at_work[0]


async def ask(session: aiohttp.ClientSession, url: str) -> tuple[int, int, str]:
    """Return the status, after how many attempts, and what was said."""
    async with session.post(f"{url}/models/{MODEL}", data=sample(CLIP)) as reply:
        told = await reply.json()
        return reply.status, int(reply.headers["X-Gateway-Attempts"]), told.get("text", "") or str(told)


async def impatient(session: aiohttp.ClientSession, cluster: str) -> str:
    """Return how a job is refused whose caller waits for less than a model takes to load."""
    job = TranscriptionJob(model=MODEL, audio=sample_audio(CLIP))
    head = written(job)
    headers = {JOB_BYTES: str(len(head)), TIME_LEFT: "0.1", MODEL_HEADER: "tiny.en"}
    body = head + b"".join(map(bytes, job.audio.content.slices()))
    async with session.post(f"{cluster}/transcribe?model=tiny.en", data=body, headers=headers) as reply:
        return msgspec.json.decode(await reply.read(), type=Refusal).kind


async def known(session: aiohttp.ClientSession, cluster: str, model: str) -> int:
    """Return the status of what is known of a model."""
    async with session.get(f"{cluster}/model", params={"model": model}) as reply:
        assert reply.status != 200 or (await reply.json())["capabilities"]["languages"] == ["en"]
        return reply.status


@pytest.mark.timeout(180)
async def test_a_model_is_loaded_though_nobody_waits_for_it() -> None:
    """Nor is a replica replaced because those who ask it are in a hurry."""
    async with ray_serve() as (cluster, pid), aiohttp.ClientSession() as session:
        before = replicas(pid)
        kinds = [await impatient(session, cluster) for _ in range(3)]
        assert set(kinds) == {"ProviderUnavailable"}
        while await impatient(session, cluster) != "AttemptTimedOut":
            pass  # it is loaded once it begins to hear
        assert replicas(pid) == before


@pytest.mark.timeout(300)
async def test_a_replica_that_is_killed_under_load_loses_no_request() -> None:
    """The gateway finds the application as it does an engine; Ray puts another replica in the dead one's place."""
    async with ray_serve() as (cluster, pid):
        account = AccountSettings(adapter="engine", base_url=cluster)
        async with running(routed(MODEL, {"cluster": account}, "cluster/tiny.en")) as (url, gateway):
            while not gateway.fleet.local["cluster/tiny.en"].ready:  # noqa: ASYNC110 - it is loaded as it is asked for
                await asyncio.sleep(0.05)
            before = replicas(pid)
            assert len(before) == REPLICAS
            async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
                asked = [group.create_task(ask(session, url)) for _ in range(12)]
                while sum(each.done() for each in asked) < 2:  # noqa: ASYNC110 - it is in the middle of them then
                    await asyncio.sleep(0.01)
                killed = await in_the_middle(before)
                os.kill(killed, signal.SIGKILL)
                asked += [group.create_task(ask(session, url)) for _ in range(4)]
            told = [each.result() for each in asked]
            assert {(status, said) for status, _, said in told} == {(200, SAID)}
            assert {attempts for _, attempts, _ in told} == {1, 2}, "what it was at is lost to Ray, and sent again"
            while len(replicas(pid)) < REPLICAS:  # noqa: ASYNC110 - seen from outside
                await asyncio.sleep(0.05)
            assert killed not in replicas(pid)
            async with aiohttp.ClientSession() as session:
                for model in ("tiny.en", SAME) * 3:  # of which a replica has room for one
                    assert await known(session, cluster, model) == 200
                assert await known(session, cluster, "another") == 404
                async with session.get(f"{cluster}/health") as reply:
                    assert await reply.json() == {"status": "ready"}


def test_a_replica_is_added_before_the_others_are_full() -> None:
    """Else requests would be refused while another could be started. That Ray takes the file, the trial above shows."""
    (application,) = yaml.safe_load(FILE.read_text())["applications"]
    (engine,) = application["deployments"]
    scaling = engine["autoscaling_config"]
    assert scaling["target_ongoing_requests"] < engine["max_ongoing_requests"] < engine["max_queued_requests"]
    assert scaling["min_replicas"] < scaling["max_replicas"]
    assert 0 < engine["ray_actor_options"]["num_gpus"] < 1
