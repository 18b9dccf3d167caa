"""deploy/ray: a real Ray Serve of two nodes, asked through a gateway while replicas come, go, fail and change."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
import msgspec
import pytest
import yaml

from config.settings import AccountSettings
from providers.local.models import locate
from providers.local.wire import JOB_BYTES, TIME_LEFT, Refusal, multiplexed_id, written
from providers.local.wire import MODEL as MODEL_HEADER
from providers.types import TranscriptionJob
from tests.conftest import sample, sample_audio
from tests.deploy.ray_cluster import FILE, RayCluster, ray_cluster
from tests.serving import routed, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.deploy.ray_cluster import Now, Replica

pytestmark = pytest.mark.timeout(180)

TINY = "tiny.en"
ROUTE, OTHER_ROUTE = "openai/whisper-tiny.en", "other"
_AT_WORK_TICKS = 15  # hundredths of a second: a job takes three times that
CLIP, SAID = "sb_spk2_snt1.flac", "We are sure that one war is enough."


@pytest.fixture(scope="module")
def ray() -> Iterator[RayCluster]:
    with ray_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def other(ray: RayCluster) -> str:
    """Return another model, of which the words are the same: its name has what a header's value may not have."""
    folder = ray.folder / "tiny@älter"
    folder.symlink_to(locate(TINY), target_is_directory=True)
    return str(folder)


@pytest.fixture(scope="module")
def broken(ray: RayCluster) -> str:
    """Return a model that can be loaded, but not be asked: its weights are for other features."""
    folder = ray.folder / "broken"
    folder.mkdir()
    for file in Path(locate(TINY)).iterdir():
        (folder / file.name).symlink_to(file)
    (folder / "preprocessor_config.json").write_text('{"feature_size": 128}')
    return str(folder)


class Answer(NamedTuple):
    """What a gateway answered."""

    status: int
    said: str
    model: str = ""
    attempts: int = 0


class Front:
    """A gateway before Ray, and whoever asks it."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def ask(self, route: str = ROUTE) -> Answer:
        async with self._session.post(f"{self._url}/models/{route}", data=sample(CLIP)) as reply:
            told = await reply.json()
            headers = reply.headers
            said = told.get("text", "") or str(told)
            model, attempts = headers.get("X-Gateway-Model", ""), int(headers.get("X-Gateway-Attempts", "0"))
            return Answer(reply.status, said, model, attempts)

    @asynccontextmanager
    async def asked_by(self, callers: int) -> AsyncIterator[list[Answer]]:
        """Have so many ask again and again meanwhile; give what they are answered, all of it at the end."""
        answers: list[Answer] = []
        enough = asyncio.Event()

        async def caller() -> None:
            while not enough.is_set():
                answers.append(await self.ask())

        async with asyncio.TaskGroup() as group:
            for _ in range(callers):
                group.create_task(caller())
            try:
                yield answers
            finally:
                enough.set()


@asynccontextmanager
async def gateway(ray: RayCluster, *models: str, other: str | None = None) -> AsyncIterator[Front]:
    """Route to models at Ray, in this order, and another name to another; wait until the last of them is known."""
    accounts = {"cluster": AccountSettings(adapter="engine", base_url=ray.url)}
    settings = routed(ROUTE, accounts, *(f"cluster/{each}" for each in models))
    if other is not None:
        second = routed(OTHER_ROUTE, accounts, f"cluster/{other}")
        settings = settings.model_copy(update={"models": {**settings.models, **second.models}})
    wanted = f"cluster/{other or models[-1]}"
    async with running(settings) as (url, served), aiohttp.ClientSession() as session:
        while not served.fleet.local[wanted].ready:  # noqa: ASYNC110 - it is looked for each second
            await asyncio.sleep(0.05)
        yield Front(url, session)


async def refusal(session: aiohttp.ClientSession, ray: RayCluster, model: str, *, left_s: float = 60.0) -> str:
    """Return the kind of refusal that Ray answers whoever speaks an engine's language; none: the job was done."""
    job = TranscriptionJob(model=model, audio=sample_audio(CLIP))
    head = written(job)
    headers = {JOB_BYTES: str(len(head)), TIME_LEFT: str(left_s), MODEL_HEADER: multiplexed_id(model)}
    body = head + b"".join(map(bytes, job.audio.content.slices()))
    async with session.post(f"{ray.url}/transcribe", params={"model": model}, data=body, headers=headers) as reply:
        said = await reply.read()
        return "" if reply.status == 200 else msgspec.json.decode(said, type=Refusal).kind


async def known(session: aiohttp.ClientSession, ray: RayCluster, model: str) -> int:
    """Return the status of what is known of a model."""
    async with session.get(f"{ray.url}/model", params={"model": model}) as reply:
        assert reply.status != 200 or (await reply.json())["capabilities"]["languages"] == ["en"]
        return reply.status


def worked(replicas: dict[str, Replica]) -> dict[str, int]:
    """Return how much each has had of the processors, in ticks."""
    stats = {
        name: Path(f"/proc/{each.pid}/stat").read_text().rpartition(")")[2].split() for name, each in replicas.items()
    }
    return {name: int(fields[11]) + int(fields[12]) for name, fields in stats.items()}


async def in_the_middle(replicas: dict[str, Replica]) -> Replica:
    """Return one that is at a job: who is idle loses nothing."""
    before = worked(replicas)
    while True:
        await asyncio.sleep(0.01)
        at_work = [name for name, ticks in worked(replicas).items() if ticks - before[name] >= _AT_WORK_TICKS]
        if at_work:
            return replicas[at_work[0]]


def answered(ray: RayCluster, replica: Replica) -> int:
    """Return how many jobs a replica has answered."""
    return ray.log(replica).count("POST / 200")


def loaded(ray: RayCluster, now: Now, model: str) -> int:
    """Return how often the replicas have loaded a model."""
    return sum(ray.log(each).count(f"model_loaded model={model} ") for each in now.running.values())


async def test_models_that_share_a_replica_are_loaded_for_whoever_asks(ray: RayCluster, other: str) -> None:
    """Nobody has to wait for a load, nor loses a model that was loaded for him to whoever comes next."""
    before = await ray.serve(ray.file(args={"models": [TINY, other]}))
    async with aiohttp.ClientSession() as session:
        assert await refusal(session, ray, other, left_s=0.1) == "ProviderUnavailable", "it is loading"
        while await refusal(session, ray, other, left_s=0.1) != "AttemptTimedOut":
            pass  # it is loaded once it begins to hear
        in_turns = await asyncio.gather(*(refusal(session, ray, model) for model in (TINY, other) * 3))
        assert set(in_turns) == {""}
        assert await known(session, ray, "another") == 404
        async with session.get(f"{ray.url}/health") as reply:
            assert await reply.json() == {"status": "ready"}
    assert (await ray.now()).running.keys() == before.running.keys(), "haste is no failure"


async def test_a_replica_that_is_killed_under_load_loses_no_request(ray: RayCluster) -> None:
    """What it was at is sent again; Ray puts another in its place."""
    before = (await ray.serve(ray.file(scaling={"min_replicas": 2, "max_replicas": 2}))).running
    async with gateway(ray, TINY) as front, front.asked_by(8) as answers:
        killed = await in_the_middle(before)
        assert killed.pid is not None
        os.kill(killed.pid, signal.SIGKILL)
        await ray.until(lambda now: len(now.running) == 2 and killed.name not in now.running)
    assert {(each.status, each.said) for each in answers} == {(200, SAID)}
    assert {each.attempts for each in answers} == {1, 2}


async def test_a_replica_that_hangs_under_load_loses_no_request(ray: RayCluster) -> None:
    """It does not answer three times in a row; then it is killed, and what it was at is sent again."""
    both = {"min_replicas": 2, "max_replicas": 2}
    document = ray.file(scaling=both, health_check_period_s=0.5, health_check_timeout_s=2)
    before = (await ray.serve(document)).running
    async with gateway(ray, TINY) as front, front.asked_by(4) as answers:
        hung = await in_the_middle(before)
        assert hung.pid is not None
        os.kill(hung.pid, signal.SIGSTOP)
        await ray.until(lambda now: len(now.running) == 2 and hung.name not in now.running)
    assert {(each.status, each.said) for each in answers} == {(200, SAID)}
    assert {each.attempts for each in answers} == {1, 2}


async def test_a_replica_whose_jobs_fail_is_replaced(ray: RayCluster, broken: str) -> None:
    """After three of them one after another."""
    document = ray.file(args={"models": [TINY, broken], "models_per_replica": 2}, health_check_period_s=0.5)
    before = await ray.serve(document)
    async with aiohttp.ClientSession() as session:
        for _ in range(3):
            assert await refusal(session, ray, broken) == "ProviderUnavailable"
        await ray.until(lambda now: bool(now.running) and not now.running.keys() & before.running.keys())
        assert await refusal(session, ray, TINY) == ""


async def test_a_queue_brings_a_second_replica_which_goes_with_it(ray: RayCluster) -> None:
    """It has its share before the first is full: Ray prefers replicas that have a model, and so does it."""
    scaling = {"max_replicas": 2, "target_ongoing_requests": 2, "look_back_period_s": 2}
    await ray.serve(ray.file(scaling={**scaling, "upscale_delay_s": 1, "downscale_delay_s": 3}))
    async with gateway(ray, TINY) as front:
        async with front.asked_by(5) as answers:
            two = (await ray.until(lambda now: len(now.running) == 2)).running
            while not all(answered(ray, each) for each in two.values()):  # noqa: ASYNC110 - it is written to a file
                await asyncio.sleep(0.1)
        assert {(each.status, each.said, each.attempts) for each in answers} == {(200, SAID, 1)}
        await ray.until(lambda now: len(now.replicas) == len(now.running) == 1)
        assert (await front.ask())[:2] == (200, SAID)


async def test_another_configuration_takes_over_under_load(ray: RayCluster, other: str) -> None:
    """The old replica answers until the new one can; then the gateway finds the model that the old one did not have."""
    before = (await ray.serve(ray.file())).running
    async with gateway(ray, other, TINY) as front:
        async with front.asked_by(3) as answers:
            await ray.deploy(ray.file(args={"models": [other, TINY]}))
            while before.keys() & (now := await ray.now()).running.keys() or now.application != "RUNNING":
                assert now.running or not now.replicas, "none is left, or Ray has not begun"
            while answers[-1].model != other:  # noqa: ASYNC110 - it is found within a second
                await asyncio.sleep(0.1)
        assert {(each.status, each.said) for each in answers} == {(200, SAID)}
        assert answers[0].model == TINY


async def test_two_replicas_share_a_gpu_and_a_third_waits_for_another(ray: RayCluster) -> None:
    """Ray counts the GPU; that there is none does not matter to what is counted."""
    halves = {"num_cpus": 0.1, "num_gpus": 0.5}
    document = ray.file(scaling={"min_replicas": 3, "max_replicas": 3}, ray_actor_options=halves)
    await ray.serve(document, lambda now: len(now.running) == 2)
    async with gateway(ray, TINY) as front:
        assert {each[:2] for each in await asyncio.gather(*(front.ask() for _ in range(6)))} == {(200, SAID)}
    now = await ray.now()
    (third,) = (each for each in now.replicas if each.name not in now.running)
    assert (third.state, third.pid) == ("STARTING", None)
    assert now.free.get("GPU", 0.0) == 0
    assert now.free["CPU"] > 1, "of these there are enough"


async def test_each_model_is_asked_for_at_the_node_that_has_it(ray: RayCluster, other: str) -> None:
    """Once a replica has loaded a model, none loads it in its place, by whichever node's port a request comes in."""
    both = {"min_replicas": 2, "max_replicas": 2}
    document = ray.file(args={"models": [TINY, other]}, scaling=both, max_replicas_per_node=1)
    now = await ray.serve(document)
    assert len({each.node for each in now.running.values()}) == 2
    assert (loaded(ray, now, TINY), loaded(ray, now, other)) == (2, 0), "each begins with the first"
    async with gateway(ray, TINY, other=other) as front:
        asked = [await front.ask(route) for route in (ROUTE, OTHER_ROUTE) * 4]
        asked += await asyncio.gather(*(front.ask(route) for route in (ROUTE, OTHER_ROUTE) * 2))
    assert {each[:2] for each in asked} == {(200, SAID)}
    assert (loaded(ray, now, TINY), loaded(ray, now, other)) == (2, 1)
    assert {answered(ray, each) for each in now.running.values()} == {6}


def test_a_replica_is_added_before_the_others_are_full() -> None:
    """Else requests would be refused while another could be started. That Ray takes the file, the trials above show."""
    engine = engine_of(yaml.safe_load(FILE.read_text()))
    scaling = engine["autoscaling_config"]
    assert scaling["target_ongoing_requests"] < engine["max_ongoing_requests"] < engine["max_queued_requests"]
    assert scaling["min_replicas"] < scaling["max_replicas"]
    assert 0 < engine["ray_actor_options"]["num_gpus"] < 1


def engine_of(document: dict[str, Any]) -> dict[str, Any]:
    (application,) = document["applications"]
    (engine,) = application["deployments"]
    return dict(engine)
