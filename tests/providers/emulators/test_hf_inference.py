"""The emulator, driven by huggingface_hub: a URL given as the model is posted to as it is."""

from __future__ import annotations

import asyncio
import base64
import io
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from blake3 import blake3
from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.errors import BadRequestError, HfHubHTTPError
from pydantic import SecretStr

from providers.emulators.hf_inference import LOADING
from providers.hf_inference import HF_INFERENCE
from providers.transport import HttpProvider, new_session
from providers.types import Account, Deployment, Moment, Task, Timestamps, Transcript, TranscriptionJob
from tests.conftest import KEY, sample, sample_audio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from huggingface_hub import AutomaticSpeechRecognitionOutput

    from providers.emulators.ear import LocalEar

    Emulate = Callable[..., Awaitable[str]]

# huggingface_hub 2.4.0 itself, in AsyncInferenceClient: it uploads bytes as httpx2 no longer likes it.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

WHISPER = "openai/whisper-large-v3"
FLAC = sample("sb_spk2_snt1.flac")
HEARD = f"blake3 {blake3(FLAC).hexdigest()}"


async def sync_call(url: str, audio: Any, *, key: str | None = KEY, **asked: Any) -> AutomaticSpeechRecognitionOutput:
    client = InferenceClient(model=url, api_key=key)
    return await asyncio.to_thread(client.automatic_speech_recognition, audio, **asked)


async def async_call(url: str, audio: Any, *, key: str | None = KEY, **asked: Any) -> AutomaticSpeechRecognitionOutput:
    async with AsyncInferenceClient(model=url, api_key=key) as client:
        heard: AutomaticSpeechRecognitionOutput = await client.automatic_speech_recognition(audio, **asked)
        return heard


BOTH = pytest.mark.parametrize("call", [sync_call, async_call], ids=["sync", "async"])


# --- huggingface_hub


@BOTH
async def test_bytes_without_a_content_type_are_heard(emulate: Emulate, call: Callable[..., Any]) -> None:
    heard = await call(f"{await emulate('hf-inference')}/models/{WHISPER}", FLAC)

    assert heard.text == f" {HEARD}"
    assert heard.chunks is None


@BOTH
@pytest.mark.parametrize(("asked", "texts"), [(True, [HEARD]), ("word", HEARD.split())], ids=["segments", "words"])
async def test_extra_body_brings_chunks(
    emulate: Emulate, call: Callable[..., Any], asked: object, texts: list[str]
) -> None:
    heard = await call(
        f"{await emulate('hf-inference')}/models/{WHISPER}",
        FLAC,
        extra_body={"return_timestamps": asked, "generation_parameters": {"temperature": 0.1, "language": "en"}},
    )

    assert [chunk.text.strip() for chunk in heard.chunks] == texts
    assert all(len(chunk.timestamp) == 2 for chunk in heard.chunks)


@BOTH
async def test_a_file_s_name_decides_its_type(emulate: Emulate, call: Callable[..., Any], tmp_path: Path) -> None:
    """The client says audio/x-wav or audio/flac, which are listed; a name without an ending says nothing."""
    url = f"{await emulate('hf-inference')}/models/{WHISPER}"
    for name in ("a.flac", "a.wav", "a"):
        path = tmp_path / name
        path.write_bytes(FLAC)
        assert (await call(url, str(path))).text == f" {HEARD}"


@BOTH
async def test_a_type_that_is_not_listed_is_refused(emulate: Emulate, call: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "a.webm"  # video/webm to the client
    path.write_bytes(sample("slushy.webm"))
    with pytest.raises(BadRequestError, match=r"video/webm.*not supported"):
        await call(f"{await emulate('hf-inference')}/models/{WHISPER}", str(path))


@BOTH
async def test_a_dedicated_endpoint_is_its_url(emulate: Emulate, call: Callable[..., Any]) -> None:
    url = await emulate("hf-inference")

    assert (await call(f"{url}/", FLAC)).text == f" {HEARD}"
    assert (await call(f"{url}/predict", FLAC)).text == f" {HEARD}"


async def test_real_speech_comes_back(emulate: Emulate, local_ear: LocalEar) -> None:
    heard = await async_call(f"{await emulate('hf-inference', local_ear)}/models/{WHISPER}", sample("slushy.mp3"))

    assert heard.text is not None
    assert "slushy country roads" in heard.text


@BOTH
@pytest.mark.parametrize(
    ("audio", "asked", "says"),
    [
        (b"RIFF\x10\0\0\0WAVEnothing of the kind", {}, "Malformed soundfile"),
        (FLAC, {"return_timestamps": "char"}, "return_timestamps"),
        (FLAC, {"generation_parameters": {"sing": True}}, "sing"),
        (FLAC, {"language": "fr"}, "unexpected keyword argument 'language'"),
        (FLAC, {"generation_parameters": 1}, "must be an object"),
    ],
    ids=["no-audio", "characters", "unknown-generation", "unknown-parameter", "no-object"],
)
async def test_a_400_is_the_client_s_bad_request(
    emulate: Emulate, call: Callable[..., Any], audio: bytes, asked: dict[str, Any], says: str
) -> None:
    with pytest.raises(BadRequestError, match=says) as caught:
        await call(f"{await emulate('hf-inference')}/models/{WHISPER}", audio, extra_body=asked)
    assert caught.value.request_id == "emulated"


@BOTH
async def test_other_errors_are_the_client_s_http_error(emulate: Emulate, call: Callable[..., Any]) -> None:
    url = await emulate("hf-inference")
    for model, key, audio, status, says in (
        (f"models/{WHISPER}", "wrong", FLAC, 401, "Invalid username or password"),
        (f"models/{LOADING}", KEY, FLAC, 503, "currently loading"),
        (f"models/{WHISPER}", KEY, bytes(25 * 1024 * 1024 + 1), 413, "Payload Too Large"),
    ):
        with pytest.raises(HfHubHTTPError, match=says) as caught:
            await call(f"{url}/{model}", audio, key=key)
        assert caught.value.response.status_code == status


async def test_whoever_waits_for_the_model_is_answered(emulate: Emulate) -> None:
    url = await emulate("hf-inference")
    client = InferenceClient(model=f"{url}/models/{LOADING}", api_key=KEY, headers={"x-wait-for-model": "true"})

    assert (await asyncio.to_thread(client.automatic_speech_recognition, FLAC)).text == f" {HEARD}"


# --- what the client cannot provoke


async def post(url: str, *, key: str | None = KEY, **sent: Any) -> tuple[int, Any]:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    async with aiohttp.ClientSession(headers=headers) as session, session.post(url, **sent) as response:
        return response.status, await response.json()


async def test_the_hosted_service_needs_no_key_and_an_endpoint_does(emulate: Emulate) -> None:
    url = await emulate("hf-inference")

    assert (await post(f"{url}/models/{WHISPER}", key=None, data=FLAC))[0] == 200
    assert (await post(f"{url}/", key=None, data=FLAC))[0] == 401


async def test_a_body_above_any_limit_is_not_read_to_its_end(emulate: Emulate) -> None:
    url = f"{await emulate('hf-inference')}/models/{WHISPER}"

    assert await post(url, data=io.BytesIO(bytes(36 * 1024 * 1024))) == (413, {"error": "Payload Too Large"})


async def test_the_query_counts_where_the_body_has_no_parameters(emulate: Emulate) -> None:
    url = f"{await emulate('hf-inference')}/models/{WHISPER}"
    inputs = {"inputs": base64.b64encode(FLAC).decode()}

    for query, chunks in (("return_timestamps=word", 2), ("return_timestamps=true&chunk_length_s=30", 1)):
        for sent in ({"data": FLAC}, {"json": inputs}):
            _, body = await post(f"{url}?{query}", **sent)
            assert len(body["chunks"]) == chunks
    _, body = await post(f"{url}?return_timestamps=word", json=inputs | {"parameters": {"return_timestamps": True}})
    assert len(body["chunks"]) == 1


@pytest.mark.parametrize("name", ["generation_parameters", "generate_kwargs", "generate"])
async def test_generation_parameters_have_older_names(emulate: Emulate, name: str) -> None:
    inputs = {"inputs": base64.b64encode(FLAC).decode(), "parameters": {name: {"sing": 1}}}
    status, body = await post(f"{await emulate('hf-inference')}/models/{WHISPER}", json=inputs)

    assert status == 400
    assert "sing" in body["error"]


@pytest.mark.parametrize(
    "document",
    [[], {"input": "x"}, {"inputs": 1}, {"inputs": "sample1.flac"}, {"inputs": "", "parameters": [1]}],
    ids=str,
)
async def test_json_of_another_shape_is_a_400(emulate: Emulate, document: Any) -> None:
    status, body = await post(f"{await emulate('hf-inference')}/models/{WHISPER}", json=document)

    assert status == 400
    assert isinstance(body["error"], str)


async def test_what_is_called_json_and_is_none_is_a_400(emulate: Emulate) -> None:
    status, body = await post(
        f"{await emulate('hf-inference')}/models/{WHISPER}", data=FLAC, headers={"content-type": "application/json"}
    )

    assert status == 400
    assert body["error"].startswith("Body is not JSON")


# --- the adapter


@pytest.mark.parametrize("file", ["slushy.wav", "slushy.flac", "slushy.mp3", "slushy.m4a", "slushy.webm", "slushy.ogg"])
async def test_every_container_the_adapter_declares_is_taken(emulate: Emulate, file: str) -> None:
    heard = await through(await emulate("hf-inference"), "", file)

    assert heard.text == f"blake3 {blake3(sample(file)).hexdigest()}"


async def test_the_adapter_translates_a_dedicated_endpoint_s_words(emulate: Emulate) -> None:
    heard = await through(
        await emulate("hf-inference"), "", "sb_spk2_snt1.flac", task=Task.TRANSLATE, timestamps=Timestamps.WORD
    )

    assert [word.text for word in heard.words] == HEARD.split()


async def through(url: str, native_model: str, file: str, **wanted: Any) -> Transcript:
    there = Account(name="a", adapter="hf-inference", base_urls={"api": url}, api_key=SecretStr(KEY))
    job = TranscriptionJob(model="m", audio=sample_audio(file), **wanted)
    async with new_session() as session:
        deadline = Moment(asyncio.get_running_loop().time() + 30)
        to = Deployment(account=there, native_model=native_model)
        return await HttpProvider(HF_INFERENCE, session).transcribe(job, to, deadline)
