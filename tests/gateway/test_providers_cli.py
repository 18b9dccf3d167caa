"""`asr-gateway providers`: what an operator sees before and after a key is put into a configuration."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from providers.registry import PROVIDERS
from tests.conftest import KEY
from tests.gateway.test_cli import Shell

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Awaitable, Callable

    Emulate = Callable[..., Awaitable[str]]

WRONG_KEY = "not-the-emulators-key"


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def configured(shell: Shell, targets: dict[str, list[str]], **accounts: dict[str, Any]) -> Path:
    """Write a configuration of the accounts and each model's targets."""
    models = {name: {"targets": [{"target": each, "substitute": True} for each in to]} for name, to in targets.items()}
    return shell.written("gateway.yaml", yaml.safe_dump({"providers": accounts, "models": models}))


async def checked(shell: Shell, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `providers check` while this loop serves the emulators."""
    return await asyncio.to_thread(shell.run, "providers", "check", *arguments)


def row(done: subprocess.CompletedProcess[str], account: str) -> str:
    return next(line for line in done.stdout.splitlines() if line.startswith(f"{account} "))


class TestList:
    """Who there is, without a configuration."""

    def test_every_provider_is_there_with_what_it_can_do(self, shell: Shell) -> None:
        rows = json.loads(shell.run("providers", "--json").stdout)

        assert {each["provider"] for each in rows} == set(PROVIDERS)
        assert {
            "provider": "deepinfra",
            "model_there": "openai/whisper-large-v3",
            "parameters_honoured": "temperature",
            "times": "segment, word",
            "besides": "translation, prompt",
            "takes_at_most": "-",
            "US_dollars_a_minute": "0.00045",
            "key_variable": "DEEPINFRA_API_KEY",
        } in rows

    def test_people_get_a_table(self, shell: Shell) -> None:
        head, *lines = shell.run("providers").stdout.splitlines()

        assert head.split()[:3] == ["PROVIDER", "MODEL", "THERE"]
        at = head.index("KEY VARIABLE")
        assert {line[at:] for line in lines if line.startswith("openai ")} == {"OPENAI_API_KEY"}


class TestCheck:
    """Each account is asked once."""

    async def test_one_is_well_one_refuses_the_key_and_one_is_not_there(self, shell: Shell, emulate: Emulate) -> None:
        url = await emulate("openai")
        file = configured(
            shell,
            {"a": ["good/whisper-1", "bad/whisper-1", "gone/whisper-1"]},
            good={"adapter": "openai", "base_url": url, "api_key": KEY},
            bad={"adapter": "openai", "base_url": url, "api_key": WRONG_KEY},
            gone={"adapter": "openai", "base_url": "http://127.0.0.1:9", "api_key": KEY},
        )

        done = await checked(shell, "--config", file, "--yes")

        assert done.returncode == 1
        good, bad, gone = (row(done, account).split() for account in ("good", "bad", "gone"))
        assert good[1:3] == ["whisper-1", "accepted"]
        assert good[-1] == "ok"
        assert "499 of 500 requests" in row(done, "good")
        assert bad[2] == "refused"
        assert " ".join(gone[2:4]) == "not known"
        assert "unavailable: no connection" in row(done, "gone")
        assert KEY not in done.stdout + done.stderr
        assert WRONG_KEY not in done.stdout + done.stderr

    async def test_all_well_is_0_and_accounts_can_be_named(self, shell: Shell, emulate: Emulate) -> None:
        file = configured(
            shell,
            {"a": ["good/openai/whisper-large-v3", "gone/whisper-1"]},
            good={"adapter": "together", "base_url": await emulate("together"), "api_key": KEY},
            gone={"adapter": "openai", "base_url": "http://127.0.0.1:9", "api_key": KEY},
        )

        done = await checked(shell, "good", "--config", file, "--yes")

        assert (done.returncode, "gone" in done.stdout) == (0, False)
        assert "599 of 600 requests" in row(done, "good")

    async def test_the_cost_is_shown_first_and_nobody_is_asked_unless_the_user_agrees(
        self, shell: Shell, emulate: Emulate
    ) -> None:
        file = configured(
            shell,
            {"a": ["one/whisper-1", "one/gpt-4o-mini-transcribe", "two/anything"]},
            one={"adapter": "openai", "base_url": await emulate("openai"), "api_key": KEY},
            two={"adapter": "openai-compatible", "base_url": "http://127.0.0.1:9/v1"},
        )

        done = await checked(shell, "--config", file)

        assert done.returncode == 1
        assert done.stdout == ""
        said = done.stderr.splitlines()
        assert said[0] == (
            "0.5 s of silence in 2 calls, one to each account, for 0.000025 US dollars, "
            "besides what 1 of unknown price take:"
        )
        # The cheaper of the account's two models.
        assert said[1].split() == ["one/gpt-4o-mini-transcribe", "0.000025", "US", "dollars"]
        assert said[2].split() == ["two/anything", "price", "not", "known"]

    async def test_an_account_for_every_name_is_asked_for_a_model_of_the_catalog(
        self, shell: Shell, emulate: Emulate
    ) -> None:
        file = shell.written(
            "gateway.yaml",
            yaml.safe_dump(
                {
                    "providers": {
                        "hf": {"adapter": "hf-inference", "base_url": await emulate("hf-inference"), "api_key": KEY}
                    },
                    "models": {"*": {"targets": ["hf/{model}"]}},
                }
            ),
        )

        done = await checked(shell, "--config", file, "--yes")

        assert (done.returncode, row(done, "hf").split()[1]) == (0, "openai/whisper-large-v3")

    def test_an_account_that_is_not_there_is_named(self, shell: Shell) -> None:
        file = configured(
            shell,
            {"a": ["one/whisper-1"]},
            one={"adapter": "openai", "base_url": "http://127.0.0.1:9", "api_key": KEY},
            local={"adapter": "local"},
        )

        done = shell.run("providers", "check", "two", "--config", file, "--yes")

        assert (done.returncode, done.stderr) == (
            1,
            "Error: two is no account that a model is asked for at: one\n",
        )

    def test_where_keys_are_the_callers_own_there_is_none_to_ask_with(self, shell: Shell) -> None:
        document = {
            "auth": {"mode": "passthrough"},
            "providers": {"one": {"adapter": "openai"}},
            "models": {"whisper-1": {"targets": ["one/whisper-1"]}},
        }

        done = shell.run("providers", "check", "--config", shell.written("g.yaml", yaml.safe_dump(document)), "--yes")

        assert (done.returncode, done.stderr) == (
            1,
            "Error: no key to ask one with: here it is each caller's own\n",
        )
