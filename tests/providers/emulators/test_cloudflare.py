"""The emulator, driven by Cloudflare's own SDK and by our adapter over real sockets."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import aiohttp
import cloudflare
import pybase64
import pytest
from blake3 import blake3

from providers.types import GenerationParameters, Task, Timestamps
from tests.conftest import KEY, sample
from tests.driving import at, hear
from tests.turns import TURNS, TwoTurns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from providers.emulators.ear import LocalEar

    Emulate = Callable[..., Awaitable[str]]

TURBO = "@cf/openai/whisper-large-v3-turbo"
OLDER = "@cf/openai/whisper"
SHORT = sample("slushy.wav")
HEARD = f"blake3 {blake3(SHORT).hexdigest()}"
IN_TEXT = pybase64.b64encode(SHORT).decode()


# --- Cloudflare's own SDK


@contextlib.asynccontextmanager
async def sdk(url: str, key: str = KEY) -> AsyncIterator[cloudflare.AsyncCloudflare]:
    async with cloudflare.AsyncCloudflare(api_token=key, base_url=f"{url}/client/v4", max_retries=0) as client:
        yield client


async def ran(url: str, model: str = TURBO, *, account: str = "acc", key: str = KEY, **wanted: Any) -> Any:
    async with sdk(url, key) as client:
        return await client.ai.run(model, account_id=account, **wanted)


async def test_its_own_sdk_reads_real_speech(emulate: Emulate, local_ear: LocalEar) -> None:
    """It writes the slashes of a model's name as %2F."""
    heard = await ran(await emulate("cloudflare", local_ear), audio=IN_TEXT, extra_body={"language": "en"})

    assert "slushy country roads" in heard["text"]
    assert heard["transcription_info"]["duration"] == pytest.approx(13.69, abs=0.1)
    assert heard["segments"][0]["words"][0]["word"].startswith(" ")
    assert heard["vtt"].startswith("WEBVTT")


async def test_its_own_sdk_reads_an_older_models_words(emulate: Emulate) -> None:
    heard = await ran(await emulate("cloudflare"), OLDER, audio=list(SHORT))

    assert (heard["text"], "segments" in heard) == (HEARD, False)
    assert [each["word"] for each in heard["words"]] == HEARD.split()


@pytest.mark.parametrize(
    ("wanted", "status", "code"),
    [
        ({"model": "@cf/openai/whisper-9", "audio": IN_TEXT}, 400, 5007),
        ({"account": "other", "audio": IN_TEXT}, 404, 7003),
        ({"audio": "no base64!"}, 400, 5004),
        ({"audio": pybase64.b64encode(b"no audio").decode()}, 400, 3010),
        ({"audio": IN_TEXT, "extra_body": {"task": "summarize"}}, 400, 3003),
        ({"audio": [1, 2]}, 400, 3003),
        ({"model": OLDER, "audio": [256]}, 400, 3003),
        ({"model": OLDER, "audio": IN_TEXT}, 400, 3003),
        ({"key": "wrong", "audio": IN_TEXT}, 401, 10000),
    ],
)
async def test_its_own_sdk_reads_refusals(emulate: Emulate, wanted: dict[str, Any], status: int, code: int) -> None:
    url = await emulate("cloudflare")
    with pytest.raises(cloudflare.APIStatusError) as caught:
        await ran(url, **wanted)

    assert (caught.value.status_code, [each.code for each in caught.value.errors]) == (status, [code])
    assert caught.value.response.headers["cf-ray"]


async def test_bytes_are_not_for_the_newest_model(emulate: Emulate) -> None:
    url = f"{await emulate('cloudflare')}/client/v4/accounts/acc/ai/run/{TURBO}"
    headers = {"authorization": f"Bearer {KEY}"}
    async with aiohttp.ClientSession() as session, session.post(url, data=SHORT, headers=headers) as response:
        assert (response.status, (await response.json())["errors"][0]["code"]) == (400, 3003)


# --- our adapter


async def test_the_adapter_gets_all_it_asks_for(emulate: Emulate) -> None:
    ear = TwoTurns()
    heard = await hear(
        at("cloudflare", TURBO, await emulate("cloudflare", ear)),
        task=Task.TRANSLATE,
        timestamps=Timestamps.WORD,
        language="de",
        prompt="Hello",
        generation=GenerationParameters(num_beams=2),
    )

    assert [(each.text.strip(), each.start_s, each.end_s) for each in heard.segments] == [turn[:3] for turn in TURNS]
    assert [each.text for each in heard.words] == ["Hi", "there.", "Oh", "no."]
    assert (heard.language, heard.duration_s) == ("en", 4.0)
    assert heard.request_id
    assert ear.asked == [("de", True, "Hello")]


async def test_an_older_models_words_become_segments(emulate: Emulate) -> None:
    to = at("cloudflare", OLDER, await emulate("cloudflare", TwoTurns()))
    heard = await hear(to, timestamps=Timestamps.SEGMENT)

    assert [(each.text, each.start_s, each.end_s) for each in heard.segments] == [
        ("Hi there.", 0.5, 2.0),
        ("Oh no.", 2.5, 4.0),
    ]
    assert heard.words == ()
