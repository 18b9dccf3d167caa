"""The official `openai` package against the running demonstration: its typed models must accept every answer."""

from __future__ import annotations

import io
import typing
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import openai
import pysubs2
import pytest
from openai.types.audio import Transcription, TranscriptionVerbose
from openai.types.audio.transcription_create_params import (
    TranscriptionCreateParamsNonStreaming,
    TranscriptionCreateParamsStreaming,
)
from openai.types.audio.translation_create_params import TranslationCreateParams

from tests.conftest import AUDIO, sample

if TYPE_CHECKING:
    from collections.abc import Iterator

SAID = "ask not what your country can do for you"
SHORT = sample("sb_spk2_snt1.flac")
SHORT_SAID = "we are sure that one war is enough"

# The SDK calls `translations.create` deprecated, with the models it leads to there.
pytestmark = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")


@pytest.fixture
def client(gateway_url: str) -> Iterator[openai.OpenAI]:
    """Return the SDK with its types enforced: without that it takes any shape without a word."""
    url = f"{gateway_url}/v1"
    with openai.OpenAI(base_url=url, api_key="any", max_retries=0, _strict_response_validation=True) as sdk:
        yield sdk


def ask(sdk: openai.OpenAI, **fields: Any) -> Any:
    return sdk.audio.transcriptions.create(**{"file": ("a.flac", SHORT), "model": "whisper-1", **fields})


def plain(text: str) -> str:
    return "".join(each for each in text.lower() if each.isalpha() or each == " ").strip()


class TestFormats:
    """All that `response_format` and `timestamp_granularities` may say."""

    def test_json(self, client: openai.OpenAI) -> None:
        with (AUDIO / "jfk.flac").open("rb") as file:
            heard = client.audio.transcriptions.create(file=file, model="whisper-1")
        assert isinstance(heard, Transcription)
        assert SAID in heard.text
        assert heard.usage
        assert (heard.usage.type, getattr(heard.usage, "seconds", None)) == ("duration", 11)

    def test_text(self, client: openai.OpenAI) -> None:
        heard = ask(client, response_format="text")

        assert heard.endswith(".\n")
        assert plain(heard) == SHORT_SAID

    @pytest.mark.parametrize("format_", ["srt", "vtt"])
    def test_subtitles(self, client: openai.OpenAI, format_: str) -> None:
        heard = ask(client, file=AUDIO / "slushy.flac", response_format=format_)
        cues = pysubs2.SSAFile.from_string(heard, format_=format_)

        assert len(cues) > 1
        assert "slushy country roads" in cues[0].text
        assert all(first.start < first.end <= second.start for first, second in pairwise(cues))
        assert cues[-1].end <= 13_690

    @pytest.mark.parametrize("levels", [[], ["segment"], ["word"], ["word", "segment"]])
    def test_verbose_json(self, client: openai.OpenAI, levels: list[str]) -> None:
        asked = {"timestamp_granularities": levels} if levels else {}
        heard = ask(client, file=AUDIO / "jfk.flac", response_format="verbose_json", **asked)

        assert isinstance(heard, TranscriptionVerbose)
        assert heard.language == "english"
        assert heard.duration == pytest.approx(11.0, abs=0.1)
        assert (heard.words is not None) == ("word" in levels)
        assert (heard.segments is not None) == ("segment" in (levels or ["segment"]))
        if heard.words is not None:
            assert [each.word for each in heard.words][:3] == ["And", "so", "my"]
        if heard.segments is not None:
            assert SAID in "".join(each.text for each in heard.segments)
            assert heard.segments[-1].end <= 11.0

    def test_diarized_json_is_beyond_the_local_model(self, client: openai.OpenAI) -> None:
        with pytest.raises(
            openai.UnprocessableEntityError, match=r"local/tiny\.en does not tell speakers apart"
        ) as caught:
            ask(client, response_format="diarized_json")
        assert (caught.value.code, caught.value.param) == ("unsupported-parameter", "response_format")

    def test_a_translation_is_beyond_the_local_model(self, client: openai.OpenAI) -> None:
        with pytest.raises(openai.UnprocessableEntityError, match=r"local/tiny\.en does not translate"):
            client.audio.translations.create(file=("a.flac", SHORT), model="whisper-1")

    def test_a_stream_is_refused(self, client: openai.OpenAI) -> None:
        """Better than an answer at once to a program that reads events."""
        with pytest.raises(openai.BadRequestError, match="stream") as caught:
            ask(client, stream=True)
        assert caught.value.param == "stream"


# Every field the SDK knows, with a value it may have: a new one fails the test below until it is read or refused.
READ = {
    "file": ("a.flac", SHORT),
    "model": "whisper-1",
    "chunking_strategy": {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 200},
    "keywords": ["war"],
    "known_speaker_names": ["agent"],
    "language": "en",
    "languages": ["en"],
    "prompt": "A sentence about war.",
    "response_format": "json",
    "temperature": 0.0,
    "timestamp_granularities": ["word"],
}
REFUSED = {
    "include": ["logprobs"],
    "known_speaker_references": ["data:audio/wav;base64,AAAA"],
    "stream": True,
}


def fields_of(*params: type) -> set[str]:
    return {name for each in params for name in typing.get_type_hints(each)}


def test_the_table_is_the_sdks() -> None:
    known = fields_of(TranscriptionCreateParamsNonStreaming, TranscriptionCreateParamsStreaming)

    assert known == READ.keys() | REFUSED.keys()
    assert fields_of(TranslationCreateParams) <= READ.keys()


@pytest.mark.parametrize("name", sorted(READ))
def test_a_field_is_read(client: openai.OpenAI, name: str) -> None:
    with_times = {"response_format": "verbose_json"} if name == "timestamp_granularities" else {}

    assert plain(ask(client, **{name: READ[name]}, **with_times).text) == SHORT_SAID


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_field_is_refused_by_name(client: openai.OpenAI, name: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, **{name: REFUSED[name]})
    assert (caught.value.code, caught.value.param) == ("unsupported-value", name)


@pytest.mark.parametrize("language", ["EN", "en-US", "English", "auto", ""])
def test_a_language_has_many_names(client: openai.OpenAI, language: str) -> None:
    assert plain(ask(client, language=language).text) == SHORT_SAID


@pytest.mark.parametrize("language", ["fr", "French", "de-CH"])
def test_a_language_the_model_does_not_know(client: openai.OpenAI, language: str) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match=r"local/tiny\.en does not know") as caught:
        ask(client, language=language)
    assert caught.value.param == "language"


@pytest.mark.parametrize("temperature", [0, 0.5, 1])
def test_temperatures(client: openai.OpenAI, temperature: float) -> None:
    assert ask(client, temperature=temperature).text


class TestFiles:
    """All that the SDK takes for a file; names and types are the caller's fancy."""

    @pytest.mark.parametrize(
        "file",
        [
            SHORT,
            io.BytesIO(SHORT),
            AUDIO / "sb_spk2_snt1.flac",
            ("a.flac", SHORT),
            (None, SHORT),
            ("no-extension", SHORT),
            ("wrong.mp3", SHORT, "audio/mpeg"),
            ("image.png", io.BytesIO(SHORT), "image/png"),
            ('ünïcode "quoted".flac', SHORT, "application/octet-stream", {"X-Extra": "1"}),
        ],
        ids=["bytes", "stream", "path", "named", "nameless", "no-extension", "wrong", "image", "unicode"],
    )
    def test_is_told_from_its_bytes(self, client: openai.OpenAI, file: Any) -> None:
        assert plain(ask(client, file=file).text) == SHORT_SAID

    @pytest.mark.parametrize("name", ["slushy.mp3", "slushy.webm"])
    def test_of_every_kind(self, client: openai.OpenAI, name: str) -> None:
        assert "slushy country roads" in ask(client, file=AUDIO / name).text

    @pytest.mark.parametrize(
        ("content", "error", "code"),
        [
            (b"", openai.BadRequestError, "no-audio"),
            (b"not audio at all" * 10, openai.BadRequestError, "unreadable-audio"),
            (SHORT[:4] + bytes(200), openai.BadRequestError, "unreadable-audio"),
            (b"\x89PNG\r\n\x1a\n" + bytes(99), openai.APIStatusError, "unsupported-media-type"),
        ],
    )
    def test_that_are_not_audio(
        self, client: openai.OpenAI, content: bytes, error: type[openai.APIStatusError], code: str
    ) -> None:
        with pytest.raises(error) as caught:
            ask(client, file=("a.flac", content))
        assert (caught.value.code, caught.value.type) == (code, "invalid_request_error")


class TestErrors:
    """The SDK's classes, with what programs look at."""

    def test_an_unknown_model(self, client: openai.OpenAI) -> None:
        with pytest.raises(openai.NotFoundError, match=r"near it are: .*whisper-1") as caught:
            ask(client, model="whisper-2")
        assert caught.value.code == "unknown-model"

    def test_a_field_out_of_range(self, client: openai.OpenAI) -> None:
        with pytest.raises(openai.UnprocessableEntityError, match="from 0 to 1") as caught:
            ask(client, temperature=1.5)
        assert (caught.value.param, caught.value.code) == ("temperature", "invalid-parameter")

    def test_a_field_nobody_knows(self, client: openai.OpenAI) -> None:
        with pytest.raises(openai.BadRequestError) as caught:
            ask(client, extra_body={"beam": 5})
        assert caught.value.param == "beam"

    def test_each_has_the_requests_id(self, client: openai.OpenAI) -> None:
        with pytest.raises(openai.NotFoundError) as caught:
            ask(client, model="whisper-2", extra_headers={"X-Request-Id": "mine-1"})
        assert caught.value.request_id == "mine-1"
        assert typing.cast("dict[str, Any]", caught.value.body)["request_id"] == "mine-1"

    def test_a_path_that_is_not_served(self, client: openai.OpenAI) -> None:
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model="m", messages=[])


class TestModels:
    """`models.list` and `models.retrieve`."""

    def test_the_list_says_what_really_answers(self, client: openai.OpenAI) -> None:
        by_name = {model.id: model.model_dump() for model in client.models.list()}

        assert {"openai/whisper-large-v3", "whisper-1"} <= by_name.keys()
        assert by_name["whisper-1"]["deployments"] == ["local/tiny.en"]

    @pytest.mark.parametrize("name", ["whisper-1", "openai/whisper-large-v3"])
    def test_one(self, client: openai.OpenAI, name: str) -> None:
        assert client.models.retrieve(name).id == name

    def test_an_unknown_one(self, client: openai.OpenAI) -> None:
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("whisper-2")


def test_another_model_says_so(client: openai.OpenAI) -> None:
    """A demonstration answers for every name; the header says with what."""
    answer = client.audio.transcriptions.with_raw_response.create(file=("a.flac", SHORT), model="whisper-1")

    assert answer.headers["x-gateway-model"] == "tiny.en"
    assert answer.headers["x-gateway-provider"] == "local"
    assert answer.headers["x-gateway-attempts"] == "1"
    assert float(answer.headers["x-audio-duration"]) > 1


async def test_the_asynchronous_client(gateway_url: str) -> None:
    url = f"{gateway_url}/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key="any", _strict_response_validation=True) as sdk:
        heard = await sdk.audio.transcriptions.create(
            file=("a.flac", SHORT),
            model="whisper-1",
            response_format="verbose_json",
            timestamp_granularities=["word", "segment"],
            language="en",
            prompt="About war.",
            temperature=0,
        )
        names = [model.id async for model in sdk.models.list()]

    assert plain(heard.text) == SHORT_SAID
    assert heard.words
    assert heard.segments
    assert "whisper-1" in names
