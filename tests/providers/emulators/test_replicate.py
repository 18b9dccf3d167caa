"""The emulator, driven by Replicate's own SDK, by huggingface_hub, and by our adapter over real sockets."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from blake3 import blake3
from huggingface_hub import InferenceClient, constants
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.hf_api import InferenceProviderMapping
from huggingface_hub.inference._providers._common import HARDCODED_MODEL_INFERENCE_MAPPING
from pydantic import SecretStr
from replicate.client import Client
from replicate.exceptions import ModelError, ReplicateError

from providers.emulators.ear import DigestEar, Emulation, as_audio
from providers.emulators.replicate import base_urls, build_app, version_of
from providers.errors import AttemptTimedOut, JobUnsupported
from providers.replicate import REPLICATE
from providers.transport import HttpProvider, new_session
from providers.types import Account, Deployment, Moment, Task, Timestamps, Transcript, TranscriptionJob
from tests.conftest import KEY, sample, serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from aiohttp import web

    Emulate = Callable[..., Awaitable[str]]

HUB_KEY = "hf_emulated"
FAST = f"vaibhavs10/incredibly-fast-whisper:{'b' * 64}"
WHISPER = f"openai/whisper:{version_of('openai/whisper')}"
DIARIZATION = f"thomasmol/whisper-diarization:{'c' * 64}"
WHISPERX = f"victor-upmeet/whisperx:{'d' * 64}"
GPT = "openai/gpt-4o-transcribe"
SHORT = sample("slushy.mp3")  # 42 kB: a data URI
LARGE = sample("slushy.wav")  # 438 kB: a file first


def text_of(audio: bytes) -> str:
    return f"blake3 {blake3(audio).hexdigest()}"


async def state(url: str) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/emulator/state") as response:
        told: dict[str, Any] = await response.json()
        return told


# --- Replicate's own SDK


@pytest.fixture
async def sdk(emulate: Emulate) -> AsyncIterator[Client]:
    """Return Replicate's client; its base URL is without the /v1 that its paths carry."""
    client = Client(api_token=KEY, base_url=await emulate("replicate"))
    client.poll_interval = 0.02
    yield client
    client._client.close()


async def test_its_own_sdk_runs_a_version_on_a_file_it_uploads(sdk: Client) -> None:
    output: Any = await asyncio.to_thread(sdk.run, WHISPER, {"audio": io.BytesIO(LARGE)})
    assert output["transcription"] == f" {text_of(LARGE)}"
    assert (output["detected_language"], output["translation"]) == ("english", None)


async def test_its_own_sdk_runs_an_official_model_without_waiting(sdk: Client) -> None:
    def run() -> Any:
        given = {"audio_file": io.BytesIO(SHORT)}
        return sdk.run(GPT, given, wait=False, file_encoding_strategy="base64")

    assert "".join(await asyncio.to_thread(run)) == text_of(SHORT)


async def test_its_own_sdk_creates_reloads_and_waits(sdk: Client) -> None:
    def create() -> Any:
        # The SDK's own: a bare version, as the Hugging Face clients send it too.
        return sdk.predictions.create(version=version_of("openai/whisper"), input={"audio": io.BytesIO(SHORT)})

    prediction = await asyncio.to_thread(create)
    assert (prediction.status, prediction.output, prediction.model) == ("starting", None, "openai/whisper")
    await asyncio.to_thread(prediction.wait)
    assert prediction.status == "succeeded"
    assert prediction.output["transcription"] == f" {text_of(SHORT)}"
    await asyncio.to_thread(prediction.cancel)
    assert prediction.status == "succeeded"  # too late


async def test_its_own_sdk_sees_all_states_and_cancels(emulate: Emulate) -> None:
    slow = Client(api_token=KEY, base_url=await emulate("replicate", job_s=2.0))
    seen: list[str] = []

    def create_and_cancel() -> None:
        prediction = slow.predictions.create(version=WHISPER, input={"audio": io.BytesIO(SHORT)})
        while prediction.status != "processing":
            seen.append(prediction.status)
            prediction.reload()
        prediction.cancel()
        prediction.reload()
        seen.append(prediction.status)

    try:
        await asyncio.to_thread(create_and_cancel)
    finally:
        slow._client.close()
    assert list(dict.fromkeys(seen)) == ["starting", "canceled"]


async def test_its_own_sdk_reads_a_failed_run(sdk: Client) -> None:
    with pytest.raises(ModelError, match="Failed to load audio"):
        await asyncio.to_thread(sdk.run, WHISPER, {"audio": io.BytesIO(b"no audio")})
    with pytest.raises(ModelError, match="corrupted or unsupported"):
        await asyncio.to_thread(sdk.run, GPT, {"audio_file": io.BytesIO(b"no audio")})


async def test_its_own_sdk_keeps_files(sdk: Client) -> None:
    stored = await asyncio.to_thread(sdk.files.create, io.BytesIO(SHORT), filename="a.mp3")
    assert (stored.name, stored.content_type, stored.size) == ("a.mp3", "audio/mpeg", len(SHORT))
    assert await asyncio.to_thread(sdk.files.get, stored.id) == stored
    assert await asyncio.to_thread(sdk.files.list) == [stored]
    assert await asyncio.to_thread(sdk.files.delete, stored.id)
    with pytest.raises(ReplicateError, match="could not be found"):
        await asyncio.to_thread(sdk.files.get, stored.id)


async def test_its_own_async_calls_work_too(emulate: Emulate) -> None:
    client = Client(api_token=KEY, base_url=await emulate("replicate"))
    try:
        output: Any = await client.async_run(WHISPER, {"audio": io.BytesIO(SHORT)})
    finally:
        await client._async_client.aclose()
    assert output["transcription"] == f" {text_of(SHORT)}"


def create(native_model: str, **given: str) -> bytes:
    return json.dumps({"version": native_model, "input": given}).encode()


@pytest.mark.parametrize(
    ("path", "body", "status", "detail"),
    [
        ("predictions", b"{", 400, "not valid JSON"),
        ("predictions", b"[]", 422, "must be an object"),
        ("predictions", create("x"), 422, "does not exist"),
        ("predictions", create(f"somebody/else:{'0' * 64}"), 422, "does not exist"),
        ("predictions", json.dumps({"version": WHISPER}).encode(), 422, "input is required"),
        ("predictions", create(WHISPER), 422, "audio is required"),
        ("predictions", create(WHISPER, audio="data:,%"), 422, "base64"),
        ("predictions", create(WHISPER, audio="http://elsewhere.example/x"), 422, "uri"),
        ("predictions", create(WHISPER, audio="data:,", language="x"), 422, "enum"),
        ("predictions", create(FAST, audio="data:,", language="en"), 422, "enum"),
        ("predictions", create(FAST, audio="data:,", timestamp="x"), 422, "enum"),
        ("predictions", create(FAST, audio="data:,", task="x"), 422, "enum"),
        ("models/openai/whisper/predictions", b"{}", 404, "could not be found"),
        ("predictions/p0/cancel", b"", 404, "could not be found"),
        ("files", b"{}", 400, "content"),
    ],
)
async def test_what_is_wrong_is_told_as_a_problem(
    emulate: Emulate, path: str, body: bytes, status: int, detail: str
) -> None:
    headers = {"authorization": f"Token {KEY}", "content-type": "application/json"}  # the older scheme
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{await emulate('replicate')}/v1/{path}", data=body) as response,
    ):
        problem = await response.json(content_type="application/problem+json")
    assert (response.status, problem["status"]) == (status, status)
    assert detail in problem["detail"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "predictions"),
        ("POST", "models/openai/gpt-4o-transcribe/predictions"),
        ("GET", "models/openai/whisper/versions/x"),
        ("GET", "predictions/p"),
        ("POST", "predictions/p/cancel"),
        ("POST", "files"),
        ("GET", "files"),
        ("GET", "files/f"),
        ("DELETE", "files/f"),
    ],
)
async def test_no_door_opens_without_its_key(emulate: Emulate, method: str, path: str) -> None:
    url = f"{await emulate('replicate')}/v1/{path}"
    async with aiohttp.ClientSession() as session, session.request(method, url) as response:
        assert response.status == 401


# --- huggingface_hub


@pytest.fixture
async def router(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """Return the emulator as it stands behind the Hugging Face router: it lets a Hub token in."""
    runners: list[web.AppRunner] = []
    url = await serve(build_app(Emulation(ear=DigestEar(), key=HUB_KEY)), runners)
    monkeypatch.setattr(constants, "INFERENCE_PROXY_TEMPLATE", url)
    yield url
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
def known_to_the_hub(monkeypatch: pytest.MonkeyPatch) -> str:
    """Name a model that huggingface_hub will not look up on the Hub."""
    mapping = InferenceProviderMapping(  # type: ignore[no-untyped-call] # theirs
        provider="replicate", hf_model_id="openai/whisper-large-v3", providerId=WHISPER, status="live",
        task="automatic-speech-recognition",
    )  # fmt: skip
    monkeypatch.setitem(HARDCODED_MODEL_INFERENCE_MAPPING["replicate"], "openai/whisper-large-v3", mapping)
    return "openai/whisper-large-v3"


async def test_huggingface_hub_transcribes_through_it(router: str, known_to_the_hub: str) -> None:
    """It does not poll: the create must be held until the run is over."""
    client = InferenceClient(provider="replicate", api_key=HUB_KEY)
    heard = await asyncio.to_thread(
        client.automatic_speech_recognition, SHORT, model=known_to_the_hub, extra_body={"translate": True}
    )
    assert heard.text == f" {text_of(SHORT)}"


async def test_huggingface_hub_with_a_wrong_key_is_refused(router: str, known_to_the_hub: str) -> None:
    client = InferenceClient(provider="replicate", api_key="hf_wrong")
    with pytest.raises(HfHubHTTPError, match="401"):
        await asyncio.to_thread(client.automatic_speech_recognition, SHORT, model=known_to_the_hub)


# --- our adapter


async def hear(
    url: str, native_model: str = FAST, audio: bytes = SHORT, *, within_s: float = 60.0, **wanted: Any
) -> Transcript:
    account = Account(name="a", adapter="replicate", base_urls=base_urls(url), api_key=SecretStr(KEY))
    job = TranscriptionJob(model="m", audio=as_audio(audio), **wanted)
    async with new_session() as session:
        deadline = Moment(asyncio.get_running_loop().time() + within_s)
        to = Deployment(account=account, native_model=native_model)
        provider = HttpProvider(REPLICATE, session)
        try:
            return await provider.transcribe(job, to, deadline)
        finally:
            await provider.close()


@pytest.mark.parametrize(
    ("native_model", "timestamps", "segments", "words"),
    [
        (WHISPER, Timestamps.NONE, 0, 0),
        (WHISPER, Timestamps.SEGMENT, 1, 0),
        (FAST, Timestamps.NONE, 0, 0),
        (FAST, Timestamps.SEGMENT, 1, 0),
        (FAST, Timestamps.WORD, 0, 2),
        (GPT, Timestamps.NONE, 0, 0),
        ("openai/gpt-4o-mini-transcribe", Timestamps.NONE, 0, 0),
        (DIARIZATION, Timestamps.WORD, 1, 2),
        (WHISPERX, Timestamps.SEGMENT, 1, 0),
        (WHISPERX, Timestamps.WORD, 1, 2),
    ],
)
async def test_each_model_gives_the_times_asked_for(
    emulate: Emulate, native_model: str, timestamps: Timestamps, segments: int, words: int
) -> None:
    heard = await hear(await emulate("replicate"), native_model, timestamps=timestamps)
    assert (heard.text, len(heard.segments), len(heard.words)) == (text_of(SHORT), segments, words)
    assert heard.request_id


async def test_language_and_task_arrive(emulate: Emulate) -> None:
    url = await emulate("replicate")
    wanted: dict[str, Any] = {"language": "ht", "task": Task.TRANSLATE}
    assert (await hear(url, FAST, **wanted)).text == text_of(SHORT)
    heard = await hear(url, WHISPER, timestamps=Timestamps.SEGMENT, **wanted)
    assert (heard.language, heard.segments) == ("ht", ())  # the segments are of what was said, not of its translation


async def test_a_diarization_names_speakers(emulate: Emulate) -> None:
    heard = await hear(await emulate("replicate"), DIARIZATION, diarize=True)
    assert [segment.speaker for segment in heard.segments] == ["SPEAKER_00"]


async def test_a_large_file_is_uploaded_heard_and_deleted(emulate: Emulate) -> None:
    url = await emulate("replicate")
    assert (await hear(url, audio=LARGE)).text == text_of(LARGE)
    now = await state(url)
    assert (list(now["jobs"].values()), now["files"], now["cancelled"]) == (["succeeded"], [], [])


async def test_a_file_that_failed_is_deleted_too(emulate: Emulate) -> None:
    url = await emulate("replicate")
    with pytest.raises(JobUnsupported):
        await hear(url, audio=b"RIFF\x10\0\0\0WAVE" + bytes(300_000))
    assert (await state(url))["files"] == []


async def test_a_communitys_model_without_its_version_is_told_what_it_lacks(emulate: Emulate) -> None:
    with pytest.raises(JobUnsupported, match="owner/name:version"):
        await hear(await emulate("replicate"), "openai/whisper")


async def test_who_leaves_cancels_the_run_and_deletes_the_file(emulate: Emulate) -> None:
    url = await emulate("replicate", job_s=3600)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(hear(url, audio=LARGE))
        while not (await state(url))["asked_after"]:  # before that the adapter may not know the run's id yet
            pass
        waiting.cancel()

    assert waiting.cancelled()
    now = await state(url)
    assert list(now["jobs"].values()) == ["canceled"]
    assert (now["cancelled"], now["files"]) == (list(now["jobs"]), [])


async def test_the_deadline_cancels_the_run_and_deletes_the_file(emulate: Emulate) -> None:
    url = await emulate("replicate", job_s=3600)
    with pytest.raises(AttemptTimedOut):
        await hear(url, audio=LARGE, within_s=2.0)
    now = await state(url)
    assert (list(now["jobs"].values()), now["files"]) == (["canceled"], [])


@pytest.mark.parametrize(("job_s", "status"), [(2.0, "canceled"), (3600.0, "aborted")])
async def test_a_run_that_nobody_cancels_ends_with_the_deadline_it_was_given(
    emulate: Emulate, job_s: float, status: str
) -> None:
    """Our process may have died."""
    url = await emulate("replicate", job_s=job_s)
    headers = {"authorization": f"Bearer {KEY}", "cancel-after": "1s"}
    body = {"version": WHISPER, "input": {"audio": f"data:audio/mpeg;base64,{base64.b64encode(SHORT).decode()}"}}
    async with aiohttp.ClientSession(headers=headers) as session:
        async with session.post(f"{url}/v1/predictions", json=body) as response:
            assert response.status == 201
        async with asyncio.timeout(20):
            while (now := next(iter((await state(url))["jobs"].values()))) in {"starting", "processing"}:
                pass
    assert now == status


@pytest.mark.parametrize("text", ["0s", "soon", "", "5"])
async def test_a_deadline_that_is_none_is_refused(emulate: Emulate, text: str) -> None:
    url = await emulate("replicate")
    headers = {"authorization": f"Bearer {KEY}", "cancel-after": text}
    body = {"version": WHISPER, "input": {"audio": f"data:audio/mpeg;base64,{base64.b64encode(SHORT).decode()}"}}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{url}/v1/predictions", json=body) as response,
    ):
        assert response.status == 422
