"""The emulator, driven by Together's own SDK."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import aiohttp
import pytest
import together
from blake3 import blake3
from pydantic import SecretStr
from together.types.audio.transcription_create_response import AudioTranscriptionVerboseJsonResponse
from together.types.audio.translation_create_response import AudioTranslationVerboseJsonResponse

from providers.audio.unreadable import AudioTooLong
from providers.errors import JobUnsupported
from providers.together import TOGETHER, TogetherOptions
from providers.transport import HttpProvider, new_session
from providers.types import Account, Deployment, Moment, Segment, Task, Timestamps, Transcript, TranscriptionJob, Word
from tests.conftest import KEY, sample, sample_audio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from providers.emulators.ear import Ear, LocalEar

    Emulate = Callable[..., Awaitable[str]]

WHISPER: Final = "openai/whisper-large-v3"
PARAKEET = "nvidia/parakeet-tdt-0.6b-v3"
FLAC = sample("sb_spk2_snt1.flac")
HEARD = f"blake3 {blake3(FLAC).hexdigest()}"


class _RecordingEar:
    """Hears two sentences, and remembers what it was asked."""

    def __init__(self, duration_s: float = 4.0) -> None:
        self.asked: list[dict[str, Any]] = []
        self._duration_s = duration_s

    async def hear(
        self, audio: bytes, *, language: str | None = None, translate: bool = False, prompt: str | None = None
    ) -> Transcript:
        del audio
        self.asked.append({"language": language, "translate": translate, "prompt": prompt})
        return Transcript(
            text="Hi. Oh.",
            segments=(
                Segment(text="Hi.", start_s=0.0, end_s=2.0),
                Segment(text="Oh.", start_s=2.0, end_s=None),
            ),
            words=(Word(text="Hi.", start_s=0.5, end_s=1.0), Word(text="Oh.", start_s=2.5, end_s=3.0)),
            language="en",
            duration_s=self._duration_s,
        )


async def post(url: str, form: aiohttp.FormData | bytes, **headers: str) -> tuple[int, dict[str, str], Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=form, headers={"authorization": f"Bearer {KEY}", **headers}) as response,
    ):
        return response.status, {name.lower(): value for name, value in response.headers.items()}, await response.json()


def form_of(audio: bytes | BinaryIO = FLAC, /, **fields: str) -> aiohttp.FormData:
    """Put the audio first and the fields after it, as the Hugging Face clients do."""
    form = aiohttp.FormData()
    form.add_field("file", audio, filename="a.bin", content_type="application/octet-stream")
    for name, value in fields.items():
        form.add_field(name, value)
    return form


# --- Together's own SDK


async def test_its_own_sdk_sync_reads_plain_json(emulate: Emulate) -> None:
    url = await emulate("together")

    def call() -> str:
        with together.Together(api_key=KEY, base_url=url, max_retries=0) as client:
            return client.audio.transcriptions.create(file=("a.flac", FLAC)).text

    assert await asyncio.to_thread(call) == HEARD


async def test_its_own_sdk_async_reads_words_of_real_speech(emulate: Emulate, local_ear: LocalEar) -> None:
    url = await emulate("together", local_ear)
    async with together.AsyncTogether(api_key=KEY, base_url=url, max_retries=0) as client:
        heard = await client.audio.transcriptions.create(
            file=("slushy.m4a", sample("slushy.m4a")),
            model=WHISPER,
            language="en",
            response_format="verbose_json",
            timestamp_granularities=["segment", "word"],
        )

    assert isinstance(heard, AudioTranscriptionVerboseJsonResponse)
    assert "slushy country roads" in heard.text
    assert heard.segments
    assert heard.words
    assert heard.duration == pytest.approx(13.69, abs=0.1)
    assert heard.speaker_segments is None


async def test_its_own_sdk_reads_speakers(emulate: Emulate) -> None:
    url = await emulate("together", _RecordingEar())
    async with together.AsyncTogether(api_key=KEY, base_url=url, max_retries=0) as client:
        heard = await client.audio.transcriptions.create(
            file=("a.flac", FLAC),
            response_format="verbose_json",
            timestamp_granularities="word",
            diarize=True,
            min_speakers=2,
            max_speakers=3,
        )

    assert isinstance(heard, AudioTranscriptionVerboseJsonResponse)
    assert heard.words is not None
    assert [word.speaker_id for word in heard.words] == ["SPEAKER_00", "SPEAKER_01"]
    assert heard.speaker_segments is not None
    assert [(turn.speaker_id, turn.words[0].word) for turn in heard.speaker_segments] == [
        ("SPEAKER_00", "Hi."),
        ("SPEAKER_01", "Oh."),
    ]


async def test_its_own_sdk_translates(emulate: Emulate) -> None:
    ear = _RecordingEar()
    url = await emulate("together", ear)
    async with together.AsyncTogether(api_key=KEY, base_url=url, max_retries=0) as client:
        heard = await client.audio.translations.create(
            file=("a.flac", FLAC), model=WHISPER, response_format="verbose_json", timestamp_granularities=["word"]
        )
        with pytest.raises(together.BadRequestError, match="English only"):
            await client.audio.translations.create(file=("a.flac", FLAC), model=WHISPER, language="fr")

    assert isinstance(heard, AudioTranslationVerboseJsonResponse)
    assert heard.words
    assert ear.asked == [{"language": None, "translate": True, "prompt": None}]


async def test_its_own_sdk_raises_its_own_errors(emulate: Emulate) -> None:
    url = await emulate("together")
    async with together.AsyncTogether(api_key="wrong", base_url=url, max_retries=0) as client:
        with pytest.raises(together.AuthenticationError, match="Invalid API key"):
            await client.audio.transcriptions.create(file=("a.flac", FLAC))
    async with together.AsyncTogether(api_key=KEY, base_url=url, max_retries=0) as client:
        create = client.audio.transcriptions.create
        with pytest.raises(together.NotFoundError, match="model_not_available"):
            await create(file=("a.flac", FLAC), model="openai/whisper-1")  # type: ignore[arg-type]  # unknown on purpose
        with pytest.raises(together.BadRequestError, match="could not be decoded"):
            await create(file=("a.wav", b"RIFF\x10\0\0\0WAVEnothing of the kind"))
        with pytest.raises(together.BadRequestError, match="temperature"):
            await create(file=("a.flac", FLAC), temperature=1.5)
        with pytest.raises(together.BadRequestError, match="response_format"):
            await create(file=("a.flac", FLAC), response_format="srt")  # type: ignore[arg-type]  # OpenAI's, not here
        with pytest.raises(together.BadRequestError, match="min_speakers"):
            await create(file=("a.flac", FLAC), min_speakers=3, max_speakers=2)


# --- what decides the language


@pytest.mark.parametrize(
    ("fields", "heard_as"),
    [({}, "en"), ({"language": "auto"}, None), ({"language": "fr"}, "fr")],
    ids=["unnamed", "auto", "named"],
)
async def test_everything_is_english_unless_told(
    emulate: Emulate, fields: dict[str, str], heard_as: str | None
) -> None:
    ear = _RecordingEar()
    await post(f"{await emulate('together', ear)}/v1/audio/transcriptions", form_of(**fields))

    assert ear.asked[0]["language"] == heard_as


@pytest.mark.parametrize(("model", "prompt"), [(WHISPER, "names"), (PARAKEET, None)], ids=["whisper", "parakeet"])
async def test_parakeet_takes_a_prompt_and_ignores_it(emulate: Emulate, model: str, prompt: str | None) -> None:
    ear = _RecordingEar()
    await post(f"{await emulate('together', ear)}/v1/audio/transcriptions", form_of(model=model, prompt="names"))

    assert ear.asked[0]["prompt"] == prompt


# --- the adapter


async def through(url: str, ear_audio: str = "sb_spk2_snt1.flac", **wanted: Any) -> Transcript:
    there = Account(name="a", adapter="together", base_urls={"api": f"{url}/v1"}, api_key=SecretStr(KEY))
    job = TranscriptionJob(model="m", audio=sample_audio(ear_audio), **wanted)
    async with new_session() as session:
        deadline = Moment(asyncio.get_running_loop().time() + 30)
        to = Deployment(account=there, native_model=WHISPER)
        return await HttpProvider(TOGETHER, session).transcribe(job, to, deadline)


async def test_the_adapter_detects_the_language(emulate: Emulate) -> None:
    ear = _RecordingEar()
    await through(await emulate("together", ear))

    assert ear.asked == [{"language": None, "translate": False, "prompt": None}]


async def test_the_adapter_hears_who_spoke(emulate: Emulate) -> None:
    url = await emulate("together", _RecordingEar())
    heard = await through(url, diarize=True, provider_options={"together": TogetherOptions(min_speakers=2)})

    assert [segment.speaker for segment in heard.segments] == ["SPEAKER_00", "SPEAKER_01"]
    assert [(word.text, word.speaker) for word in heard.words] == [("Hi.", "SPEAKER_00"), ("Oh.", "SPEAKER_01")]
    assert heard.request_id


async def test_the_adapter_translates_with_words(emulate: Emulate) -> None:
    ear = _RecordingEar()
    heard = await through(await emulate("together", ear), task=Task.TRANSLATE, timestamps=Timestamps.WORD)

    assert [word.text for word in heard.words] == ["Hi.", "Oh."]
    assert ear.asked[0]["translate"]


class _TiredEar(_RecordingEar):
    """Stops decoding at its limit."""

    async def hear(
        self, audio: bytes, *, language: str | None = None, translate: bool = False, prompt: str | None = None
    ) -> Transcript:
        del audio, language, translate, prompt
        raise AudioTooLong(4 * 3600)


async def test_longer_than_four_hours_is_for_another_provider(emulate: Emulate) -> None:
    ears: tuple[Ear, ...] = (_RecordingEar(duration_s=4 * 3600 + 1), _TiredEar())
    for ear in ears:
        with pytest.raises(JobUnsupported, match="longer"):
            await through(await emulate("together", ear))


# --- what the SDK cannot provoke


async def test_every_reply_counts_down_the_allowance(emulate: Emulate) -> None:
    url = f"{await emulate('together')}/audio/transcriptions"
    for form, status in ((form_of(), 200), (form_of(model="x"), 404)):
        got, headers, _ = await post(url, form)
        assert got == status
        assert {"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "x-request-id"} <= headers.keys()


async def test_speakers_are_dropped_from_plain_json(emulate: Emulate) -> None:
    _, _, body = await post(f"{await emulate('together')}/v1/audio/transcriptions", form_of(diarize="true"))

    assert body == {"text": HEARD}


async def test_a_body_in_json_is_a_415(emulate: Emulate) -> None:
    url = f"{await emulate('together')}/v1/audio/transcriptions"
    status, _, body = await post(url, b"{}", **{"content-type": "application/json"})

    assert (status, body["error"]["message"]) == (415, "Content-Type must be multipart/form-data")


@pytest.mark.parametrize(
    ("file", "says"), [("https://example.com/a.wav", "fetch"), ("a.wav", "upload")], ids=["url", "name"]
)
async def test_a_file_that_is_text_is_refused(emulate: Emulate, file: str, says: str) -> None:
    form = aiohttp.FormData({"model": WHISPER}, default_to_multipart=True)
    form.add_field("file", file)
    status, _, body = await post(f"{await emulate('together')}/v1/audio/transcriptions", form)

    assert (status, body["error"]["param"]) == (400, "file")
    assert says in body["error"]["message"]


async def test_a_granularity_that_is_none_is_refused(emulate: Emulate) -> None:
    form = form_of(**{"timestamp_granularities[]": "letter"})
    status, _, body = await post(f"{await emulate('together')}/v1/audio/transcriptions", form)

    assert (status, body["error"]["param"]) == (400, "timestamp_granularities")


async def test_a_number_that_is_none_is_refused(emulate: Emulate) -> None:
    status, _, body = await post(f"{await emulate('together')}/v1/audio/transcriptions", form_of(temperature="warm"))

    assert (status, body["error"]["param"]) == (400, "temperature")


async def test_more_than_eighty_megabytes_is_a_413(emulate: Emulate) -> None:
    url = f"{await emulate('together')}/v1/audio/transcriptions"
    for size in (80_000_001, 81_000_000):
        status, _, body = await post(url, form_of(io.BytesIO(bytes(size))))
        assert (status, body["error"]["type"]) == (413, "invalid_request_error")


async def test_broken_forms_and_other_routes_are_refused_in_its_envelope(emulate: Emulate) -> None:
    url = await emulate("together")
    status, _, body = await post(
        f"{url}/audio/transcriptions", b"no form", **{"content-type": "multipart/form-data; boundary=b"}
    )
    assert (status, body["error"]["type"]) == (400, "invalid_request_error")
    status, _, body = await post(f"{url}/v1/audio/speech", b"")
    assert (status, body["error"]["type"]) == (404, "invalid_request_error")
