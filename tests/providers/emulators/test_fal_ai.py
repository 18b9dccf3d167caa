"""The emulator, driven by fal's own SDK, by huggingface_hub, and by our adapter over real sockets."""

from __future__ import annotations

import asyncio
import functools
import io
import wave
from typing import TYPE_CHECKING, Any

import aiohttp
import fal_client
import fal_client.client
import httpx
import huggingface_hub
import pytest
from blake3 import blake3
from huggingface_hub import InferenceClient, constants
from huggingface_hub.hf_api import InferenceProviderMapping
from huggingface_hub.inference._providers._common import HARDCODED_MODEL_INFERENCE_MAPPING
from pydantic import SecretStr

from providers.emulators.ear import DigestEar, Emulation, as_audio
from providers.emulators.fal_ai import base_urls, build_app
from providers.errors import AttemptTimedOut, JobUnsupported
from providers.fal_ai import FAL_AI
from providers.transport import HttpProvider, new_session
from providers.types import Account, Deployment, Moment, Task, Timestamps, Transcript, TranscriptionJob
from tests.conftest import KEY, sample, serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from aiohttp import web

    Emulate = Callable[..., Awaitable[str]]

WHISPER = "fal-ai/whisper"
SCRIBE = "fal-ai/elevenlabs/speech-to-text"
HUB_KEY = "hf_emulated"
MP3 = sample("slushy.mp3")
MP3_URI = fal_client.encode(MP3, "audio/mpeg")
HEARD = f"blake3 {blake3(MP3).hexdigest()}"


def silence(seconds: int) -> bytes:
    """Return a 16 kHz mono WAV: 32 kB a second, however little is said in it."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(16_000)
        writer.writeframes(bytes(32_000 * seconds))
    return file.getvalue()


async def state(url: str) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/emulator/state") as response:
        told: dict[str, Any] = await response.json()
        return told


# --- fal's own SDK


class TidyClient(fal_client.SyncClient):
    """Their client; it leaves the clients it uploads with to the collector, so this one keeps them to be closed."""

    @functools.cached_property
    def opened(self) -> list[httpx.Client]:
        return []

    def _get_cdn_client(self) -> httpx.Client:
        self.opened.append(super()._get_cdn_client())
        return self.opened[-1]


@pytest.fixture
def job_s() -> float:
    """Return how long a queued job takes."""
    return 0.2


@pytest.fixture
async def fal(emulate: Emulate, job_s: float, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[TidyClient]:
    """Return fal's client, its four hosts moved to the emulator: the SDK's variables take no plain http."""
    url = await emulate("fal-ai", job_s=job_s)
    monkeypatch.setattr(fal_client.client, "RUN_URL_FORMAT", f"{url}/")
    monkeypatch.setattr(fal_client.client, "QUEUE_URL_FORMAT", f"{url}/queue/")
    monkeypatch.setattr(fal_client.client, "REST_URL", url)
    monkeypatch.setattr(fal_client.client, "CDN_URL", url)
    client = TidyClient(key=KEY)
    yield client
    for each in (client._client, *client.opened):
        each.close()


async def test_its_own_sdk_runs(fal: TidyClient) -> None:
    heard = await asyncio.to_thread(fal.run, WHISPER, {"audio_url": MP3_URI, "chunk_level": "word", "diarize": True})

    assert heard["text"] == f" {HEARD}"
    assert [chunk["speaker"] for chunk in heard["chunks"]] == ["SPEAKER_00", "SPEAKER_00"]
    assert heard["inferred_languages"] == ["en"]


async def test_its_own_sdk_subscribes_and_sees_the_states(fal: TidyClient) -> None:
    """The id has more than owner and alias: the URLs given leave the rest out."""
    seen: list[str] = []

    def subscribe() -> dict[str, Any]:
        answer: dict[str, Any] = fal.subscribe(
            SCRIBE,
            {"audio_url": MP3_URI},
            interval=0.02,
            on_queue_update=lambda status: seen.append(type(status).__name__),
        )
        return answer

    heard = await asyncio.to_thread(subscribe)

    assert list(dict.fromkeys(seen)) == ["Queued", "InProgress", "Completed"]
    assert heard["text"] == f"{HEARD} (silence)"  # events and speakers unless they are declined
    assert {item["type"] for item in heard["words"]} == {"word", "spacing", "audio_event"}
    assert heard["words"][0]["speaker_id"] == "speaker_0"


async def test_its_own_sdk_asks_cancels_and_asks_again(fal: TidyClient) -> None:
    handle = await asyncio.to_thread(fal.submit, WHISPER, {"audio_url": MP3_URI})
    assert await asyncio.to_thread(handle.status) == fal_client.Queued(position=0)
    with pytest.raises(fal_client.client.FalClientHTTPError, match="still in progress") as early:
        await asyncio.to_thread(fal_client.client._request, fal._client, "GET", handle.response_url)
    assert early.value.status_code == 400
    await asyncio.to_thread(handle.cancel)
    with pytest.raises(fal_client.client.FalClientHTTPError, match="cancelled"):
        await asyncio.to_thread(handle.get)
    with pytest.raises(fal_client.client.FalClientHTTPError, match="ALREADY_COMPLETED"):
        await asyncio.to_thread(handle.cancel)


@pytest.mark.parametrize("repository", ["fal_v3", "fal"])
async def test_its_own_sdk_uploads_what_it_then_names(fal: TidyClient, repository: Any) -> None:
    def upload_and_run() -> dict[str, Any]:
        url = fal.upload(MP3, "audio/mpeg", "a.mp3", repository=repository, fallback_repository=[])
        assert httpx.get(url).content == MP3  # by anybody who knows the URL
        answer: dict[str, Any] = fal.run("fal-ai/speech-to-text/turbo", {"audio_url": url})
        return answer

    assert await asyncio.to_thread(upload_and_run) == {"output": HEARD, "partial": False}


async def test_its_own_sdk_uploads_in_parts(fal: TidyClient) -> None:
    def upload_and_run() -> dict[str, Any]:
        url = fal_client.client.MultipartUpload.save(
            client=fal._get_cdn_client(),
            token_manager=fal._token_manager,
            file_name="a.mp3",
            data=MP3,
            chunk_size=10_000,
        )
        answer: dict[str, Any] = fal.run("fal-ai/nemotron/asr", {"audio_url": url})
        return answer

    assert (await asyncio.to_thread(upload_and_run))["output"] == HEARD


@pytest.mark.parametrize("job_s", [3600.0])
async def test_its_own_sdk_is_told_of_a_job_that_did_not_start_in_time(fal: TidyClient) -> None:
    with pytest.raises(fal_client.client.FalClientHTTPError, match="timed out") as late:
        await asyncio.to_thread(fal.subscribe, WHISPER, {"audio_url": MP3_URI}, start_timeout=1.1)

    assert late.value.status_code == 504


async def test_its_own_async_client_uploads_runs_and_subscribes(fal: TidyClient) -> None:
    client = fal_client.AsyncClient(key=KEY)
    try:
        url = await client.upload(MP3, "audio/mpeg")
        heard = await client.run("fal-ai/wizper", {"audio_url": url})
        queued = await client.subscribe("fal-ai/wizper", {"audio_url": MP3_URI, "language": None}, interval=0.02)
    finally:
        await (await client._client).aclose()

    assert heard["text"] == queued["text"] == f" {HEARD}"
    assert heard["languages"] == ["en"]


@pytest.mark.parametrize(
    ("endpoint", "given", "status", "kind"),
    [
        (WHISPER, {}, 422, "missing"),
        (WHISPER, {"audio_url": MP3_URI, "chunk_level": "char"}, 422, "literal_error"),
        (WHISPER, {"audio_url": MP3_URI, "language": "english"}, 422, "literal_error"),
        ("fal-ai/wizper", {"audio_url": MP3_URI, "chunk_level": "word"}, 422, "literal_error"),
        (WHISPER, {"audio_url": MP3_URI.replace("audio/mpeg", "audio/wav")}, 422, "unsupported_audio_format"),
        (WHISPER, {"audio_url": "data:audio/mpeg;base64,Tm90IGF1ZGlv"}, 422, "unsupported_audio_format"),
        (WHISPER, {"audio_url": "data:audio/mpeg;base64,%"}, 422, "file_download_error"),
        (WHISPER, {"audio_url": "https://elsewhere.example/a.mp3"}, 422, "file_download_error"),
        ("fal-ai/unheard-of", {"audio_url": MP3_URI}, 404, ""),
    ],
)
async def test_its_own_sdk_sees_what_is_wrong(
    fal: TidyClient, endpoint: str, given: dict[str, Any], status: int, kind: str
) -> None:
    with pytest.raises(fal_client.client.FalClientHTTPError) as refused:
        await asyncio.to_thread(fal.run, endpoint, given)
    assert refused.value.status_code == status
    detail = refused.value.response.json()["detail"]
    assert ("" if isinstance(detail, str) else detail[0]["type"]) == kind


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", WHISPER),
        ("POST", f"queue/{WHISPER}"),
        ("GET", f"queue/{WHISPER}/requests/r/status"),
        ("POST", "storage/auth/token"),
        ("POST", "storage/upload/initiate"),
        ("POST", "files/upload"),
        ("POST", "files/upload/multipart"),
    ],
)
async def test_no_door_opens_without_its_key(emulate: Emulate, method: str, path: str) -> None:
    url = await emulate("fal-ai")
    async with aiohttp.ClientSession() as session, session.request(method, f"{url}/{path}") as response:
        assert response.status == 401


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", WHISPER, 405),
        ("GET", f"queue/{WHISPER}", 405),
        ("POST", WHISPER, 422),
        ("PUT", f"queue/{WHISPER}/requests/r/cancel", 404),
        ("GET", f"queue/{WHISPER}/requests/r", 404),
    ],
)
async def test_what_makes_no_sense_is_refused(emulate: Emulate, method: str, path: str, status: int) -> None:
    url = await emulate("fal-ai")
    headers = {"authorization": f"Key {KEY}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.request(method, f"{url}/{path}", data=b"[") as response,
    ):
        assert response.status == status


# --- huggingface_hub


@pytest.fixture
def known_to_the_hub(monkeypatch: pytest.MonkeyPatch) -> str:
    """Name a model that huggingface_hub will not look up on the Hub."""
    mapping = InferenceProviderMapping(  # type: ignore[no-untyped-call] # theirs
        provider="fal-ai", hf_model_id="openai/whisper-large-v3", providerId=WHISPER, status="live",
        task="automatic-speech-recognition",
    )  # fmt: skip
    monkeypatch.setitem(HARDCODED_MODEL_INFERENCE_MAPPING["fal-ai"], "openai/whisper-large-v3", mapping)
    return "openai/whisper-large-v3"


@pytest.fixture
async def router(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """Return the emulator as it stands behind the Hugging Face router: it lets a Hub token in."""
    runners: list[web.AppRunner] = []
    url = await serve(build_app(Emulation(ear=DigestEar(), key=HUB_KEY)), runners)
    monkeypatch.setattr(constants, "INFERENCE_PROXY_TEMPLATE", url)
    yield url
    for runner in runners:
        await runner.cleanup()


async def test_huggingface_hub_transcribes_through_it(router: str, known_to_the_hub: str) -> None:
    client = InferenceClient(provider="fal-ai", api_key=HUB_KEY)
    heard = await asyncio.to_thread(
        client.automatic_speech_recognition, MP3, model=known_to_the_hub, extra_body={"chunk_level": "word"}
    )
    assert heard.text == f" {HEARD}"


async def test_huggingface_hub_with_a_wrong_key_is_refused(router: str, known_to_the_hub: str) -> None:
    client = InferenceClient(provider="fal-ai", api_key="hf_wrong")
    with pytest.raises(huggingface_hub.errors.HfHubHTTPError, match="401"):
        await asyncio.to_thread(client.automatic_speech_recognition, MP3, model=known_to_the_hub)


# --- our adapter


def deployment(url: str, native_model: str = WHISPER, *, key: str = KEY, routed: bool = False) -> Deployment:
    urls = dict.fromkeys(FAL_AI.base_urls, url) if routed else base_urls(url)
    account = Account(name="a", adapter="fal-ai", base_urls=urls, api_key=SecretStr(key))
    return Deployment(account=account, native_model=native_model)


async def hear(to: Deployment, audio: bytes = MP3, *, within_s: float = 60.0, **wanted: Any) -> Transcript:
    job = TranscriptionJob(model="m", audio=as_audio(audio), **wanted)
    async with new_session() as session:
        deadline = Moment(asyncio.get_running_loop().time() + within_s)
        provider = HttpProvider(FAL_AI, session)
        try:
            return await provider.transcribe(job, to, deadline)
        finally:
            await provider.close()


@pytest.mark.parametrize("name", ["slushy.mp3", "slushy.wav", "slushy.m4a", "slushy.webm"])
async def test_every_container_the_adapter_claims_gets_through(emulate: Emulate, name: str) -> None:
    heard = await hear(deployment(await emulate("fal-ai")), sample(name))
    assert heard.text == f"blake3 {blake3(sample(name)).hexdigest()}"


async def test_a_container_it_does_not_claim_is_refused_there(emulate: Emulate) -> None:
    with pytest.raises(JobUnsupported):
        await hear(deployment(await emulate("fal-ai")), sample("sb_spk2_snt1.flac"))


@pytest.mark.parametrize(
    ("native_model", "timestamps", "segments", "words"),
    [
        (WHISPER, Timestamps.NONE, 0, 0),
        (WHISPER, Timestamps.SEGMENT, 1, 0),
        (WHISPER, Timestamps.WORD, 0, 2),
        ("fal-ai/wizper", Timestamps.SEGMENT, 1, 0),
        (SCRIBE, Timestamps.WORD, 0, 2),
        ("fal-ai/speech-to-text", Timestamps.NONE, 0, 0),
    ],
)
async def test_each_endpoint_gives_the_times_asked_for(
    emulate: Emulate, native_model: str, timestamps: Timestamps, segments: int, words: int
) -> None:
    heard = await hear(deployment(await emulate("fal-ai"), native_model), timestamps=timestamps)
    assert (heard.text, len(heard.segments), len(heard.words)) == (HEARD, segments, words)


async def test_language_task_and_speakers_arrive(emulate: Emulate) -> None:
    to = deployment(await emulate("fal-ai"))
    heard = await hear(to, language="es-MX", task=Task.TRANSLATE, prompt="Zoë", diarize=True)
    assert heard.language == "es"
    assert [segment.speaker for segment in heard.segments] == ["SPEAKER_00"]
    assert heard.request_id


@pytest.mark.parametrize("routed", [False, True])
async def test_the_queue_hears_the_same(emulate: Emulate, *, routed: bool) -> None:
    url = await emulate("fal-ai")
    long = silence(80)
    heard = await hear(deployment(url, routed=routed), long)

    assert heard.text == f"blake3 {blake3(long).hexdigest()}"
    assert list((await state(url))["jobs"].values()) == ["COMPLETED"]
    assert (await state(url))["cancelled"] == []


async def test_a_failure_in_the_queue_is_named_as_outside_it(emulate: Emulate) -> None:
    with pytest.raises(JobUnsupported):
        await hear(deployment(await emulate("fal-ai")), b"RIFF\x10\0\0\0WAVE" + bytes(3_000_000))


async def test_a_large_file_goes_by_way_of_the_storage_and_expires(emulate: Emulate) -> None:
    url = await emulate("fal-ai")
    large = silence(300)
    heard = await hear(deployment(url), large)

    assert heard.text == f"blake3 {blake3(large).hexdigest()}"
    (lifecycle,) = (await state(url))["files"].values()
    assert lifecycle == '{"expiration_duration_seconds": 3600}'


async def test_who_leaves_cancels_the_job(emulate: Emulate) -> None:
    url = await emulate("fal-ai", job_s=3600)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(hear(deployment(url), silence(80)))
        while not (await state(url))["asked_after"]:  # before that the adapter may not know the job's id yet
            pass
        waiting.cancel()

    assert waiting.cancelled()
    now = await state(url)
    assert now["cancelled"] == list(now["jobs"])


async def test_the_deadline_cancels_the_job(emulate: Emulate) -> None:
    url = await emulate("fal-ai", job_s=3600)
    with pytest.raises(AttemptTimedOut):
        await hear(deployment(url), silence(80), within_s=2.0)
    assert len((await state(url))["cancelled"]) == 1
