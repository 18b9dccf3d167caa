"""The emulator, driven by OpenAI's SDK, which is Azure's too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai
import pytest
from blake3 import blake3
from openai.types.audio import TranscriptionVerbose

from providers.errors import CredentialsRejected, RateLimited
from providers.types import Task, Timestamps
from tests.conftest import KEY, sample
from tests.driving import at, hear

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from providers.emulators.ear import LocalEar

    Emulate = Callable[..., Awaitable[str]]

# The SDK calls `translations.create` deprecated, with the models it leads to there.
pytestmark = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")

FLAC = sample("sb_spk2_snt1.flac")
HEARD = f"blake3 {blake3(FLAC).hexdigest()}"


def classic(url: str, **options: Any) -> openai.AsyncAzureOpenAI:
    options = {"api_key": KEY, "api_version": "2025-03-01-preview", "max_retries": 0, **options}
    return openai.AsyncAzureOpenAI(azure_endpoint=url, **options)


async def test_its_own_sdk_asks_a_deployment(emulate: Emulate, local_ear: LocalEar) -> None:
    async with classic(await emulate("azure-openai", local_ear)) as sdk:
        heard = await sdk.audio.transcriptions.create(
            file=("slushy.m4a", sample("slushy.m4a")),
            model="my-whisper",
            response_format="verbose_json",
            timestamp_granularities=["segment", "word"],
        )

    assert isinstance(heard, TranscriptionVerbose)
    assert "slushy country roads" in heard.text
    assert heard.segments
    assert heard.words


async def test_its_own_sdk_lets_a_token_in(emulate: Emulate) -> None:
    async with classic(await emulate("azure-openai"), api_key=None, azure_ad_token=KEY) as sdk:
        heard = await sdk.audio.transcriptions.create(file=("a.flac", FLAC), model="my-gpt-transcribe")

    assert heard.text == HEARD


async def test_its_own_sdk_translates_and_streams(emulate: Emulate) -> None:
    async with classic(await emulate("azure-openai")) as sdk:
        translated = await sdk.audio.translations.create(file=("a.flac", FLAC), model="my-whisper")
        stream = await sdk.audio.transcriptions.create(
            file=("a.flac", FLAC), model="my-gpt-4o-mini-transcribe", stream=True
        )
        events = [event.type async for event in stream]

    assert translated.text == HEARD
    assert events[-1] == "transcript.text.done"


async def test_the_v1_api_names_the_deployment_in_the_form(emulate: Emulate) -> None:
    url = await emulate("azure-openai")
    async with openai.AsyncOpenAI(base_url=f"{url}/openai/v1", api_key=KEY, max_retries=0) as sdk:
        heard = await sdk.audio.transcriptions.create(file=("a.flac", FLAC), model="my-gpt-4o-transcribe")

    assert heard.text == HEARD


async def test_its_own_sdk_raises_its_own_errors(emulate: Emulate) -> None:
    url = await emulate("azure-openai")
    for options, error in (
        ({"api_key": "wrong"}, openai.AuthenticationError),
        ({"api_key": f"{KEY}-limited"}, openai.RateLimitError),
        ({"api_version": ""}, openai.NotFoundError),
    ):
        async with classic(url, **options) as sdk:
            with pytest.raises(error):
                await sdk.audio.transcriptions.create(file=("a.flac", FLAC), model="my-whisper")
    async with classic(url) as sdk:
        with pytest.raises(openai.NotFoundError, match="deployment for this resource"):
            await sdk.audio.transcriptions.create(file=("a.flac", FLAC), model="your-whisper")
        with pytest.raises(openai.BadRequestError, match="decoded"):
            await sdk.audio.transcriptions.create(file=("a.wav", b"RIFF\x10\0\0\0WAVEnothing"), model="my-whisper")


@pytest.mark.parametrize("options", [{}, {"api_version": "2024-10-21"}, {"auth": "entra"}], ids=str)
async def test_the_adapter_hears_and_translates(emulate: Emulate, options: dict[str, str]) -> None:
    to = at("azure-openai", "whisper:my-whisper", await emulate("azure-openai"), **options)
    heard = await hear(to, FLAC, timestamps=Timestamps.WORD)
    translated = await hear(to, FLAC, task=Task.TRANSLATE)

    assert heard.text == translated.text == HEARD
    assert [word.text for word in heard.words] == HEARD.split()
    assert heard.request_id


async def test_the_adapter_waits_as_it_is_told(emulate: Emulate) -> None:
    url = await emulate("azure-openai")
    with pytest.raises(RateLimited) as caught:
        await hear(at("azure-openai", "whisper:my-whisper", url, key=f"{KEY}-limited"))
    with pytest.raises(CredentialsRejected):
        await hear(at("azure-openai", "whisper:my-whisper", url, key="wrong"))

    assert caught.value.retry_after_s == 33.0
