"""The built wheel, alone in an empty environment and served from /, with nothing of the checkout in reach."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
import venv
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import KEY, sample

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

import asyncio

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bin folder of a fresh environment that holds the wheel and its base dependencies only."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT], check=True, capture_output=True
    )
    venv.create(folder / "venv", with_pip=True)
    wheel = next(folder.glob("*.whl"))
    binaries = folder / "venv" / "bin"
    subprocess.run([binaries / "python", "-m", "pip", "install", "--quiet", wheel], check=True, capture_output=True)
    return binaries


def start(installed: Path, *arguments: str) -> Iterator[str]:
    """Serve from / with nothing inherited but what a shell has; give the URL."""
    environ = {"PATH": os.defpath, "HOME": "/nonexistent", "HF_TOKEN": "hf_none"}
    process = subprocess.Popen(
        [installed / "asr-gateway", "serve", "--port", "0", *arguments],
        cwd="/",
        env=environ,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        while not (match := re.search(r"listens on (\S+)", line := process.stderr.readline())):
            assert line, "the server ended before it listened"
        yield match[1]
    finally:
        process.terminate()
        assert process.wait(20) == 0
        process.stderr.close()


@pytest.mark.timeout(300)
async def test_the_wheel_serves_its_catalog_and_transcribes(
    installed: Path, tmp_path: Path, emulate: Callable[..., Awaitable[str]]
) -> None:
    upstream = await emulate("hf-inference")
    config = tmp_path / "gateway.yaml"
    config.write_text(
        f"providers: {{hf: {{adapter: hf-inference, base_url: '{upstream}', api_key: {KEY}}}}}\n"
        "models: {openai/whisper-large-v3: {targets: [hf/openai/whisper-large-v3]}}\n"
    )
    for url in start(installed, "--config", str(config)):
        answer = await asyncio.to_thread(post, f"{url}/models/openai/whisper-large-v3", sample("slushy.m4a"))
        assert answer["text"].startswith("blake3 ")


@pytest.mark.timeout(300)
def test_without_a_configuration_the_catalog_is_served(installed: Path) -> None:
    for url in start(installed):
        with urllib.request.urlopen(f"{url}/v1/models", timeout=10) as reply:  # noqa: S310 - loopback
            names = {each["id"] for each in json.load(reply)["data"]}
        with urllib.request.urlopen(f"{url}/", timeout=10) as reply:  # noqa: S310 - loopback
            page = reply.read().decode()
        with urllib.request.urlopen(f"{url}/console/sample.mp3", timeout=10) as reply:  # noqa: S310 - loopback
            assert reply.read() == (ROOT / "gateway/console/sample.mp3").read_bytes()
        assert {"openai/whisper-large-v3", "facebook/seamless-m4t-v2-large"} <= names
        assert "<title>Transcribe" in page


@pytest.mark.parametrize(("folder", "kinds"), [("stores", "*.lua"), ("console", "*")])
def test_it_holds_what_is_no_python(installed: Path, folder: str, kinds: str) -> None:
    """Scripts lie beside their callers, and the page for people is whole."""
    folder_of = f"files('gateway').joinpath('{folder}')"
    ask = f"from importlib.resources import files; print(*(each.name for each in {folder_of}.iterdir()))"
    told = subprocess.run([installed / "python", "-c", ask], check=True, capture_output=True, text=True, cwd="/")
    assert {path.name for path in (ROOT / "gateway" / folder).glob(kinds)} <= set(told.stdout.split())


def post(url: str, body: bytes) -> dict[str, str]:
    request = urllib.request.Request(url, data=body)  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310 - loopback
        answer: dict[str, str] = json.load(reply)
    return answer
