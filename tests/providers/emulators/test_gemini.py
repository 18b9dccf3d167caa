"""The emulator, driven by Google's own SDK and by our adapter over real sockets."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from blake3 import blake3
from google import genai
from google.genai import errors, types
from msgspec.structs import replace

from providers.errors import JobUnsupported
from providers.gemini import GeminiOptions
from providers.types import GenerationParameters, Task, Timestamps
from tests.conftest import KEY, encoded, sample, tone
from tests.driving import at, hear, state
from tests.turns import TwoTurns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from providers.emulators.ear import LocalEar

    Emulate = Callable[..., Awaitable[str]]

ONLY, GENERAL = "gemini-3.5-transcribe", "gemini-2.5-flash"
FLAC = sample("sb_spk2_snt1.flac")
HEARD = f"blake3 {blake3(FLAC).hexdigest()}"
LONG = encoded(tone(460, 16_000), 16_000, "wav", "pcm_s16le")  # 14.7 MB: too large for a request
# Google's SDK warns of features that may change.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")


@contextmanager
def sdk(url: str, key: str = KEY, version: str | None = None) -> Iterator[genai.Client]:
    client = genai.Client(api_key=key, http_options=types.HttpOptions(base_url=url, api_version=version))
    try:
        yield client
    finally:
        client.close()


def sound(audio: bytes = FLAC, mime_type: str = "audio/flac") -> types.Part:
    return types.Part.from_bytes(data=audio, mime_type=mime_type)


def asking(of: types.Part | types.File) -> list[Any]:
    return [of, "Write down the speech."]


# --- Google's own SDK


@pytest.mark.parametrize("version", [None, "v1", "v1beta"])
async def test_its_own_sdk_has_a_general_model_write(emulate: Emulate, version: str | None) -> None:
    url = await emulate("gemini")

    def call() -> Any:
        with sdk(url, version=version) as client:
            return client.models.generate_content(
                model=GENERAL,
                contents=asking(sound()),
                config=types.GenerateContentConfig(temperature=0, system_instruction="Only the words."),
            )

    reply = await asyncio.to_thread(call)
    assert reply.text == HEARD
    assert reply.candidates[0].finish_reason == types.FinishReason.STOP
    assert reply.usage_metadata.prompt_tokens_details[0].modality == types.MediaModality.AUDIO
    assert reply.response_id


async def test_its_own_sdk_streams_and_is_cut_short(emulate: Emulate) -> None:
    url = await emulate("gemini")

    def call() -> list[Any]:
        config = types.GenerateContentConfig(max_output_tokens=1)
        with sdk(url) as client:
            return list(client.models.generate_content_stream(model=GENERAL, contents=sound(), config=config))

    (chunk,) = await asyncio.to_thread(call)
    assert chunk.text == "blake3"
    assert chunk.candidates[0].finish_reason == types.FinishReason.MAX_TOKENS


async def test_its_own_sdk_uploads_asks_and_deletes(emulate: Emulate, local_ear: LocalEar, tmp_path: Any) -> None:
    url = await emulate("gemini", local_ear)
    path = tmp_path / "slushy.mp3"
    path.write_bytes(sample("slushy.mp3"))

    def call() -> tuple[Any, Any, Any]:
        with sdk(url, version="v1beta") as client:
            file = client.files.upload(file=path, config=types.UploadFileConfig(mime_type="audio/mp3"))
            assert file.name
            states = (file.state, client.files.get(name=file.name).state, client.files.get(name=file.name).state)
            reply = client.models.generate_content(model=GENERAL, contents=asking(file))
            client.files.delete(name=file.name)
            return states, reply.text, file.mime_type

    states, text, mime_type = await asyncio.to_thread(call)
    assert [each.value for each in states] == ["PROCESSING", "PROCESSING", "ACTIVE"]
    assert "slushy country roads" in text
    assert mime_type == "audio/mp3"
    assert await state(url) == {"files": []}


@pytest.mark.parametrize("wrapped", [False, True])
async def test_its_own_sdk_transcribes_with_words_and_speakers(emulate: Emulate, *, wrapped: bool) -> None:
    ear = TwoTurns()
    url = await emulate("gemini", ear)

    def call() -> Any:
        content = [{"type": "audio", "data": base64.b64encode(FLAC).decode(), "mime_type": "audio/flac"}]
        mode = {"type": "verbatim", "timestamp_granularities": ["word"], "diarization_mode": "speaker"}
        config = {"language_codes": ["en-US"], "custom_vocabulary": ["gnocchi"], "mode": mode}
        with sdk(url) as client:
            return client.interactions.create(
                model=ONLY,
                input=[{"type": "user_input", "content": content}] if wrapped else content,
                generation_config={"transcription_config": config},
            )

    done = await asyncio.to_thread(call)
    assert done.status == "completed"
    words = done.steps[0].content[0].annotations
    assert [(each.text, each.speaker, each.start_offset, each.start_index, each.end_index) for each in words] == [
        ("Hi", "spk_1", "0.500s", 0, 2),
        ("there.", "spk_1", "1.000s", 3, 9),
        ("Oh", "spk_2", "2.500s", 10, 12),
        ("no.", "spk_2", "3.000s", 13, 16),
    ]
    assert done.usage.total_input_tokens == 128
    assert ear.asked == [("en", False, "gnocchi")]


async def test_its_own_sdk_raises_its_own_errors(emulate: Emulate) -> None:
    url = await emulate("gemini")

    def call() -> list[errors.ClientError]:
        caught: list[errors.ClientError] = []
        for key, model, part in (
            ("wrong", GENERAL, sound()),
            (KEY, "gemini-0", sound()),
            (KEY, GENERAL, sound(mime_type="audio/x-odd")),
            (KEY, GENERAL, sound(b"RIFF\x10\0\0\0WAVEnothing of the kind", "audio/wav")),
            (KEY, GENERAL, types.Part.from_text(text="no audio at all")),
            (KEY, GENERAL, types.Part.from_uri(file_uri=f"{url}/v1beta/files/none", mime_type="audio/wav")),
        ):
            with sdk(url, key) as client, pytest.raises(errors.ClientError) as error:
                client.models.generate_content(model=model, contents=part)
            caught.append(error.value)
        return caught

    caught = await asyncio.to_thread(call)
    assert [(each.code, each.status) for each in caught] == [
        (400, "INVALID_ARGUMENT"),
        (404, "NOT_FOUND"),
        (400, "INVALID_ARGUMENT"),
        (400, "INVALID_ARGUMENT"),
        (400, "INVALID_ARGUMENT"),
        (403, "PERMISSION_DENIED"),
    ]


async def test_its_own_sdk_lists_models(emulate: Emulate) -> None:
    url = await emulate("gemini")

    def call() -> list[str | None]:
        with sdk(url) as client:
            return [each.name for each in client.models.list()]

    assert f"models/{ONLY}" in await asyncio.to_thread(call)


# --- our adapter


async def test_words_and_speakers_come_back(emulate: Emulate) -> None:
    ear = TwoTurns()
    url = await emulate("gemini", ear)
    options = {"gemini": GeminiOptions(custom_vocabulary=["Zoë"])}
    heard = await hear(at("gemini", ONLY, url), diarize=True, timestamps=Timestamps.WORD, provider_options=options)

    assert [(each.text, each.start_s, each.speaker) for each in heard.words] == [
        ("Hi", 0.5, "spk_1"),
        ("there.", 1.0, "spk_1"),
        ("Oh", 2.5, "spk_2"),
        ("no.", 3.0, "spk_2"),
    ]
    assert ear.asked == [(None, False, "Zoë")]


async def test_a_general_model_is_told_what_is_wanted(emulate: Emulate) -> None:
    ear = TwoTurns()
    url = await emulate("gemini", ear)
    to = at("gemini", GENERAL, url)
    await hear(to, task=Task.TRANSLATE, language="fr", prompt="Zoë")
    short = await hear(to, generation=GenerationParameters(max_new_tokens=2))

    assert ear.asked == [("fr", True, "Zoë"), (None, False, None)]
    assert short.text == "Hi there."


@pytest.mark.parametrize("native", [ONLY, GENERAL])
async def test_large_audio_is_uploaded_and_nothing_is_left(emulate: Emulate, native: str) -> None:
    url = await emulate("gemini")
    heard = await hear(at("gemini", native, url), LONG)

    assert heard.text == f"blake3 {blake3(LONG).hexdigest()}"
    assert await state(url) == {"files": []}


async def test_a_caller_who_leaves_leaves_no_upload(emulate: Emulate) -> None:
    class Deaf:
        """Says that it is asked, and never answers."""

        reached = asyncio.Event()

        async def hear(
            self, audio: bytes, *, language: str | None = None, translate: bool = False, prompt: str | None = None
        ) -> Any:
            del audio, language, translate, prompt
            self.reached.set()
            await asyncio.Event().wait()

    ear = Deaf()
    url = await emulate("gemini", ear)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(hear(at("gemini", ONLY, url), LONG))
        await ear.reached.wait()
        waiting.cancel()

    assert await state(url) == {"files": []}


async def test_longer_than_it_takes_is_for_another(emulate: Emulate) -> None:
    class Long(TwoTurns):
        async def hear(self, audio: bytes, **wanted: Any) -> Any:
            return replace(await super().hear(audio, **wanted), duration_s=3100.0)

    with pytest.raises(JobUnsupported):
        await hear(at("gemini", ONLY, await emulate("gemini", Long())))


# --- what neither provokes


async def post(url: str, body: object, **headers: str) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(url, data=io.BytesIO(json.dumps(body).encode())) as reply,
    ):
        return reply.status, await reply.json()


async def test_no_key_is_a_403(emulate: Emulate) -> None:
    url = f"{await emulate('gemini')}/v1beta/interactions"
    status, body = await post(url, {})

    assert (status, body["error"]["status"]) == (403, "PERMISSION_DENIED")


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"model": "gemini-0"}, 404),
        ({"model": ONLY, "input": []}, 400),
        ({"model": ONLY, "input": [{"type": "audio", "data": "%", "mime_type": "audio/wav"}]}, 400),
        ({"model": ONLY, "input": [{"type": "audio", "data": "A" * 20_000_001, "mime_type": "audio/wav"}]}, 400),
        ({"model": ONLY, "generation_config": 7}, 400),
    ],
    ids=["model", "no_audio", "no_base64", "too_large", "shape"],
)
async def test_what_it_refuses(emulate: Emulate, fields: dict[str, Any], status: int) -> None:
    url = f"{await emulate('gemini')}/v1beta/interactions"
    got, body = await post(url, fields, **{"x-goog-api-key": KEY})

    assert (got, body["error"]["code"]) == (status, status)


@pytest.mark.parametrize("mode", [{"type": "smart", "timestamp_granularities": ["word"]}, "loud"])
async def test_modes_that_cannot_be(emulate: Emulate, mode: Any) -> None:
    data = base64.urlsafe_b64encode(FLAC).decode()
    fields = {
        "model": ONLY,
        "input": [{"type": "audio", "data": data, "mime_type": "audio/flac"}],
        "generation_config": {"transcription_config": {"mode": mode}},
    }
    got, body = await post(f"{await emulate('gemini')}/v1/interactions", fields, **{"x-goog-api-key": KEY})

    assert (got, body["error"]["status"]) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize("command", ["upload, finalize", "upload"])
async def test_an_upload_wants_a_beginning_and_an_end(emulate: Emulate, command: str) -> None:
    url = f"{await emulate('gemini')}/upload/v1beta/files"
    got, _ = await post(url, {}, **{"x-goog-api-key": KEY, "x-goog-upload-command": command})

    assert got == 400
