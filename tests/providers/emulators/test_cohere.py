"""The emulator, driven by Cohere's own SDK and by our adapter over real sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cohere
import pytest
from blake3 import blake3

from providers.errors import RateLimited
from providers.types import GenerationParameters
from tests.conftest import KEY, sample
from tests.driving import at, hear
from tests.turns import TwoTurns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from providers.emulators.ear import LocalEar

    Emulate = Callable[..., Awaitable[str]]

MODEL = "cohere-transcribe-03-2026"
FLAC = sample("sb_spk2_snt1.flac")
HEARD = f"blake3 {blake3(FLAC).hexdigest()}"
ONCE: Any = {"max_retries": 0}


async def transcribed(url: str, *, key: str = KEY, **wanted: Any) -> str:
    async with cohere.AsyncClientV2(api_key=key, base_url=url) as sdk:
        given = {"model": MODEL, "language": "en", "file": ("a.flac", FLAC), **wanted}
        heard = await sdk.audio.transcriptions.create(**given, request_options=ONCE)
        assert isinstance(heard.text, str)
        return heard.text


async def test_its_own_sdk_reads_what_was_said(emulate: Emulate, local_ear: LocalEar) -> None:
    url = await emulate("cohere", local_ear)

    assert "slushy country roads" in await transcribed(url, file=("a.mp3", sample("slushy.mp3")), temperature=0.5)
    assert await transcribed(await emulate("cohere")) == HEARD


async def test_its_own_sdk_raises_its_own_errors(emulate: Emulate) -> None:
    url = await emulate("cohere")
    with pytest.raises(cohere.UnauthorizedError, match="invalid api token"):
        await transcribed(url, key="wrong")
    with pytest.raises(cohere.TooManyRequestsError):
        await transcribed(url, key=f"{KEY}-limited")
    with pytest.raises(cohere.NotFoundError, match="does not exist"):
        await transcribed(url, model="cohere-transcribe-1")
    for refused, says in (
        ({"file": ("a.wav", b"RIFF\x10\0\0\0WAVEnothing of the kind")}, "decoded"),
        ({"language": "sw"}, "language must be"),
        ({"language": None}, "language is required"),
        ({"temperature": 1.5}, "temperature"),
    ):
        with pytest.raises(cohere.BadRequestError, match=says):
            await transcribed(url, **refused)


async def test_the_adapter_names_the_language(emulate: Emulate) -> None:
    ear = TwoTurns()
    to = at("cohere", MODEL, await emulate("cohere", ear))
    heard = await hear(to, language="German", generation=GenerationParameters(temperature=0.2))
    await hear(to)

    assert (heard.text, heard.language) == ("Hi there. Oh no.", None)
    assert ear.asked == [("de", False, None), ("en", False, None)]


async def test_the_adapter_waits_as_it_is_told(emulate: Emulate) -> None:
    with pytest.raises(RateLimited) as caught:
        await hear(at("cohere", MODEL, await emulate("cohere"), key=f"{KEY}-limited"))

    assert caught.value.retry_after_s == 2.0
