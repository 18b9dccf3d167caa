"""Local models as an operator configures them: two engines, the Hub, a budget of memory."""

from __future__ import annotations

import asyncio
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from providers.local.hf.checkpoint import LoadOptions
from providers.local.hf.from_ctranslate2 import checkpoint_of
from providers.local.models import EMBEDDED, locate
from tests.conftest import AUDIO, serve
from tests.hub import ENDPOINT, Hub
from tests.program import OPERATOR, program

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.program import Program

CLIP = (AUDIO / "jfk.flac").read_bytes()
SAID = "and so my fellow americans"
MINE = "someone/faster-whisper-mine"


def locally(*models: str, **account: Any) -> dict[str, Any]:
    """Return a configuration with each native model under its own last name."""
    return {
        "providers": {"here": {"adapter": "local", **account}},
        "models": {
            name.rpartition("/")[2].partition("@")[0]: {"targets": [{"target": f"here/{name}", "substitute": True}]}
            for name in models
        },
    }


async def ask(gateway: Program, model: str, **parameters: Any) -> tuple[int, str]:
    """Return the status and the text, or what is wrong."""
    async with aiohttp.ClientSession(gateway.url) as session:
        query = {name: str(value) for name, value in parameters.items()}
        async with session.post(f"/models/{model}", data=BytesIO(CLIP), params=query) as reply:
            answer = await reply.json()
    return reply.status, answer.get("text") or answer["error"]


@pytest.fixture
async def runners() -> AsyncIterator[list[web.AppRunner]]:
    begun: list[web.AppRunner] = []
    yield begun
    for runner in begun:
        await runner.cleanup()


async def test_what_the_quick_engine_does_not_honour_the_other_does(tmp_path: Path) -> None:
    async with program(locally(EMBEDDED), tmp_path) as gateway:
        plain = await ask(gateway, EMBEDDED)
        grouped = await ask(gateway, EMBEDDED, num_beams=2, num_beam_groups=2)
        short = await ask(gateway, EMBEDDED, max_length=12)
    assert (plain[0], plain[1].lower().replace(",", "").startswith(SAID)) == (200, True)
    assert (grouped[0], grouped[1].lower().replace(",", "").startswith(SAID)) == (200, True)
    loads = [(each["event"], each["engine"]) for each in gateway.lines if each["event"].startswith("model_load")]
    assert loads == [
        ("model_loading", "faster-whisper"),
        ("model_loaded", "faster-whisper"),
        ("model_loading", "transformers"),
        ("model_loaded", "transformers"),
    ]
    assert (short[0], len(short[1]) < len(plain[1]) * 0.6) == (200, True)


async def test_one_engine_alone_honours_what_it_can(tmp_path: Path) -> None:
    async with program(locally(EMBEDDED, engine="faster-whisper"), tmp_path) as gateway:
        status, error = await ask(gateway, EMBEDDED, num_beams=2, num_beam_groups=2)
    assert (status, "num_beam_groups" in error) == (422, True)


async def test_a_model_of_the_hub_by_its_revision_and_then_without_a_network(
    tmp_path: Path, runners: list[web.AppRunner]
) -> None:
    hub = Hub({(MINE, "v2"): Path(locate(EMBEDDED))})
    document = locally(f"{MINE}@v2")
    variables = (f"{ENDPOINT}={await serve(hub.app(), runners)}", f"HF_HOME={tmp_path}/cache")
    async with program(document, tmp_path, command=("env", *variables)) as gateway:
        status, text = await ask(gateway, "faster-whisper-mine")
    assert (status, text.lower().replace(",", "").startswith(SAID)) == (200, True)
    assert set(hub.asked) == {f"{MINE}@v2"}

    asked = len(hub.asked)
    async with program(document, tmp_path, command=("env", *variables, "HF_HUB_OFFLINE=1")) as gateway:
        assert await ask(gateway, "faster-whisper-mine") == (status, text)
    assert len(hub.asked) == asked


@pytest.mark.parametrize("engine", ["faster-whisper", "transformers"])
async def test_a_download_is_told_as_it_goes(engine: str, tmp_path: Path, runners: list[web.AppRunner]) -> None:
    """In the log some lines, in the metrics until it is loaded; and no library draws its own bars between the lines."""
    folder = Path(locate(EMBEDDED)) if engine == "faster-whisper" else checkpoint(tmp_path / "checkpoint")
    hub = Hub({(MINE, "main"): folder}, slow=True)
    variables = (f"{ENDPOINT}={await serve(hub.app(), runners)}", f"HF_HOME={tmp_path}/cache")
    document = locally(MINE, engine=engine, load="use")
    async with program(document, tmp_path, command=("env", *variables)) as gateway:
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(ask(gateway, "faster-whisper-mine"))
            await gateway.wait_for("model_downloading")
            shown = await downloaded(gateway)
            hub.go_on.set()
        status, text = asking.result()
        after = await downloaded(gateway)
    assert (status, text.lower().replace(",", "").startswith(SAID)) == (200, True)
    assert [0 < share < 1 for share in shown.values()] == [True], shown
    assert list(shown) == [MINE]
    assert after == {}
    told = [each for each in gateway.lines if each["event"] == "model_downloading"]
    assert 1 <= len(told) <= 11
    assert {(each["model"], each["engine"]) for each in told} == {(MINE, engine)}
    received = [each["bytes"] for each in told]
    assert received == sorted(set(received))
    weights = max(file.stat().st_size for file in folder.iterdir())
    assert all(weights <= each["of_bytes"] < weights + 10_000_000 for each in told)
    assert not [line for line in gateway.written if "%|" in line]


def checkpoint(folder: Path) -> Path:
    """Return the embedded model as transformers saves it, in 16 bits: 75 MB."""
    made = checkpoint_of(Path(locate(EMBEDDED)), EMBEDDED, LoadOptions(device="cpu"))
    for part in (made.model.half(), made.tokenizer, made.features):
        part.save_pretrained(folder)
    return folder


async def downloaded(gateway: Program) -> dict[str, float]:
    """Return the share of each model that is there, of those that are being downloaded."""
    async with aiohttp.ClientSession(gateway.url, headers=OPERATOR) as session, session.get("/metrics") as reply:
        families = text_string_to_metric_families(await reply.text())
    samples = [each for family in families for each in family.samples]
    return {each.labels["model"]: each.value for each in samples if each.name == "asr_local_download_ratio"}


async def test_a_model_that_cannot_be_compiled_hears_all_the_same(tmp_path: Path) -> None:
    """Where there is no compiler, as in most images: the log says so, and jobs do not fail."""
    variables = ("CXX=/nowhere/g++", f"TORCHINDUCTOR_CACHE_DIR={tmp_path}/compiled")
    document = locally(EMBEDDED, engine="transformers", compile=True)
    async with program(document, tmp_path, command=("env", *variables)) as gateway:
        status, text = await ask(gateway, EMBEDDED)
    assert (status, text.lower().replace(",", "").startswith(SAID)) == (200, True)
    (told,) = [each for each in gateway.lines if each["event"] == "model_not_compiled"]
    assert (told["level"], told["model"], told["engine"]) == ("warning", EMBEDDED, "transformers")
    assert "No working C++ compiler" in told["reason"]


async def test_models_that_do_not_fit_together_take_turns(tmp_path: Path) -> None:
    """Two folders with the same weights, 150 MB each in float32, and room for both or for one of them."""
    names = ("one", "two")
    for name in names:
        (tmp_path / name).symlink_to(locate(EMBEDDED))
    held = {}
    for budget in ("400MB", "200MB"):
        document = locally(*(f"{tmp_path}/{name}" for name in names), engine="faster-whisper", memory_budget=budget)
        async with program(document, tmp_path) as gateway:
            answers = [await ask(gateway, name) for name in (*names, *names)]
            held[budget] = gateway.memory_bytes("VmRSS")
        assert {status for status, _ in answers} == {200}
        assert len({text for _, text in answers}) == 1
    assert held["400MB"] - held["200MB"] > 80_000_000


async def test_a_model_for_use_is_loaded_when_it_is_asked_for(tmp_path: Path) -> None:
    async with program(locally(EMBEDDED, engine="faster-whisper", load="use"), tmp_path) as gateway:
        before = gateway.memory_bytes("VmRSS")
        status, text = await ask(gateway, EMBEDDED)
        after = gateway.memory_bytes("VmRSS")
    assert (status, text.lower().replace(",", "").startswith(SAID)) == (200, True)
    assert after - before > 100_000_000


async def test_a_budget_that_a_model_alone_exceeds_is_told(tmp_path: Path) -> None:
    async with program(locally(EMBEDDED, engine="faster-whisper", memory_budget="100MB"), tmp_path) as gateway:
        status, error = await ask(gateway, EMBEDDED)
    assert (status, "is not loaded" in error) == (502, True), error
    assert "tiny.en takes 151 MB, which is more than memory_budget" in "".join(gateway.written)
