"""The emulator, driven by Fireworks' own SDK and by our adapter over real sockets.

The last SDK with audio wants another protobuf than the rest here: `make install` puts it beside the environment with
what it imports, and it runs in a process of its own.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from blake3 import blake3

from providers.errors import RateLimited
from providers.fireworks import FireworksOptions
from providers.types import GenerationParameters, Task, Timestamps
from tests.conftest import AUDIO, KEY, sample
from tests.driving import at, hear
from tests.turns import TURNS, TwoTurns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from providers.emulators.ear import LocalEar

    Emulate = Callable[..., Awaitable[str]]

PACKAGE = Path(sys.prefix) / "fireworks_ai-0.19"
FLAC = AUDIO / "sb_spk2_snt1.flac"
HEARD = f"blake3 {blake3(FLAC.read_bytes()).hexdigest()}"
# Reads calls, prints what comes of each: its fields, its text, or the name and words of its error.
PROGRAM = """
import json, sys
from fireworks.client.audio import AudioInference

for key, method, audio, wanted in json.load(sys.stdin):
    try:
        heard = getattr(AudioInference(api_key=key, base_url=sys.argv[1]), method)(audio, **wanted)
        print(json.dumps(heard if isinstance(heard, str) else heard.model_dump()))
    except Exception as error:
        print(json.dumps([type(error).__name__, str(error)]))
"""


def call(method: str, audio: Path | str, *, key: str = KEY, **wanted: Any) -> tuple[str, str, str, dict[str, Any]]:
    """Describe a call of the SDK. audio: a file or an address."""
    return key, method, str(audio), wanted


async def results(url: str, *calls: tuple[str, str, str, dict[str, Any]]) -> list[Any]:
    """Return what the SDK returns of each call."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, url),
        env={"PYTHONPATH": str(PACKAGE)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    said, _ = await process.communicate(json.dumps(calls).encode())
    assert process.returncode == 0
    return [json.loads(line) for line in said.splitlines()]


def to(url: str, model: str = "whisper-v3", key: str = KEY) -> Any:
    return at("fireworks", model, url, key=key)


# --- Fireworks' own SDK


VERBOSE: Any = {"response_format": "verbose_json", "timestamp_granularities": ["word", "segment"]}


async def test_its_own_sdk_reads_every_format(emulate: Emulate, local_ear: LocalEar) -> None:
    clip = AUDIO / "slushy.m4a"
    timed, plain, text, srt, vtt = await results(
        await emulate("fireworks", local_ear),
        call("transcribe", clip, **VERBOSE, language="en", temperature=[0, 0.2]),
        *(call("transcribe", clip, response_format=format_) for format_ in ("json", "text", "srt", "vtt")),
    )

    assert "slushy country roads" in timed["text"]
    assert (timed["language"], timed["duration"]) == ("en", pytest.approx(13.69, abs=0.1))
    assert timed["segments"]
    assert timed["words"]
    assert plain["text"] == text == timed["text"]
    assert (srt[:2], vtt[:6]) == ("1\n", "WEBVTT")


async def test_its_own_sdk_tells_speakers_apart_and_translates(emulate: Emulate) -> None:
    ear = TwoTurns()
    heard, translated = await results(
        await emulate("fireworks", ear),
        call("transcribe", FLAC, **VERBOSE, diarize="true", min_speakers=2, skip_vad=True, preprocessing="dynamic"),
        call("translate", FLAC, prompt="names", model="whisper-v3-turbo"),
    )

    assert [each["speaker_id"] for each in heard["segments"]] == ["SPEAKER_00", "SPEAKER_01"]
    assert [each["speaker_id"] for each in heard["words"]] == ["SPEAKER_00"] * 2 + ["SPEAKER_01"] * 2
    assert translated == {"text": "Hi there. Oh no."}
    assert ear.asked == [(None, False, None), (None, True, "names")]


async def test_its_own_sdk_raises_its_own_errors(emulate: Emulate) -> None:
    refused: list[tuple[dict[str, Any], str, str]] = [
        ({"key": "wrong"}, "AuthenticationError", "API key"),
        ({"key": f"{KEY}-limited"}, "RateLimitError", "Rate limit"),
        ({"audio": "https://example.com/a.wav"}, "InvalidRequestError", "fetched"),
        ({"model": "whisper-v9"}, "InvalidRequestError", "does not exist"),
        ({"response_format": "yaml"}, "InvalidRequestError", "response_format"),
        ({"temperature": 1.5}, "InvalidRequestError", "temperature"),
        ({"timestamp_granularities": ["word"]}, "InvalidRequestError", "verbose_json"),
        ({**VERBOSE, "timestamp_granularities": ["letter"]}, "InvalidRequestError", "timestamp_granularities"),
        ({"diarize": "true"}, "InvalidRequestError", "verbose_json"),
        ({"response_format": "verbose_json", "diarize": "true"}, "InvalidRequestError", "granularities with word"),
        ({"min_speakers": 2}, "InvalidRequestError", "needs diarize"),
        ({"vad_model": "loud"}, "InvalidRequestError", "vad_model"),
    ]
    calls = (call("transcribe", **{"audio": FLAC, **wanted}) for wanted, _, _ in refused)
    said = await results(await emulate("fireworks"), *calls)

    for (error, words), (_, name, says) in zip(said, refused, strict=True):
        assert error == name
        assert says in words


# --- our adapter


async def test_the_adapter_hears_speakers_and_words(emulate: Emulate) -> None:
    url = await emulate("fireworks", TwoTurns())
    options = {"fireworks": FireworksOptions(max_speakers=3, skip_vad=True)}
    told = await hear(to(url), diarize=True, provider_options=options)
    words = await hear(to(url), timestamps=Timestamps.WORD)

    assert [(each.text.strip(), each.start_s, each.end_s) for each in told.segments] == [turn[:3] for turn in TURNS]
    assert [each.speaker for each in told.segments] == ["SPEAKER_00", "SPEAKER_01"]
    assert not told.words
    assert [(word.text, word.confidence) for word in words.words][:2] == [("Hi", 0.98), ("there", 0.98)]
    assert (words.language, words.duration_s) == ("en", 4.0)


async def test_the_adapter_asks_for_what_the_caller_did(emulate: Emulate) -> None:
    ear = TwoTurns()
    url = await emulate("fireworks", ear)
    await hear(
        to(url, "whisper-v3-turbo"), language="fr", prompt="names", generation=GenerationParameters(temperature=1)
    )
    timed = await hear(to(url), task=Task.TRANSLATE, timestamps=Timestamps.SEGMENT)

    assert ear.asked == [("fr", False, "names"), (None, True, None)]
    assert [each.text.strip() for each in timed.segments] == ["Hi there.", "Oh no."]


async def test_the_adapter_waits_as_it_is_told(emulate: Emulate) -> None:
    with pytest.raises(RateLimited) as caught:
        await hear(to(await emulate("fireworks"), key=f"{KEY}-limited"), sample("slushy.mp3"))

    assert caught.value.retry_after_s == 2.0
