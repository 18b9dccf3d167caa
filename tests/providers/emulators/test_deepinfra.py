"""The emulator, driven by DeepInfra's own SDK, by OpenAI's, and by huggingface_hub's deepinfra provider."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp
import openai
import pytest
from aiohttp import web
from blake3 import blake3
from deepinfra import AutomaticSpeechRecognition
from deepinfra._exceptions import APIStatusError, AuthenticationError, NotFoundError
from huggingface_hub import InferenceClient, constants
from huggingface_hub.hf_api import InferenceProviderMapping
from huggingface_hub.inference._providers import _common
from pydantic import SecretStr

from providers.deepinfra import DEEPINFRA, DeepInfraOptions
from providers.emulators import deepinfra as emulator
from providers.emulators.ear import DigestEar, Emulation
from providers.transport import HttpProvider, new_session
from providers.types import Account, Deployment, Moment, Task, Timestamps, Transcript, TranscriptionJob
from tests.conftest import KEY, sample, sample_audio, serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from providers.emulators.ear import LocalEar

    Emulate = Callable[..., Awaitable[str]]

WHISPER = "openai/whisper-large-v3"
FLAC = sample("sb_spk2_snt1.flac")
HEARD = f"blake3 {blake3(FLAC).hexdigest()}"
HF_TOKEN = "hf_emulated"


async def native(url: str, body: dict[str, Any], *, model: str = WHISPER, key: str = KEY) -> Any:
    """Call the native form as DeepInfra's SDK does."""
    client = AutomaticSpeechRecognition(f"{url}/v1/inference/{model}", auth_token=key)
    try:
        return await asyncio.to_thread(client.generate, body)
    finally:
        client.client.close()


async def post(url: str, form: aiohttp.FormData, **headers: str) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=form, headers=headers or {"authorization": f"Bearer {KEY}"}) as response,
    ):
        text_only = response.content_type == "text/plain"
        return response.status, await (response.text() if text_only else response.json())


def form_of(part: str, audio: bytes = FLAC, /, **fields: str) -> aiohttp.FormData:
    """Put the audio first and the fields after it, as the Hugging Face clients do."""
    form = aiohttp.FormData()
    form.add_field(part, audio, filename="a.bin", content_type="application/octet-stream")
    for name, value in fields.items():
        form.add_field(name, value)
    return form


# --- DeepInfra's own SDK


async def test_its_own_sdk_reads_the_native_form(emulate: Emulate) -> None:
    heard = await native(await emulate("deepinfra"), {"audio": FLAC, "task": "transcribe"})

    assert heard.text == f" {HEARD}"
    assert heard.segments[0]["text"] == f" {HEARD}"
    assert heard.request_id
    assert heard.inference_status["status"] == "succeeded"
    assert heard.inference_status["cost"] == pytest.approx(heard.input_length_ms / 60_000 * 0.00045, rel=1e-3)


async def test_real_speech_comes_back_word_by_word(emulate: Emulate, local_ear: LocalEar) -> None:
    """Its own SDK (0.3.0) drops the words: its response type has no place for them."""
    url = await emulate("deepinfra", local_ear)
    form = form_of("audio", sample("slushy.webm"), chunk_level="word")
    status, heard = await post(f"{url}/v1/inference/{WHISPER}", form)

    assert status == 200
    assert "slushy country roads" in heard["text"]
    assert "slushy" in {word["text"].strip(" .,").lower() for word in heard["words"]}


async def test_its_own_sdk_raises_its_own_errors(emulate: Emulate) -> None:
    url = await emulate("deepinfra")
    with pytest.raises(AuthenticationError, match="User authentication failed"):
        await native(url, {"audio": FLAC}, key="wrong")
    with pytest.raises(NotFoundError, match="Model not found"):
        await native(url, {"audio": FLAC}, model="openai/whisper-enormous")
    with pytest.raises(APIStatusError) as undecodable:
        await native(url, {"audio": b"RIFF\x10\0\0\0WAVEnothing of the kind"})
    assert undecodable.value.status_code == 400


async def test_a_webhook_is_answered_at_once(emulate: Emulate) -> None:
    heard = await native(await emulate("deepinfra"), {"audio": FLAC, "webhook": "https://example.com/done"})

    assert heard.inference_status["status"] == "queued"


# --- OpenAI's SDK


async def test_openai_s_sdk_reads_every_format(emulate: Emulate) -> None:
    url = await emulate("deepinfra")
    async with openai.AsyncOpenAI(api_key=KEY, base_url=f"{url}/v1/openai", max_retries=0) as client:
        create = client.audio.transcriptions.create
        file = ("a.flac", FLAC)
        heard = await create(file=file, model=WHISPER)
        verbose = await create(file=file, model=WHISPER, response_format="verbose_json", language="en", prompt="p")
        text = await create(file=file, model=WHISPER, response_format="text")
        srt = await create(file=file, model=WHISPER, response_format="srt")
        vtt = await create(file=file, model=WHISPER, response_format="vtt")
        with pytest.deprecated_call():  # OpenAI's own translations end in 2027
            english = await client.audio.translations.create(file=file, model=WHISPER, response_format="verbose_json")

    assert heard.text == verbose.text == english.text == f" {HEARD}"
    assert verbose.segments
    assert verbose.segments[0].end == verbose.duration
    assert text == f"{HEARD}\n"
    assert srt.startswith("1\n00:00:00,000 --> 00:00:0")
    assert vtt.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:0")
    assert HEARD in srt
    assert HEARD in vtt


async def test_brackets_after_a_granularity_are_not_read(emulate: Emulate) -> None:
    """The published document names the part without them; OpenAI's SDK writes them, and gets no words."""
    url = await emulate("deepinfra")
    async with openai.AsyncOpenAI(api_key=KEY, base_url=f"{url}/v1/openai", max_retries=0) as client:
        verbose = await client.audio.transcriptions.create(
            file=("a.flac", FLAC), model=WHISPER, response_format="verbose_json", timestamp_granularities=["word"]
        )
    _, plain = await post(
        f"{url}/v1/audio/transcriptions",
        form_of("file", model=WHISPER, response_format="verbose_json", timestamp_granularities="word"),
    )

    assert verbose.words is None
    assert [word["word"] for word in plain["words"]] == HEARD.split()


async def test_openai_s_sdk_raises_its_own_errors(emulate: Emulate) -> None:
    url = await emulate("deepinfra")
    async with openai.AsyncOpenAI(api_key=KEY, base_url=f"{url}/v1/openai", max_retries=0) as client:
        with pytest.raises(openai.NotFoundError, match="does not exist"):
            await client.audio.transcriptions.create(file=("a.flac", FLAC), model="whisper-1")
        with pytest.raises(openai.UnprocessableEntityError):
            await client.audio.transcriptions.create(file=("a.flac", FLAC), model=WHISPER, temperature=-1)


# --- huggingface_hub


@pytest.fixture
async def routed(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """Serve the emulator as the Hugging Face router does, and point the client's own two settings at it."""
    runners: list[web.AppRunner] = []
    app = web.Application()
    app.add_subapp("/deepinfra", emulator.build_app(Emulation(ear=DigestEar(), key=HF_TOKEN)))
    url = await serve(app, runners)
    mapping = InferenceProviderMapping(  # type: ignore[no-untyped-call]  # untyped in huggingface_hub
        provider="deepinfra",
        hf_model_id=WHISPER,
        providerId=WHISPER,
        status="live",
        task="automatic-speech-recognition",
    )
    monkeypatch.setattr(constants, "INFERENCE_PROXY_TEMPLATE", f"{url}/{{provider}}")
    monkeypatch.setitem(_common.HARDCODED_MODEL_INFERENCE_MAPPING["deepinfra"], WHISPER, mapping)
    yield url
    for runner in runners:
        await runner.cleanup()


async def test_huggingface_hub_reads_text_and_chunks(routed: str) -> None:
    client = InferenceClient(provider="deepinfra", api_key=HF_TOKEN)
    plain = await asyncio.to_thread(client.automatic_speech_recognition, FLAC, model=WHISPER)
    verbose = await asyncio.to_thread(
        client.automatic_speech_recognition, FLAC, model=WHISPER, extra_body={"response_format": "verbose_json"}
    )

    assert plain.text == f" {HEARD}"
    assert plain.chunks is None
    assert verbose.chunks is not None
    assert verbose.chunks[0].text == f" {HEARD}"
    assert verbose.chunks[0].timestamp[0] == 0.0


async def test_the_adapter_goes_the_same_way(routed: str) -> None:
    """An `hf_` key and the router's URL: the option stands for the host, which is loopback here."""
    there = Account(
        name="hf",
        adapter="deepinfra",
        base_urls={"api": f"{routed}/deepinfra"},
        api_key=SecretStr(HF_TOKEN),
        options={"form": "openai"},
    )
    heard = await through(there, timestamps=Timestamps.WORD)

    assert heard.text == HEARD
    assert [word.text for word in heard.words] == HEARD.split()
    assert heard.request_id


# --- the adapter, and what the SDKs cannot provoke


async def through(there: Account, **wanted: Any) -> Transcript:
    job = TranscriptionJob(model="m", audio=sample_audio("sb_spk2_snt1.flac"), **wanted)
    async with new_session() as session:
        deadline = Moment(asyncio.get_running_loop().time() + 30)
        to = Deployment(account=there, native_model=WHISPER)
        return await HttpProvider(DEEPINFRA, session).transcribe(job, to, deadline)


async def test_the_adapter_gets_words_price_and_a_number_to_quote(emulate: Emulate) -> None:
    there = Account(
        name="a",
        adapter="deepinfra",
        base_urls={"api": f"{await emulate('deepinfra')}/v1"},
        api_key=SecretStr(KEY),
    )
    heard = await through(
        there,
        task=Task.TRANSLATE,
        timestamps=Timestamps.WORD,
        provider_options={"deepinfra": DeepInfraOptions(chunk_length_s=20)},
    )

    assert [word.text for word in heard.words] == HEARD.split()
    assert heard.duration_s is not None
    assert heard.cost_usd == pytest.approx(heard.duration_s / 60 * 0.00045)
    assert heard.request_id


async def test_the_key_goes_in_either_header(emulate: Emulate) -> None:
    url = f"{await emulate('deepinfra')}/inference/{WHISPER}"

    assert (await post(url, form_of("audio"), **{"xi-api-key": KEY}))[0] == 200
    assert (await post(url, form_of("audio"), authorization=f"bearer {KEY}"))[0] == 200
    assert (await post(url, form_of("audio"), **{"xi-api-key": "wrong"}))[0] == 401
    assert (await post(url, form_of("audio"), authorization=KEY))[0] == 401


@pytest.mark.parametrize(
    "field",
    [{"chunk_length_s": "31"}, {"chunk_level": "letter"}, {"task": "sing"}, {"temperature": "warm"}],
    ids=lambda value: next(iter(value)),
)
async def test_a_field_out_of_range_is_a_422_that_names_it(emulate: Emulate, field: dict[str, str]) -> None:
    status, body = await post(f"{await emulate('deepinfra')}/inference/{WHISPER}", form_of("audio", **field))

    assert status == 422
    assert body["detail"][0]["loc"] == ["body", *field]


async def test_a_granularity_that_is_none_is_a_422(emulate: Emulate) -> None:
    form = form_of("file", model=WHISPER, timestamp_granularities="letter")
    status, _ = await post(f"{await emulate('deepinfra')}/v1/openai/audio/transcriptions", form)

    assert status == 422


async def test_a_form_without_audio_is_a_422(emulate: Emulate) -> None:
    status, body = await post(f"{await emulate('deepinfra')}/inference/{WHISPER}", form_of("file"))

    assert (status, body["detail"][0]["loc"]) == (422, ["body", "audio"])


async def test_other_routes_and_broken_forms_are_refused_in_json(emulate: Emulate) -> None:
    url = await emulate("deepinfra")
    async with aiohttp.ClientSession(headers={"authorization": f"Bearer {KEY}"}) as session:
        async with session.get(f"{url}/v1/inference/{WHISPER}") as response:
            assert (response.status, await response.json()) == (405, {"detail": "Method Not Allowed"})
        headers = {"content-type": "multipart/form-data; boundary=b"}
        async with session.post(f"{url}/inference/{WHISPER}", data=b"no form", headers=headers) as response:
            assert response.status == 400


class _HeldEar(DigestEar):
    """Hears nothing until it is let go."""

    def __init__(self) -> None:
        self.full = asyncio.Event()
        self.go_on = asyncio.Event()
        self._listening = 0

    async def hear(self, audio: bytes, **asked: Any) -> Transcript:
        del audio, asked
        self._listening += 1
        if self._listening == 200:
            self.full.set()
        await self.go_on.wait()
        return Transcript(text="heard")


async def test_one_more_than_two_hundred_at_once_is_a_429(emulate: Emulate) -> None:
    ear = _HeldEar()
    url = f"{await emulate('deepinfra', ear)}/inference/"
    async with (
        asyncio.TaskGroup() as group,
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), headers={"authorization": f"Bearer {KEY}"}
        ) as session,
    ):

        async def one(model: str) -> int:
            async with session.post(url + model, data=form_of("audio", b"few bytes")) as response:
                return response.status

        held = [group.create_task(one(WHISPER)) for _ in range(200)]
        await ear.full.wait()
        assert await one(WHISPER) == 429
        ear.go_on.set()
        assert {await task for task in held} == {200}
        assert await one(WHISPER) == 200
