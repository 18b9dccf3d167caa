"""A file to text without a server, in this process; tests/gateway/test_cli.py has the command itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
import pysubs2
import pytest

from gateway.defaults import DEMO_MODEL
from gateway.transcribe import transcribe_file
from tests.conftest import AUDIO, sample
from tests.serving import demo_settings, emulated_account, routed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

SAID = "slushy country roads"


@pytest.fixture
async def through(emulate: Callable[..., Awaitable[str]], local_ear: object) -> Callable[..., Awaitable[str]]:
    """Return what transcribes through a provider's emulator."""
    account = emulated_account("deepinfra", await emulate("deepinfra", local_ear))
    settings = routed("m", {"there": account}, "there/openai/whisper-large-v3")

    async def run(path: Path, timestamps: str = "none", format_: str = "text", model: str = "m") -> str:
        return await transcribe_file(settings, path, model, timestamps, format_)

    return run


async def test_text(through: Callable[..., Awaitable[str]]) -> None:
    text = await through(AUDIO / "slushy.flac")

    assert SAID in text
    assert text == text.strip()


async def test_json(through: Callable[..., Awaitable[str]]) -> None:
    assert json.loads(await through(AUDIO / "slushy.mp3", format_="json")).keys() == {"text"}


@pytest.mark.parametrize(("level", "most_words"), [("segment", 40), ("word", 1)])
async def test_times(through: Callable[..., Awaitable[str]], level: str, most_words: int) -> None:
    """They need JSON, whatever else was asked."""
    heard = json.loads(await through(AUDIO / "slushy.flac", timestamps=level))

    assert SAID in heard["text"]
    assert max(len(chunk["text"].split()) for chunk in heard["chunks"]) <= most_words
    assert all(0 <= start <= end <= 13.69 for start, end in (chunk["timestamp"] for chunk in heard["chunks"]))


@pytest.mark.parametrize("format_", ["srt", "vtt"])
async def test_subtitles(through: Callable[..., Awaitable[str]], format_: str) -> None:
    cues = pysubs2.SSAFile.from_string(await through(AUDIO / "slushy.flac", format_=format_), format_=format_)

    assert SAID in " ".join(cue.text for cue in cues)


async def test_the_same_words_as_a_request_gets(tmp_path: Path, through: Callable[..., Awaitable[str]]) -> None:
    (tmp_path / "not-audio.wav").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "cut.flac").write_bytes(sample("slushy.flac")[:60])

    for name, sentence in (
        ("not-audio.wav", "the upload is a PNG image, not audio"),
        ("empty.wav", "the audio is empty"),
        ("cut.flac", "flac"),
    ):
        with pytest.raises(click.ClickException, match=sentence):
            await through(tmp_path / name)
    with pytest.raises(click.ClickException, match="the model 'n' is not known here"):
        await through(AUDIO / "slushy.flac", model="n")


async def test_a_model_that_cannot_be_loaded_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    settings = demo_settings()
    target = settings.models[DEMO_MODEL].targets[0].model_copy(update={"target": "local//nowhere/model"})
    route = settings.models[DEMO_MODEL].model_copy(update={"targets": (target,)})
    settings = settings.model_copy(update={"models": {DEMO_MODEL: route}})

    with pytest.raises(click.ClickException, match="is not loaded"):
        await transcribe_file(settings, AUDIO / "slushy.flac", DEMO_MODEL, "none", "text")
    shown = capsys.readouterr()
    assert "/nowhere/model holds neither config.json nor model.bin" in shown.err
    assert not shown.out
