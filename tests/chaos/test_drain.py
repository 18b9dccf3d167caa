"""A process that ends, and one that is replaced: nobody who asked goes without an answer. The names are the trials'."""

from __future__ import annotations

import asyncio
import re
import signal
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import aiohttp
import pytest

from tests.chaos.conftest import FULL, Report, Start
from tests.chaos.load import MODEL, Client, Told, check
from tests.chaos.upstream import answers, hangs, upstream
from tests.program import OPERATOR, configuration, program
from tests.running import PROGRAM

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.program import Program

DEPLOY = Path(__file__).parents[2] / "deploy"
Believes: TypeAlias = "Callable[[], Awaitable[None]]"
"""Returns when a balancer sends requests to both gateways."""


async def is_ready(client: Client) -> int:
    """Return the status of /health/ready, over a connection of its own; 0 where nobody listens."""
    try:
        async with aiohttp.ClientSession() as fresh, fresh.get(f"{client.url}/health/ready") as reply:
            return reply.status
    except aiohttp.ClientConnectionError:
        return 0


async def test_d1_sigterm_with_fifty_in_flight(start: Start, report: Report) -> None:
    """Not ready at once, listening for the grace period, all answered, gone a second after the slowest."""
    takes_s, grace_s = (3.0, 1.0) if FULL else (1.0, 0.4)
    async with (
        upstream(answers(after_s=takes_s)) as a,
        start({"a": a.url}, server={"grace": grace_s, "drain": "30s"}) as (running, client),
    ):
        clock = asyncio.get_running_loop().time
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(client.ask()) for _ in range(50)]
            while len(a.open) < 50:  # noqa: ASYNC110 - seen from outside
                await asyncio.sleep(0.01)
            told_at = clock()
            running.process.terminate()
            await running.wait_for("draining")
            during = await is_ready(client)
            late = await client.ask()  # it still listens
            await asyncio.sleep(max(0.0, told_at + grace_s + 0.2 - clock()))
            after = await is_ready(client)
        code = await running.process.wait()
        slowest = max(each.result().sent_at + each.result().seconds for each in asked)
        slowest = max(slowest, late.sent_at + late.seconds)
        good = sum(each.result().status == 200 for each in asked)
        report(
            "D1",
            f"{good} of 50 answered, ready {during} then nobody listens ({after}), "
            f"exit {clock() - slowest:.2f} s after the slowest",
            "50 of 50, 503 first, < 1 s",
        )
        assert (good, late.status, during, after, code) == (50, 200, 503, 0, 0)
        assert late.headers["Connection"] == "close"
        assert clock() - slowest < 1.5


async def test_d2_longer_than_the_drain_limit(start: Start, report: Report) -> None:
    limit_s = 1.0 if FULL else 0.4
    async with upstream(hangs) as a, start({"a": a.url}, server={"drain": limit_s}) as (running, client):
        clock = asyncio.get_running_loop().time
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(client.ask()) for _ in range(10)]
            while len(a.open) < 10:  # noqa: ASYNC110 - seen from outside
                await asyncio.sleep(0.01)
            told_at = clock()
            running.process.terminate()
        told = [each.result() for each in asked]
        cut_s = max(each.sent_at + each.seconds for each in told) - told_at
        assert {(each.status, each.body["type"]) for each in told} == {(502, "draining")}
        assert {each.headers["Connection"] for each in told} == {"close"}
        assert await running.process.wait() == 0
        report("D2", f"10 of 10 told 502 draining {cut_s:.2f} s after SIGTERM (limit {limit_s:g} s)", "a clear error")
        assert limit_s <= cut_s < limit_s + 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("when", ["in the grace period", "while draining"])
async def test_d6_a_second_signal(start: Start, report: Report, number: signal.Signals, when: str) -> None:
    grace = {"grace": "1h" if when == "in the grace period" else "0s", "drain": "1h"}
    async with upstream(hangs) as a, start({"a": a.url}, server=grace) as (running, client):
        asking = asyncio.get_running_loop().create_task(client.ask())
        while not a.open:  # noqa: ASYNC110 - seen from outside
            await asyncio.sleep(0.01)
        running.process.terminate()
        await running.wait_for("draining")
        clock = asyncio.get_running_loop().time
        told_at = clock()
        running.process.send_signal(number)
        assert await running.process.wait() == -number
        report("D6", f"{when}, {number.name}: gone after {(clock() - told_at) * 1000:.0f} ms", "immediate")
        assert (await asking).status == 0


@asynccontextmanager
async def proxy(name: str, ports: tuple[int, int], folder: Path) -> AsyncIterator[tuple[str, Believes]]:
    """Run nginx or HAProxy with the configuration in deploy/, on other ports; give its URL, and how to ask it."""
    port, asked = await free_port(), await free_port()
    file = folder / {"nginx": "nginx.conf", "haproxy": "haproxy.cfg"}[name]
    text = (DEPLOY / file.name).read_text()
    for documented, real in ((8080, port), (8081, ports[0]), (8082, ports[1])):
        text = re.sub(rf"\b{documented}\b", str(real), text)
    if name == "haproxy":
        text += f"listen beliefs\n  bind 127.0.0.1:{asked}\n  stats enable\n  stats uri /\n"
    file.write_text(text)
    at_hand = f"pid {folder}/nginx.pid; error_log {folder}/error.log;"
    command = {
        "nginx": ["nginx", "-p", str(folder), "-c", str(file), "-g", f"daemon off; {at_hand}"],
        "haproxy": ["haproxy", "-f", str(file), "-db"],
    }[name]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    try:
        while not await listens(port):
            assert process.returncode is None, f"{name} did not start"
            await asyncio.sleep(0.05)
        yield f"http://127.0.0.1:{port}", partial(_haproxy_believes, asked) if name == "haproxy" else _nginx_believes
    finally:
        process.terminate()
        await process.wait()


async def _haproxy_believes(port: int) -> None:
    async with aiohttp.ClientSession() as session:
        while await _servers(session, port) != ["UP", "UP"]:  # noqa: ASYNC110 - seen from outside
            await asyncio.sleep(0.05)


async def _servers(session: aiohttp.ClientSession, port: int) -> list[str]:
    """Return what its checks have found of each gateway."""
    async with session.get(f"http://127.0.0.1:{port}/;csv") as reply:
        rows = [line.split(",") for line in (await reply.text()).splitlines() if line.startswith("asr_gateways,")]
    return [each[17] for each in rows if each[1] in {"one", "two"}]


async def _nginx_believes() -> None:
    """Wait a moment, for it cannot be asked: it learns from requests, and sends those that fail elsewhere."""
    await asyncio.sleep(1.5)


async def free_port() -> int:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


async def listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


@pytest.mark.parametrize("name", ["nginx", "haproxy"])
async def test_d3_a_rolling_restart(name: str, report: Report, tmp_path: Path) -> None:
    """Each of two gateways is replaced in turn while a hundred requests a second come in."""
    rate, rounds = (100, 3) if FULL else (40, 1)
    ports = (await free_port(), await free_port())
    async with upstream(answers(after_s=0.1)) as a:
        server = {"grace": "1s", "drain": "20s"}

        @asynccontextmanager
        async def gateway(port: int, folder: Path) -> AsyncIterator[Program]:
            await asyncio.to_thread(folder.mkdir)
            document = configuration({"a": a.url}, model=MODEL, server={**server, "port": port})
            async with program(document, folder, port=port) as running:
                yield running

        async with proxy(name, ports, tmp_path) as (url, believes), aiohttp.ClientSession() as session:
            client = Client(url, session)
            ended: list[int] = []

            async def lives(port: int, number: int) -> None:
                """Run one generation after the other on a port."""
                for generation in range(rounds + 1):
                    async with gateway(port, tmp_path / f"{port}-{generation}") as running:
                        up.set()
                        if generation < rounds:
                            await restart[generation][number].wait()
                        else:
                            await finish.wait()
                        running.process.terminate()
                        ended.append(await running.process.wait())

            up, finish = asyncio.Event(), asyncio.Event()
            restart = [(asyncio.Event(), asyncio.Event()) for _ in range(rounds)]
            async with asyncio.TaskGroup() as group:
                for number, port in enumerate(ports):
                    group.create_task(lives(port, number))
                while not all([await listens(port) for port in ports]):  # noqa: ASYNC110 - seen from outside
                    await asyncio.sleep(0.05)
                await believes()
                load = group.create_task(client.at_rate(rate, 2.0 + rounds * 7.0, 8_000))
                await asyncio.sleep(1.0)
                for generation in range(rounds):
                    for number in (0, 1):
                        restart[generation][number].set()
                        while len(ended) <= 2 * generation + number or not await listens(ports[number]):  # noqa: ASYNC110 - seen from outside
                            await asyncio.sleep(0.05)
                        await believes()
                told: list[Told] = await load
                finish.set()
            wrong = [each for each in told if each.status != 200 or each.text != f"blake3 {each.digest}"]
            report(
                "D3",
                f"{name}: {len(told)} requests at {rate} a second, {len(ended) - 2} restarts, {len(wrong)} errors",
                "0 errors",
            )
            assert wrong == []
            assert ended == [0] * (2 * rounds + 2)


async def test_d5_is_in_the_tests_of_reloading(start: Start, report: Report) -> None:
    """A bad file at the start, and in `check`, is exit code 2; in a reload it changes nothing (test_reload.py)."""
    async with upstream(answers()) as a, start({"a": a.url}) as (running, client):
        file = await asyncio.to_thread(_spoil, running)
        checked = await asyncio.create_subprocess_exec(
            PROGRAM, "check", file, stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        await checked.communicate()
        async with client.session.post(f"{client.url}/admin/reload", headers=OPERATOR) as reply:
            told: dict[str, Any] = await reply.json()
        assert (checked.returncode, reply.status, told["type"]) == (2, 422, "bad-configuration")
        assert (await client.ask()).status == 200
        report("D5", "check exits 2, reload answers 422, the old configuration serves on", "old config stays")
        await check(client, running, [a], attempts=1)


def _spoil(running: Program) -> Path:
    running.file.write_text("modles: {}")
    return running.file
