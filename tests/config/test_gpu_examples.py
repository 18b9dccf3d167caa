"""Each example for GPUs of one's own is served as it stands, with its server emulated at the addresses it names."""

from __future__ import annotations

import json
import re
import socket
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import aiohttp
import pytest

from config.settings import Settings, load
from gateway.defaults import check_adapters
from tests.conftest import AUDIO, KEY, sample
from tests.contract.test_word_errors import errors, words
from tests.serving import NOT_KEPT, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from providers.emulators.ear import LocalEar

    Emulate = Callable[..., Awaitable[str]]

EXAMPLES: Final = Path(str(files("config") / "examples"))
SAID: Final = "slushy country roads"
LONG: Final = next(
    each for each in json.loads((AUDIO / "manifest.json").read_text())["samples"] if each["file"] == "two_cities.flac"
)


class Served(NamedTuple):
    """An example's server: its emulator, and where that has it."""

    adapter: str
    path: str
    times: str | None  # the finest it has


SERVERS: Final = {
    "vllm": Served("openai-compatible", "/vllm/v1", "segment"),
    "speaches": Served("openai-compatible", "/speaches/v1", "word"),
    "nim": Served("openai-compatible", "/nim/v1", None),
    "triton": Served("kserve", "", "segment"),
}


def settings_of(name: str, folder: Path, root: str, *, dead: str | None = None) -> Settings:
    """Load the very file, its addresses alone replaced. dead: the host behind whose name nobody listens."""
    text = (EXAMPLES / f"{name}.yaml").read_text()
    hosts = re.findall(r"^    base_url: http://([\w.-]+):", text, re.MULTILINE)
    assert hosts
    for host in hosts:
        there = nowhere() if host == dead else root + SERVERS[name].path
        text = re.sub(rf"^(    base_url: )http://{host}:\d+(?:/v1)?", rf"\g<1>{there}", text, flags=re.MULTILINE)
    (folder / f"{name}.yaml").write_text(text)
    settings = load(folder / f"{name}.yaml")
    check_adapters(settings)
    return settings.model_copy(update={"server": settings.server.model_copy(update={"port": 0}), "cache": NOT_KEPT})


def nowhere() -> str:
    """Return an address that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set every variable the examples name to the emulators' key."""
    for name in SERVERS:
        for variable in re.findall(r"\$\{(\w+)\}", (EXAMPLES / f"{name}.yaml").read_text()):
            monkeypatch.setenv(variable, KEY)


@asynccontextmanager
async def served(settings: Settings) -> AsyncIterator[Callable[..., Awaitable[tuple[dict[str, Any], Any]]]]:
    """Give what posts a file to a model and returns the answer and its headers."""

    async def post(audio: str, model: str = "", **query: str) -> tuple[dict[str, Any], Any]:
        path = f"models/{model}" if model else ""
        async with session.post(f"{url}/{path}", data=sample(audio), params=query) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json(), answer.headers

    async with running(settings) as (url, _), aiohttp.ClientSession() as session:
        yield post


@pytest.mark.parametrize("name", SERVERS)
async def test_it_is_served_as_it_stands(name: str, emulate: Emulate, local_ear: LocalEar, tmp_path: Path) -> None:
    """Every model of the file, and the default one; a file that no such server reads is transcoded."""
    settings = settings_of(name, tmp_path, await emulate(SERVERS[name].adapter, local_ear))
    async with served(settings) as post:
        for model in settings.models:
            heard, headers = await post("slushy.webm", model)
            assert SAID in heard["text"]
            assert headers["X-Gateway-Provider"] in settings.providers
        assert SAID in (await post("slushy.mp3"))[0]["text"]


@pytest.mark.parametrize("name", [name for name, server in SERVERS.items() if server.times])
async def test_it_gives_the_times_it_promises(name: str, emulate: Emulate, local_ear: LocalEar, tmp_path: Path) -> None:
    settings = settings_of(name, tmp_path, await emulate(SERVERS[name].adapter, local_ear))
    wanted = "word" if SERVERS[name].times == "word" else "true"
    async with served(settings) as post:
        heard, _ = await post("slushy.flac", settings.default_model or "", return_timestamps=wanted)

    assert words(" ".join(chunk["text"] for chunk in heard["chunks"])) == words(heard["text"])
    starts = [chunk["timestamp"][0] for chunk in heard["chunks"]]
    assert starts == sorted(starts)
    assert len(starts) > (10 if wanted == "word" else 1)


@pytest.mark.parametrize("name", ["vllm", "speaches"])
@pytest.mark.parametrize("dead", ["gpu-1", "gpu-2"])
async def test_one_machine_stands_in_for_the_other(name: str, dead: str, emulate: Emulate, tmp_path: Path) -> None:
    settings = settings_of(name, tmp_path, await emulate(SERVERS[name].adapter), dead=dead)
    async with served(settings) as post:
        answers = [await post("slushy.wav") for _ in range(4)]

    assert {headers["X-Gateway-Provider"] for _, headers in answers} == {"gpu-1", "gpu-2"} - {dead}


async def test_triton_hears_what_is_longer_than_its_window(
    emulate: Emulate, local_ear: LocalEar, tmp_path: Path
) -> None:
    """Forty-four seconds in two parts, cut at a pause: no word is lost there."""
    settings = settings_of("triton", tmp_path, await emulate("kserve", local_ear))
    async with served(settings) as post:
        heard, _ = await post("two_cities.flac", return_timestamps="true")

    assert errors(words(LONG["text"]), words(heard["text"])) <= 2, heard["text"]
    assert 40 < heard["chunks"][-1]["timestamp"][1] < 45
