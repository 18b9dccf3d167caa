"""Several workers behind one port, as a caller and an operator meet them: the real program, killed and reloaded."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import yaml

from tests.chaos.load import MODEL, Client, check, gauges_at_rest, metrics
from tests.chaos.upstream import answers, upstream
from tests.conftest import sample
from tests.program import OPERATOR, Program, configuration, program
from tests.running import PROGRAM

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Emulate = Callable[..., Awaitable[str]]

TWO = {"workers": 2, "drain": "20s"}


@asynccontextmanager
async def two(url: str, folder: Path, **server: Any) -> AsyncIterator[tuple[Program, Client]]:
    """Serve one model with two workers; each request has a connection of its own."""
    connector = aiohttp.TCPConnector(force_close=True)
    document = configuration({"a": url}, model=MODEL, server={**TWO, **server})
    async with program(document, folder) as served, aiohttp.ClientSession(connector=connector) as session:
        yield served, Client(served.url, session)


def children(served: Program, module: str = "worker") -> list[int]:
    """Return the process ids of a program's workers, or its engine."""
    of_parent = Path(f"/proc/{served.process.pid}/task/{served.process.pid}/children").read_text().split()
    return [int(each) for each in of_parent if f"gateway.workers.{module}" in Path(f"/proc/{each}/cmdline").read_text()]


def folder_of(worker: int) -> Path:
    """Return where the engine's socket is: it is named in a worker's command."""
    return Path(Path(f"/proc/{worker}/cmdline").read_text().split("\0")[-2]).parent


def counts_of(worker: int) -> Path:
    """Return where a worker counts."""
    environ = Path(f"/proc/{worker}/environ").read_text().split("\0")
    return next(Path(each.partition("=")[2]) for each in environ if each.startswith("PROMETHEUS_MULTIPROC_DIR="))


async def status(client: Client) -> dict[str, Any]:
    async with client.session.get(f"{client.url}/status") as reply:
        told: dict[str, Any] = await reply.json()
        return told


async def reload(client: Client) -> tuple[int, dict[str, Any]]:
    async with client.session.post(f"{client.url}/admin/reload", headers=OPERATOR) as reply:
        return reply.status, await reply.json()


async def gone(pids: list[int]) -> None:
    """Return when none of the processes is left; pytest's own limit ends the wait."""
    while any(map(is_alive, pids)):  # noqa: ASYNC110 - no child of ours
        await asyncio.sleep(0.02)


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_the_admin_port_speaks_for_all_workers_as_long_as_one_is_left(tmp_path: Path) -> None:
    async with upstream(answers()) as a, two(a.url, tmp_path, admin_port=0, drain="5s") as (served, client):
        operator = Client(served.admin_url, client.session)
        for _ in range(20):
            assert (await client.ask()).status == 200
            assert (await status(operator))["workers"] == 2
        assert (await metrics(operator))[f'asr_requests_total{{front="hf",model="{MODEL}",status="200"}}'] == 20
        assert (await operator.ask()).status == 404
        assert (await reload(operator))[0] == 200
        os.kill(children(served)[0], signal.SIGKILL)
        for _ in range(10):
            assert (await status(operator))["workers"] in {1, 2}
        served.process.terminate()
        assert await served.process.wait() == 0


async def test_both_serve_and_whoever_is_asked_speaks_for_all(tmp_path: Path) -> None:
    async with upstream(answers()) as a, two(a.url, tmp_path) as (served, client):
        for _ in range(40):
            assert (await client.ask()).status == 200
        told = await status(client)
        assert (told["workers"], len(children(served))) == (2, 2)
        counted = (await metrics(client))[f'asr_requests_total{{front="hf",model="{MODEL}",status="200"}}']
        assert counted == 40
        await check(client, served, [a], attempts=1)


async def test_a_reload_reaches_all(emulate: Emulate, tmp_path: Path) -> None:
    url = await emulate("hf-inference")
    async with two(url, tmp_path) as (served, client):
        served.file.write_text(yaml.safe_dump(configuration({"b": url}, model=MODEL, server=TWO)))
        assert await reload(client) == (200, {"status": "reloaded", "needs_restart": []})
        assert {(await client.ask()).provider for _ in range(30)} == {"b"}
        served.file.write_text(yaml.safe_dump(configuration({"c": url}, model=MODEL, server=TWO)))
        served.process.send_signal(signal.SIGHUP)
        while len([line for line in served.lines if line["event"] == "reloaded"]) < 4:  # noqa: ASYNC110 - a pipe
            await asyncio.sleep(0.02)
        assert {(await client.ask()).provider for _ in range(30)} == {"c"}


async def test_a_bad_configuration_changes_none_of_them(emulate: Emulate, tmp_path: Path) -> None:
    async with two(await emulate("hf-inference"), tmp_path) as (served, client):
        served.file.write_text("models: {m: {targets: [nobody/x]}}")
        code, told = await reload(client)
        assert (code, told["type"]) == (422, "bad-configuration")
        assert {(await client.ask()).provider for _ in range(30)} == {"a"}
        assert "nobody" in (await status(client))["reload_error"]
        assert (await status(client))["status"] == "degraded"


async def test_a_worker_that_dies_is_replaced_and_its_queue_is_served(tmp_path: Path) -> None:
    """Only what the dead one was answering is lost; whoever connects meanwhile waits, and is answered."""
    async with upstream(answers(after_s=0.1)) as a, two(a.url, tmp_path) as (served, client):
        before = children(served)
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(client.at_rate(40, 3))
            await asyncio.sleep(0.5)
            os.kill(before[0], signal.SIGKILL)
            await served.wait_for("worker_ended")
        lost = [told for told in asked.result() if told.status != 200]
        assert len(lost) <= 8, "more than it had in flight"
        assert all(told.status == 0 for told in lost)
        now = children(served)
        assert len(now) == 2
        assert before[1] in now
        client.log = [told for told in client.log if told.status]
        await check(client, served, [a], attempts=1)


async def test_a_worker_that_cannot_be_started_is_started_later(tmp_path: Path) -> None:
    """The parent may have no more descriptors for the moment: the other worker serves on."""
    async with upstream(answers()) as a, two(a.url, tmp_path) as (served, client):
        parent, before = served.process.pid, children(served)
        _, most = resource.prlimit(parent, resource.RLIMIT_NOFILE)
        resource.prlimit(parent, resource.RLIMIT_NOFILE, (8, most))
        os.kill(before[0], signal.SIGKILL)
        await served.wait_for("process_not_started")
        resource.prlimit(parent, resource.RLIMIT_NOFILE, (most, most))
        while len(children(served)) < 2:  # noqa: ASYNC110 - seen from outside
            await asyncio.sleep(0.02)
        assert before[1] in children(served)
        for _ in range(10):
            assert (await client.ask()).status == 200


async def test_what_a_dead_worker_has_counted_is_still_counted(tmp_path: Path) -> None:
    """To the last request, though nobody had asked it since; who saw a total fall would take it for a restart."""
    total = f'asr_requests_total{{front="hf",model="{MODEL}",status="200"}}'
    async with upstream(answers()) as a, two(a.url, tmp_path) as (served, client):
        for _ in range(20):
            await client.ask()
        folder = counts_of(children(served)[0])
        os.kill(children(served)[0], signal.SIGKILL)
        await served.wait_for("worker_ended")
        assert (await metrics(client))[total] == 20
        while len(children(served)) < 2:  # noqa: ASYNC110 - seen from outside
            await asyncio.sleep(0.02)
        for _ in range(20):
            await client.ask()
        counted = await metrics(client)
        assert counted[total] == counted['asr_stage_seconds_count{stage="receive"}'] == 40
        assert counted['asr_request_seconds_bucket{front="hf",le="+Inf"}'] == 40
        assert counted["asr_config_last_reload_successful"] == 1
        await gauges_at_rest(client)
        processes = {each.stem.rpartition("_")[2] for each in folder.iterdir()}
        assert processes == {"ended", *map(str, children(served))}, "the dead one's files are gone"


async def test_sigterm_lets_all_finish(tmp_path: Path) -> None:
    async with upstream(answers(after_s=1.0)) as a, two(a.url, tmp_path, grace="500ms") as (served, client):
        pids = children(served)
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(client.ask()) for _ in range(20)]
            while len(a.open) < 20:  # noqa: ASYNC110 - seen from outside
                await asyncio.sleep(0.01)
            served.process.terminate()
            await served.wait_for("draining")
            late = await client.ask()  # it still listens
        assert {each.result().status for each in asked} == {200}
        assert late.status == 200
        assert await served.process.wait() == 0
        await gone(pids)
        assert (await client.ask()).status == 0, "somebody still listens"


async def test_a_second_signal_ends_all_at_once(tmp_path: Path) -> None:
    async with upstream(answers(after_s=60)) as a, two(a.url, tmp_path, drain="1h") as (served, client):
        pids = children(served)
        folder, counts = folder_of(pids[0]), counts_of(pids[0])
        assert folder.exists()
        asking = asyncio.get_running_loop().create_task(client.ask())
        while not a.open:  # noqa: ASYNC110 - seen from outside
            await asyncio.sleep(0.01)
        served.process.terminate()
        await served.wait_for("draining")
        served.process.terminate()
        assert await served.process.wait() == -signal.SIGTERM
        assert (await asking).status == 0
        await gone(pids)
        assert not folder.exists()
        assert not counts.exists()


async def test_who_hangs_is_ended_when_the_drain_is_over(tmp_path: Path) -> None:
    async with upstream(answers()) as a, two(a.url, tmp_path, drain="500ms", grace="100ms") as (served, _):
        pids = children(served)
        os.kill(pids[0], signal.SIGSTOP)
        served.process.terminate()
        async with asyncio.timeout(20):
            assert await served.process.wait() == 0
        await served.wait_for("hung")
        await gone(pids)


async def test_a_hangup_that_reaches_all_ends_none(emulate: Emulate, tmp_path: Path) -> None:
    """A terminal and some init processes send it to everybody: the parent says what is to be done about it."""
    async with two(await emulate("hf-inference"), tmp_path) as (served, client):
        pids = children(served)
        for pid in (*pids, served.process.pid):
            os.kill(pid, signal.SIGHUP)
        await served.wait_for("reloaded")
        assert (await client.ask()).status == 200
        assert children(served) == pids


async def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    """At once, where they have nothing to finish: whoever is started in its place wants the port."""
    async with upstream(answers()) as a, two(a.url, tmp_path, grace="1h") as (served, _):
        pids = children(served)
        served.process.kill()
        await served.process.wait()
        await gone(pids)


async def test_a_port_that_is_taken_stops_the_start(tmp_path: Path) -> None:
    async with upstream(answers()) as a, two(a.url, tmp_path) as (served, _):
        process = await asyncio.create_subprocess_exec(
            *(str(PROGRAM), "serve", "--config", str(served.file), "--port", str(served.port)),
            stderr=asyncio.subprocess.PIPE,
        )
        _, said = await process.communicate()
        assert process.returncode == 1
        assert b"Address already in use" in said


# --- the engine


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[tuple[Program, Client]]:
    document = {
        "server": TWO,
        "providers": {"local": {"adapter": "local"}},
        "models": {MODEL: {"targets": [{"target": "local/tiny.en", "substitute": True}]}},
    }
    connector = aiohttp.TCPConnector(force_close=True)
    async with program(document, tmp_path) as served, aiohttp.ClientSession(connector=connector) as session:
        yield served, Client(served.url, session)


ASK_NOT = "ask not what your country can do for you"


async def test_local_models_are_loaded_once_for_all(local: tuple[Program, Client]) -> None:
    served, client = local
    assert len(children(served, "engine")) == 1
    for _ in range(4):
        assert ASK_NOT in (await client.ask(sample("jfk.flac"))).text
    silence = await client.ask(headers={"Content-Type": "audio/wav"})
    assert (silence.status, silence.text) == (200, "")
    await gauges_at_rest(client)


async def test_the_engines_numbers_are_among_all_the_others(local: tuple[Program, Client]) -> None:
    served, client = local
    for _ in range(3):
        assert (await client.ask(sample("jfk.flac"))).status == 200
    counted = await metrics(client)
    assert counted['asr_local_batch_size_count{model="tiny.en"}'] == 3
    assert counted['asr_local_queue_depth{model="tiny.en"}'] == 0
    assert counted['asr_local_jobs{deployment="local/tiny.en"}'] == 0
    os.kill(children(served, "engine")[0], signal.SIGKILL)
    await served.wait_for("engine_ended")
    while (await metrics(client)).get('asr_local_batch_size_count{model="tiny.en"}') != 3:  # noqa: ASYNC110 - folded
        await asyncio.sleep(0.02)


async def test_each_process_has_its_own_socket_and_no_others(local: tuple[Program, Client]) -> None:
    """A listener that is inherited by another stays open when its worker has closed it: what connects there waits."""
    served, client = local
    assert [len(listening(pid)) for pid in children(served)] == [1, 1]
    assert len(set.union(*map(listening, children(served)))) == 2
    assert listening(children(served, "engine")[0]) == set()
    await client.ask(sample("slushy.webm"))  # another process reads what a hostile file may break
    of_helpers = [pid for each in children(served) for pid in descendants(each)]
    assert all(listening(pid) == set() for pid in of_helpers)


def descendants(pid: int) -> list[int]:
    own = [
        int(each) for task in Path(f"/proc/{pid}/task").iterdir() for each in (task / "children").read_text().split()
    ]
    return own + [each for child in own for each in descendants(child)]


def listening(pid: int) -> set[str]:
    """Return the inodes of the TCP sockets that a process listens on."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listens = {f"socket:[{row[9]}]" for row in rows if row[3] == "0A"}
    return listens & {str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir()}


async def test_what_the_engine_refuses_is_told_in_its_own_words(local: tuple[Program, Client]) -> None:
    _, client = local
    told = await client.ask(sample("jfk.flac")[:3000])
    assert (told.status, told.body["type"]) == (400, "unreadable-audio")


async def test_an_engine_that_dies_is_started_again_and_its_requests_answered(
    local: tuple[Program, Client],
) -> None:
    served, client = local
    async with asyncio.TaskGroup() as group:
        asked = [
            group.create_task(client.ask(sample("two_cities.flac"))) for _ in range(3)
        ]  # as many retries as one worker has
        while (await status(client))["deployments"][0]["in_flight"] < 3:  # noqa: ASYNC110 - seen from outside
            await asyncio.sleep(0.01)
        (engine,) = children(served, "engine")
        os.kill(engine, signal.SIGKILL)
        await served.wait_for("engine_ended")
    assert {each.result().status for each in asked} == {200}
    attempts = {each.result().attempts for each in asked}
    assert {2} <= attempts <= {1, 2}  # one that was just about to connect finds the next engine at once
    assert children(served, "engine") != [engine]


async def test_a_reload_without_an_engine_ends_nothing(local: tuple[Program, Client]) -> None:
    """SIGHUP just after the engine died: nothing is changed, and the next one finds another engine."""
    served, client = local
    pids, (engine,) = children(served), children(served, "engine")
    os.kill(engine, signal.SIGKILL)
    await gone([engine])  # the log says it too late: the next one may have been started by then
    served.process.send_signal(signal.SIGHUP)
    await served.wait_for("reload_refused")
    while not children(served, "engine"):  # noqa: ASYNC110 - seen from outside
        await asyncio.sleep(0.02)
    assert ASK_NOT in (await client.ask(sample("jfk.flac"))).text
    assert (await reload(client))[0] == 200
    assert children(served) == pids


async def test_an_engine_that_dies_before_it_is_ready_ends_the_reload(emulate: Emulate, tmp_path: Path) -> None:
    """The reload ends, and so does the next one."""
    async with two(await emulate("hf-inference"), tmp_path) as (served, client):
        good = served.file.read_text()
        document = yaml.safe_load(good)
        document["providers"]["local"] = {"adapter": "local"}
        document["models"][MODEL]["targets"].append({"target": "local/tiny.en", "substitute": True})
        served.file.write_text(yaml.safe_dump(document))
        reloading = asyncio.get_running_loop().create_task(reload(client))
        while not children(served, "engine"):  # noqa: ASYNC110 - seen from outside
            await asyncio.sleep(0.02)
        os.kill(children(served, "engine")[0], signal.SIGKILL)
        code, told = await reloading
        assert (code, told["type"]) == (422, "bad-configuration")
        served.file.write_text(good)
        assert (await reload(client))[0] == 200
        assert (await client.ask()).status == 200


async def test_a_local_model_that_comes_with_a_reload_has_an_engine_started(emulate: Emulate, tmp_path: Path) -> None:
    async with two(await emulate("hf-inference"), tmp_path) as (served, client):
        assert children(served, "engine") == []
        document = yaml.safe_load(served.file.read_text())
        document["providers"]["local"] = {"adapter": "local"}
        document["models"][MODEL]["targets"] = [{"target": "local/tiny.en", "substitute": True}]
        served.file.write_text(yaml.safe_dump(document))
        assert (await reload(client))[0] == 200
        assert ASK_NOT in (await client.ask(sample("jfk.flac"))).text
        document["models"][MODEL]["targets"].append({"target": "local//nowhere/whisper", "substitute": True})
        served.file.write_text(yaml.safe_dump(document))
        code, told = await reload(client)
        assert (code, told["type"]) == (422, "bad-configuration")
        assert ASK_NOT in (await client.ask(sample("jfk.flac"))).text


async def test_a_refused_reload_leaves_the_models_that_answer(local: tuple[Program, Client]) -> None:
    """One of the same name that cannot be loaded does not take its place."""
    served, client = local
    document = yaml.safe_load(served.file.read_text())
    document["providers"]["local"] |= {"compute_type": "int4711", "engine": "faster-whisper"}
    served.file.write_text(yaml.safe_dump(document))
    assert (await reload(client))[0] == 422
    for _ in range(4):
        assert ASK_NOT in (await client.ask(sample("jfk.flac"))).text


async def test_a_model_that_goes_answers_who_began_before(local: tuple[Program, Client]) -> None:
    """Also who has not sent all of the audio when it goes; the reload waits for nobody."""
    served, client = local
    audio, go_on = sample("jfk.flac"), asyncio.Event()

    async def upload() -> AsyncIterator[bytes]:
        yield audio[:1000]
        await go_on.wait()
        yield audio[1000:]

    async def asked() -> str:
        async with client.session.post(f"{client.url}/models/{MODEL}", data=upload()) as reply:
            return str(await reply.json())

    asking = asyncio.get_running_loop().create_task(asked())
    while (await metrics(client))["asr_requests_in_flight"] < 2:  # noqa: ASYNC110 - seen from outside
        await asyncio.sleep(0.01)
    document = yaml.safe_load(served.file.read_text())
    document["providers"] = {"other": {"adapter": "local"}}
    document["models"][MODEL]["targets"] = [{"target": "other/tiny.en", "substitute": True}]
    served.file.write_text(yaml.safe_dump(document))
    assert (await reload(client))[0] == 200
    assert ASK_NOT in (await client.ask(audio)).text
    go_on.set()
    assert ASK_NOT in await asking


async def test_more_than_all_workers_may_have_at_once_is_shed(tmp_path: Path) -> None:
    async with (
        upstream(answers(after_s=1.0)) as a,
        two(a.url, tmp_path, max_in_flight=4) as (_, client),
    ):
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(client.ask()) for _ in range(30)]
        told = [each.result() for each in asked]
        assert {each.status for each in told} == {200, 429}
        assert a.most_at_once <= 4
