"""Keys as an operator makes them: shown once, kept as a hash, and good at once."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import yaml

from config.settings import Auth, Settings
from gateway.keyring import digest_of
from tests.conftest import AUDIO
from tests.gateway.exec.test_sitecustomize import SNIPPET
from tests.gateway.test_cli import PROGRAM, SAID, Shell
from tests.program import configuration, program
from tests.redis_server import redis_server
from tests.serving import demo_settings, running_in_a_thread

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Emulate = Callable[..., Awaitable[str]]

MODEL = "openai/whisper-large-v3"


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def made(shell: Shell, *arguments: str) -> tuple[str, dict[str, Any]]:
    """Make a key; return it, and the entry for the configuration."""
    done = shell.run("keys", "new", *arguments)
    assert done.returncode == 0, done.stderr
    (entry,) = yaml.safe_load(done.stderr.partition("\n\n")[2])
    return done.stdout.strip(), entry


class TestNew:
    """Without a store: an entry to paste."""

    def test_the_key_is_shown_and_its_hash_is_the_entry(self, shell: Shell) -> None:
        secret, entry = made(shell, "--name", "newsroom")

        assert re.fullmatch(r"hf_gw_[A-Za-z0-9]{32}", secret)
        assert entry == {"name": "newsroom", "hash": digest_of(secret)}

    def test_everything_that_may_be_said_of_it(self, shell: Shell) -> None:
        options = ("--role", "admin", "--model", "openai/*", "--model", "nvidia/parakeet", "--label", "team=a, b")
        secret, entry = made(shell, "--name", "n", *options, "--expires", "2030-12-31", "--limit", "usd_per_day=2.5")

        (key,) = Auth.model_validate({"mode": "keys", "keys": [entry]}).keys
        assert (key.hash, key.role, key.models) == (digest_of(secret), "admin", ("openai/*", "nvidia/parakeet"))
        assert key.limits.usd_per_day == 2.5
        assert (key.labels, key.expires) == ({"team": "a, b"}, datetime(2030, 12, 31, 23, 59, 59, tzinfo=UTC))

    def test_it_may_end_so_long_from_now(self, shell: Shell) -> None:
        _, entry = made(shell, "--name", "n", "--expires", "90d")

        left = datetime.fromisoformat(entry["expires"]) - datetime.now(UTC)
        assert timedelta(days=89, hours=23) < left < timedelta(days=90)

    @pytest.mark.parametrize(
        ("wrong", "sentence"),
        [
            (("--name", "a b"), "name: "),
            (("--name", "n", "--role", "root"), "'root' is not one of"),
            (("--name", "n", "--expires", "soon"), "soon: neither a day such as 2026-12-31 nor a duration"),
            (("--name", "n", "--expires", "90"), "a number alone says no unit"),
            (("--name", "n", "--expires", "2026-12-31T10:00:00"), "a time with its offset"),
            (("--name", "n", "--expires", "99999999999d"), "neither a day"),
            (("--name", "n", "--label", "team"), "expected NAME=VALUE"),
            (("--name", "n", "--limit", "usd_per_day"), "expected NAME=VALUE"),
            (("--name", "n", "--limit", "usd_per_dya=1"), "did you mean usd_per_day?"),
            (("--name", "n", "--limit", "usd_per_day=much"), "limits.usd_per_day: "),
            (("--name", "n", "--label", "a b=c"), "labels.a b"),
        ],
    )
    def test_what_is_wrong_with_a_call(self, shell: Shell, wrong: tuple[str, ...], sentence: str) -> None:
        done = shell.run("keys", "new", *wrong)

        assert (done.returncode, done.stdout) == (2, "")
        assert sentence in " ".join(done.stderr.split())


def keyed(*entries: dict[str, Any]) -> Settings:
    """Return a demonstration that wants keys."""
    return demo_settings().model_copy(update={"auth": Auth.model_validate({"mode": "keys", "keys": entries})})


def test_huggingface_hub_sends_the_key_here_and_nowhere_else(shell: Shell) -> None:
    """The documentation's own snippet with provider="fal-ai"; a call past the gateway ends at a proxy nobody runs."""
    secret, entry = made(shell, "--name", "newsroom", "--model", "openai/*")
    shutil.copy(AUDIO / "slushy.flac", shell.home / "sample1.flac")
    shell.written("app.py", SNIPPET.format(provider="fal-ai", key=secret))
    shell.written("wrong.py", SNIPPET.format(provider="fal-ai", key=secret[:-1]))
    nowhere = "http://127.0.0.1:9"

    def run(url: str, program: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PROGRAM, "exec", "--url", url, "--", sys.executable, program],
            env=shell.environment(
                HF_ENDPOINT=nowhere,
                HTTPS_PROXY=nowhere,
                HTTP_PROXY=nowhere,
                NO_PROXY="127.0.0.1",
            ),
            cwd=shell.home,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    with running_in_a_thread(keyed(entry)) as url:
        right, wrong = run(url, "app.py"), run(url, "wrong.py")

    assert right.returncode == 0, right.stderr
    assert SAID in right.stdout
    assert wrong.returncode == 1
    assert "401" in wrong.stderr


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
async def test_two_workers_learn_of_keys_that_are_made_rotated_and_revoked(
    kind: str, shell: Shell, emulate: Emulate, tmp_path: Path
) -> None:
    """Within two seconds, whichever of them is asked."""
    async with redis_server() as redis:
        document = configuration(
            {"a": await emulate("hf-inference")},
            model=MODEL,
            server={"workers": 2},
            auth={"mode": "keys", "store": kind, **({"path": str(tmp_path / "keys")} if kind == "sqlite" else {})},
            redis={"url": redis.url, "timeout": "1s"},
        )
        connector = aiohttp.TCPConnector(force_close=True)
        async with program(document, tmp_path) as served, aiohttp.ClientSession(connector=connector) as session:

            async def run(command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
                whole = ("keys", command, *arguments, "--config", str(served.file))
                return await asyncio.to_thread(shell.run, *whole)

            async def becomes(secret: str, status: int) -> None:
                """Ask until both workers say so; for two seconds and no more."""
                url, headers = f"{served.url}/v1/models", {"Authorization": f"Bearer {secret}"}
                async with asyncio.timeout(2):
                    told: set[int] = set()
                    while told != {status}:
                        told = set()
                        for _ in range(12):
                            async with session.get(url, headers=headers) as reply:
                                told.add(reply.status)

            first = (await run("new", "--name", "newsroom", "--label", "team=a")).stdout.strip()
            await becomes(first, 200)
            listed = (await run("list")).stdout
            assert [line.split() for line in listed.splitlines()[1:]] == [
                ["newsroom", "caller", "*", "-", "team=a", "store"]
            ]
            taken = await run("new", "--name", "newsroom")
            assert (taken.returncode, taken.stdout) == (1, "")
            second = (await run("rotate", "newsroom")).stdout.strip()
            await becomes(first, 401)
            await becomes(second, 200)
            assert (await run("revoke", "newsroom")).returncode == 0
            await becomes(second, 401)
            gone = await run("revoke", "newsroom")
            assert (gone.returncode, "no key of that name" in gone.stderr) == (1, True)
            assert "hf_gw_" not in "".join(served.written)


def test_without_a_store_there_is_nothing_to_revoke(shell: Shell) -> None:
    done = shell.run("keys", "revoke", "newsroom")

    assert (done.returncode, "auth.store is none" in done.stderr) == (1, True)
