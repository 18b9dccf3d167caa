"""Keys as an operator makes them: shown once, kept as a hash, and good at once."""

from __future__ import annotations

import asyncio
import json
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

from config.auth import Auth
from config.settings import Settings
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
    made_at = datetime.fromisoformat(entry.pop("created"))
    assert timedelta(0) <= datetime.now(UTC) - made_at < timedelta(minutes=2)
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
            (("--name", "n", "--expires", "2020-01-01"), "--expires 2020-01-01: that is over already"),
            (("--name", "n", "--expires", "0s"), "that is over already"),
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

    def test_a_pattern_that_matches_no_model_is_warned_of(self, shell: Shell) -> None:
        """It may be a mistake, or a model to come: the key is made all the same."""
        one = "openai/whisper-1: {targets: [a/b]}"
        start = "providers: {a: {adapter: local}}\nmodels: "
        listed = shell.written("a.yaml", f"{start}{{{one}}}")
        any_ = shell.written("b.yaml", f"{start}{{{one}, '*': {{targets: [a/b]}}}}")
        options = ("--name", "n", "--model", "openai/*", "--model", "opneai/*", "--config")

        first, second = shell.run("keys", "new", *options, listed), shell.run("keys", "new", *options, any_)

        assert (first.returncode, second.returncode) == (0, 0)
        assert [line for line in first.stderr.splitlines() if line.startswith("Warning")] == [
            "Warning: --model opneai/* matches no model of the configuration, such as openai/whisper-1"
        ]
        assert "Warning" not in second.stderr


def test_a_list_says_all_but_the_secrets(shell: Shell) -> None:
    """As a table, and as JSON; who has expired, and whose old secret is still good."""
    old = f"old: {{hash: '{digest_of('o')}', until: 9999-12-31}}"
    keys = (
        f"{{name: desk, hash: '{digest_of('a')}', models: [openai/*], created: 2026-01-02, {old}, "
        "limits: {usd_per_day: 2.5, requests_per_minute: 60}, labels: {team: a}}, "
        f"{{name: boss, role: admin, hash: '{digest_of('b')}', expires: 2020-12-31}}"
    )
    file = shell.written("a.yaml", f"auth: {{mode: keys, keys: [{keys}]}}")

    table, told = shell.run("keys", "list", "--config", file), shell.run("keys", "list", "--json", "--config", file)

    head, *rows = [re.split(r"\s{2,}", line) for line in table.stdout.splitlines()]
    assert [dict(zip(head, row, strict=True)) for row in rows] == [
        {
            "NAME": "boss",
            "ROLE": "admin",
            "MODELS": "*",
            "LIMITS": "-",
            "CREATED": "-",
            "EXPIRES": "2020-12-31T23:59:59Z (expired)",
            "OLD SECRET UNTIL": "-",
            "LABELS": "-",
            "KEPT IN": "file",
        },
        {
            "NAME": "desk",
            "ROLE": "caller",
            "MODELS": "openai/*",
            "LIMITS": "requests_per_minute=60,usd_per_day=2.5",
            "CREATED": "2026-01-02T23:59:59Z",
            "EXPIRES": "-",
            "OLD SECRET UNTIL": "9999-12-31T23:59:59Z",
            "LABELS": "team=a",
            "KEPT IN": "file",
        },
    ]
    assert [(each["name"], each["expired"]) for each in json.loads(told.stdout)["keys"]] == [
        ("boss", True),
        ("desk", False),
    ]
    assert "sha256" not in table.stdout + told.stdout


@pytest.mark.parametrize(
    ("overlap", "sentence"),
    [("1", "a number alone says no unit"), ("31d", "30d is the most"), ("soon", "a duration is")],
)
def test_what_is_no_overlap(shell: Shell, overlap: str, sentence: str) -> None:
    done = shell.run("keys", "rotate", "desk", "--overlap", overlap)

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

            async def becomes(secret: str, status: int, within_s: float = 2) -> None:
                """Ask until both workers say so; for two seconds and no more."""
                url, headers = f"{served.url}/v1/models", {"Authorization": f"Bearer {secret}"}
                async with asyncio.timeout(within_s):
                    told: set[int] = set()
                    while told != {status}:
                        told = set()
                        for _ in range(12):
                            async with session.get(url, headers=headers) as reply:
                                told.add(reply.status)

            first = (await run("new", "--name", "newsroom", "--label", "team=a")).stdout.strip()
            await becomes(first, 200)
            ((name, *_, label, where),) = [line.split() for line in (await run("list")).stdout.splitlines()[1:]]
            assert (name, label, where) == ("newsroom", "team=a", "store")
            taken = await run("new", "--name", "newsroom")
            assert (taken.returncode, taken.stdout) == (1, "")
            rotated = await run("rotate", "newsroom", "--overlap", "24h")
            second = rotated.stdout.strip()
            assert "The old one is good until 20" in rotated.stderr
            for both in (first, second):
                await becomes(both, 200)
            ended = await run("rotate", "newsroom", "--overlap", "0")
            assert "The old one is refused within two seconds" in ended.stderr
            third = ended.stdout.strip()
            for old in (first, second):
                await becomes(old, 401)
            await becomes(third, 200)
            fourth = (await run("rotate", "newsroom", "--overlap", "3s")).stdout.strip()
            await becomes(fourth, 200)
            await becomes(third, 401, within_s=5)
            fifth = (await run("rotate", "newsroom")).stdout.strip()
            await becomes(fifth, 200)
            assert (await run("revoke", "newsroom")).returncode == 0
            for ended_both in (fourth, fifth):
                await becomes(ended_both, 401)
            gone = await run("revoke", "newsroom")
            assert (gone.returncode, "no key of that name" in gone.stderr) == (1, True)
            assert "hf_gw_" not in "".join(served.written)


def test_without_a_store_there_is_nothing_to_revoke(shell: Shell) -> None:
    done = shell.run("keys", "revoke", "newsroom")

    assert (done.returncode, "auth.store is none" in done.stderr) == (1, True)
