"""The emulator, driven with plain aiohttp, for Baseten's own library has no audio, and by our adapter."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from blake3 import blake3
from msgspec.structs import replace

from providers.errors import JobUnsupported, ProviderUnavailable
from providers.types import Timestamps
from tests.conftest import KEY, encoded, sample, tone
from tests.driving import at, hear

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from providers.emulators.ear import LocalEar
    from providers.types import Deployment

    Emulate = Callable[..., Awaitable[str]]

SHORT = sample("slushy.wav")
HEARD = f"blake3 {blake3(SHORT).hexdigest()}"
GIVEN = {"audio_b64": base64.b64encode(SHORT).decode()}


async def post(url: str, body: object, *, environment: str = "production", scheme: str = "Api-Key") -> tuple[int, Any]:
    headers = {"authorization": f"{scheme} {KEY}"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/environments/{environment}/predict", json=body, headers=headers) as response,
    ):
        return response.status, await response.json()


def asking(audio: object, **parameters: object) -> dict[str, object]:
    return {"whisper_input": {"audio": audio, "whisper_params": parameters}}


async def test_real_speech(emulate: Emulate, local_ear: LocalEar) -> None:
    status, heard = await post(await emulate("baseten", local_ear), asking(GIVEN, audio_language="en"))

    assert (status, heard["language_code"]) == (200, "en")
    assert "slushy country roads" in " ".join(each["text"] for each in heard["segments"])
    assert all(0 <= each["start_time"] < each["end_time"] < 14 for each in heard["segments"])


async def test_silence_has_no_segments(emulate: Emulate, local_ear: LocalEar) -> None:
    silence = encoded(tone(1, 16_000) * 0, 16_000, "wav", "pcm_s16le")
    url = await emulate("baseten", local_ear)

    _, heard = await post(url, asking({"audio_b64": base64.b64encode(silence).decode()}))

    assert heard["segments"] == []
    assert (await hear(at("baseten", "abcd1234", url), silence)).text == ""


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ([], "JSON object"),
        ({"audio": GIVEN}, "whisper_input"),
        (asking({}), "either url or audio_b64"),
        (asking({**GIVEN, "url": "https://media.example/a.wav"}), "either url or audio_b64"),
        (asking({"url": "https://media.example/a.wav"}), "fetched"),
        (asking({"audio_b64": "?"}), "base64"),
        (asking({"audio_b64": 7}), "base64"),
        (asking({"audio_b64": "bm8gYXVkaW8="}), "decoded"),
        (asking(GIVEN, language="en"), "audio_language, prompt"),
        (asking(GIVEN, prompt=7), "text"),
        (asking(GIVEN, audio_language="english"), "auto or"),
    ],
)
async def test_refusals(emulate: Emulate, body: object, says: str) -> None:
    status, refused = await post(await emulate("baseten"), body)

    assert (status, says in refused["error"]) == (400, True)


async def test_the_key_has_a_scheme_of_its_own(emulate: Emulate) -> None:
    url = await emulate("baseten")

    assert await post(url, asking(GIVEN), scheme="Bearer") == (401, {"error": "Unauthorized"})
    assert (await post(url, asking(GIVEN)))[0] == 200


async def test_the_adapter_gets_all_it_asks_for(emulate: Emulate) -> None:
    to = at("baseten", "abcd1234", await emulate("baseten"))

    heard = await hear(to, SHORT, timestamps=Timestamps.SEGMENT, language="de", prompt="names")

    assert (heard.text, heard.language) == (HEARD, "de")
    (said,) = heard.segments
    assert (said.text, said.start_s) == (HEARD, 0.0)
    assert said.end_s == pytest.approx(13.69, abs=0.1)


async def test_a_cold_start_is_over_by_itself(emulate: Emulate) -> None:
    url = await emulate("baseten")
    cold, missing = in_environment(url, "cold"), in_environment(url, "missing")

    with pytest.raises(ProviderUnavailable):
        await hear(cold, SHORT)
    assert (await hear(cold, SHORT)).text == HEARD
    with pytest.raises(JobUnsupported):
        await hear(missing, SHORT)


def in_environment(url: str, name: str) -> Deployment:
    to = at("baseten", "abcd1234", url)
    return replace(to, account=replace(to.account, base_urls={"api": f"{url}/environments/{name}"}))
